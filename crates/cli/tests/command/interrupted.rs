//! Ctrl-C, and peers that are killed or stop at any moment.

use std::{
    process::Stdio,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::process::{
    Running, Server, expect, fails, finish, gputcp, measuring, says, small, status, stderr, stdout,
    wait_until,
};

fn start(mut command: std::process::Command) -> Running {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command)
}

#[test]
fn ctrl_c_prints_what_was_measured_so_far() {
    for format in [&[][..], &["-J"], &["--csv"], &["--latency"], &["--bidir"]] {
        let args = [&["loopback", "-s", "256K", "-n", "1000000000"], format].concat();
        let client = measuring(gputcp(&args));
        client.signal(Signal::INT);
        let since = Instant::now();
        let output = client.output();
        expect(&output, 130);
        assert!(since.elapsed() < Duration::from_secs(5), "it took {:?}", since.elapsed());
        let text = stdout(&output);
        match format {
            ["-J"] => {
                let report: serde_json::Value = serde_json::from_str(&text).expect("a whole document");
                assert_eq!(report["interrupted"], true);
                assert!(report["results"][0]["iterations"].as_u64().expect("a number") > 0);
            }
            ["--csv"] => assert_eq!(text.lines().count(), 2, "{text}"),
            _ => assert!(text.contains("interrupted: this is what was measured so far"), "{text}"),
        }
    }
}

#[test]
fn ctrl_c_while_much_memory_is_made_present() {
    let mut server = Server::start(&[]);
    for way in [&[][..], &["--bidir"]] {
        let client = start(server.client(&[&["-s", "1G", "-n", "5", "-m", "host"], way].concat()));
        wait_until("some of the memory is present", || status(client.pid(), "VmRSS", 10) > 64 << 10);
        client.signal(Signal::INT);
        let output = client.output();
        expect(&output, 130);
        assert_eq!(stderr(&output).lines().last(), Some("gputcp: interrupted"));
        server.hear("was interrupted");
    }
}

#[test]
fn ctrl_c_at_the_client_is_told_to_the_server_which_serves_on() {
    let mut server = Server::start(&[]);
    let client = measuring(server.client(&["-s", "1M", "-t", "60"]));
    client.signal(Signal::TERM);
    expect(&client.output(), 130);
    server.hear("was interrupted");
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

#[test]
fn ctrl_c_at_the_server_is_told_to_the_client() {
    let mut server = Server::start(&[]);
    let client = measuring(server.client(&["-s", "1M", "-t", "60"]));
    server.running.signal(Signal::INT);
    fails(&client.output(), 5, "was interrupted");
    assert_eq!(server.running.wait().code(), Some(130));
}

#[test]
fn a_killed_server_ends_the_client_with_a_sentence() {
    for way in [&[][..], &["-R"], &["--bidir"], &["--latency"], &["-m", "host", "--no-ceiling"]] {
        let server = Server::start(&[]);
        let client = measuring(server.client(&[&["-s", "1M", "-t", "60"], way].concat()));
        server.running.signal(Signal::KILL);
        let since = Instant::now();
        let output = client.output();
        expect(&output, 5);
        assert!(since.elapsed() < Duration::from_secs(5), "{way:?} took {:?}", since.elapsed());
        says(&output, "127.0.0.1");
    }
}

#[test]
fn a_killed_client_ends_its_session_and_the_server_serves_on() {
    let mut server = Server::start(&[]);
    for way in ["-R", "--bidir", "--latency"] {
        let client = measuring(server.client(&["-s", "1M", "-t", "60", way]));
        client.signal(Signal::KILL);
        drop(client);
        server.hear("gputcp: the ");
    }
    expect(&finish(server.client(&small(&["-q"]))), 0);
}

/// Moments in set-up, in the raw slices, in warm-up and among the timed messages.
const MOMENTS_MS: [u64; 12] = [0, 2, 5, 10, 15, 20, 30, 50, 80, 150, 250, 400];

#[test]
fn a_server_killed_at_any_moment_ends_the_client() {
    for moment in MOMENTS_MS {
        let server = Server::start(&[]);
        let client = start(server.client(&["-s", "2M", "-n", "100000", "--timeout", "3"]));
        thread::sleep(Duration::from_millis(moment));
        server.running.signal(Signal::KILL);
        let since = Instant::now();
        let output = client.output();
        expect(&output, 5);
        // The longest is a client that had not connected yet: it asks 30 times, 100 ms apart.
        assert!(since.elapsed() < Duration::from_secs(7), "at {moment} ms: {:?}", since.elapsed());
        says(&output, "127.0.0.1");
    }
}

#[test]
fn a_client_killed_at_any_moment_leaves_a_server_that_serves() {
    let server = Server::start(&["--timeout", "3"]);
    for moment in MOMENTS_MS {
        let client = start(server.client(&["-s", "2M", "-n", "100000", "--timeout", "3"]));
        thread::sleep(Duration::from_millis(moment));
        client.signal(Signal::KILL);
        drop(client);
        let since = Instant::now();
        expect(&finish(server.client(&small(&["-q", "--timeout", "10"]))), 0);
        assert!(since.elapsed() < Duration::from_secs(8), "at {moment} ms: {:?}", since.elapsed());
    }
}

#[test]
fn a_peer_that_stops_ends_the_other_within_the_timeout() {
    for way in [&[][..], &["-R"], &["-m", "host"], &["--latency"]] {
        let server = Server::start(&[]);
        let client = measuring(server.client(&[&["-s", "4M", "-t", "60", "--timeout", "2"], way].concat()));
        server.running.signal(Signal::STOP);
        let since = Instant::now();
        expect(&client.output(), 5);
        assert!(since.elapsed() < Duration::from_secs(8), "{way:?} took {:?}", since.elapsed());
        server.running.signal(Signal::KILL);
    }
}

#[test]
fn the_server_process_of_a_killed_loopback_ends_too() {
    let client = measuring(gputcp(&["loopback", "-s", "1M", "-t", "60"]));
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", client.pid().as_raw_nonzero()));
    let Ok(children) = children else { return };
    let child = children.split_whitespace().next().expect("it has a server process").to_owned();
    client.signal(Signal::KILL);
    drop(client);
    let deadline = Instant::now() + Duration::from_secs(10);
    let alive =
        || std::fs::read_to_string(format!("/proc/{child}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    while alive() {
        assert!(Instant::now() < deadline, "process {child} lives on");
        thread::sleep(Duration::from_millis(10));
    }
}
