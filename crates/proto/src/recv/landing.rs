//! A segment's life at the receiver, as types.
//!
//! [`Landing`] is the right to write its bytes, [`InPlace`] the state while a socket is read into their
//! destination. [`Placed`] is the proof that they are there. [`Early`] is a short message that may become a
//! landing.
//!
//! Invariant: code outside of `recv` gets these from [`RecvSide`](super::RecvSide) or from each other, and
//! makes none.

/// A short message that came before its receive, and its eager place.
///
/// It becomes a [`Landing`] when it is whole and its receive is posted.
#[must_use = "dropped, its place is never free again"]
#[derive(Debug, PartialEq, Eq)]
pub struct Early {
    pub(super) seq: u64,
    pub(super) place: usize,
    pub(super) bytes: u64,
}

/// The right to write one segment's bytes to its place in the destination.
#[must_use = "dropped, its bytes can never arrive"]
#[derive(Debug, PartialEq, Eq)]
pub struct Landing {
    pub(super) index: usize,
    pub(super) seq: u64,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

/// The proof that a segment's bytes are at their destination: received in place, or unpacked by a finished
/// unpack.
#[must_use = "dropped, its bytes are never counted"]
#[derive(Debug, PartialEq, Eq)]
pub struct Placed(pub(super) Landing);

/// A segment that a socket is being read into at its destination.
#[must_use = "dropped, its bytes can never arrive"]
#[derive(Debug)]
pub struct InPlace {
    landing: Landing,
    have: u64,
}

impl Early {
    /// Returns the index of its eager place.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Landing {
    /// Returns the place of the receive it belongs to, `0..N`.
    #[must_use]
    pub const fn slot_index(&self) -> usize {
        self.index
    }

    /// Returns the sequence number of the receive it belongs to.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Returns the start of its bytes in the receive's destination.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// Returns how many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl InPlace {
    /// Starts to read a segment from its socket straight into the destination.
    pub const fn new(landing: Landing) -> Self {
        Self { landing, have: 0 }
    }

    /// Counts `got` more bytes; the segment is placed when all have arrived.
    ///
    /// # Errors
    /// The segment itself, while bytes are missing.
    ///
    /// # Panics
    /// If more bytes are counted than the segment has.
    pub fn advance(mut self, got: u64) -> Result<Placed, Self> {
        self.have += got;
        assert!(self.have <= self.landing.bytes, "read past the segment's end");
        if self.have == self.landing.bytes { Ok(Placed(self.landing)) } else { Err(self) }
    }

    /// Returns the segment.
    pub const fn landing(&self) -> &Landing {
        &self.landing
    }

    /// Returns how many bytes have arrived.
    #[must_use]
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// Returns how many bytes are still to arrive.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.landing.bytes - self.have
    }
}

impl Placed {
    /// Makes the proof for [`crate::bounce::Unpacking::poll`] alone.
    pub(crate) const fn after_unpack(landing: Landing) -> Self {
        Self(landing)
    }

    /// Returns the segment that is in place.
    pub const fn landing(&self) -> &Landing {
        &self.0
    }
}
