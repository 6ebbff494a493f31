//! One-sided transfers, end to end: two processes, each operation, how each end fails.

use std::{
    net::TcpListener,
    process::Output,
    thread,
    time::{Duration, Instant},
};

use gputcp_cli::session::Kind;
use rustix::process::Signal;
use serde_json::json;

use crate::{
    bootstrap::{greet, hear, say},
    frames::{HELLO, settings},
    process::{
        Server, descriptors, document, expect, fails, finish, json, measuring, run, run_with, says, stdout,
        threads, wait_until,
    },
};

/// Small and quick: three transfers of odd blocks.
const SMALL: &[&str] = &["--blocks", "50", "--block-size", "3001", "-n", "3", "-w", "1", "-P", "2"];

fn small<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(SMALL).copied().collect()
}

#[test]
fn blocks_are_read_and_written_between_two_processes() {
    let server = Server::start(&[]);
    for op in ["read", "write"] {
        for (memory, more) in [
            ("host", &[][..]),
            ("host", &["--scatter"]),
            ("soft", &[]),
            ("soft", &["--scatter"]),
            ("soft", &["--scatter", "--unpack", "none"]),
            ("soft", &["--unpack", "copy"]),
            ("soft", &["--scatter", "--unpack", "host"]),
            ("host", &["--no-ceiling", "--no-verify"]),
        ] {
            let args = small(&[&["-J", "-q", "--op", op, "-m", memory], more].concat());
            let report = document(&finish(server.client(&args)), 0);
            let (row, scatter) = (&report["results"][0], more.contains(&"--scatter"));
            let one_sided = json!({ "op": op, "blocks": 50, "block_bytes": 3001, "scatter": scatter });
            assert_eq!((&row["one_sided"], &report["config"]["one_sided"]), (&one_sided, &one_sided));
            assert_eq!(row["way"], if op == "read" { "backward" } else { "forward" });
            assert_eq!(report["sides"]["sender"]["role"], if op == "read" { "server" } else { "client" });
            assert_eq!((&row["bytes"], &row["iterations"]), (&json!(150_050), &json!(3)));
            for counted in ["bytes_sent", "bytes_landed", "bytes_unpacked"] {
                assert_eq!(row[counted], 450_150, "{args:?} {counted}");
            }
            let is_bare = more.contains(&"--no-verify");
            assert_eq!(
                (row["verified"] == true, row["ceiling"].is_object()),
                (!is_bare, !is_bare),
                "{args:?}"
            );
            for side in ["sender", "receiver"] {
                assert!(row["cpu_s_per_gb"][side].as_f64().expect("a number") > 0.0, "{args:?} {side}");
            }
            // The sender's sockets carry the blocks.
            assert!(row["tcp"]["rtt_us"].as_u64().expect("a number") > 0, "{row}");
            let (sender, receiver) = (&report["sides"]["sender"], &report["sides"]["receiver"]);
            assert!(
                sender["congestion"].is_string() && sender["tcp"]["cwnd_packets"].is_number(),
                "{sender}"
            );
            assert!(receiver["congestion"].is_null() && receiver["tcp"].is_null(), "{receiver}");
            assert!(row["time_us"]["p99"].as_f64() >= row["time_us"]["p50"].as_f64(), "{row}");
        }
    }
}

#[test]
fn a_loopback_says_so_in_all_outputs() {
    let table = run(&small(&["loopback", "--op", "write", "--scatter"]));
    expect(&table, 0);
    let text = stdout(&table);
    for words in [
        "loopback, both ends on ",
        "# one-sided write of 50 blocks of 3001, scattered at both ends\n",
        "# 3 writes after 1 of warm-up, timed by the client, verified\n",
        "c→s",
        "# tcp: ",
        "# 450150 timed bytes written, every byte verified, none between the blocks touched\n",
    ] {
        assert!(text.contains(words), "{words:?} is missing: {text}");
    }
    let csv = run(&small(&["loopback", "--op", "read", "--csv", "-q"]));
    expect(&csv, 0);
    assert!(stdout(&csv).ends_with(",read,50,3001,false,1,1\n"), "{}", stdout(&csv));
    let report = document(&run(&small(&["loopback", "-6", "--op", "read", "-J", "-q"])), 0);
    assert_eq!(report["config"]["loopback"], true);
    let by_variables = [("GPUTCP_OP", "write"), ("GPUTCP_BLOCKS", "2"), ("GPUTCP_BLOCK_SIZE", "1K")];
    let report = document(&run_with(&by_variables, &["loopback", "-J", "-n", "2", "-q"]), 0);
    assert_eq!(
        (&report["results"][0]["bytes"], &report["results"][0]["way"]),
        (&json!(2048), &json!("forward"))
    );
}

#[test]
fn one_wrong_bit_is_corruption_at_both_ends() {
    for op in ["read", "write"] {
        for more in [&["-m", "host"][..], &["-m", "soft", "--scatter"]] {
            let mut server = Server::start(&["--once"]);
            let args = small(&[&["--op", op, "--damage", "2"], more].concat());
            fails(&finish(server.client(&args)), 3, "byte 1500 of block 25 is ");
            assert_eq!(server.running.wait().code(), Some(3), "{args:?}");
        }
    }
    let output = run(&small(&["loopback", "--op", "write", "--damage", "2", "--no-verify"]));
    expect(&output, 0);
    assert!(stdout(&output).contains("NOT verified"), "{}", stdout(&output));
}

#[test]
fn the_key_and_one_time_are_for_one_sided_transfers_too() {
    let key = [("GPUTCP_KEY", "an example of a key")];
    let server = Server::start_with(&key, &["-B", "127.0.0.1"]);
    let client = |variables: &[(&str, &str)]| {
        let args =
            ["client", "127.0.0.1", "-p", &server.port, "--op", "read", "-t", "0.3", "--blocks", "9", "-J"];
        run_with(variables, &args)
    };
    fails(&client(&[]), 5, "it asks for a key: give --key-file");
    let report = document(&client(&key), 0);
    assert!(report["results"][0]["iterations"].as_u64().expect("a number") > 3);
}

#[test]
fn a_server_serves_one_sided_clients_one_after_another_and_nothing_grows() {
    let mut server = Server::start(&[]);
    let pid = server.running.pid();
    let count = || (descriptors(pid), threads(pid));
    let before = count();
    for round in 0..6 {
        let op = if round % 2 == 0 { "read" } else { "write" };
        expect(&finish(server.client(&small(&["-q", "--op", op]))), 0);
        server.hear("served the client");
        // The threads of a pool end a moment later.
        wait_until("its descriptors and threads are as many as before", || count() == before);
    }
}

/// Returns how a client ends at a server that accepts with these words, and then offers these handles.
fn accepted(accept: &str, handles: &str) -> Output {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let (accept, handles) = (accept.to_owned(), handles.to_owned());
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a client");
        assert_eq!(hear(&mut stream).0, Kind::Hello);
        say(&mut stream, Kind::Hello, HELLO);
        assert_eq!(hear(&mut stream).0, Kind::Settings);
        say(&mut stream, Kind::Accept, &accept);
        say(&mut stream, Kind::Handles, &handles);
        while hear(&mut stream).0 != Kind::Abort {}
    });
    let output = run(&small(&["client", "127.0.0.1", "-p", &port, "--op", "read", "--no-ceiling"]));
    server.join().expect("it is told the reason");
    output
}

#[test]
fn an_older_server_is_told_of() {
    // It passes over the field that it does not know.
    let output = accepted(r#"{"gpu":null,"no_gpu":null}"#, r#"{"connections":[],"raw":null}"#);
    fails(&output, 5, "does not speak of these one-sided transfers: run the same gputcp on both ends");
}

#[test]
fn an_endpoint_that_is_none_is_told_of() {
    let accept = json!({ "gpu": null, "no_gpu": null,
        "one_sided": { "op": "read", "blocks": 50, "block_bytes": 3001, "scatter": false } })
    .to_string();
    let with = |endpoint: &str| {
        let handles = json!({ "connections": [], "raw": null, "endpoint": endpoint });
        accepted(&accept, &handles.to_string())
    };
    let none = accepted(&accept, r#"{"connections":[],"raw":null}"#);
    fails(&none, 5, "offers no endpoint where one-sided transfers were agreed on");
    for text in ["", "zz", &"00".repeat(128), &"00".repeat(127)] {
        fails(&with(text), 5, "offers an endpoint whose address is none");
    }
}

#[test]
fn settings_of_a_client_that_checks_nothing_are_refused() {
    let mut server = Server::start(&[]);
    let blocks = |blocks: u64, block_bytes: u64| json!({ "op": "write", "blocks": blocks, "block_bytes": block_bytes, "scatter": true });
    for (bytes, one_sided) in [
        (0, blocks(0, 8)),
        (1 << 21, blocks(1 << 21, 1)),
        (u64::MAX, blocks(4, u64::MAX)),
        (65536, blocks(2, 8)),
        (1 << 47, blocks(1 << 20, 1 << 27)),
        (16, json!({ "op": "read", "blocks": 2, "block_bytes": 8, "scatter": true })),
        (16, json!({ "op": "swap", "blocks": 2, "block_bytes": 8, "scatter": true })),
    ] {
        let mut stream = greet(&server.port);
        let changes = json!({ "sizes": [bytes], "one_sided": one_sided });
        say(&mut stream, Kind::Settings, &settings(&changes));
        let (kind, text) = hear(&mut stream);
        assert!(matches!(kind, Kind::Refuse | Kind::Abort), "{changes}: {text}");
        server.hear("gputcp: the client at");
    }
    expect(&finish(server.client(&small(&["-q", "--op", "write"]))), 0);
    server.is_well();
}

#[test]
fn an_interrupted_client_prints_what_it_has() {
    let mut server = Server::start(&[]);
    let command = server.client(&["--op", "write", "--blocks", "64", "-t", "60", "-J"]);
    let client = measuring(command);
    client.signal(Signal::INT);
    let output = client.output();
    expect(&output, 130);
    let report = json(&output);
    assert_eq!(report["interrupted"], true);
    assert_eq!(report["results"][0]["verified"], true);
    server.hear("was interrupted");
    expect(&finish(server.client(&small(&["-q", "--op", "read"]))), 0);
}

#[test]
fn a_client_or_a_server_that_is_killed_is_the_others_failure() {
    for op in ["read", "write"] {
        let mut server = Server::start(&["--timeout", "5"]);
        let command = || server.client(&["--op", op, "--blocks", "999", "-t", "60", "--timeout", "5"]);
        let (client, victim) = (measuring(command()), command());
        client.signal(Signal::KILL);
        drop(client);
        server.hear("gputcp: the ");
        let client = measuring(victim);
        let since = Instant::now();
        server.running.signal(Signal::KILL);
        let output = client.output();
        expect(&output, 5);
        assert!(since.elapsed() < Duration::from_secs(4), "it took {:?}", since.elapsed());
        says(&output, "gone");
    }
}

#[test]
fn an_end_that_is_stuck_is_left_in_time() {
    for op in ["read", "write"] {
        let mut server = Server::start(&[]);
        let args = ["--op", op, "--blocks", "256", "-t", "60", "--timeout", "1", "--no-ceiling"];
        let client = measuring(server.client(&args));
        client.signal(Signal::STOP);
        let since = Instant::now();
        server.hear("(the bound is --timeout)");
        assert!(since.elapsed() < Duration::from_secs(3), "{op}: it took {:?}", since.elapsed());
        drop(client);
        let client = measuring(server.client(&args));
        server.running.signal(Signal::STOP);
        let since = Instant::now();
        let output = client.output();
        assert!(since.elapsed() < Duration::from_secs(3), "{op}: it took {:?}", since.elapsed());
        fails(&output, 5, "(the bound is --timeout)");
        server.running.signal(Signal::CONT);
    }
}

#[test]
fn a_plugin_in_a_variable_does_not_carry_them() {
    let report = document(
        &run_with(&[("GPUTCP_PLUGIN", "/no/such.so")], &small(&["loopback", "--op", "read", "-J", "-q"])),
        0,
    );
    assert_eq!(report["config"]["transport"], "sockets");
}
