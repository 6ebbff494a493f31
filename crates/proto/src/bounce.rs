//! A bounce buffer's life: `Filling → Filled → Unpacking → (Slot, Placed)`.
//!
//! Invariant I2: a bounce buffer is released only by a finished unpack. Each step consumes the one before it.

use crate::{
    recv::{Landing, Placed},
    window::Slot,
};

/// The completion of a lane's piece of work: a flag written by a CUDA stream, or by the software GPU.
pub trait Completion {
    /// The reason why the lane cannot tell.
    type Error;

    /// Returns whether the work is finished. Never waits.
    ///
    /// # Errors
    /// If the device was lost, or the work failed.
    fn is_done(&mut self) -> Result<bool, Self::Error>;
}

/// A part of a landed chunk: a range of a bounce region, and its place in the destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fragment {
    /// The fragment's start in the bounce buffer, in bytes.
    pub source_offset: u64,
    /// The fragment's length in bytes; 0 is legal.
    pub bytes: u64,
    /// The fragment's start in the chunk's destination, in bytes.
    pub destination_offset: u64,
}

impl Fragment {
    /// Returns the fragment with source and destination exchanged: it copies the same bytes back.
    #[must_use]
    pub const fn reversed(self) -> Self {
        let (source_offset, destination_offset) = (self.destination_offset, self.source_offset);
        Self { source_offset, bytes: self.bytes, destination_offset }
    }
}

/// Launches unpacks, on one connection's own lane.
pub trait Unpack {
    /// The completion of a launched unpack.
    type Done: Completion<Error = Self::Error>;
    /// The reason why a launch failed.
    type Error;

    /// Starts to gather the fragments of bounce buffer `index` into the destination of `landing`. Does not
    /// wait.
    ///
    /// # Errors
    /// If the device refuses the launch.
    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Self::Done, Self::Error>;
}

/// A bounce buffer that a socket is being read into.
#[must_use = "dropped, its buffer and its segment are lost"]
#[derive(Debug)]
pub struct Filling {
    slot: Slot,
    landing: Landing,
    have: u64,
}

impl Filling {
    /// Gives a free bounce buffer to a segment that is about to arrive.
    pub const fn new(slot: Slot, landing: Landing) -> Self {
        Self { slot, landing, have: 0 }
    }

    /// Counts `got` more bytes; the buffer is filled when the segment is complete.
    ///
    /// # Errors
    /// The buffer itself, while bytes are missing.
    ///
    /// # Panics
    /// If more bytes are counted than the segment has: the reader asked the socket for too many.
    pub fn advance(mut self, got: u64) -> Result<Filled, Self> {
        self.have += got;
        assert!(self.have <= self.landing.bytes(), "read past the segment's end");
        if self.have == self.landing.bytes() {
            Ok(Filled { slot: self.slot, landing: self.landing })
        } else {
            Err(self)
        }
    }

    /// Returns the segment that is being read.
    pub const fn landing(&self) -> &Landing {
        &self.landing
    }

    /// Returns the bounce buffer's index.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.slot.index()
    }

    /// Returns how many bytes have arrived.
    #[must_use]
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// Returns how many bytes are still to arrive.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.landing.bytes() - self.have
    }
}

/// A bounce buffer that holds a whole segment.
#[must_use = "dropped, its buffer and its segment are lost"]
#[derive(Debug)]
pub struct Filled {
    slot: Slot,
    landing: Landing,
}

impl Filled {
    /// Launches the unpack.
    ///
    /// # Errors
    /// If the launch failed; the buffer is then never used again.
    pub fn unpack<U: Unpack>(self, unpack: &mut U) -> Result<Unpacking<U::Done>, U::Error> {
        let done = unpack.launch(self.slot.index(), &self.landing)?;
        Ok(Unpacking { slot: self.slot, landing: self.landing, done })
    }

    /// Returns the segment that it holds.
    pub const fn landing(&self) -> &Landing {
        &self.landing
    }
}

/// A bounce buffer that an unpack is reading. The type has no method that writes it.
#[must_use = "poll it until the unpack is finished, or its buffer stays taken"]
#[derive(Debug)]
pub struct Unpacking<D> {
    slot: Slot,
    landing: Landing,
    done: D,
}

impl<D: Completion> Unpacking<D> {
    /// Returns the buffer's slot and the proof that the bytes are in place, once the unpack is finished;
    /// until then itself.
    ///
    /// # Errors
    /// If the lane failed.
    pub fn poll(mut self) -> Result<Result<(Slot, Placed), Self>, D::Error> {
        Ok(if self.done.is_done()? { Ok((self.slot, Placed::after_unpack(self.landing))) } else { Err(self) })
    }

    /// Returns the segment that is unpacked.
    pub const fn landing(&self) -> &Landing {
        &self.landing
    }

    /// Returns the unpack's completion, to wait for it.
    pub const fn completion(&self) -> &D {
        &self.done
    }
}

#[cfg(test)]
mod tests;
