//! The gathering unpack ([`crate::UnpackMode::Host`]).
//!
//! The CPU lines fragments up in a scratch, and one copy carries each run that is contiguous at the
//! destination.
//!
//! The scratch is a small ring of pieces: while one is being filled the others are on their way. It stays in
//! cache. Invariant: a piece is filled anew only after the lane has finished the copies out of it.

use gputcp_proto::bounce::Fragment;

use super::stream::Stream;
use crate::{
    Error, UnpackMode,
    host::{Stores, copy_bytes},
    memory::Hold,
};

/// A part of the lane's memory, in pieces, and the run that is being gathered.
#[derive(Debug)]
pub(super) struct Scratch {
    /// The scratch's start in the lane's memory.
    start: u64,
    /// For each piece, the point on the timeline at which the last copy out of it ends.
    pending: [u64; PIECES],
    piece: usize,
    /// The number of bytes gathered in the piece.
    used: u64,
}

impl Scratch {
    pub(super) const fn at(start: u64) -> Self {
        Self { start, pending: [0; PIECES], piece: 0, used: PIECE_BYTES }
    }

    /// Gathers fragments and launches the copies. The fragments were checked against source and destination.
    pub(super) fn gather(
        &mut self,
        stream: &mut Stream,
        lane: &Hold,
        source: &Hold,
        fragments: &[Fragment],
        destination: &Hold,
    ) -> Result<(), Error> {
        let mut run = NO_RUN;
        for fragment in fragments {
            let Fragment { mut source_offset, bytes: mut left, mut destination_offset } = *fragment;
            while left > 0 {
                let in_piece = PIECE_BYTES - self.used;
                if in_piece == 0 || destination_offset != run.destination_offset + run.bytes {
                    self.launch(stream, lane, destination, run)?;
                    if in_piece == 0 {
                        self.next_piece(stream)?;
                    }
                    run = Fragment { source_offset: self.at_used(), bytes: 0, destination_offset };
                    continue;
                }
                let bytes = left.min(in_piece);
                if source.is_on_host() {
                    let (from, to) = (source.at(source_offset, bytes), lane.at(self.at_used(), bytes));
                    // SAFETY: both are within host memory whose holds live through the call. The piece is
                    // idle and the lane's own, so no reference to it exists. A source is either another slab
                    // or another buffer.
                    unsafe { copy_bytes(from.as_ptr(), to.as_ptr(), bytes as usize, Stores::Cached) };
                } else {
                    // The CPU does not reach the source: the stream copies it to the scratch, before the run
                    // goes on from there.
                    let destination_offset = self.at_used();
                    let part = Fragment { source_offset, bytes, destination_offset };
                    stream.stage(source, lane, &[part], UnpackMode::Copy)?;
                }
                self.used += bytes;
                run.bytes += bytes;
                source_offset += bytes;
                destination_offset += bytes;
                left -= bytes;
            }
        }
        self.launch(stream, lane, destination, run)
    }

    fn launch(
        &mut self,
        stream: &mut Stream,
        lane: &Hold,
        destination: &Hold,
        run: Fragment,
    ) -> Result<(), Error> {
        if run.bytes > 0 {
            stream.copy_each(lane, destination, &[run])?;
            self.pending[self.piece] = stream.launched();
        }
        Ok(())
    }

    fn next_piece(&mut self, stream: &Stream) -> Result<(), Error> {
        self.piece = (self.piece + 1) % PIECES;
        self.used = 0;
        stream.wait(self.pending[self.piece])
    }

    const fn at_used(&self) -> u64 {
        self.start + self.piece as u64 * PIECE_BYTES + self.used
    }
}

/// The number of pieces: one being gathered, one being copied, two for the jitter between them.
const PIECES: usize = 4;
const PIECE_BYTES: u64 = 128 << 10;
pub(super) const SCRATCH_BYTES: u64 = PIECES as u64 * PIECE_BYTES;
/// A run that ends where no fragment begins, so that the first fragment starts a run of its own.
const NO_RUN: Fragment = Fragment { source_offset: 0, bytes: 0, destination_offset: u64::MAX };
