//! Options and agreements of one-sided transfers.

use super::*;
use crate::{
    session::Role,
    settings::{Memory, plugin::PluginArgs, request::MeasureRequest, size::Windows},
};

fn typed(op: Operation) -> MeasureArgs {
    let one_sided = OneSidedArgs { op: Some(op), blocks: Some(3), block_size: Some(4096), scatter: true };
    MeasureArgs { one_sided, ..Default::default() }
}

fn settings(args: MeasureArgs, variables: &[(&str, &str)]) -> Result<Settings, String> {
    let request = MeasureRequest::new(args, &Environment::of(variables));
    request.map(|request| request.settings).map_err(|failure| match failure {
        Failure::Usage(sentence) => sentence,
        other => panic!("{other:?} is no usage error"),
    })
}

#[test]
fn an_operation_says_the_way_and_the_blocks_the_size() {
    for (op, flow) in [(Operation::Read, Flow::Backward), (Operation::Write, Flow::Forward)] {
        let settings = settings(typed(op), &[]).unwrap();
        assert_eq!((settings.flow, settings.sizes.as_slice()), (flow, &[12_288][..]));
        assert_eq!(settings.buffer_bytes(), 24_576);
        assert_eq!(settings.check(), Ok(()));
    }
    let one_sided = OneSidedArgs { op: Some(Operation::Read), ..Default::default() };
    let settings = settings(MeasureArgs { one_sided, ..Default::default() }, &[]).unwrap();
    assert_eq!(
        (show_size(settings.sizes[0]), show_size(settings.buffer_bytes())),
        ("64M".into(), "64M".into())
    );
}

#[test]
fn help() {
    let mut command = OneSidedArgs::augment_args(clap::Command::new("gputcp")).disable_help_flag(true);
    insta::assert_snapshot!(command.render_help());
}

#[test]
fn memory_beyond_the_host_is_refused() {
    let mut settings = settings(typed(Operation::Read), &[]).unwrap();
    settings.memory = Memory::Soft;
    let needed = settings.memory_bytes();
    assert_eq!(needed, 24_576 + 2 * 4 * (512 << 10), "the region, and the rings of both ways");
    let check = |available| settings.check_memory("this host", &[Role::Client], Some(available));
    assert!(check(needed).is_ok());
    assert!(check(needed - 1).unwrap_err().contains("fewer streams"), "{:?}", check(0));
    settings.one_sided = settings.one_sided.map(|one_sided| OneSided { block_bytes: 1 << 30, ..one_sided });
    let sentence = settings.check_memory("this host", &[Role::Client], Some(1)).unwrap_err();
    assert!(sentence.ends_with("choose fewer or smaller blocks"), "{sentence}");
}

#[test]
fn what_does_not_go_with_an_operation_is_one_sentence() {
    let base = || typed(Operation::Write);
    let plugin =
        PluginArgs { plugin: Some(PluginArg::Of { name: "x".into(), version: None }), plugin_device: None };
    let many = OneSidedArgs { block_size: Some(u64::MAX), ..base().one_sided };
    let bad = [
        MeasureArgs { size: Some(1), ..base() },
        MeasureArgs { begin: Some(1), ..base() },
        MeasureArgs { reverse: true, ..base() },
        MeasureArgs { bidir: true, ..base() },
        MeasureArgs { latency: true, ..base() },
        MeasureArgs { plugin, ..base() },
        MeasureArgs { channels: Some(2), ..base() },
        MeasureArgs { chunk: Some(1 << 20), ..base() },
        MeasureArgs { window: Some(Windows { send: 1, recv: 1 }), ..base() },
        MeasureArgs { one_sided: many, ..base() },
        MeasureArgs { one_sided: OneSidedArgs { op: None, ..base().one_sided }, ..base() },
    ];
    let sentences: Vec<String> = bad.into_iter().map(|args| settings(args, &[]).unwrap_err()).collect();
    insta::assert_snapshot!(sentences.join("\n"));
}

#[test]
fn a_flag_beats_the_variables_that_contradict_it() {
    let variables = [
        ("GPUTCP_OP", "read"),
        ("GPUTCP_BLOCKS", "5"),
        ("GPUTCP_BLOCK_SIZE", "1K"),
        ("GPUTCP_SIZE", "1M"),
        ("GPUTCP_CHUNK", "1M"),
        ("NCCL_P2P_NET_CHUNKSIZE", "131072"),
        ("GPUTCP_WINDOW", "3"),
        ("GPUTCP_CHANNELS", "2"),
        ("GPUTCP_PLUGIN", "/no/such.so"),
    ];
    let one_sided = OneSidedArgs { op: Some(Operation::Write), blocks: Some(2), ..Default::default() };
    let both = settings(MeasureArgs { one_sided, ..Default::default() }, &variables).unwrap();
    assert_eq!((both.flow, both.sizes), (Flow::Forward, vec![2048]));
    let variable = settings(MeasureArgs::default(), &variables[..4]).unwrap();
    assert_eq!((variable.flow, variable.sizes), (Flow::Backward, vec![5120]));
    let size = settings(MeasureArgs { size: Some(7), ..Default::default() }, &variables[..4]).unwrap();
    assert_eq!((size.one_sided, size.sizes), (None, vec![7]));
}

#[test]
fn numbers_from_the_network_are_checked() {
    let good = settings(typed(Operation::Write), &[]).unwrap();
    let all = good.one_sided.unwrap();
    let bad = |one_sided: OneSided| {
        let sizes = vec![one_sided.bytes()];
        Settings { one_sided: Some(one_sided), sizes, ..good.clone() }.check().is_err()
    };
    assert!(!bad(all));
    assert!(bad(OneSided { blocks: 0, ..all }) && bad(OneSided { blocks: u32::MAX, ..all }));
    assert!(bad(OneSided { block_bytes: 0, ..all }) && bad(OneSided { block_bytes: u64::MAX, ..all }));
    assert!(bad(OneSided { block_bytes: 1 << 47, ..all }), "all of them are too long");
    assert!(bad(OneSided { op: Operation::Read, ..all }), "the flow is that of a write");
    for other in [
        Settings { sizes: vec![12_288, 1], ..good.clone() },
        Settings { channels: 2, ..good.clone() },
        Settings { transport: Transport::Plugin, ..good.clone() },
    ] {
        assert!(other.check().is_err(), "{other:?}");
    }
}
