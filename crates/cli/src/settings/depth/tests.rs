//! Depths as they are typed, agreed on, and refused.

use super::*;
use crate::{
    session::Role,
    settings::{
        Memory, Operation,
        environment::Environment,
        one_sided::OneSidedArgs,
        request::{Amount, MeasureRequest},
    },
};

fn typed(depth: u16) -> MeasureArgs {
    MeasureArgs { depth: Some(depth), ..Default::default() }
}

fn request(args: MeasureArgs, variables: &[(&str, &str)]) -> Result<MeasureRequest, String> {
    MeasureRequest::new(args, &Environment::of(variables)).map_err(|failure| match failure {
        Failure::Usage(sentence) => sentence,
        other => panic!("{other:?} is no usage error"),
    })
}

fn settings(args: MeasureArgs) -> Settings {
    request(args, &[]).unwrap().settings
}

#[test]
fn a_burst_is_as_many_messages_as_a_gibibyte_holds() {
    let four = settings(typed(4));
    for (bytes, messages) in [(1, 256), (4 << 20, 256), (64 << 20, 16), (256 << 20, 4), (1 << 40, 4)] {
        assert_eq!(four.messages(bytes), messages, "{bytes}");
    }
    for depth in [None, Some(1)] {
        let one = settings(MeasureArgs { depth, ..Default::default() });
        assert_eq!((one.depth, one.messages(1), one.messages(64 << 20)), (1, 1, 1));
        assert_eq!(one.buffer_bytes(), 64 << 20);
    }
}

#[test]
fn every_message_has_its_place() {
    let sweep = MeasureArgs { begin: Some(1 << 20), end: Some(64 << 20), ..typed(2) };
    assert_eq!(settings(sweep).buffer_bytes(), 1 << 30);
    let long = MeasureArgs { size: Some(1 << 30), ..typed(3) };
    assert_eq!(settings(long).buffer_bytes(), 3 << 30);
    let far = MeasureArgs { size: Some(1 << 48), ..typed(16) };
    assert_eq!(settings(far).buffer_bytes(), 16 << 48);
    let host = MeasureArgs { memory: Some(Memory::Host.into()), ..typed(2) };
    let sentence = settings(host).check_memory("this host", &[Role::Client], Some(1 << 29)).unwrap_err();
    insta::assert_snapshot!(sentence);
}

#[test]
fn bursts_are_fewer_than_messages() {
    let amount = |args| {
        let request = request(args, &[]).unwrap();
        (request.amount, request.warmup)
    };
    assert_eq!(amount(typed(2)), (Amount::Count(10), 1));
    assert_eq!(amount(typed(1)), (Amount::Count(20), 3));
    let asked = MeasureArgs { iterations: Some(7), warmup: Some(2), ..typed(2) };
    assert_eq!(amount(asked), (Amount::Count(7), 2));
}

#[test]
fn windows_hold_the_depth_unless_they_are_asked_for() {
    let windows = |args: MeasureArgs| {
        let settings = settings(args);
        (settings.send_window, settings.recv_window)
    };
    assert_eq!(windows(typed(12)), (12, 16));
    assert_eq!(windows(typed(16)), (16, 16));
    let asked = Some(Windows { send: 4, recv: 8 });
    assert_eq!(windows(MeasureArgs { window: asked, ..typed(4) }), (4, 8));
    let channels = MeasureArgs { window: asked, channels: Some(4), ..typed(16) };
    assert_eq!(windows(channels), (4, 8));
}

#[test]
fn what_does_not_go_with_a_depth_is_one_sentence() {
    let many = OneSidedArgs { op: Some(Operation::Read), blocks: Some(1 << 19), ..Default::default() };
    let bad = [
        MeasureArgs { latency: true, ..typed(2) },
        MeasureArgs { one_sided: many, ..typed(3) },
        MeasureArgs { window: Some(Windows { send: 3, recv: 8 }), ..typed(4) },
        MeasureArgs { window: Some(Windows { send: 9, recv: 1 }), channels: Some(2), ..typed(4) },
    ];
    let sentences: Vec<String> = bad.into_iter().map(|args| request(args, &[]).unwrap_err()).collect();
    insta::assert_snapshot!(sentences.join("\n"));
    assert!(parse_depth("0").is_err() && parse_depth("17").is_err() && parse_depth("x").is_err());
}

#[test]
fn transfers_have_a_depth_too() {
    let of = |blocks, block_size| {
        let one_sided = OneSidedArgs {
            op: Some(Operation::Read),
            blocks: Some(blocks),
            block_size: Some(block_size),
            scatter: true,
        };
        let settings = settings(MeasureArgs { one_sided, ..typed(4) });
        (settings.messages(settings.sizes[0]), settings.buffer_bytes())
    };
    assert_eq!(of(1024, 64 << 10), (16, 2 << 30));
    assert_eq!(of(10, 4096), (256, 256 * 10 * 8192));
    assert_eq!(of(1 << 18, 1), (4, 4 << 19), "the lists of blocks are bounded");
}

#[test]
fn one_message_in_flight_goes_with_everything() {
    for args in [
        MeasureArgs { latency: true, ..typed(1) },
        MeasureArgs {
            one_sided: OneSidedArgs { op: Some(Operation::Read), ..Default::default() },
            ..typed(1)
        },
        MeasureArgs { window: Some(Windows { send: 1, recv: 1 }), ..typed(1) },
    ] {
        assert!(request(args, &[]).is_ok());
    }
}

#[test]
fn a_flag_beats_the_variable() {
    let depth = |args, value| request(args, &[("GPUTCP_DEPTH", value)]).map(|request| request.settings.depth);
    assert_eq!(depth(MeasureArgs::default(), "4"), Ok(4));
    assert_eq!(depth(typed(2), "4"), Ok(2));
    assert_eq!(depth(MeasureArgs { latency: true, ..Default::default() }, "4"), Ok(1));
    assert!(depth(MeasureArgs::default(), "0").unwrap_err().contains("GPUTCP_DEPTH"));
}

#[test]
fn numbers_from_the_network_are_checked() {
    let good = settings(typed(4));
    assert_eq!(good.check(), Ok(()));
    for bad in [
        Settings { depth: 0, ..good.clone() },
        Settings { depth: 17, ..good.clone() },
        Settings { depth: u16::MAX, ..good.clone() },
        Settings { flow: Flow::RoundTrip, ..good.clone() },
        Settings { send_window: 3, ..good.clone() },
        Settings { recv_window: 1, ..good },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
