//! The part that both ends of a connection share: how they end, and whole frames over a wire.
//!
//! A wire takes and gives any number of bytes at a time.

use gputcp_proto::{
    Violation,
    frame::{ABORT_BYTES_MAX, Control},
    send::TooLong,
};

use crate::{
    wire::{Closed, Wire},
    world::World,
};

/// The outcome of one end of the connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Everything was sent and received, and the peer confirmed it.
    Complete,
    /// The end failed, and reported the reason if it could.
    Failed(Failure),
}

/// The reason why an end failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The peer broke the protocol, or the wire was tampered with.
    Violation(Violation),
    /// This side's message was longer than the peer's receive.
    TooLong(TooLong),
    /// A wire ended early.
    Closed(Closed),
    /// Nothing happened within the stall timeout.
    TimedOut,
    /// The peer aborted and gave its reason.
    Aborted(String),
    /// The peer said goodbye before all was done.
    EarlyGoodbye,
    /// A message arrived with other bytes than those sent.
    WrongData {
        /// The message.
        seq: u64,
    },
}

impl From<Violation> for Failure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<TooLong> for Failure {
    fn from(too_long: TooLong) -> Self {
        Self::TooLong(too_long)
    }
}

impl From<Closed> for Failure {
    fn from(closed: Closed) -> Self {
        Self::Closed(closed)
    }
}

/// Bytes that a wire has still to take.
///
/// Its users bound it: a control socket holds an announcement or a short message per slot and one last frame,
/// a data socket one header.
#[derive(Debug, Default)]
pub struct Outbox {
    bytes: Vec<u8>,
    written: usize,
}

impl Outbox {
    /// Adds bytes at the end.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds an abort frame with its reason.
    pub fn push_abort(&mut self, failure: &Failure) {
        let mut reason = format!("{failure:?}");
        // The debug form is ASCII but for a peer's own reason: the cut falls between characters.
        while reason.len() > ABORT_BYTES_MAX as usize {
            reason.pop();
        }
        self.push(&Control::Abort { bytes: reason.len() as u32 }.encode());
        self.push(reason.as_bytes());
    }

    /// Writes as much as the wire takes, and returns the number of bytes.
    ///
    /// # Errors
    /// If the wire has ended.
    pub fn flush(&mut self, world: &mut World, wire: &mut Wire) -> Result<usize, Closed> {
        let before = self.written;
        while !self.is_empty() {
            match wire.write(world, &self.bytes[self.written..])? {
                0 => break,
                taken => self.written += taken,
            }
        }
        Ok(self.written - before)
    }

    /// Returns whether the wire has taken everything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }
}

/// A frame that is being read in pieces of any length.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
}

impl Inbox {
    /// Reads until `bytes` bytes are here, and returns them; `None` while some are missing.
    ///
    /// # Errors
    /// If the wire has ended.
    pub fn read(
        &mut self,
        world: &mut World,
        wire: &mut Wire,
        bytes: usize,
    ) -> Result<Option<Vec<u8>>, Closed> {
        while self.bytes.len() < bytes {
            let have = self.bytes.len();
            self.bytes.resize(bytes, 0);
            let got = wire.read(world, &mut self.bytes[have..]);
            self.bytes.truncate(have + got.unwrap_or(0));
            if got? == 0 {
                return Ok(None);
            }
        }
        Ok(Some(std::mem::take(&mut self.bytes)))
    }

    /// Returns whether no byte of the next frame has come.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Reads a frame of fixed length, as [`Self::read`] does.
    ///
    /// # Errors
    /// If the wire has ended.
    pub fn read_frame<const L: usize>(
        &mut self,
        world: &mut World,
        wire: &mut Wire,
    ) -> Result<Option<[u8; L]>, Closed> {
        Ok(self.read(world, wire, L)?.map(|bytes| bytes.try_into().expect("as many as were asked for")))
    }
}

/// A reader that yields a control frame and the bytes that follow it, once both are here.
#[derive(Debug, Default)]
pub struct ControlReader {
    inbox: Inbox,
    frame: Option<Control>,
}

impl ControlReader {
    /// Returns the next frame and its payload; `None` while bytes are missing.
    ///
    /// # Errors
    /// If the wire has ended, or the bytes are no control frame.
    pub fn next(
        &mut self,
        world: &mut World,
        wire: &mut Wire,
    ) -> Result<Option<(Control, Vec<u8>)>, Failure> {
        if self.frame.is_none() {
            let Some(bytes) = self.inbox.read_frame(world, wire)? else { return Ok(None) };
            self.frame = Some(Control::decode(&bytes)?);
        }
        let payload = match self.frame {
            Some(Control::Inline { bytes, .. } | Control::Abort { bytes }) => bytes as usize,
            _ => 0,
        };
        let Some(payload) = self.inbox.read(world, wire, payload)? else { return Ok(None) };
        Ok(self.frame.take().map(|frame| (frame, payload)))
    }
}
