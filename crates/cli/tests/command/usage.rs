//! A senseless request is exit code 2 and a sentence, before anything is started.

use std::process::Command;

use crate::process::{expect, fails, finish, gputcp, run, run_with, says, stderr, stdout};

#[test]
fn every_senseless_setting_is_a_sentence() {
    let cases: &[&[&str]] = &[
        &[],
        &["--unknown"],
        &["dance"],
        &["loopback", "--unknown"],
        &["loopback", "extra"],
        &["loopback", "-s", "0"],
        &["loopback", "-s", "12Q"],
        &["loopback", "-s", "-1"],
        &["loopback", "-s", "999999T"],
        &["loopback", "-s", "100T"],
        &["loopback", "-s", "1M", "-b", "1K"],
        &["loopback", "-e", "1M"],
        &["loopback", "-b", "2M", "-e", "1M"],
        &["loopback", "-b", "1M", "-e", "2M", "-f", "1"],
        &["loopback", "-b", "1M", "-f", "2"],
        &["loopback", "-n", "0"],
        &["loopback", "-n", "5", "-t", "1"],
        &["loopback", "-t", "0"],
        &["loopback", "-t", "nan"],
        &["loopback", "-w", "x"],
        &["loopback", "-i", "0"],
        &["loopback", "-P", "0"],
        &["loopback", "-P", "65"],
        &["loopback", "--channels", "0"],
        &["loopback", "--channels", "65"],
        &["loopback", "-P", "64", "--channels", "5"],
        &["loopback", "--chunk", "0"],
        &["loopback", "--chunk", "1T"],
        &["loopback", "--window", "0"],
        &["loopback", "--window", "33"],
        &["loopback", "--window", "12,0"],
        &["loopback", "--segment", "1"],
        &["loopback", "-m", "tape"],
        &["loopback", "-m", "cuda:"],
        &["loopback", "-m", "cuda:first"],
        &["loopback", "-m", "soft", "-g", "0"],
        &["loopback", "-m", "host", "--peer-gpu", "0"],
        &["loopback", "-m", "cuda:0", "-g", "0"],
        &["loopback", "-m", "cuda", "--damage", "1"],
        &["loopback", "-g", "-1"],
        &["loopback", "-g", "GPU-0"],
        &["loopback", "--peer-gpu", "1b:00"],
        &["loopback", "-m", "host", "--unpack", "kernel"],
        &["loopback", "--unpack", "magic"],
        &["loopback", "-R", "--bidir"],
        &["loopback", "--latency", "-R"],
        &["loopback", "--latency", "--channels", "2"],
        &["loopback", "--depth", "0"],
        &["loopback", "--depth", "17"],
        &["loopback", "--depth", "2", "--latency"],
        &["loopback", "--depth", "2", "--op", "read", "--blocks", "1000000"],
        &["loopback", "--depth", "4", "--window", "3"],
        &["server", "--depth", "2"],
        &["loopback", "--op", "swap"],
        &["loopback", "--op", "read", "--blocks", "0"],
        &["loopback", "--op", "read", "--block-size", "0"],
        &["loopback", "--op", "read", "--blocks", "1000000", "--block-size", "1T"],
        &["loopback", "--op", "read", "-s", "1M"],
        &["loopback", "--op", "read", "-b", "1M"],
        &["loopback", "--op", "read", "-R"],
        &["loopback", "--op", "write", "--bidir"],
        &["loopback", "--op", "write", "--latency"],
        &["loopback", "--op", "write", "--channels", "2"],
        &["loopback", "--op", "write", "--chunk", "1M"],
        &["loopback", "--op", "write", "--window", "4"],
        &["loopback", "--op", "write", "--plugin", "/no/such.so"],
        &["loopback", "--blocks", "2"],
        &["loopback", "--block-size", "2"],
        &["loopback", "--scatter"],
        &["server", "--op", "read"],
        &["loopback", "-4", "-6"],
        &["loopback", "--congestion", "no such"],
        &["loopback", "--congestion", "nosuch"],
        &["loopback", "--sndbuf", "1"],
        &["loopback", "--rcvbuf", "2T"],
        &["loopback", "--timeout", "0"],
        &["loopback", "--seed", "x"],
        &["loopback", "-J", "--csv"],
        &["loopback", "-q", "-v"],
        &["client"],
        &["client", "127.0.0.1", "-p", "0"],
        &["client", "127.0.0.1", "-p", "70000"],
        &["client", "127.0.0.1", "-B", "no such interface"],
        &["client", "127.0.0.1", "-B", "nosuch0"],
        &["client", "127.0.0.1", "-B", "::1", "-4"],
        &["server", "-B", "nosuch0"],
        &["server", "--timeout", "-5"],
        &["server", "-s", "1M"],
    ];
    for args in cases {
        let output = run(args);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
        assert_eq!(stdout(&output), "", "{args:?}");
        assert!(said.len() > 10 && !said.contains("panicked"), "{args:?}: {said}");
    }
}

#[test]
fn bad_variables_are_named() {
    for (name, value) in [
        ("GPUTCP_SIZE", "0"),
        ("UCCL_TCPX_PERF_SIZE", "big"),
        ("UCCL_TCPX_PERF_ITERS", "-1"),
        ("UCCL_TCPX_CHUNK_BYTES", "0"),
        ("NCCL_P2P_NET_CHUNKSIZE", "x"),
        ("UCCL_TCPX_UNPACK_IMPL", "magic"),
        ("UCCL_TCPX_HOST_RECV_DEBUG", "2"),
        ("UCCL_TCPX_NUM_CHANNELS", "0"),
        ("NCCL_NSOCKS_PERTHREAD", "many"),
        ("GPUTCP_WINDOW", "1,2,3"),
        ("GPUTCP_DEPTH", "many"),
        ("GPUTCP_MEMORY", "cuda:first"),
        ("GPUTCP_GPU", "H200"),
        ("GPUTCP_PEER_GPU", "-1"),
        ("GPUTCP_TIMEOUT", "inf"),
    ] {
        fails(&run_with(&[(name, value)], &["loopback"]), 2, name);
    }
    for (name, value) in [
        ("UCCL_TCPX_BOOTSTRAP_PORT_BASE", "99999"),
        ("NCCL_SOCKET_IFNAME", ","),
        ("NCCL_SOCKET_IFNAME", "=nosuch0"),
    ] {
        fails(&run_with(&[(name, value)], &["client", "127.0.0.1"]), 2, name);
    }
}

#[test]
fn a_congestion_control_that_is_not_there_names_those_that_are() {
    let output = run(&["loopback", "--congestion", "nosuch"]);
    expect(&output, 2);
    let said = stderr(&output);
    for list in ["allowed", "available"] {
        let path = format!("/proc/sys/net/ipv4/tcp_{list}_congestion_control");
        for name in std::fs::read_to_string(path).unwrap_or_default().split_whitespace() {
            assert!(said.contains(name), "{name}: {said}");
        }
    }
    assert!(said.contains("there are "), "{said}");
}

#[test]
fn too_few_descriptors_are_told_with_a_remedy() {
    let binary = gputcp(&[]).get_program().to_owned();
    let mut command = Command::new("sh");
    command.arg("-c").arg("ulimit -n 50 && exec \"$0\" loopback -s 1M -n 1 -P 64").arg(binary);
    let output = finish(command);
    assert!(matches!(output.status.code(), Some(1 | 5)), "{}", stderr(&output));
    says(&output, "`ulimit -n`");
}

#[test]
fn help_and_version_are_results() {
    for args in
        [&["--help"][..], &["loopback", "--help"], &["client", "-h"], &["server", "-h"], &["--version"]]
    {
        let output = run(args);
        expect(&output, 0);
        assert_eq!(stderr(&output), "");
        assert!(stdout(&output).contains("gputcp"), "{}", stdout(&output));
    }
}

#[test]
fn the_version_names_the_commit_where_there_is_one() {
    let output = run(&["--version"]);
    expect(&output, 0);
    let said = stdout(&output);
    let rest =
        said.trim_end().strip_prefix(concat!("gputcp ", env!("CARGO_PKG_VERSION"))).expect("the version");
    let commit = rest.strip_prefix(" (").and_then(|rest| rest.strip_suffix(')'));
    let hash = commit.map_or("", |commit| commit.strip_suffix(", modified").unwrap_or(commit));
    assert!(
        rest.is_empty() || hash.len() >= 12 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()),
        "{said}"
    );
}
