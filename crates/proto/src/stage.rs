//! A staging buffer's life, on the sender's side: `Slot → Staging → Staged → Slot`.
//!
//! It is the mirror of [`crate::bounce`]. A staging buffer is written to the socket only after the copy into
//! it is done, and reused only after it was written.

use crate::{bounce::Completion, send::Segment, window::Slot};

/// Starts device-to-staging copies, on one I/O thread's own lane.
pub trait Stage {
    /// The completion of a started copy.
    type Done: Completion<Error = Self::Error>;
    /// The reason why a copy could not be started.
    type Error;

    /// Starts to copy the segment's bytes into staging buffer `index`. Does not wait.
    ///
    /// # Errors
    /// If the device refuses the copy.
    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Self::Done, Self::Error>;
}

/// A staging buffer that a copy is writing.
#[must_use = "poll it until the copy is finished, or its buffer stays taken"]
#[derive(Debug)]
pub struct Staging<D> {
    slot: Slot,
    segment: Segment,
    done: D,
}

impl<D: Completion> Staging<D> {
    /// Gives a free staging buffer to a segment and starts the copy.
    ///
    /// # Errors
    /// If the copy could not be started; the buffer is then never used again.
    pub fn start<S: Stage<Done = D, Error = D::Error>>(
        slot: Slot,
        segment: Segment,
        stage: &mut S,
    ) -> Result<Self, D::Error> {
        let done = stage.launch(slot.index(), &segment)?;
        Ok(Self { slot, segment, done })
    }

    /// Returns the buffer, ready to be written to a socket, once the copy is finished; until then itself.
    ///
    /// # Errors
    /// If the lane failed.
    pub fn poll(mut self) -> Result<Result<Staged, Self>, D::Error> {
        Ok(if self.done.is_done()? {
            Ok(Staged { slot: self.slot, segment: self.segment, written: 0 })
        } else {
            Err(self)
        })
    }

    /// Returns the copy's completion, to wait for it.
    pub const fn completion(&self) -> &D {
        &self.done
    }
}

/// A staging buffer that holds a segment's bytes.
#[must_use = "dropped, its buffer and its segment are lost"]
#[derive(Debug)]
pub struct Staged {
    slot: Slot,
    segment: Segment,
    written: u64,
}

impl Staged {
    /// Counts `bytes` more as written to the socket; gives the buffer and the segment back when that was the
    /// last.
    ///
    /// # Errors
    /// The buffer itself, while bytes are left.
    ///
    /// # Panics
    /// If more bytes are counted than the segment has.
    pub fn written(mut self, bytes: u64) -> Result<(Slot, Segment), Self> {
        self.written += bytes;
        assert!(self.written <= self.segment.bytes(), "wrote past the segment's end");
        if self.written == self.segment.bytes() { Ok((self.slot, self.segment)) } else { Err(self) }
    }

    /// Returns the staging buffer's index.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.slot.index()
    }

    /// Returns the segment it holds.
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Returns how many bytes have been written.
    #[must_use]
    pub const fn have_written(&self) -> u64 {
        self.written
    }
}

#[cfg(test)]
mod tests;
