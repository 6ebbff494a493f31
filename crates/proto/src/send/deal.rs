//! Dealing: the choice of the next message, of its segment's length and socket, and of the thread to wake for
//! it.

use super::{Outgoing, SendSide};
use crate::{frame::SegmentHeader, window::place};

/// A part of a send, handed to one socket. Exactly one carries it, and it comes back by
/// [`SendSide::written`].
#[must_use = "dropped, its bytes are never sent"]
#[derive(Debug, PartialEq, Eq)]
pub struct Segment {
    index: usize,
    /// The sequence number of the receive that its message meets.
    seq: u64,
    offset: u64,
    bytes: u64,
    total: u64,
    inline: bool,
}

/// The segments that a caller of [`SendSide::deal`] can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carrier {
    /// Those for any data socket, whatever the others hold: for a connection of one.
    Any,
    /// Those for this data socket, if it is its turn. Its thread may write on the control socket too.
    Stream(usize),
    /// Those for the control socket alone: whole short messages.
    Control,
}

/// A message is longer than the receive that it meets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a message of {bytes} bytes met a receive of {capacity} bytes")]
pub struct TooLong {
    /// The message's length.
    pub bytes: u64,
    /// The receive's length, or [`MESSAGE_BYTES_MAX`](crate::plan::MESSAGE_BYTES_MAX) if that is less.
    pub capacity: u64,
}

impl<const N: usize> SendSide<N> {
    /// Returns the next segment to carry.
    ///
    /// `None` when no message is both posted and announced, or when it is another stream's turn.
    ///
    /// # Errors
    /// [`TooLong`] if the next message is longer than the receive it meets: this side's user is at fault.
    pub fn deal(&mut self, carrier: Carrier) -> Result<Option<Segment>, TooLong> {
        let Some(index) = self.ready() else { return Ok(None) };
        let Outgoing { bytes: total, meets: seq, dealt: offset, .. } = self.outgoing[index];
        let capacity = self.credits[place(seq, self.credits.len())].capacity;
        if seq < self.announced && total > capacity {
            return Err(TooLong { bytes: total, capacity });
        }
        let inline = self.goes_short(index);
        let bytes = match carrier {
            _ if inline => total,
            Carrier::Stream(stream) => self.fitting(stream, total).min(total - offset),
            Carrier::Any | Carrier::Control => self.plan.longest_of(total).min(total - offset),
        };
        match carrier {
            Carrier::Control if !inline => return Ok(None),
            Carrier::Stream(stream) if !inline => {
                if !self.streams.is_next(stream, bytes, self.open_bytes) {
                    return Ok(None);
                }
                self.streams.took(stream, seq, bytes);
            }
            _ => {}
        }
        let outgoing = &mut self.outgoing[index];
        outgoing.dealt += bytes;
        if outgoing.dealt == total {
            self.cursor += 1;
            if let Some(groups) = &mut self.groups {
                groups.dealt(seq);
            }
            self.after_short = self.eager_places > 0 && inline && total <= self.eager_bytes;
        }
        Ok(Some(Segment { index, seq, offset, bytes, total, inline }))
    }

    /// Notes whether a data socket waits for something to carry.
    pub const fn set_idle(&mut self, stream: usize, is_idle: bool) {
        self.streams.set_idle(stream, is_idle);
    }

    /// Returns an idle data socket that is to be woken, as there is a segment for it to carry.
    ///
    /// Each is named once, until it has come and is idle again.
    #[must_use = "it is not named again until it has come"]
    pub fn to_wake(&mut self) -> Option<usize> {
        let index = self.ready()?;
        let stream = self.streams.to_call(self.ready_segments())?;
        let Outgoing { bytes: total, dealt, .. } = self.outgoing[index];
        let bytes = self.fitting(stream, total).min(total - dealt);
        // One that may not carry it would come in vain, and call another one that comes in vain.
        let may_carry = self.goes_short(index) || self.streams.is_next(stream, bytes, self.open_bytes);
        may_carry.then(|| {
            self.streams.call(stream);
            stream
        })
    }

    /// Returns whether [`SendSide::deal`] has a segment for a data socket.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready().is_some()
    }

    /// Returns the receive to ask for, if a message waits for its announcement that may be held back.
    ///
    /// Each is named once.
    #[must_use = "it is not named again"]
    pub fn to_want(&mut self) -> Option<u64> {
        let index = self.window.holder(self.cursor)?;
        let waits = self.after_short && self.cursor >= self.announced && !self.is_short(index);
        if !waits {
            return None;
        }
        self.after_short = false;
        Some(self.cursor)
    }

    /// Returns the place of the send that is dealt next, if it may go.
    fn ready(&self) -> Option<usize> {
        let index = self.window.holder(self.cursor)?;
        let meets = self.outgoing[index].meets;
        let has_place = meets < self.done + self.eager_places && self.is_short(index);
        (meets < self.announced || has_place).then_some(index)
    }

    /// Returns whether a send that may go travels inside a control frame.
    fn goes_short(&self, index: usize) -> bool {
        let Outgoing { bytes, meets, inline, .. } = self.outgoing[index];
        let longest = self.credits[place(meets, self.credits.len())].inline_bytes;
        // A message without bytes has no segment to ride on.
        meets >= self.announced || bytes == 0 || (inline && bytes <= longest)
    }

    fn is_short(&self, index: usize) -> bool {
        let Outgoing { bytes, inline, .. } = self.outgoing[index];
        self.eager_places > 0 && bytes <= self.eager_bytes && (inline || bytes == 0)
    }

    /// Returns the length of a stream's next segment, of a message of `total` bytes.
    ///
    /// It is short at first, then no more than the stream holds already, so that all streams begin at once.
    /// It is no more than half of the stream's share of the bytes that are ready, so that they end together.
    fn fitting(&self, stream: usize, total: u64) -> u64 {
        let (piece, longest) = (self.plan.piece_of(total), self.plan.longest_of(total));
        let longest = longest.min(self.streams.holds(stream));
        if longest <= piece {
            return piece;
        }
        let fair = self.ready_bytes(longest * 2 * self.streams.count()) / (2 * self.streams.count());
        (fair.min(longest) / piece * piece).max(piece)
    }

    /// Returns how many bytes can be dealt, counted as far as `enough`.
    fn ready_bytes(&self, enough: u64) -> u64 {
        let mut ready = 0;
        for seq in self.cursor..self.announced.min(self.window.next_seq()) {
            let Some(index) = self.window.holder(seq) else { break };
            ready += self.outgoing[index].bytes - self.outgoing[index].dealt;
            if ready >= enough {
                break;
            }
        }
        ready
    }

    /// Returns how many segments [`SendSide::deal`] may have.
    ///
    /// Those are the pieces left of the send that is being dealt, and one for each send behind it.
    fn ready_segments(&self) -> u64 {
        let Some(index) = self.ready() else { return 0 };
        let Outgoing { bytes, dealt, .. } = self.outgoing[index];
        let left = (bytes - dealt).div_ceil(self.plan.piece_of(bytes)).max(1);
        let behind = self.announced.min(self.window.next_seq()).saturating_sub(self.cursor + 1);
        left + behind
    }
}

impl Segment {
    /// Returns the place of the send it belongs to, `0..N`.
    #[must_use]
    pub const fn slot_index(&self) -> usize {
        self.index
    }

    /// Returns the sequence number of the receive it goes to; without groups that of its send.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns the start of its bytes in the message.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many bytes it has; 0 only for an empty message.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether it is a whole message that travels inside a control frame.
    #[must_use]
    pub const fn is_inline(&self) -> bool {
        self.inline
    }

    /// Returns the header before its bytes on a data socket.
    #[must_use]
    pub const fn header(&self) -> SegmentHeader {
        SegmentHeader { seq: self.seq, offset: self.offset, total: self.total, bytes: self.bytes as u32 }
    }
}
