//! A peer that lives and does not do its duty is given up within the timeout, also by callers that only test
//! and never wait. A peer whose program takes its time is not.

mod common;

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use common::{TestMemory, join, listen, options, sender_to_impostor, soon};
use gputcp::{Error, Progress, RecvComm};
use gputcp_proto::frame::{Announce, Control, Join, SegmentHeader, Welcome};

const TIMEOUT: Duration = Duration::from_millis(800);
/// How much later than the timeout a failure may come; and what a busy machine adds here.
const LATE: Duration = Duration::from_millis(200 + 1000);

/// A sender made of bare sockets, with one data socket, and the receiver that it has connected to.
struct Peer {
    control: TcpStream,
    data: TcpStream,
}

fn receiver() -> (Peer, RecvComm) {
    let (mut listener, handle) = listen(&options(1).with_timeout(TIMEOUT));
    let [control, data] = [0u16, 1].map(|index| {
        let mut socket = TcpStream::connect(handle.address).unwrap();
        socket.write_all(&Join { index, ..join(&handle) }.encode()).unwrap();
        socket
    });
    let receiver = listener.accept(soon()).unwrap();
    let mut peer = Peer { control, data };
    peer.control.read_exact(&mut [0; Welcome::BYTES]).unwrap();
    (peer, receiver)
}

impl Peer {
    /// Answers every ping from now on, as the threads of a living peer do. Returns how many there were, when
    /// the connection ends.
    fn answer(&self) -> thread::JoinHandle<usize> {
        let mut control = self.control.try_clone().unwrap();
        thread::spawn(move || {
            let (mut frame, mut pings) = ([0; Control::BYTES], 0);
            while control.read_exact(&mut frame).is_ok() {
                if Control::decode(&frame) == Ok(Control::Ping) {
                    pings += 1;
                    if control.write_all(&Control::Pong.encode()).is_err() {
                        break;
                    }
                }
            }
            pings
        })
    }
}

/// Tests the request until the connection fails. Returns the failure, and the time until then.
fn ask(mut receiver: RecvComm, bytes: u64, for_so_long: Duration) -> Option<(Error, Duration)> {
    let to = TestMemory::Host.buffer(bytes);
    let mut request = receiver.irecv(&to, 0, bytes).unwrap().unwrap();
    let began = Instant::now();
    while began.elapsed() < for_so_long {
        match receiver.test(request) {
            Ok(Progress::Done(_)) => panic!("nothing was sent"),
            Ok(Progress::NotYet(again)) => request = again,
            Err(error) => return Some((error, began.elapsed())),
        }
        thread::sleep(Duration::from_millis(1));
    }
    None
}

#[track_caller]
fn is_timeout(found: Option<(Error, Duration)>, what: &str) {
    let (error, after) = found.expect("it fails");
    assert!(matches!(error, Error::Timeout { .. }) && error.to_string().contains(what), "{error}");
    assert!((TIMEOUT..TIMEOUT + LATE).contains(&after), "{error} after {after:?}");
}

#[test]
fn a_peer_that_was_stopped_is_given_up() {
    let (_peer, receiver) = receiver();
    is_timeout(ask(receiver, 100, 10 * TIMEOUT), "an answer");
}

#[test]
fn a_peer_that_answers_may_take_its_time() {
    let (peer, receiver) = receiver();
    let answering = peer.answer();
    assert!(ask(receiver, 100, 4 * TIMEOUT).is_none());
    assert!((2..=8).contains(&answering.join().unwrap()), "it is asked every half of the timeout");
}

#[test]
fn a_message_that_has_begun_must_go_on() {
    let (mut peer, receiver) = receiver();
    let _answering = peer.answer();
    let header = SegmentHeader { seq: 0, offset: 0, total: 1 << 20, bytes: 64 << 10 };
    let sending = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        peer.data.write_all(&header.encode()).unwrap();
        // A byte now and then is enough.
        for _ in 0..6 {
            peer.data.write_all(&[0]).unwrap();
            thread::sleep(TIMEOUT / 4);
        }
        (peer, Instant::now())
    });
    let (error, _) = ask(receiver, 1 << 20, 20 * TIMEOUT).expect("it fails");
    let (_peer, last) = sending.join().unwrap();
    assert!(error.to_string().contains("a message that has begun"), "{error}");
    // The last byte was a quarter of the timeout before the sender's thread ended.
    assert!((TIMEOUT / 2..TIMEOUT + LATE).contains(&last.elapsed()), "{error} after {:?}", last.elapsed());
}

#[test]
fn nothing_is_owed_while_nothing_is_in_flight() {
    let (peer, mut receiver) = receiver();
    thread::sleep(2 * TIMEOUT);
    let to = TestMemory::Host.buffer(1);
    let request = receiver.irecv(&to, 0, 1).unwrap().unwrap();
    let _answering = peer.answer();
    assert!(!receiver.test(request).unwrap().is_done());
}

#[test]
fn a_receiver_that_was_stopped_is_given_up() {
    // The receiver has announced the receive and reads no byte of the message, which outgrows the kernel's
    // buffers; or it has not announced.
    for is_announced in [true, false] {
        let options = options(1).with_timeout(TIMEOUT).tuned(|tuning| tuning.eager_places = 0);
        let (mut sender, mut control, _data) = sender_to_impostor(options, None);
        let bytes = 64 << 20;
        if is_announced {
            let announce = Announce { seq: 0, capacity: bytes, inline_bytes: 0, done: 0, mark: None };
            control.write_all(&Control::Announce(announce).encode()).unwrap();
        }
        let from = TestMemory::Host.buffer(bytes);
        let mut request = sender.isend(&from, 0, bytes).unwrap().unwrap();
        let began = Instant::now();
        let error = loop {
            match sender.test(request) {
                Ok(Progress::Done(_)) => panic!("nobody has read it"),
                Ok(Progress::NotYet(again)) => request = again,
                Err(error) => break error,
            }
            assert!(began.elapsed() < 10 * TIMEOUT, "it is never given up");
            thread::sleep(Duration::from_millis(1));
        };
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
        assert!(
            (TIMEOUT..TIMEOUT + 2 * LATE).contains(&began.elapsed()),
            "{error} after {:?}",
            began.elapsed()
        );
    }
}
