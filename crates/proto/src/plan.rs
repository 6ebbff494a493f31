//! How bytes are cut: a message into chunks, a chunk into segments.
//!
//! A *message* is what the user asks for. A *chunk* is one request of the transport and takes one slot; one 64 MiB
//! request would press the bounce buffers, hold its slot for long and leave nothing to pipeline. A *segment* is what
//! one socket carries under one header; several sockets carry one chunk's segments side by side.

/// A piece of a message: one request of the transport.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// Its place in the message's order, from 0.
    pub index: u64,
    /// Where it starts in the message, in bytes.
    pub offset: u64,
    /// Its length in bytes. Only the last chunk of a message may be shorter than the others.
    pub bytes: u64,
}

/// The chunks of one message, in order. A message of 0 bytes has one chunk of 0 bytes: it is still sent and received.
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

    /// How many chunks there are in all.
    #[must_use]
    pub const fn chunks(&self) -> u64 {
        let chunks = self.message_bytes.div_ceil(self.chunk_bytes);
        if chunks == 0 { 1 } else { chunks }
    }

    /// Whether all chunks have been given out.
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

/// The most segments that one chunk is cut into. Bounds the bitmap that says which segments have landed: 4096 bits
/// × 32 slots = 16 KiB per connection.
pub const SEGMENTS_MAX: u64 = 4096;

/// The longest message of one request: 8 TiB. Keeps every segment's length in the 32 bits that its header has for it:
/// [`SEGMENTS_MAX`] segments of 2 GiB, rounded up to a multiple of the base (at most 64 MiB), stay below 4 GiB.
pub const MESSAGE_BYTES_MAX: u64 = SEGMENTS_MAX << 31;

/// The segment length for a chunk of `chunk_bytes`, from the connection's `base_bytes`.
///
/// Both sides compute it, so the wire need not say it: the base, unless that made more than [`SEGMENTS_MAX`] segments,
/// then the next multiple of the base that does not.
#[must_use]
pub const fn segment_bytes(chunk_bytes: u64, base_bytes: u64) -> u64 {
    let pieces = chunk_bytes.div_ceil(base_bytes);
    let factor = pieces.div_ceil(SEGMENTS_MAX);
    if factor == 0 { base_bytes } else { base_bytes * factor }
}

#[cfg(test)]
mod tests;
