//! Honest clients and strangers at one acceptor.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use crate::session::{Header, Kind};

use super::*;
use crate::{
    bootstrap::{connect::Destination, message::Abort},
    host::identity::Identity,
    output::Talk,
};

fn open() -> (Acceptor, u16) {
    open_with(None)
}

fn open_with(key: Option<Key>) -> (Acceptor, u16) {
    let acceptor = Acceptor::open(Some(&Bind::Address(Family::V4.loopback())), Family::Any, 0, key).unwrap();
    let port = acceptor.address().port();
    (acceptor, port)
}

fn hello() -> Hello {
    Hello { version: "test".into(), identity: Identity::of_this_host(), challenge: None }
}

fn destination(port: u16, timeout: Duration) -> Destination {
    Destination {
        host: "127.0.0.1".into(),
        port,
        bind: None,
        family: Family::Any,
        timeout,
        key: None,
        talk: Talk::default(),
    }
}

fn greet(port: u16) -> Result<(Link, Hello), Failure> {
    greet_within(port, Duration::from_secs(10))
}

fn greet_within(port: u16, timeout: Duration) -> Result<(Link, Hello), Failure> {
    destination(port, timeout).greet(&hello(), &Interrupt::new().unwrap())
}

fn next(acceptor: &Acceptor) -> Result<(Link, Hello), Failure> {
    acceptor.next(&hello(), &Interrupt::new().unwrap(), Some(Instant::now() + Duration::from_secs(10)))
}

#[test]
fn strangers_do_not_keep_an_honest_client_waiting() {
    let (acceptor, port) = open();
    let connect = || TcpStream::connect(("127.0.0.1", port)).unwrap();
    let silent: Vec<TcpStream> = (0..2 * ROOM).map(|_| connect()).collect();
    let mut half = connect();
    half.write_all(&Header { kind: Kind::Hello, bytes: 100 }.encode()[..9]).unwrap();
    let mut garbage = connect();
    garbage.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    let since = Instant::now();
    thread::scope(|scope| {
        let client = scope.spawn(|| greet(port).unwrap());
        let (_link, theirs) = next(&acceptor).unwrap();
        assert_eq!(theirs, hello());
        client.join().unwrap();
    });
    assert!(since.elapsed() < HELLO_DEADLINE, "it took {:?}", since.elapsed());
    // Garbage is dropped at once, half a hello at its deadline, and all are counted.
    assert_eq!(garbage.read(&mut [0; 64]).unwrap_or(0), 0);
    assert_eq!(half.read(&mut [0; 64]).unwrap_or(0), 0);
    while acceptor.strays() < silent.len() as u64 + 2 {
        assert!(since.elapsed() < 3 * HELLO_DEADLINE, "only {} strays were counted", acceptor.strays());
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_second_client_is_told_that_the_server_is_busy_and_comes_again() {
    let (acceptor, port) = open();
    thread::scope(|scope| {
        let first = scope.spawn(|| greet(port).unwrap());
        let served = next(&acceptor).unwrap();
        let _first = first.join().unwrap();
        // No client is wanted now: the second asks until it is let in.
        let second = scope.spawn(|| greet(port));
        // However often it was told: it has the whole timeout.
        thread::sleep(Duration::from_millis(3500));
        drop(served);
        let _served = next(&acceptor).unwrap();
        second.join().unwrap().unwrap();
        let third = greet_within(port, Duration::from_millis(500)).err().unwrap();
        assert!(matches!(third, Failure::Busy(_)), "{third:?}");
        assert_eq!(third.exit_code(), 5);
    });
}

#[test]
fn another_version_is_told_so() {
    let (_acceptor, port) = open();
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut header = Header { kind: Kind::Hello, bytes: 0 }.encode();
    header[4] = 99;
    stream.write_all(&header).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let text = String::from_utf8_lossy(&answer);
    let told = format!("it speaks protocol version {VERSION} and you speak 99");
    assert!(text.contains(&told), "{text}");
}

#[test]
fn nobody_came() {
    let (acceptor, _) = open();
    let soon = Some(Instant::now() + Duration::from_millis(50));
    let failure = acceptor.next(&hello(), &Interrupt::new().unwrap(), soon).err().unwrap();
    assert_eq!(failure.exit_code(), 5);
}

#[test]
fn a_port_in_use_is_one_sentence() {
    let (_acceptor, port) = open();
    let bind = Bind::Address(Family::V4.loopback());
    let failure = Acceptor::open(Some(&bind), Family::Any, port, None).err().unwrap();
    assert_eq!(failure.exit_code(), 1);
    assert!(failure.to_string().contains("choose another --port"), "{failure}");
}

#[test]
fn a_client_that_gives_up_says_why() {
    let (acceptor, port) = open();
    thread::scope(|scope| {
        let client = scope.spawn(|| greet(port).unwrap());
        let (mut link, _) = next(&acceptor).unwrap();
        let (mut client, _) = client.join().unwrap();
        client.abort(&Failure::Run("no more".into()));
        let failure =
            link.hear::<Abort>(Kind::Settings, Instant::now() + Duration::from_secs(5)).unwrap_err();
        assert!(failure.to_string().ends_with("gave up: no more"), "{failure}");
    });
}

fn key(text: &str) -> Option<Key> {
    Some(Key::of(text.as_bytes()).unwrap())
}

/// Greets as a client that knows the protocol, but not the key, and says nothing more. Like any client it
/// comes again while the acceptor is busy, as it is for a moment after a refusal.
fn silent_client(port: u16) -> Link {
    let soon = Instant::now() + Duration::from_secs(10);
    loop {
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let mut link =
            Link::new(stream, Role::Client, Interrupt::new().unwrap(), "the acceptor".into()).unwrap();
        let challenge = Some(Challenge::draw().unwrap().text());
        link.say(Kind::Hello, &Hello { challenge, ..hello() }, soon).unwrap();
        match link.hear::<Hello>(Kind::Hello, soon) {
            Ok(_) => return link,
            Err(Failure::Busy(_)) if Instant::now() < soon => thread::sleep(Duration::from_millis(10)),
            Err(failure) => panic!("{failure}"),
        }
    }
}

#[test]
fn only_who_has_the_key_comes_in() {
    let (acceptor, port) = open_with(key("the key of this acceptor"));
    let with = |key| Destination { key, ..destination(port, Duration::from_secs(10)) };
    let greet = |key| with(key).greet(&hello(), &Interrupt::new().unwrap());
    thread::scope(|scope| {
        let guests = scope.spawn(|| {
            let none = greet(None).err().unwrap().to_string();
            let other = greet(key("the key of another")).err().unwrap().to_string();
            let _silent = silent_client(port);
            let (_honest, theirs) = greet(key("the key of this acceptor")).unwrap();
            (none, other, theirs)
        });
        let (mut link, _) = next(&acceptor).unwrap();
        let (none, other, theirs) = guests.join().unwrap();
        assert!(none.contains("it asks for a key") && none.contains("--key-file"), "{none}");
        assert!(other.contains("the key is another"), "{other}");
        assert_eq!(theirs.version, "test");
        assert_eq!(acceptor.strays(), 3);
        link.abort(&Failure::Interrupted);
    });
}

#[test]
fn a_client_with_a_key_talks_to_nobody_without() {
    let (acceptor, port) = open();
    let destination =
        Destination { key: key("the key of this acceptor"), ..destination(port, Duration::from_secs(10)) };
    thread::scope(|scope| {
        let client = scope
            .spawn(|| destination.greet(&hello(), &Interrupt::new().unwrap()).err().unwrap().to_string());
        let (mut link, _) = next(&acceptor).unwrap();
        let said = client.join().unwrap();
        assert!(said.contains("has no key") && said.contains("--key-file"), "{said}");
        let soon = Instant::now() + Duration::from_secs(10);
        let told = link.hear::<Abort>(Kind::Settings, soon).err().unwrap().to_string();
        assert!(told.contains("has no key"), "{told}");
    });
}

#[test]
fn a_server_that_cannot_prove_itself_is_not_believed() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let destination =
        Destination { key: key("the key of this acceptor"), ..destination(port, Duration::from_secs(10)) };
    thread::scope(|scope| {
        let client = scope
            .spawn(|| destination.greet(&hello(), &Interrupt::new().unwrap()).err().unwrap().to_string());
        let (stream, _) = listener.accept().unwrap();
        let mut link =
            Link::new(stream, Role::Server, Interrupt::new().unwrap(), "the client".into()).unwrap();
        let soon = Instant::now() + Duration::from_secs(10);
        let theirs: Hello = link.hear(Kind::Hello, soon).unwrap();
        // It sends the client's own challenge and proof back.
        link.say(Kind::Hello, &theirs, soon).unwrap();
        let proof: Proof = link.hear(Kind::Proof, soon).unwrap();
        link.say(Kind::Proof, &proof, soon).unwrap();
        let said = client.join().unwrap();
        assert!(said.contains("could not prove that it has the key"), "{said}");
    });
}
