//! The way of one segment to its socket: from its source in place, or copied to a staging buffer first.
//!
//! The segment is a part of a message, for a data socket, or a whole short message, for the control socket.
//! Its header is written with it.

use crate::{
    frame::{Control, SegmentHeader},
    send::Segment,
    stage::{Staged, Staging},
    window::Slot,
};

/// A segment that a socket is taking.
#[must_use = "dropped, its bytes are never sent"]
#[derive(Debug)]
pub struct Departure<D> {
    pub(super) stage: Stage<D>,
    /// The bytes of the header that the socket has taken.
    head: usize,
}

/// How far a segment has come.
#[derive(Debug)]
pub(super) enum Stage<D> {
    /// From its source, of which the socket has taken so many bytes.
    InPlace(Segment, u64),
    /// From a staging buffer.
    Staged(Staged),
    /// The copy to a staging buffer is under way.
    Copying(Staging<D>),
    /// It is to be copied to this staging buffer.
    Planned(Slot, Segment),
    /// The socket has taken all of it. The staging buffer is free again.
    Written(Segment, Option<Slot>),
    /// Out of hand for a moment.
    Moving,
}

/// The next thing to do for a [`Departure`] or a [`Stream`](super::sender::Stream), without the lock.
#[derive(Debug)]
pub enum Work<'a> {
    /// Nothing: the connection is next.
    Connection,
    /// Nothing before the control socket is heard; then [`Sender::step`](super::Sender::step).
    Hear,
    /// Write the rest of the header, and the source from this byte of the segment on.
    InPlace {
        /// The rest of the header.
        header: Header,
        /// The segment.
        segment: &'a Segment,
        /// The bytes of it that are written.
        written: u64,
    },
    /// Write the rest of the header, and the rest of the staging buffer.
    Staged {
        /// The rest of the header.
        header: Header,
        /// The staging buffer.
        staged: &'a Staged,
    },
    /// Start the copy to this staging buffer, and pass it to [`Departure::staging`] or
    /// [`Stream::staging`](super::sender::Stream::staging).
    Stage(Slot, Segment),
}

/// The rest of a header.
#[derive(Debug, Clone, Copy)]
pub struct Header {
    bytes: [u8; SegmentHeader::BYTES],
    taken: usize,
}

impl Header {
    /// Returns the bytes that are left to write.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.bytes[self.taken..]
    }

    fn of(segment: &Segment, taken: usize) -> Self {
        const { assert!(SegmentHeader::BYTES == Control::BYTES) };
        let bytes = if segment.is_inline() {
            Control::Inline { seq: segment.seq(), bytes: segment.bytes() as u32 }.encode()
        } else {
            segment.header().encode()
        };
        Self { bytes, taken }
    }
}

impl<D> Departure<D> {
    pub(super) const fn in_place(segment: Segment) -> Self {
        Self { stage: Stage::InPlace(segment, 0), head: 0 }
    }

    pub(super) const fn planned(slot: Slot, segment: Segment) -> Self {
        Self { stage: Stage::Planned(slot, segment), head: 0 }
    }

    pub(super) const fn staged(staged: Staged) -> Self {
        Self { stage: Stage::Staged(staged), head: 0 }
    }

    /// Returns the next thing to do.
    pub fn work(&mut self) -> Work<'_> {
        if matches!(self.stage, Stage::Planned(..)) {
            let Stage::Planned(slot, segment) = self.take() else { unreachable!("it was a moment ago") };
            return Work::Stage(slot, segment);
        }
        match &self.stage {
            Stage::InPlace(segment, written) => {
                Work::InPlace { header: Header::of(segment, self.head), segment, written: *written }
            }
            Stage::Staged(staged) => Work::Staged { header: Header::of(staged.segment(), self.head), staged },
            _ => Work::Connection,
        }
    }

    /// Counts bytes that the socket has taken, of the header first. Returns the payload bytes that count as
    /// sent now: those of a segment that is written in full.
    pub fn wrote(&mut self, bytes: usize) -> u64 {
        let of_head = bytes.min(SegmentHeader::BYTES - self.head);
        self.head += of_head;
        let payload = (bytes - of_head) as u64;
        self.stage = match self.take() {
            Stage::InPlace(segment, written) => {
                let written = written + payload;
                if self.head == SegmentHeader::BYTES && written == segment.bytes() {
                    Stage::Written(segment, None)
                } else {
                    Stage::InPlace(segment, written)
                }
            }
            Stage::Staged(staged) => match staged.written(payload) {
                Ok((slot, segment)) => Stage::Written(segment, Some(slot)),
                Err(rest) => Stage::Staged(rest),
            },
            stage => stage,
        };
        match &self.stage {
            Stage::Written(segment, _) => segment.bytes(),
            _ => 0,
        }
    }

    /// Takes the copy that was started.
    pub fn staging(&mut self, staging: Staging<D>) {
        self.stage = Stage::Copying(staging);
    }

    /// Returns whether the socket has taken a part of it, and the rest not yet.
    pub(super) const fn is_amid(&self) -> bool {
        self.head > 0 && !matches!(self.stage, Stage::Written(..))
    }

    pub(super) const fn take(&mut self) -> Stage<D> {
        std::mem::replace(&mut self.stage, Stage::Moving)
    }
}
