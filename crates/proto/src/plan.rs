//! The cutting of bytes: a message into chunks, a chunk into segments.
//!
//! A *message* is the user's request. A *chunk* is one request of the transport and takes one slot. One 64
//! MiB request would fill the bounce buffers, hold its slot for long and leave nothing to pipeline. A
//! *segment* is the unit that one socket carries under one header; several sockets carry one chunk's segments
//! side by side.

use crate::frame::SEGMENT_BYTES;

/// A part of a message: one request of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The chunk's place in the message's order, from 0.
    pub index: u64,
    /// The chunk's start in the message, in bytes.
    pub offset: u64,
    /// The chunk's length in bytes. Only the last chunk of a message may be shorter than the others.
    pub bytes: u64,
}

/// The chunks of one message, in order.
///
/// A message of 0 bytes has one chunk of 0 bytes: it is still sent and received.
#[derive(Debug, Clone)]
pub struct ChunkPlan {
    message_bytes: u64,
    chunk_bytes: u64,
    next: u64,
}

impl ChunkPlan {
    /// Cuts a message of `message_bytes` into chunks of `chunk_bytes`.
    ///
    /// # Panics
    /// If `chunk_bytes` is 0: settings are checked before they come here.
    #[must_use]
    pub const fn new(message_bytes: u64, chunk_bytes: u64) -> Self {
        assert!(chunk_bytes > 0, "a chunk has at least one byte");
        Self { message_bytes, chunk_bytes, next: 0 }
    }

    /// Returns the number of chunks in all.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        let chunks = self.message_bytes.div_ceil(self.chunk_bytes);
        if chunks == 0 { 1 } else { chunks }
    }

    /// Returns whether all chunks have been given out.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.next == self.chunks()
    }
}

impl Iterator for ChunkPlan {
    type Item = Chunk;

    fn next(&mut self) -> Option<Chunk> {
        if self.next == self.chunks() {
            return None;
        }
        let index = self.next;
        self.next += 1;
        let offset = index * self.chunk_bytes;
        Some(Chunk { index, offset, bytes: self.chunk_bytes.min(self.message_bytes - offset) })
    }
}

/// The most pieces of one chunk.
///
/// It bounds the bitmap of pieces that have begun to land: 4096 bits × 32 slots = 16 KiB per connection.
pub const PIECES_MAX: u64 = 4096;

/// The longest message of one request: 8 TiB.
///
/// It keeps every segment's length within the 32 bits of its header. [`PIECES_MAX`] pieces of 2 GiB, rounded
/// up to a multiple of the base (at most 64 MiB), stay below 4 GiB.
pub const MESSAGE_BYTES_MAX: u64 = PIECES_MAX << 31;

/// Returns the length of the equal pieces into which a segment is cut.
///
/// It is `piece_bytes` or somewhat more, so that segments are as long as asked for.
///
/// # Panics
/// If `piece_bytes` is 0.
#[must_use]
pub const fn fitting_piece(segment_bytes: u64, piece_bytes: u64) -> u64 {
    match segment_bytes.checked_div(segment_bytes / piece_bytes) {
        Some(fitting) => fitting,
        None => segment_bytes,
    }
}

/// The cutting of a connection's chunks into segments.
///
/// The sender makes a segment of one or several *pieces*. Long segments cost least; short ones start and end
/// a message without idle sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentPlan {
    segment_bytes: u64,
    piece_bytes: u64,
}

impl SegmentPlan {
    /// Returns a plan of segments of one length: a piece each.
    ///
    /// # Panics
    /// If the length is 0 or above the limit of [`SEGMENT_BYTES`].
    #[must_use]
    pub const fn new(segment_bytes: u64) -> Self {
        assert!(segment_bytes > 0, "a segment has at least one byte");
        assert!(segment_bytes <= *SEGMENT_BYTES.end() as u64, "a segment's length fits its header");
        Self { segment_bytes, piece_bytes: segment_bytes }
    }

    /// Returns the plan with segments of as many pieces of `piece_bytes` as fit.
    ///
    /// # Panics
    /// If a piece has no byte, or more than a segment.
    #[must_use]
    pub const fn with_pieces(self, piece_bytes: u64) -> Self {
        assert!(piece_bytes > 0 && piece_bytes <= self.segment_bytes, "a piece is a part of a segment");
        Self { piece_bytes, ..self }
    }

    /// Returns the length of a piece of a chunk of `chunk_bytes`: this plan's, if that makes at most
    /// [`PIECES_MAX`].
    ///
    /// Otherwise it is the next multiple that does. Both sides compute it, so it does not travel on the wire.
    #[must_use]
    pub const fn piece_of(&self, chunk_bytes: u64) -> u64 {
        let pieces = chunk_bytes.div_ceil(self.piece_bytes);
        let factor = pieces.div_ceil(PIECES_MAX);
        if factor == 0 { self.piece_bytes } else { self.piece_bytes * factor }
    }

    /// Returns the length of the longest segment of a chunk of `chunk_bytes`, in whole pieces.
    ///
    /// It is at most this plan's, unless one piece is longer.
    #[must_use]
    pub const fn longest_of(&self, chunk_bytes: u64) -> u64 {
        let piece = self.piece_of(chunk_bytes);
        let pieces = self.segment_bytes / piece;
        if pieces == 0 { piece } else { piece * pieces }
    }

    /// Returns the length of the longest chunk whose segments are no longer than this plan's: slabs of that
    /// length take it.
    #[must_use]
    pub const fn longest_chunk(&self) -> u64 {
        self.segment_bytes / self.piece_bytes * self.piece_bytes * PIECES_MAX
    }
}

#[cfg(test)]
mod tests;
