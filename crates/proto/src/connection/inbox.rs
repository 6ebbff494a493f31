//! The way in from the control socket: frames, and the short messages among them.
//!
//! One thread at a time reads. A message of which only a part has come waits here for the next thread that
//! reads.

use super::receiver::Short;
use crate::{Violation, connection::SocketError, frame::Control};

/// The bytes that have come of a frame, and the short message that is being taken.
#[derive(Debug)]
pub struct Inbox<D> {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    /// The message that comes before the next frame.
    message: Option<Short<D>>,
    /// The end of the stream, and its error.
    closed: Option<Option<SocketError>>,
    /// The number of reads that are left in this share.
    reads_left: u32,
}

/// The next thing to do with the control socket.
#[derive(Debug)]
pub enum Input<'a> {
    /// Read what the socket has, into these bytes, and call [`Inbox::got`] or [`Inbox::failed`].
    Read(&'a mut [u8]),
    /// Pass this frame to the connection.
    Frame(Control),
    /// Go on with the message that has begun.
    Message,
    /// The bytes are no frame.
    Wrong(Violation),
    /// No more frames can come: pass this to the connection.
    Closed(Option<SocketError>),
    /// The share is over: the socket may have more.
    Pause,
}

impl<D> Inbox<D> {
    /// Returns an empty inbox.
    #[must_use]
    pub fn new() -> Self {
        let buffer = vec![0; READ_BYTES].into();
        Self { buffer, start: 0, end: 0, message: None, closed: None, reads_left: 0 }
    }

    /// Begins a share: a peer that never stops sending must not keep the reading thread from its deadline,
    /// nor from other connections.
    ///
    /// At its end [`Inbox::input`] returns [`Input::Pause`], with no whole frame in the buffer.
    pub const fn begin_share(&mut self) {
        self.reads_left = READS;
    }

    /// Returns the next thing to do.
    pub fn input(&mut self) -> Input<'_> {
        if self.message.is_some() {
            return Input::Message;
        }
        if let Some(header) = self.buffer[self.start..self.end].first_chunk() {
            let frame = match Control::decode(header) {
                Ok(frame) => frame,
                Err(violation) => return Input::Wrong(violation),
            };
            // An abort's reason is short: wait for all of it. At the end, the part that has come is better
            // than none.
            let is_partial = matches!(frame, Control::Abort { bytes }
                if self.end - self.start < Control::BYTES + bytes as usize);
            if !is_partial || self.closed.is_some() {
                self.start += Control::BYTES;
                return Input::Frame(frame);
            }
        }
        if let Some(error) = self.closed {
            return Input::Closed(error);
        }
        let Some(left) = self.reads_left.checked_sub(1) else { return Input::Pause };
        self.reads_left = left;
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        Input::Read(&mut self.buffer[self.end..])
    }

    /// Counts bytes that were read; 0 is the end of the stream.
    pub const fn got(&mut self, bytes: usize) {
        if bytes == 0 {
            self.closed = Some(None);
        }
        self.end += bytes;
    }

    /// Takes the failure of the socket.
    pub const fn failed(&mut self, error: SocketError) {
        self.closed = Some(Some(error));
    }

    /// Takes a message that has begun: its bytes come before the next frame.
    pub(super) fn begin(&mut self, message: Short<D>) {
        self.message = Some(message);
    }

    /// Returns the message that has begun, and its bytes that were read together with its frame.
    pub fn message(&mut self) -> Option<(&mut Short<D>, &[u8])> {
        Some((self.message.as_mut()?, &self.buffer[self.start..self.end]))
    }

    /// Counts bytes of [`Inbox::message`] that were used.
    pub const fn used(&mut self, bytes: usize) {
        self.start += bytes;
    }

    /// Ends the message, which is whole.
    pub fn end_message(&mut self) {
        self.message = None;
    }

    /// Returns the text behind an abort, as far as it has come.
    pub(super) fn text(&mut self, bytes: u32) -> String {
        let have = (bytes as usize).min(self.end - self.start);
        let text = String::from_utf8_lossy(&self.buffer[self.start..self.start + have]);
        self.start += have;
        // It is shown in a log: no line breaks, no terminal sequences.
        text.chars().filter(|c| !c.is_control()).collect()
    }
}

impl<D> Default for Inbox<D> {
    fn default() -> Self {
        Self::new()
    }
}

/// Frames are 32 bytes and a window has at most 32 of them; the rest is room for a short message's payload.
const READ_BYTES: usize = 8 << 10;
/// Reads of one share: up to 4096 frames. An honest peer has at most 256 under way.
const READS: u32 = 16;
