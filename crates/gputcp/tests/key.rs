//! A key that both ends must have. A connector with it connects. A connector without it is a stray to the
//! listener, and is told why.

mod common;

use std::{
    io::Write,
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{TestMemory, close, listen, move_and_verify, options, soon};
use gputcp::{Connector, Error, Handle, Key, Listener, Options, transfer::Plan};
use gputcp_proto::frame::Join;

fn with(key: Option<&[u8]>) -> Options {
    options(2).with_key(key.map(|key| Key::of(key).unwrap()))
}

const KEY: &[u8] = b"a key of some length";
const OTHER: &[u8] = b"another of its length";

/// Returns why a connector with this key does not connect, and how many strays the listener has counted.
fn refused(listener: Option<&[u8]>, connector: Option<&[u8]>) -> (String, u64) {
    let (mut listener, handle) = listen(&with(listener));
    let options = with(connector);
    let connecting = thread::spawn(move || Connector::new(&handle, options).unwrap().connect(soon()));
    while !connecting.is_finished() {
        assert!(listener.poll().unwrap().is_none(), "a connection without the key");
        thread::sleep(Duration::from_millis(1));
    }
    let error = connecting.join().unwrap().err().unwrap();
    assert!(matches!(error, Error::Refused { .. } | Error::WrongKey { .. }), "{error:?}");
    while listener.strays() < 1 {
        assert!(listener.poll().unwrap().is_none());
    }
    (error.to_string(), listener.strays())
}

#[test]
fn both_ends_with_the_key_move_data() {
    let (mut listener, handle) = listen(&with(Some(KEY)));
    let connecting = thread::spawn(move || Connector::new(&handle, with(Some(KEY))).unwrap().connect(soon()));
    let mut receivers = vec![listener.accept(soon()).unwrap()];
    let mut senders = vec![connecting.join().unwrap().unwrap()];
    let plan = Plan { chunk_bytes: 64 << 10, window: 8, timeout: common::TIMEOUT };
    let buffers = (&TestMemory::Host.buffer(1 << 20), &TestMemory::Host.buffer(1 << 20));
    move_and_verify(&mut senders, &mut receivers, buffers, (plan, plan), &[1 << 20, 100]).unwrap();
    close(senders, receivers);
}

#[test]
fn without_the_same_key_there_is_no_connection() {
    for (listener, connector) in [(Some(KEY), Some(OTHER)), (Some(KEY), None), (None, Some(KEY))] {
        let (why, _) = refused(listener, connector);
        assert!(why.contains("give both ends the same"), "{why}");
    }
}

/// Returns a complete connection's joins, as a process without the key overhears them.
fn overheard(handle: &Handle) -> Vec<[u8; Join::BYTES]> {
    let join = Join { inline_bytes: 0, ..common::join(handle) };
    let key = Key::of(KEY).unwrap();
    (0..2).map(|index| Join { index, ..join }.proved(Some(&key)).encode()).collect()
}

fn say(handle: &Handle, joins: &[[u8; Join::BYTES]]) -> Vec<TcpStream> {
    let said = joins.iter().map(|join| {
        let mut socket = TcpStream::connect(handle.address).unwrap();
        socket.write_all(join).unwrap();
        socket
    });
    said.collect()
}

#[test]
fn what_was_overheard_lets_nobody_in_again() {
    let (mut listener, handle) = listen(&with(Some(KEY)));
    let joins = overheard(&handle);
    let sockets = say(&handle, &joins);
    drop(listener.accept(soon()).unwrap());
    drop(sockets);
    let _again = say(&handle, &joins);
    assert_strays(&mut listener, 2);
}

#[test]
fn a_proof_that_was_tampered_with_is_a_strays() {
    let (mut listener, handle) = listen(&with(Some(KEY)));
    let mut joins = overheard(&handle);
    joins.iter_mut().for_each(|join| join[Join::BYTES - 1] ^= 1);
    let _sockets = say(&handle, &joins);
    assert_strays(&mut listener, 2);
}

fn assert_strays(listener: &mut Listener, expected: u64) {
    let until = Instant::now() + Duration::from_secs(5);
    while listener.strays() < expected {
        assert!(Instant::now() < until, "{} strays", listener.strays());
        assert!(listener.poll().unwrap().is_none(), "somebody was let in");
    }
}
