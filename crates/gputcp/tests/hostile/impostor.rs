//! A sender made of bare sockets, which can misbehave byte by byte.

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use gputcp::{Error, RecvComm};
use gputcp_proto::{
    Violation,
    frame::{Announce, Control, Join, SegmentHeader, Welcome},
};

use super::common::{TIMEOUT, TestMemory, join, listen, options, soon};

/// A sender made of bare sockets: control first, then one data socket.
pub(crate) struct Impostor {
    pub(crate) control: TcpStream,
    pub(crate) data: TcpStream,
}

impl Impostor {
    pub(crate) fn connect() -> (Self, RecvComm) {
        Self::connect_with(0, 32)
    }

    pub(crate) fn connect_with(eager_places: u16, slots: u16) -> (Self, RecvComm) {
        let (mut listener, handle) = listen(&options(1).tuned(|tuning| tuning.slots = slots));
        let sockets: Vec<_> = (0..2u16)
            .map(|index| {
                let mut socket = TcpStream::connect(handle.address).unwrap();
                let join = Join { index, eager_places, ..join(&handle) };
                socket.write_all(&join.encode()).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                socket
            })
            .collect();
        let receiver = listener.accept(soon()).unwrap();
        let [mut control, data] = <[TcpStream; 2]>::try_from(sockets).unwrap();
        let mut welcome = [0; Welcome::BYTES];
        control.read_exact(&mut welcome).unwrap();
        Welcome::decode(&welcome).unwrap();
        (Self { control, data }, receiver)
    }

    pub(crate) fn announced(&mut self) -> Announce {
        let mut frame = [0; Control::BYTES];
        self.control.read_exact(&mut frame).unwrap();
        match Control::decode(&frame).unwrap() {
            Control::Announce(announce) => announce,
            other => panic!("{other:?}"),
        }
    }
}

/// Lets an impostor misbehave while a receive of 1 MiB is posted, and returns the receiver's error.
pub(crate) fn outcome(misbehave: impl FnOnce(&mut Impostor)) -> Error {
    let (mut impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(1 << 20);
    let request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    assert_eq!(impostor.announced().capacity, 1 << 20);
    misbehave(&mut impostor);
    let began = Instant::now();
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{error} took {:?}", began.elapsed());
    error
}

pub(crate) fn violation(misbehave: impl FnOnce(&mut Impostor)) -> Violation {
    match outcome(misbehave) {
        Error::PeerMisbehaved { violation, .. } => violation,
        other => panic!("{other:?}"),
    }
}

pub(crate) const GOOD: SegmentHeader = SegmentHeader { seq: 0, offset: 0, total: 1 << 20, bytes: 64 << 10 };

/// Returns a short message of this length, sent before its receive is posted.
pub(crate) fn early(seq: u64, bytes: u32) -> Vec<u8> {
    let mut message = Control::Inline { seq, bytes }.encode().to_vec();
    message.resize(message.len() + bytes as usize, 7);
    message
}
