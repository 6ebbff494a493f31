//! The bytes between two plugins: a hello on every socket, announcements on the control socket, and a header
//! before each segment on the data sockets. The byte order is native, as both are on one machine.

use std::{
    io::{self, IoSlice, Read as _},
    mem::MaybeUninit,
};

use socket2::{SockRef, Socket};

use crate::knobs::PARTS_MAX;

/// The first bytes on each socket: its listener, its connection, and its place there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hello {
    /// The listener's number, from the handle.
    pub(crate) listener: u64,
    /// The connection's number, drawn by the connecting side.
    pub(crate) connection: u64,
    /// The socket's place; 0 is the control socket.
    pub(crate) index: u32,
    /// The number of the connection's sockets.
    pub(crate) sockets: u32,
}

/// A posted receive, announced to the sender: for each part its tag and its room.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Announcement {
    pub(crate) receive: u64,
    pub(crate) parts: usize,
    pub(crate) tags: [i32; PARTS_MAX],
    pub(crate) capacities: [u64; PARTS_MAX],
}

/// The header before a segment's bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    /// The number of the segment's receive.
    pub(crate) receive: u64,
    pub(crate) part: u32,
    /// The bytes that follow; 0 for an empty message, and for one that does not fit.
    pub(crate) bytes: u32,
    pub(crate) offset: u64,
    /// The whole message's length.
    pub(crate) total: u64,
}

impl Hello {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC.to_ne_bytes());
        bytes[8..16].copy_from_slice(&self.listener.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.connection.to_ne_bytes());
        bytes[24..28].copy_from_slice(&self.index.to_ne_bytes());
        bytes[28..].copy_from_slice(&self.sockets.to_ne_bytes());
        bytes
    }

    /// Reads a hello; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let hello = Self {
            listener: u64_at(bytes, 8),
            connection: u64_at(bytes, 16),
            index: u32_at(bytes, 24),
            sockets: u32_at(bytes, 28),
        };
        (u64_at(bytes, 0) == MAGIC && (2..=65).contains(&hello.sockets) && hello.index < hello.sockets)
            .then_some(hello)
    }
}

impl Announcement {
    pub(crate) const BYTES: usize = 16 + PARTS_MAX * 12;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.receive.to_ne_bytes());
        bytes[8..16].copy_from_slice(&(self.parts as u64).to_ne_bytes());
        for part in 0..PARTS_MAX {
            let at = 16 + part * 12;
            bytes[at..at + 4].copy_from_slice(&self.tags[part].to_ne_bytes());
            bytes[at + 4..at + 12].copy_from_slice(&self.capacities[part].to_ne_bytes());
        }
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let parts = usize::try_from(u64_at(bytes, 8)).ok()?;
        let (mut tags, mut capacities) = ([0; PARTS_MAX], [0; PARTS_MAX]);
        for part in 0..PARTS_MAX {
            tags[part] = u32_at(bytes, 16 + part * 12).cast_signed();
            capacities[part] = u64_at(bytes, 20 + part * 12);
        }
        let announcement = Self { receive: u64_at(bytes, 0), parts, tags, capacities };
        (1..=PARTS_MAX).contains(&parts).then_some(announcement)
    }
}

impl Header {
    pub(crate) const BYTES: usize = 32;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&self.receive.to_ne_bytes());
        bytes[8..12].copy_from_slice(&self.part.to_ne_bytes());
        bytes[12..16].copy_from_slice(&self.bytes.to_ne_bytes());
        bytes[16..24].copy_from_slice(&self.offset.to_ne_bytes());
        bytes[24..].copy_from_slice(&self.total.to_ne_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        Self {
            receive: u64_at(bytes, 0),
            part: u32_at(bytes, 8),
            bytes: u32_at(bytes, 12),
            offset: u64_at(bytes, 16),
            total: u64_at(bytes, 24),
        }
    }
}

/// Sends all of `head`, then of `body`. Never raises SIGPIPE, which would end the host's process.
pub(crate) fn send_all(socket: &Socket, mut head: &[u8], mut body: &[u8]) -> io::Result<()> {
    while !head.is_empty() || !body.is_empty() {
        let sent = if head.is_empty() {
            socket.send_with_flags(body, NO_SIGNAL)
        } else {
            socket.send_vectored_with_flags(&[IoSlice::new(head), IoSlice::new(body)], NO_SIGNAL)
        };
        match sent {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(sent) => {
                let of_head = sent.min(head.len());
                head = &head[of_head..];
                body = &body[sent - of_head..];
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives until `bytes` is full.
pub(crate) fn recv_all(socket: &Socket, bytes: &mut [MaybeUninit<u8>]) -> io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        match socket.recv(&mut bytes[done..]) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(received) => done += received,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Receives a fixed number of bytes; `None` if the stream ended before the first.
pub(crate) fn recv_array<const N: usize>(mut socket: &Socket) -> io::Result<Option<[u8; N]>> {
    let mut bytes = [0; N];
    let first = loop {
        match socket.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            first => break first?,
        }
    };
    if first == 0 {
        return Ok(None);
    }
    socket.read_exact(&mut bytes[first..])?;
    Ok(Some(bytes))
}

/// Sets the options of a socket of either end: no delay, and the congestion control that is fastest on one
/// machine. A kernel that does not offer it keeps its own.
pub(crate) fn tune(socket: &impl std::os::fd::AsFd, congestion: &str) -> io::Result<()> {
    let socket = SockRef::from(socket);
    let _ = socket.set_tcp_congestion(congestion.as_bytes());
    socket.set_tcp_nodelay(true)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(word)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(word)
}

const MAGIC: u64 = u64::from_ne_bytes(*b"gptcptst");
/// `MSG_NOSIGNAL` of Linux.
const NO_SIGNAL: i32 = 0x4000;
