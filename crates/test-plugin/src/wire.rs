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
    pub(crate) const BYTES: usize = 5 * WORD;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        bytes_of([MAGIC, self.listener, self.connection, self.index.into(), self.sockets.into()])
    }

    /// Reads a hello; `None` if the bytes are none.
    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let [magic, listener, connection, index, sockets] = words_of(bytes);
        ((magic, index < sockets) == (MAGIC, true) && (2..=65).contains(&sockets)).then_some(Self {
            listener,
            connection,
            index: index as u32,
            sockets: sockets as u32,
        })
    }
}

impl Announcement {
    pub(crate) const BYTES: usize = (2 + 2 * PARTS_MAX) * WORD;

    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let tags = self.tags.map(|tag| tag.cast_unsigned().into());
        bytes_of([self.receive, self.parts as u64].into_iter().chain(tags).chain(self.capacities))
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let words: [u64; 2 + 2 * PARTS_MAX] = words_of(bytes);
        let (tags, capacities) = words[2..].split_at(PARTS_MAX);
        let parts = usize::try_from(words[1]).ok().filter(|parts| (1..=PARTS_MAX).contains(parts))?;
        Some(Self {
            receive: words[0],
            parts,
            tags: std::array::from_fn(|part| tags[part] as i32),
            capacities: std::array::from_fn(|part| capacities[part]),
        })
    }
}

impl Header {
    pub(crate) const BYTES: usize = 5 * WORD;

    pub(crate) fn encode(self) -> [u8; Self::BYTES] {
        bytes_of([self.receive, self.part.into(), self.bytes.into(), self.offset, self.total])
    }

    pub(crate) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let [receive, part, bytes, offset, total] = words_of(bytes);
        Self { receive, part: part as u32, bytes: bytes as u32, offset, total }
    }
}

/// Writes words, and zeros behind them.
pub(crate) fn bytes_of<const BYTES: usize>(words: impl IntoIterator<Item = u64>) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    for (to, word) in bytes.as_chunks_mut().0.iter_mut().zip(words) {
        *to = word.to_ne_bytes();
    }
    bytes
}

/// Reads the first words.
pub(crate) fn words_of<const WORDS: usize>(bytes: &[u8]) -> [u64; WORDS] {
    let words = bytes.as_chunks().0;
    std::array::from_fn(|at| u64::from_ne_bytes(words[at]))
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

/// The bytes of a word.
const WORD: usize = size_of::<u64>();
const MAGIC: u64 = u64::from_ne_bytes(*b"gptcptst");
/// `MSG_NOSIGNAL` of Linux.
const NO_SIGNAL: i32 = 0x4000;
