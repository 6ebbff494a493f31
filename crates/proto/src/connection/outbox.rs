//! The way out of the control socket: whole frames, one writing thread at a time, and the last words.
//!
//! Any thread adds frames; one at a time writes them, without the lock. A thread that finds another at it
//! leaves its frames to that one. The bytes that the socket does not take at once are kept until it has room.
//! So no thread waits for a peer that does not read.

use crate::frame::{Control, EAGER_PLACES_MAX};

/// The frames on their way out.
#[derive(Debug)]
pub(super) struct Outbox {
    frames: Box<[u8]>,
    start: usize,
    end: usize,
    /// The bytes that the socket has taken so far.
    taken: u64,
    state: State,
    last_words: LastWords,
}

/// Whether frames can be written now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    /// A thread writes.
    Busy,
    /// The socket has no room.
    Full,
    /// No more can be written.
    Broken,
}

/// The rest of a failed connection's control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastWords {
    /// The connection has not failed.
    NotYet,
    Abort,
    Shut,
    Said,
}

/// The next thing to do with the socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NextWrite {
    /// Write so many bytes of the buffer.
    Frames(usize),
    /// Write the abort and its reason, if there is room.
    Abort,
    /// Shut the socket down.
    Shut,
    /// No frame is left: a message may follow.
    Message,
    /// Another thread writes, there is no room, or all is said.
    Nothing,
}

impl Outbox {
    /// Returns the outbox of an end with up to `depth` messages in flight.
    ///
    /// It has room for an announcement for each receive that is open or was finished without. An honest
    /// sender sends no more of those than it has places for. It also has room for a goodbye. A sender's wants
    /// are fewer: each is for a message of its window that waits as well. A ping or a pong is put in only
    /// while the outbox is empty.
    pub(super) fn new(depth: usize) -> Self {
        let frames = depth + EAGER_PLACES_MAX as usize + 1;
        let frames = vec![0; frames * Control::BYTES].into();
        Self { frames, start: 0, end: 0, taken: 0, state: State::Idle, last_words: LastWords::NotYet }
    }

    /// Adds whole frames. Returns false if there is no room for them.
    pub(super) fn put(&mut self, frames: &[u8]) -> bool {
        if self.state == State::Broken || self.last_words != LastWords::NotYet {
            return true;
        }
        if self.start > 0 {
            self.frames.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        let Some(room) = self.frames[self.end..].get_mut(..frames.len()) else { return false };
        room.copy_from_slice(frames);
        self.end += frames.len();
        true
    }

    /// Returns the number of bytes that were put in so far.
    pub(super) const fn put_in(&self) -> u64 {
        self.taken + (self.end - self.start) as u64
    }

    /// Returns the number of bytes that the socket has taken.
    pub(super) const fn taken(&self) -> u64 {
        self.taken
    }

    /// Drops the frames that no thread is writing.
    pub(super) fn clear(&mut self) {
        if self.state != State::Busy {
            self.start = self.end;
        }
    }

    /// Returns whether the socket has not taken all frames.
    pub(super) const fn is_waiting(&self) -> bool {
        self.start < self.end
    }

    /// Returns whether a thread may write now.
    pub(super) const fn is_free(&self) -> bool {
        matches!(self.state, State::Idle)
    }

    /// Returns whether no more will ever be written.
    pub(super) const fn is_broken(&self) -> bool {
        matches!(self.state, State::Broken)
    }

    /// Returns whether the last words of a failed connection are left to say, by a thread that is free to.
    pub(super) const fn has_last_words(&self) -> bool {
        matches!(self.last_words, LastWords::Abort | LastWords::Shut) && !matches!(self.state, State::Busy)
    }

    /// Returns the next thing to do. `is_amid` tells whether a message is partly written, which comes first.
    ///
    /// For frames and the abort the caller is the writing thread, until it calls one of
    /// [`Outbox::took`], [`Outbox::no_room`] and [`Outbox::broke`].
    pub(super) fn next(&mut self, is_amid: bool, buffer: &mut [u8]) -> NextWrite {
        if self.state == State::Busy {
            return NextWrite::Nothing;
        }
        match self.last_words {
            LastWords::NotYet => {}
            LastWords::Abort if self.state == State::Idle && !is_amid && !self.is_waiting() => {
                self.last_words = LastWords::Shut;
                self.state = State::Busy;
                return NextWrite::Abort;
            }
            LastWords::Abort | LastWords::Shut => {
                self.last_words = LastWords::Said;
                return NextWrite::Shut;
            }
            LastWords::Said => return NextWrite::Nothing,
        }
        if self.state != State::Idle {
            return NextWrite::Nothing;
        }
        if is_amid || !self.is_waiting() {
            return NextWrite::Message;
        }
        let bytes = buffer.len().min(self.end - self.start);
        buffer[..bytes].copy_from_slice(&self.frames[self.start..self.start + bytes]);
        self.state = State::Busy;
        NextWrite::Frames(bytes)
    }

    /// Makes the calling thread the writing one, for a message.
    pub(super) const fn begin_message(&mut self) {
        self.state = State::Busy;
    }

    /// Takes the end of a write, which has taken so many bytes of frames.
    pub(super) fn took(&mut self, bytes: usize) {
        debug_assert!(self.state == State::Busy && bytes <= self.end - self.start, "the writer's own bytes");
        self.start += bytes;
        self.taken += bytes as u64;
        self.state = State::Idle;
    }

    /// Takes the end of a write that found no room.
    pub(super) const fn no_room(&mut self) {
        self.state = State::Full;
    }

    /// Notes that the socket may have room again.
    pub(super) fn room(&mut self) {
        if self.state == State::Full {
            self.state = State::Idle;
        }
    }

    /// Takes the end of a write that failed: no more can be written.
    pub(super) const fn broke(&mut self) {
        self.state = State::Broken;
    }

    /// Has the last words said: an abort, if it is news and can be written, and the end of the socket.
    pub(super) const fn fail(&mut self, is_news: bool) {
        self.last_words = if is_news { LastWords::Abort } else { LastWords::Shut };
    }
}
