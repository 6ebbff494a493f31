//! The order in which a flag, our variable, and the variables of others count.

use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};

use super::*;
use crate::settings::plugin::PluginArg;

fn completed(pairs: &[(&str, &str)], mut args: MeasureArgs) -> Result<MeasureArgs, Failure> {
    Environment::of(pairs).complete_measure(&mut args).map(|()| args)
}

#[test]
fn our_names_come_before_the_seeds_names() {
    let pairs = [("UCCL_TCPX_PERF_SIZE", "1M"), ("GPUTCP_SIZE", "2M"), ("UCCL_TCPX_PERF_ITERS", "7")];
    let args = completed(&pairs, MeasureArgs::default()).unwrap();
    assert_eq!((args.size, args.iterations), (Some(2 << 20), Some(7)));
    let args = completed(&pairs, MeasureArgs { size: Some(5), ..Default::default() }).unwrap();
    assert_eq!(args.size, Some(5));
}

#[test]
fn a_flag_beats_variables_that_contradict_it() {
    let pairs = [("GPUTCP_SIZE", "2M"), ("GPUTCP_TIME", "3"), ("UCCL_TCPX_UNPACK_IMPL", "d2d")];
    let flags = MeasureArgs {
        begin: Some(1),
        iterations: Some(9),
        memory: Some(Memory::Host.into()),
        ..Default::default()
    };
    let args = completed(&pairs, flags).unwrap();
    assert_eq!((args.size, args.time, args.unpack), (None, None, None));
}

#[test]
fn a_flag_for_memory_beats_variables_for_gpus_and_the_reverse() {
    let pairs = [("GPUTCP_MEMORY", "cuda:1"), ("GPUTCP_GPU", "2"), ("GPUTCP_PEER_GPU", "3")];
    let gpus = |args: MeasureArgs| {
        let args = completed(&pairs, args).unwrap();
        (kind(&args), args.gpu.is_some(), args.peer_gpu.is_some())
    };
    assert_eq!(gpus(MeasureArgs::default()), (Some(Memory::Cuda), false, true));
    let soft = MeasureArgs { memory: Some(Memory::Soft.into()), ..Default::default() };
    assert_eq!(gpus(soft), (Some(Memory::Soft), false, false));
    let zero = MeasureArgs { gpu: Selector::parse("0").ok(), ..Default::default() };
    assert_eq!(gpus(zero), (None, true, true));
}

#[test]
fn the_chunk_size_has_three_names() {
    let chunk = |pairs: &[(&str, &str)]| completed(pairs, MeasureArgs::default()).unwrap().chunk;
    let (a, b) = (("NCCL_P2P_NET_CHUNKSIZE", "131072"), ("UCCL_TCPX_CHUNK_BYTES", "262144"));
    assert_eq!(chunk(&[a]), Some(131_072));
    assert_eq!(chunk(&[a, b]), Some(262_144));
}

#[test]
fn the_seeds_name_for_a_plugin_comes_last() {
    let named = |name: &str| PluginArg::Of { name: name.into(), version: None };
    let plugin = |pairs: &[(&str, &str)], args| completed(pairs, args).unwrap().plugin.plugin;
    let pairs = [("UCCL_TCPX_PLUGIN_PATH", "/old.so"), ("GPUTCP_PLUGIN", "/new.so")];
    assert_eq!(plugin(&pairs[..1], MeasureArgs::default()), Some(named("/old.so")));
    assert_eq!(plugin(&pairs, MeasureArgs::default()), Some(named("/new.so")));
    let none = PluginArgs { plugin: Some(PluginArg::None), plugin_device: None };
    let flag = MeasureArgs { plugin: none, ..Default::default() };
    assert_eq!(plugin(&pairs, flag), Some(PluginArg::None));
}

#[test]
fn sockets_of_nccl_are_multiplied() {
    let streams = |pairs: &[(&str, &str)]| completed(pairs, MeasureArgs::default()).map(|args| args.streams);
    assert_eq!(streams(&[("NCCL_NSOCKS_PERTHREAD", "4"), ("NCCL_SOCKET_NTHREADS", "2")]), Ok(Some(8)));
    assert_eq!(streams(&[("NCCL_NSOCKS_PERTHREAD", "4")]), Ok(Some(4)));
    let error = streams(&[("NCCL_NSOCKS_PERTHREAD", "64"), ("NCCL_SOCKET_NTHREADS", "2")]).unwrap_err();
    assert!(error.to_string().contains("128 sockets"), "{error}");
}

#[test]
fn receiving_into_host_memory_is_unpack_none() {
    let args = completed(&[("UCCL_TCPX_HOST_RECV_DEBUG", "1")], MeasureArgs::default()).unwrap();
    assert_eq!(args.unpack, Some(Unpack::None));
}

#[test]
fn a_bad_value_names_its_variable() {
    let error = completed(&[("GPUTCP_WINDOW", "99")], MeasureArgs::default()).unwrap_err();
    insta::assert_snapshot!(error, @r#"the variable GPUTCP_WINDOW is "99", but a window is 1 to 32 chunks, or SEND,RECV like 12,16; correct or unset it"#);
    let hostile = OsString::from_vec(b"\xff\x1b[31m64M".to_vec());
    let environment = Environment::from_pairs([("GPUTCP_SIZE".to_owned(), hostile)]);
    let error = environment.complete_measure(&mut MeasureArgs::default()).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    assert!(!error.to_string().contains('\x1b'), "{error}");
}

#[test]
fn an_empty_value_counts_as_unset() {
    let args = completed(&[("GPUTCP_SIZE", ""), ("UCCL_TCPX_PERF_SIZE", "1M")], MeasureArgs::default());
    assert_eq!(args.unwrap().size, Some(1 << 20));
}

#[test]
fn every_option_with_a_value_has_its_variable() {
    use clap::Args as _;
    // Neither is for users, and a path may be any text.
    let others = ["damage", "plugin", "plugin-device"];
    let command = MeasureArgs::augment_args(clap::Command::new("x"));
    let options = command.get_arguments().filter(|option| option.get_action().takes_values());
    let names: Vec<&str> =
        options.filter_map(clap::Arg::get_long).filter(|name| !others.contains(name)).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let variable = format!("GPUTCP_{}", name.to_uppercase().replace('-', "_"));
        // The variable of an option that needs another one is read behind that one.
        let before: &[(&str, &str)] = match name {
            "factor" | "begin" | "end" => &[("GPUTCP_BEGIN", "1"), ("GPUTCP_END", "2")],
            "blocks" | "block-size" => &[("GPUTCP_OP", "read")],
            _ => &[],
        };
        let pairs = &[before, &[(variable.as_str(), "?")]].concat();
        let error = completed(pairs, MeasureArgs::default()).map(drop).unwrap_err().to_string();
        assert!(error.starts_with(&format!("the variable {variable} is ")), "{error}");
    }
}
