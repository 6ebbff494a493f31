//! The caller's own bytes, copied to device memory and back: piece by piece through pinned memory, waited
//! for, outside every measured time.

use super::{memory::Pinned, pattern::Bench};
use crate::{Error, memory::Hold};

impl Bench {
    /// Writes `source` from the first byte of the hold on.
    pub(super) fn write(&mut self, hold: &Hold, source: &[u8], staging: &Pinned) -> Result<(), Error> {
        let mut to = hold.address();
        for piece in source.chunks(PIECE_BYTES) {
            // SAFETY: the staging memory has room for a piece, and the copy before is done.
            unsafe { staging.start().as_ptr().copy_from_nonoverlapping(piece.as_ptr(), piece.len()) };
            let bytes = piece.len() as u64;
            // SAFETY: pinned memory, and a range of the hold, which the command keeps.
            self.perform(None, Some(hold), |queue| unsafe {
                queue.copy(to, staging.address(), bytes, DOING)
            })?;
            to += bytes;
        }
        Ok(())
    }

    /// Reads from the first byte of the hold on, until `destination` is full.
    pub(super) fn read(
        &mut self,
        hold: &Hold,
        destination: &mut [u8],
        staging: &Pinned,
    ) -> Result<(), Error> {
        let mut from = hold.address();
        for piece in destination.chunks_mut(PIECE_BYTES) {
            let bytes = piece.len() as u64;
            // SAFETY: pinned memory, and a range of the hold, which the command keeps.
            self.perform(Some(hold), None, |queue| unsafe {
                queue.copy(staging.address(), from, bytes, DOING)
            })?;
            // SAFETY: the copy is done, so these bytes are there.
            unsafe { piece.as_mut_ptr().copy_from_nonoverlapping(staging.start().as_ptr(), piece.len()) };
            from += bytes;
        }
        Ok(())
    }
}

/// Returns the length of the staging memory for so many bytes.
pub(super) fn staging_bytes(bytes: usize) -> u64 {
    bytes.min(PIECE_BYTES) as u64
}

const PIECE_BYTES: usize = 4 << 20;
const DOING: &str = "start to copy the caller's bytes";
