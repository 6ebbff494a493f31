//! Bursts: messages that are moved without a pause, and the chunks that they are cut into.

use gputcp_proto::plan::ChunkPlan;

use super::Message;

/// Messages of one length that lie one behind the other in a buffer, and are moved without a pause.
#[derive(Debug, Clone, Copy)]
pub struct Burst<'a> {
    /// The first message.
    pub first: Message<'a>,
    /// The number of messages.
    pub messages: u64,
    /// Messages that may be in flight: a message begins once the one so many before it is over. Both ends
    /// take the depth into account; the window may allow fewer.
    pub depth: u64,
}

impl<'a> From<Message<'a>> for Burst<'a> {
    /// Takes a message alone.
    fn from(first: Message<'a>) -> Self {
        Self { first, messages: 1, depth: 1 }
    }
}

/// A step in a message's life at the receiver; messages are counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its first receive is posted.
    Begun(u64),
    /// All of it is at its destination.
    Over(u64),
}

/// A chunk of a burst.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// The number of its message.
    pub(super) message: u64,
    pub(super) is_first: bool,
    pub(super) is_last: bool,
    /// Its place in the buffer.
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The chunks of a burst, message by message.
#[derive(Debug)]
pub(super) struct Pieces<'a> {
    pub(super) burst: Burst<'a>,
    chunk_bytes: u64,
    message: u64,
    chunks: ChunkPlan,
}

impl<'a> Pieces<'a> {
    pub(super) const fn new(burst: Burst<'a>, chunk_bytes: u64) -> Self {
        Self { burst, chunk_bytes, message: 0, chunks: ChunkPlan::new(burst.first.bytes, chunk_bytes) }
    }

    pub(super) const fn is_finished(&self) -> bool {
        self.message >= self.burst.messages
    }
}

impl Iterator for Pieces<'_> {
    type Item = Piece;

    fn next(&mut self) -> Option<Piece> {
        let Burst { first, messages, .. } = self.burst;
        if self.message >= messages {
            return None;
        }
        let (message, chunk) = (self.message, self.chunks.next()?);
        let is_last = self.chunks.is_finished();
        if is_last {
            self.message += 1;
            self.chunks = ChunkPlan::new(first.bytes, self.chunk_bytes);
        }
        let offset = first.offset + message * first.bytes + chunk.offset;
        Some(Piece { message, is_first: chunk.index == 0, is_last, offset, bytes: chunk.bytes })
    }
}

#[cfg(test)]
mod tests {
    use gputcp_gpu::Buffer;

    use super::*;

    #[test]
    fn each_message_is_cut_for_itself_at_its_own_place() {
        let buffer = Buffer::host(64).unwrap();
        let first = Message { buffer: &buffer, offset: 3, bytes: 10 };
        let pieces = Pieces::new(Burst { first, messages: 3, depth: 2 }, 4);
        let all: Vec<_> =
            pieces.map(|it| (it.message, it.offset, it.bytes, it.is_first, it.is_last)).collect();
        let mut expected = Vec::new();
        for (message, at) in [(0, 3), (1, 13), (2, 23)] {
            expected.push((message, at, 4, true, false));
            expected.push((message, at + 4, 4, false, false));
            expected.push((message, at + 8, 2, false, true));
        }
        assert_eq!(all, expected);
    }

    #[test]
    fn a_message_alone_is_a_burst_of_one() {
        let buffer = Buffer::host(8).unwrap();
        for bytes in [0, 1, 8] {
            let mut pieces = Pieces::new(Message { buffer: &buffer, offset: 0, bytes }.into(), 8);
            assert!(!pieces.is_finished());
            let piece = pieces.next().unwrap();
            assert_eq!((piece.bytes, piece.is_first, piece.is_last), (bytes, true, true));
            assert!(pieces.is_finished() && pieces.next().is_none());
        }
    }
}
