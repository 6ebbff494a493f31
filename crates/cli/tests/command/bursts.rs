//! Messages in flight, end to end: two processes, every way and memory, how each end fails.

use std::{net::TcpListener, thread, time::Instant};

use gputcp_cli::session::Kind;
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::{
    bootstrap::{greet, hear, say},
    frames::{HELLO, settings},
    plugin::{plugin, with},
    process::{
        Server, document, expect, fails, finish, json, measuring, run, run_with, says, stderr, stdout,
    },
};

/// Small and quick: three bursts, each of 256 messages.
const SMALL: &[&str] = &["-s", "10000", "-n", "3", "-w", "1", "-P", "2"];

fn small<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(SMALL).copied().collect()
}

/// Checks that all bytes of 256 messages in each of three bursts were moved and verified.
#[track_caller]
fn check(report: &Value, depth: u64) {
    assert_eq!(report["config"]["depth"], depth);
    for row in report["results"].as_array().expect("results") {
        let both = if row["way"] == "both" { 2 } else { 1 };
        assert_eq!((&row["depth"], &row["messages"]), (&json!(depth), &json!(256)), "{row}");
        assert_eq!((&row["iterations"], &row["verified"]), (&json!(3), &json!(true)));
        assert_eq!(row["bytes"], 10_000);
        for counted in ["bytes_sent", "bytes_landed", "bytes_unpacked"] {
            assert_eq!(row[counted], both * 3 * 256 * 10_000, "{counted}");
        }
        // A burst takes as long as all of its messages, of which each is in flight for a part of it.
        let rate = row["goodput_gb_per_s"]["median"].as_f64().expect("a number");
        let burst_us = f64::from(both) * 256.0 * 10_000.0 / rate / 1e3;
        let median_us = row["time_us"]["p50"].as_f64().expect("a number");
        assert!(median_us > 0.0 && median_us < burst_us, "{median_us} µs of a burst's {burst_us} µs");
    }
}

#[test]
fn every_message_of_every_burst_is_verified_in_every_direction_and_memory() {
    for args in [
        &["-m", "host"][..],
        &["-m", "soft"],
        &["-m", "soft", "-R", "--unpack", "copy"],
        &["-m", "soft", "--unpack", "none", "--window", "3"],
        &["-m", "host", "--bidir", "--channels", "3", "--chunk", "4097"],
        &["-m", "soft", "--bidir"],
    ] {
        let report = document(&run(&small(&[&["loopback", "-J", "-q", "--depth", "3"], args].concat())), 0);
        check(&report, 3);
        let ceiling = &report["results"][0]["ceiling"];
        assert_eq!((&ceiling["kind"], ceiling["count"].as_u64() > Some(2)), (&json!("sockets"), true));
    }
    let most = ["loopback", "-J", "-q", "--depth", "16", "-m", "host", "--no-ceiling"];
    check(&document(&run(&small(&most)), 0), 16);
}

#[test]
fn a_plugin_carries_bursts() {
    for (version, knobs) in
        [("v5", &[("FIFO", "1"), ("SLOTS", "16")][..]), ("v8", &[("DELAY_US", "50")]), ("v11", &[])]
    {
        let path = plugin(version);
        let args = ["loopback", "-J", "-q", "--plugin", &path, "--depth", "8", "--timeout", "5"];
        let report = document(&with(knobs, &small(&args)), 0);
        check(&report, 8);
        assert_eq!(report["config"]["transport"], "plugin");
    }
    let queue = plugin("unpack");
    let args = ["loopback", "-J", "-q", "--plugin", &queue, "--depth", "16", "-m", "soft"];
    check(&document(&with(&[("GPU", "soft"), ("FIFO", "1")], &small(&args)), 0), 16);
}

/// Small and quick: three bursts, each of 256 transfers.
const BLOCKS: &[&str] = &["--blocks", "7", "--block-size", "3001", "-n", "3", "-w", "1", "-P", "2"];

fn blocks<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(BLOCKS).copied().collect()
}

#[test]
fn every_block_of_every_transfer_is_verified() {
    let server = Server::start(&[]);
    for op in ["read", "write"] {
        for more in [&["-m", "host"][..], &["-m", "soft", "--scatter"], &["-m", "host", "--depth", "16"]] {
            let args = [&["-J", "-q", "--op", op][..], more, &["--depth", "3"][..]].concat();
            let args = if more.contains(&"--depth") { &args[..args.len() - 2] } else { &args[..] };
            let report = document(&finish(server.client(&blocks(args))), 0);
            let (row, transfers) = (&report["results"][0], 3 * 256u64);
            assert_eq!((&row["messages"], &row["iterations"]), (&json!(256), &json!(3)), "{args:?}");
            assert_eq!((&row["bytes"], &row["verified"]), (&json!(21_007), &json!(true)));
            for counted in ["bytes_sent", "bytes_landed", "bytes_unpacked"] {
                assert_eq!(row[counted], transfers * 21_007, "{args:?} {counted}");
            }
            let rate = row["goodput_gb_per_s"]["median"].as_f64().expect("a number");
            let (burst_us, p50) = (256.0 * 21.007 / rate, row["time_us"]["p50"].as_f64().expect("a number"));
            assert!(p50 > 0.0 && p50 < burst_us, "{args:?}: {p50} µs of a burst's {burst_us} µs");
        }
    }
    let table = run(&blocks(&["loopback", "--op", "read", "--depth", "4"]));
    let words = "# depth 4: bursts of 256 reads, at most 4 in flight; time: a read's, from its post on\n";
    assert!(stdout(&table).contains(words), "{}", stdout(&table));
}

#[test]
fn one_wrong_bit_of_any_transfer_is_corruption_at_both_ends() {
    for op in ["read", "write"] {
        for damage in ["257", "512", "700"] {
            let mut server = Server::start(&["--once"]);
            let args = ["--op", op, "--depth", "4", "--damage", damage, "--scatter"];
            let output = finish(server.client(&blocks(&args)));
            fails(&output, 3, &format!("arrived wrong: in message {damage} byte 1500 of block 3 "));
            assert_eq!(server.running.wait().code(), Some(3), "{args:?}");
        }
    }
}

#[test]
fn the_report_says_which_was_measured() {
    let table = run(&small(&["loopback", "--depth", "4"]));
    expect(&table, 0);
    let text = stdout(&table);
    for words in [
        "# depth 4: bursts of 256 messages, at most 4 in flight; time: a message's, from its receive on\n",
        "# 3 bursts of each size after 1 of warm-up, timed by the receiver, verified\n",
        "# 7680000 timed bytes sent, landed and unpacked, every byte verified\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing: {text}");
    }
    says(&table, "only 3 bursts of 256 messages of 10000 were timed: give -n 10 or more");
    let alone = run(&small(&["loopback", "--depth", "1"]));
    expect(&alone, 0);
    assert!(!stdout(&alone).contains("depth") && stdout(&alone).contains("# 3 messages of each size"));
    let csv = run(&small(&["loopback", "--depth", "4", "--csv", "-q"]));
    let lines: Vec<Vec<String>> =
        stdout(&csv).lines().map(|line| line.split(',').map(str::to_owned).collect()).collect();
    let cell = |name: &str| &lines[1][lines[0].iter().position(|it| it == name).expect(name)];
    assert_eq!((cell("depth").as_str(), cell("messages").as_str()), ("4", "256"));
    let by_variable = run_with(&[("GPUTCP_DEPTH", "2")], &small(&["loopback", "-J", "-q"]));
    check(&document(&by_variable, 0), 2);
}

#[test]
fn a_sweep_has_bursts_of_each_size() {
    let args = ["loopback", "-J", "-q", "-b", "1", "-e", "70K", "-f", "250", "-n", "2", "--depth", "2"];
    let report = document(&run(&[&args[..], &["-m", "host", "--no-ceiling"]].concat()), 0);
    let rows = report["results"].as_array().expect("results");
    for (row, bytes) in rows.iter().zip([1, 250, 62_500]) {
        assert_eq!((&row["bytes"], &row["messages"]), (&json!(bytes), &json!(256)));
        assert_eq!(row["bytes_unpacked"], 2 * 256 * bytes);
    }
    assert_eq!(rows.len(), 3);
}

#[test]
fn one_wrong_bit_of_any_message_is_corruption_at_both_ends() {
    // The first and the last message of the first timed burst, and one in the middle of the next.
    for (damage, burst) in [("257", "257 to 512"), ("512", "257 to 512"), ("700", "513 to 768")] {
        for way in [&[][..], &["--bidir", "-m", "host"]] {
            let mut server = Server::start(&["--once"]);
            let args = small(&[&["--depth", "4", "--damage", damage], way].concat());
            let output = finish(server.client(&args));
            fails(&output, 3, &format!("the burst of messages {burst} arrived wrong: in message {damage} "));
            says(&output, "byte 5000 ");
            assert_eq!(server.running.wait().code(), Some(3), "{args:?}");
        }
    }
    let output = run(&small(&["loopback", "--depth", "4", "--damage", "300", "--no-verify"]));
    expect(&output, 0);
    assert!(stdout(&output).contains("NOT verified"), "{}", stdout(&output));
}

#[test]
fn an_older_server_is_told_of() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        assert_eq!(hear(&mut stream).0, Kind::Hello);
        say(&mut stream, Kind::Hello, HELLO);
        let (kind, text) = hear(&mut stream);
        assert!(kind == Kind::Settings && text.contains("\"depth\":4"), "{text}");
        // It passes over the field that it does not know.
        say(&mut stream, Kind::Accept, r#"{"gpu":null,"no_gpu":null}"#);
        while hear(&mut stream).0 != Kind::Abort {}
    });
    let output = run(&small(&["client", "127.0.0.1", "-p", &port, "--depth", "4"]));
    server.join().expect("it is told the reason");
    fails(
        &output,
        5,
        "does not speak of 4 messages in flight: run the same gputcp on both ends, or drop --depth",
    );
}

#[test]
fn settings_of_a_client_that_checks_nothing_are_refused() {
    let mut server = Server::start(&[]);
    for changes in [
        json!({ "depth": 0 }),
        json!({ "depth": 17 }),
        json!({ "depth": 65536 }),
        json!({ "depth": -1 }),
        json!({ "depth": 5 }),
        json!({ "depth": 2, "flow": "round-trip" }),
        json!({ "depth": 16, "sizes": [1u64 << 48], "send_window": 32, "recv_window": 32 }),
    ] {
        let mut stream = greet(&server.port);
        say(&mut stream, Kind::Settings, &settings(&changes));
        let (kind, text) = hear(&mut stream);
        assert!(matches!(kind, Kind::Refuse | Kind::Abort), "{changes}: {text}");
        server.hear("gputcp: the client at");
    }
    expect(&finish(server.client(&small(&["-q", "--depth", "2"]))), 0);
    server.is_well();
}

#[test]
fn an_interrupted_client_prints_what_it_has() {
    let mut server = Server::start(&[]);
    let command = server.client(&["--depth", "4", "-s", "64K", "-t", "60", "-J", "-m", "host"]);
    let client = measuring(command);
    client.signal(Signal::INT);
    let output = client.output();
    expect(&output, 130);
    assert!(stderr(&output).contains(" bursts, "), "{}", stderr(&output));
    let report = json(&output);
    assert_eq!((&report["interrupted"], &report["results"][0]["verified"]), (&json!(true), &json!(true)));
    server.hear("was interrupted");
    expect(&finish(server.client(&small(&["-q", "--depth", "2", "-R"]))), 0);
}

#[test]
fn an_end_that_is_stuck_is_left_in_time() {
    let mut server = Server::start(&[]);
    let args = ["--depth", "8", "-s", "64K", "-t", "60", "--timeout", "1", "-m", "host", "--no-ceiling"];
    let client = measuring(server.client(&args));
    client.signal(Signal::STOP);
    let since = Instant::now();
    server.hear("gputcp: the ");
    assert!(since.elapsed().as_secs_f64() < 3.0, "it took {:?}", since.elapsed());
    drop(client);
    let client = measuring(server.client(&args));
    server.running.signal(Signal::STOP);
    let since = Instant::now();
    let output = client.output();
    assert!(since.elapsed().as_secs_f64() < 3.0, "it took {:?}", since.elapsed());
    assert_ne!(output.status.code(), Some(0));
    server.running.signal(Signal::CONT);
}
