//! Two ends that find each other by a host and a port.

mod common;

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    os::fd::AsFd as _,
    thread,
    time::{Duration, Instant},
};

use common::{TestMemory, options, soon};
use gputcp::{Error, Handle, Key, Listener, Pattern, RecvComm, SendComm};
use gputcp_proto::frame::{Ask, JoinVerdict, Welcome};
use rustix::event::{PollFd, PollFlags, poll};

const P: Pattern = Pattern { seed: 3, iteration: 4 };

/// Returns a listener, and the text by which peers reach it.
fn listen(options: gputcp::Options) -> (Listener, String) {
    let listener = gputcp::listen("0.0.0.0:0", options).unwrap();
    let address = format!("localhost:{}", listener.handle().address.port());
    (listener, address)
}

fn exchange(sender: &mut SendComm, receiver: &mut RecvComm, place: TestMemory, bytes: u64) {
    let (from, to) = (place.buffer(bytes), place.buffer(bytes));
    from.fill(P, 0, bytes).unwrap();
    thread::scope(|scope| {
        scope.spawn(|| assert_eq!(sender.send(&from).unwrap().bytes, bytes));
        assert_eq!(receiver.recv(&to).unwrap().bytes, bytes);
    });
    assert_eq!(to.verify(P, 0, bytes).unwrap(), Ok(()));
}

#[test]
fn several_peers_and_connections_come_through_one_port() {
    for place in [TestMemory::Host, TestMemory::Soft] {
        let options = move || options(2).with_device(place.device());
        let (mut listener, address) = listen(options());
        for bytes in [1, 3 << 20] {
            let address = address.clone();
            let connecting = thread::spawn(move || gputcp::connect(&address, options()));
            let mut receiver = listener.accept(soon()).unwrap();
            exchange(&mut connecting.join().unwrap().unwrap(), &mut receiver, place, bytes);
        }
        assert_eq!(listener.strays(), 0, "those that ask are none");
    }
}

#[test]
fn a_listener_that_is_not_up_yet_is_waited_for() {
    let reserved = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = reserved.local_addr().unwrap().to_string();
    drop(reserved);
    let to = address.clone();
    let connecting = thread::spawn(move || gputcp::connect(&to, options(1)));
    thread::sleep(Duration::from_millis(250));
    assert!(!connecting.is_finished(), "nobody listens there yet");
    let mut listener = gputcp::listen(&address, options(1)).unwrap();
    let mut receiver = listener.accept(soon()).unwrap();
    exchange(&mut connecting.join().unwrap().unwrap(), &mut receiver, TestMemory::Host, 100);
}

#[test]
fn the_key_is_proved_by_the_connection() {
    let key = |text: &str| Key::of(text.as_bytes()).unwrap();
    let right = move || options(1).with_key(key("the key of both ends"));
    let (mut listener, address) = listen(right());
    for wrong in [options(1), options(1).with_key(key("the key of another end"))] {
        let address = address.clone();
        let connecting = thread::spawn(move || gputcp::connect(&address, wrong));
        while !connecting.is_finished() {
            assert!(listener.poll().unwrap().is_none(), "a connection without the key");
            thread::sleep(Duration::from_millis(1));
        }
        let error = connecting.join().unwrap().unwrap_err();
        assert!(matches!(error, Error::WrongKey { .. }), "{error}");
    }
    let connecting = thread::spawn(move || gputcp::connect(&address, right()));
    let mut receiver = listener.accept(soon()).unwrap();
    exchange(&mut connecting.join().unwrap().unwrap(), &mut receiver, TestMemory::Host, 100);
}

#[test]
fn strangers_disturb_nobody_and_only_a_listener_that_tells_is_asked() {
    let (mut listener, address) = listen(options(1));
    let mut silent = Vec::new();
    for words in [&b""[..], b"GTAS", b"GET / HTTP/1.0\r\n\r\n", b"GTAS\xff\xff\0\0", b"GTAS\x05\0\x01\0"] {
        let mut stranger = TcpStream::connect(&address).unwrap();
        stranger.write_all(words).unwrap();
        silent.push(stranger);
    }
    let to = address.clone();
    let connecting = thread::spawn(move || gputcp::connect(&to, options(1)));
    let mut receiver = listener.accept(soon()).unwrap();
    exchange(&mut connecting.join().unwrap().unwrap(), &mut receiver, TestMemory::Host, 100);
    assert_eq!(listener.strays(), 3, "garbage, another version, and a field that is not zero");
    // One of another version is told so.
    let mut refusal = [0; Welcome::BYTES];
    silent[3].read_exact(&mut refusal).unwrap();
    assert_eq!(Welcome::decode(&refusal).unwrap().verdict, JoinVerdict::WrongVersion);

    // A listener whose handle goes another way tells its token to no peer.
    let (mut listener, handle) = common::listen(&options(1));
    let mut asking = TcpStream::connect(handle.address).unwrap();
    asking.write_all(&Ask.encode()).unwrap();
    let until = soon();
    while listener.strays() == 0 && Instant::now() < until {
        assert!(listener.poll().unwrap().is_none());
    }
    let mut said = Vec::new();
    let _ = asking.read_to_end(&mut said);
    assert_eq!(said, [], "the listener said something");
}

/// Returns a connector's error for a listener that answers like this, and the time until then.
fn answered(answer: &[u8], is_open: bool) -> (Error, Duration) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let began = Instant::now();
    let connecting = thread::spawn(move || {
        gputcp::connect(&address, options(1).with_timeout(Duration::from_millis(600))).unwrap_err()
    });
    let mut held = Vec::new();
    while !connecting.is_finished() {
        if let Ok((mut socket, _)) = listener.accept() {
            socket.set_nonblocking(false).unwrap();
            let mut ask = [0; Ask::BYTES];
            socket.read_exact(&mut ask).unwrap();
            let _ = socket.write_all(answer);
            if is_open {
                held.push(socket);
            } else {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        thread::sleep(Duration::from_millis(1));
    }
    (connecting.join().unwrap(), began.elapsed())
}

#[test]
fn an_answer_that_is_none_ends_within_the_timeout() {
    let garbage = [0x41; Handle::BYTES];
    let (error, _) = answered(&garbage, true);
    assert!(matches!(error, Error::PeerMisbehaved { .. }), "{error}");
    for (answer, is_open) in [(&garbage[..20], false), (&garbage[..20], true), (b"", true), (b"", false)] {
        let (error, took) = answered(answer, is_open);
        let expected = if is_open { "took longer than" } else { "without an answer" };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

#[test]
fn the_last_attempt_does_not_hide_why_the_ones_before_failed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let connecting = thread::spawn(move || {
        gputcp::connect(&address, options(1).with_timeout(Duration::from_millis(150))).unwrap_err()
    });
    // The first one that asks is turned away; the next has a third of the timeout, and no answer.
    let (mut first, _) = listener.accept().unwrap();
    first.read_exact(&mut [0; Ask::BYTES]).unwrap();
    drop(first);
    let error = connecting.join().unwrap();
    assert!(error.to_string().contains("without an answer"), "{error}");
}

#[test]
fn a_text_that_names_no_place_is_said_at_once() {
    for text in ["", "nowhere", "127.0.0.1", "127.0.0.1:port", "\u{1b}[0m:1"] {
        let error = gputcp::connect(text, options(1)).unwrap_err();
        assert!(!error.to_string().contains('\u{1b}'), "{error:?}");
        assert!(gputcp::listen(text, options(1)).is_err(), "{text:?}");
    }
    let error =
        gputcp::connect("127.0.0.1:1", options(1).with_timeout(Duration::from_millis(300))).unwrap_err();
    assert!(error.to_string().contains("nobody listens there"), "{error}");
}

/// Returns whether the listener's descriptor is readable within a time.
fn is_readable(listener: &Listener, within: Duration) -> bool {
    let mut watched = [PollFd::new(listener, PollFlags::IN)];
    poll(&mut watched, Some(&within.try_into().unwrap())).unwrap() == 1
}

#[test]
fn an_event_loop_watches_one_descriptor() {
    let (mut listener, address) = listen(options(3));
    let (moment, long) = (Duration::from_millis(50), Duration::from_secs(20));
    assert!(!is_readable(&listener, Duration::ZERO), "nobody has come: {:?}", listener.as_fd());
    // Half a frame is read, and waited for without a stir.
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"GTA").unwrap();
    while is_readable(&listener, moment) {
        assert!(listener.poll().unwrap().is_none());
    }
    // A peer that connects meanwhile is served by the descriptor alone.
    let to = address.clone();
    let connecting = thread::spawn(move || gputcp::connect(&to, options(3)));
    let mut receiver = loop {
        assert!(is_readable(&listener, long), "the peer waits");
        if let Some(receiver) = listener.poll().unwrap() {
            break receiver;
        }
    };
    exchange(&mut connecting.join().unwrap().unwrap(), &mut receiver, TestMemory::Host, 1 << 20);
    // Its sockets are the connection's: they do not stir the listener.
    assert!(!is_readable(&listener, moment));
    // The rest of the frame does, and so does its answer.
    slow.write_all(&Ask.encode()[3..]).unwrap();
    assert!(is_readable(&listener, long));
    assert!(listener.poll().unwrap().is_none());
    let mut handle = [0; Handle::BYTES];
    slow.read_exact(&mut handle).unwrap();
    assert_eq!(Handle::decode(&handle).unwrap().token, listener.handle().token);
    assert!(!is_readable(&listener, moment));
}

#[test]
fn a_listener_that_cannot_be_says_what_to_do() {
    let taken = gputcp::listen("127.0.0.1:0", options(1)).unwrap();
    let address = taken.handle().address.to_string();
    for (address, remedy) in [(address.as_str(), "choose another port"), ("192.0.2.1:9", "one of its own")] {
        let error = gputcp::listen(address, options(1)).unwrap_err().to_string();
        assert!(error.contains(remedy) && error.contains(address), "{error}");
    }
    let error = gputcp::listen("127.0.0.1:0", options(1))
        .unwrap()
        .accept(Instant::now() + Duration::from_millis(20))
        .unwrap_err()
        .to_string();
    assert!(
        error.starts_with("no sender connected to 127.0.0.1:") && error.contains("within 20ms"),
        "{error}"
    );
}
