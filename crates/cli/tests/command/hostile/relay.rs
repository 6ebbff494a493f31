//! An honest client and an honest server, and a relay between the two that spoils one frame.

use std::{
    io::Write as _,
    net::{Shutdown, TcpListener, TcpStream},
    process::Stdio,
    sync::{Arc, Mutex},
    thread,
    time::{Duration, Instant},
};

use gputcp_cli::session::Kind;
use gputcp_fuzz::{Counts, Rng};

use super::{
    against_servers,
    spoil::{frame, spoil},
};
use crate::{
    frames::hear,
    process::{Running, gputcp, stderr},
};

#[test]
fn nothing_that_is_spoilt_on_the_way_ends_a_client_or_a_server_but_by_an_error() {
    against_servers("a relay", |random, counts, server| {
        let began = Instant::now();
        pass(random, counts, server);
        assert!(began.elapsed() < Duration::from_secs(30), "it took {:?}", began.elapsed());
    });
}

const READ: &[&str] = &["--op", "read", "--blocks", "4", "--block-size", "4K"];
const WRITE: &[&str] = &["--op", "write", "--blocks", "3", "--block-size", "5000", "--scatter"];

/// Passes a client's session by way of the relay.
fn pass(random: &mut Rng, counts: &mut Counts, server: &str) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("its address").port().to_string();
    let ways = [
        (&["--latency"][..], Kind::BeginForward),
        (&["-R"], Kind::BeginBackward),
        (&["--bidir"], Kind::BeginBoth),
        (&[], Kind::BeginForward),
        (&["--depth", "3"], Kind::BeginForward),
        (READ, Kind::BeginBackward),
        (WRITE, Kind::BeginForward),
    ];
    let (way, begin) = random.choice(ways).expect("seven");
    let memory = random.choice(["host", "soft"]).expect("two");
    let mut command = gputcp(&["client", "127.0.0.1", "-p", &port, "--timeout", "0.5", "-J"]);
    command.args(["-n", "2", "-w", "1", "-P", "1", "-m", memory]).args(way);
    if !way.contains(&"--op") {
        command.args(["-s", "16K"]);
    }
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let client = Running::start(command);
    let (mut near, _) = listener.accept().expect("the client comes");
    drop(listener);
    let far = TcpStream::connect(format!("127.0.0.1:{server}")).expect("the server listens");
    let kinds = [
        Kind::Hello,
        Kind::Settings,
        Kind::Accept,
        Kind::Handles,
        Kind::Ready,
        begin,
        begin,
        Kind::Filled,
        Kind::Go,
        Kind::Sent,
        Kind::Received,
        Kind::End,
        Kind::Report,
        Kind::Bye,
    ];
    let target = (random.choice(kinds).expect("some"), random.choice([0, 0, 1, 2]).expect("some"));
    let spoiler = Arc::new(Mutex::new(Spoiler { random: random.fork(), target, seen: 0, frames: 0 }));
    let directions = [(&near, &far), (&far, &near)].map(|(from, to)| {
        let (from, to) = (from.try_clone().expect("a socket"), to.try_clone().expect("a socket"));
        let spoiler = spoiler.clone();
        thread::spawn(move || relay(from, to, &spoiler))
    });
    let output = client.output();
    let code = output.status.code();
    let ended = matches!(code, Some(0 | 1 | 2 | 3 | 5));
    assert!(ended && !stderr(&output).contains("panicked"), "{:?}: {}", output.status, stderr(&output));
    let _ = (near.flush(), near.shutdown(Shutdown::Both), far.shutdown(Shutdown::Both));
    directions.into_iter().for_each(|direction| direction.join().expect("it ends"));
    let Spoiler { seen, frames, .. } = *spoiler.lock().expect("nobody panicked");
    counts.one("sessions");
    counts.add("frames", frames);
    counts.add("frames spoilt", u64::from(seen > target.1));
    counts.one(if code == Some(0) { "sessions without an error" } else { "sessions ended by an error" });
}

/// Spoils one frame of a session.
struct Spoiler {
    random: Rng,
    /// Its kind, and how many of that kind are left alone before.
    target: (Kind, u32),
    seen: u32,
    frames: u64,
}

fn relay(mut from: TcpStream, mut to: TcpStream, spoiler: &Mutex<Spoiler>) {
    while let Ok((kind, text)) = hear(&mut from) {
        let mut spoiler = spoiler.lock().expect("nobody panicked");
        spoiler.frames += 1;
        let (target, skip) = spoiler.target;
        let is_it = kind == target && spoiler.seen == skip;
        spoiler.seen += u32::from(kind == target);
        let mut last = false;
        let bytes = if is_it {
            let spoilt = spoil(&mut spoiler.random, kind, &text);
            last = spoilt.last;
            spoilt.bytes
        } else {
            frame(kind, &text)
        };
        drop(spoiler);
        if to.write_all(&bytes).is_err() || last {
            break;
        }
    }
    let _ = (to.shutdown(Shutdown::Both), from.shutdown(Shutdown::Both));
}
