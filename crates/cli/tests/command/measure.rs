//! The main job, end to end: two processes, every direction, every form of the report.

use serde_json::Value;

use crate::process::{
    Server, descriptors, document, expect, fails, finish, gputcp, json, run, run_with, says, small, stderr,
    stdout, threads,
};

fn measured(args: &[&str]) -> Value {
    let output = run(args);
    expect(&output, 0);
    json(&output)
}

#[test]
fn every_direction_memory_and_unpack_mode_is_verified() {
    for args in [
        &["-m", "host"][..],
        &["-m", "soft"],
        &["--unpack", "copy"],
        &["--unpack", "d2d"],
        &["--unpack", "host"],
        &["--unpack", "none"],
        &["-R"],
        &["-R", "-m", "host"],
        &["--bidir"],
        &["--bidir", "-m", "host", "--channels", "2"],
        &["--channels", "3", "--window", "4"],
        &["--window", "1", "--chunk", "4097"],
        &["--window", "32", "--segment", "4K"],
        &["--sndbuf", "64K", "--rcvbuf", "64K"],
        &["--no-ceiling"],
        &["-6"],
        &["--congestion", "reno"],
    ] {
        let report = measured(&small(&[&["loopback", "-J"], args].concat()));
        assert_eq!(report["schema"], "gputcp.report/1");
        assert_eq!(report["config"]["loopback"], true);
        for row in report["results"].as_array().expect("results") {
            let both = if row["way"] == "both" { 2 } else { 1 };
            assert_eq!(row["verified"], true, "{args:?}");
            assert_eq!(row["iterations"], 3);
            for key in ["bytes_sent", "bytes_landed", "bytes_unpacked"] {
                assert_eq!(row[key], 3 * both * (1u64 << 20), "{args:?} {key}");
            }
            assert!(row["goodput_gb_per_s"]["median"].as_f64().expect("a number") > 0.0);
            assert_eq!(row["ceiling"].is_null(), args == ["--no-ceiling"]);
        }
    }
}

#[test]
fn round_trips_are_verified() {
    for args in [&["-m", "host"][..], &["-m", "soft"], &["-s", "3"], &["-s", "2M"]] {
        let report = measured(&[&["loopback", "-J", "--latency", "-n", "300", "-w", "10"], args].concat());
        let row = &report["results"][0];
        assert_eq!((&row["way"], &row["iterations"]), (&"round-trip".into(), &300.into()));
        assert_eq!(row["verified"], true);
        assert_eq!(row["bytes_unpacked"], 2 * 300 * row["bytes"].as_u64().expect("a size"));
        assert!(report["ceiling"]["round_trip_us"].as_f64().expect("a number") > 0.0);
    }
}

#[test]
fn odd_sizes_and_sweeps() {
    let report =
        measured(&["loopback", "-J", "-b", "1", "-e", "3M", "-f", "7", "-n", "2", "-w", "0", "-m", "host"]);
    let sizes: Vec<u64> = report["results"]
        .as_array()
        .expect("results")
        .iter()
        .filter_map(|row| row["bytes"].as_u64())
        .collect();
    assert_eq!(sizes, [1, 7, 49, 343, 2401, 16_807, 117_649, 823_543]);
}

#[test]
fn for_a_time() {
    let report = measured(&["loopback", "-J", "-s", "64K", "-t", "0.3"]);
    assert_eq!(report["config"]["time_s"], 0.3);
    assert!(report["results"][0]["iterations"].as_u64().expect("a number") > 10);
}

#[test]
fn how_far_it_is() {
    let output = run(&["loopback", "-s", "64K", "-t", "0.8", "-i", "0.2"]);
    expect(&output, 0);
    let lines = stderr(&output).lines().filter(|line| line.contains("so far")).count();
    assert!((2..=4).contains(&lines), "{}", stderr(&output));
}

#[test]
fn the_report_names_both_ends_and_what_they_cost() {
    let report = measured(&small(&["loopback", "-J"]));
    for side in ["sender", "receiver"] {
        let facts = &report["sides"][side];
        assert!(facts["peak_resident_bytes"].as_u64().expect("a number") > 1 << 20);
        assert!(facts["host"].as_str().is_some_and(|host| !host.is_empty()));
        assert!(report["results"][0]["cpu_s_per_gb"][side].as_f64().expect("a number") > 0.0);
    }
    assert_eq!(report["sides"]["sender"]["role"], "client");
    assert!(report["sides"]["sender"]["congestion"].is_string());
    assert!(report["results"][0]["tcp"]["rtt_us"].as_u64().expect("a number") > 0);
    let reverse = measured(&small(&["loopback", "-J", "-R"]));
    assert_eq!(reverse["sides"]["sender"]["role"], "server");
}

#[test]
fn one_wrong_bit_is_corruption() {
    for way in [&[][..], &["--bidir"], &["--latency"]] {
        fails(&run(&small(&[&["loopback", "--damage", "2"], way].concat())), 3, "(1 wrong bytes in all)");
    }
    let output = run(&small(&["loopback", "--damage", "2", "--no-verify"]));
    expect(&output, 0);
    assert!(stdout(&output).contains("NOT verified"), "{}", stdout(&output));
    says(&output, "--no-verify");
}

#[test]
fn the_seeds_variables_are_understood() {
    let variables = [
        ("UCCL_TCPX_PERF_SIZE", "262144"),
        ("UCCL_TCPX_PERF_ITERS", "4"),
        ("UCCL_TCPX_CHUNK_BYTES", "65536"),
        ("NCCL_P2P_NET_CHUNKSIZE", "131072"),
        ("UCCL_TCPX_UNPACK_IMPL", "d2d"),
        ("UCCL_TCPX_NUM_CHANNELS", "2"),
        ("NCCL_NSOCKS_PERTHREAD", "1"),
        ("NCCL_SOCKET_NTHREADS", "2"),
        ("NCCL_SOCKET_IFNAME", "nosuch"),
    ];
    let report = document(&run_with(&variables, &["loopback", "-J"]), 0);
    let row = &report["results"][0];
    assert_eq!((&row["bytes"], &row["iterations"]), (&262_144.into(), &4.into()));
    assert_eq!((&row["chunk_bytes"], &row["unpack"]), (&65_536.into(), &"copy".into()));
    assert_eq!((&row["channels"], &row["streams"]), (&2.into(), &2.into()));
}

#[test]
fn csv_has_as_many_cells_as_names() {
    let output = run(&small(&["loopback", "--csv", "--bidir"]));
    expect(&output, 0);
    let text = stdout(&output);
    let cells: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(cells.len(), 4);
    assert!(cells.iter().all(|&count| count == cells[0]), "{text}");
}

#[test]
fn a_server_serves_one_client_after_another_and_nothing_grows() {
    let mut server = Server::start(&[]);
    let pid = server.running.pid();
    let mut before = None;
    for round in 0..6 {
        let direction = if round % 2 == 0 { "-R" } else { "--bidir" };
        expect(&finish(server.client(&small(&["-q", direction]))), 0);
        server.hear("served the client");
        let now = (descriptors(pid), threads(pid));
        // The first session may make what all later ones share.
        if round >= 1 {
            assert_eq!(*before.get_or_insert(now), now, "descriptors and threads after session {round}");
        }
    }
    server.running.signal(rustix::process::Signal::INT);
    assert_eq!(server.running.wait().code(), Some(130));
}

#[test]
fn a_server_at_every_address_serves_both_families() {
    let server = Server::start_anywhere(&[]);
    for host in ["127.0.0.1", "localhost", "::1"] {
        if host == "::1" && std::net::TcpListener::bind("[::1]:0").is_err() {
            println!("skipped ::1: no IPv6 loopback here");
            continue;
        }
        for way in ["-R", "--bidir", "--latency", "--quiet"] {
            let mut client = gputcp(&["client", host, "-p", &server.port, way]);
            client.args(["-n", "3", "-w", "1", "-s", "100K"]);
            expect(&finish(client), 0);
        }
    }
}

#[test]
fn once_ends_with_the_clients_exit_code() {
    let mut server = Server::start(&["--once"]);
    expect(&finish(server.client(&small(&[]))), 0);
    assert_eq!(server.running.wait().code(), Some(0));
    let mut server = Server::start(&["--once"]);
    expect(&finish(server.client(&small(&["--damage", "1"]))), 3);
    assert_eq!(server.running.wait().code(), Some(3));
}

#[test]
fn the_peak_is_the_message_and_little_more() {
    let report = measured(&["loopback", "-J", "-s", "256M", "-n", "1", "-w", "0", "-q"]);
    for side in ["sender", "receiver"] {
        let peak = report["sides"][side]["peak_resident_bytes"].as_u64().expect("a number");
        assert!(peak < (256 + 64) << 20, "the {side}'s peak is {peak} bytes");
    }
}
