//! A server, and strangers that say anything: noise, and sessions that go well for a while.

use std::{
    io::Write as _,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use gputcp_cli::session::Kind;
use gputcp_fuzz::{Counts, Rng};
use serde_json::json;

use super::{
    against_servers,
    spoil::{Spoiled, spoil},
};
use crate::frames::{HELLO, hear, say, settings};

#[test]
fn nothing_that_strangers_say_ends_a_server() {
    against_servers("strangers", |random, counts, server| {
        let began = Instant::now();
        counts.one("connections");
        // A server that is busy with the last one, for a moment, hears nothing but hellos.
        while visit(random, counts, server) == Visit::Busy && random.u8(0..20) > 0 {
            thread::sleep(Duration::from_millis(20));
        }
        assert!(began.elapsed() < Duration::from_secs(20), "it took {:?}", began.elapsed());
    });
}

#[derive(PartialEq)]
enum Visit {
    Busy,
    Done,
}

fn visit(random: &mut Rng, counts: &mut Counts, port: &str) -> Visit {
    let mut stream = TcpStream::connect(format!("127.0.0.1:{port}")).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_millis(400))).expect("it is a socket");
    stream.set_nodelay(true).expect("it is a socket");
    // How far it goes well.
    let well = random.choice([0, 1, 1, 1, 2, 3, 4, 5, 7]).expect("some");
    let flow = random.choice(["forward", "backward", "both", "round-trip"]).expect("four");
    let memory = random.choice(["host", "soft"]).expect("two");
    let unpack = if memory == "host" { "none" } else { "kernel" };
    let ceiling = random.bool();
    let settings = settings(&json!({ "flow": flow, "memory": memory, "unpack": unpack, "ceiling": ceiling }));
    let begin = r#"{"work":"transfer","bytes":65536,"iteration":1,"rounds":1}"#;
    let sent = r#"{"bytes":65536,"chunks":4,"cpu_ns":5,"tcp":{"retransmits":1,"rtt_us":1,"cwnd_packets":1}}"#;
    let received = r#"{"time_ns":1,"landed":65536,"unpacked":65536,"chunks":4,"cpu_ns":1,"verified":true,
        "mismatch":null}"#;
    let course = [
        (Kind::Hello, HELLO, 1),
        (Kind::Settings, &settings, 2),
        (Kind::Handles, r#"{"connections":[],"raw":null}"#, 0),
        (Kind::Ready, r#"{"setup_us":1}"#, 0),
        (Kind::BeginForward, begin, 0),
        (Kind::Filled, "{}", 0),
        (Kind::Go, "{}", 0),
        (Kind::Sent, sent, 0),
        (Kind::Received, received, 0),
        (Kind::End, "{}", 0),
        (Kind::Bye, "{}", 0),
        (Kind::Abort, r#"{"reason":"enough","code":1}"#, 0),
        (Kind::Proof, r#"{"mac":"00"}"#, 0),
    ];
    for (at, (kind, text, answers)) in course.into_iter().enumerate() {
        counts.one("frames");
        if at < well || random.u8(0..3) == 0 {
            if say(&mut stream, kind, text).is_err() {
                break;
            }
        } else {
            let Spoiled { bytes, last } = spoil(random, kind, text.as_bytes());
            if stream.write_all(&bytes).is_err() || last {
                break;
            }
        }
        for _ in 0..answers {
            match hear(&mut stream) {
                Ok((Kind::Refuse, _)) if at == 0 => return Visit::Busy,
                Ok((Kind::Refuse, _)) => counts.one("refusals"),
                Ok(_) => counts.one("answers"),
                Err(_) => return Visit::Done,
            }
        }
    }
    if random.bool() {
        let _ = hear(&mut stream);
    }
    Visit::Done
}
