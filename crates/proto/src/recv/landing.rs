//! A segment's life at the receiver, as types: [`Landing`], the right to write its bytes; [`InPlace`] while a socket is read into
//! their destination; [`Placed`], the proof that they are there. [`Early`] is a short message that may become a landing.
//!
//! Invariant: whoever is outside of `recv` gets them from [`RecvSide`](super::RecvSide) or from each other, and makes none.

/// A short message that came before its receive, and its eager place. It becomes a [`Landing`] when it is whole and its receive
/// is posted.
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

/// The proof that a segment's bytes are where they belong: received in place, or unpacked by a finished unpack.
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
    /// Which of the eager places it has.
    #[must_use]
    pub const fn place(&self) -> usize {
        self.place
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Landing {
    /// The place of the receive it belongs to, `0..N`.
    #[must_use]
    pub const fn slot_index(&self) -> usize {
        self.index
    }

    /// The sequence number of the receive it belongs to.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// Where its bytes belong in the receive's destination.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes it has.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl InPlace {
    /// The socket will be read straight into the destination.
    pub const fn new(landing: Landing) -> Self {
        Self { landing, have: 0 }
    }

    /// Counts `got` more bytes; the segment is placed when all have arrived.
    ///
    /// # Errors
    /// Itself, while bytes are missing.
    ///
    /// # Panics
    /// If more bytes are counted than the segment has.
    pub fn advance(mut self, got: u64) -> Result<Placed, Self> {
        self.have += got;
        assert!(self.have <= self.landing.bytes, "read past the segment's end");
        if self.have == self.landing.bytes { Ok(Placed(self.landing)) } else { Err(self) }
    }

    /// The segment.
    pub const fn landing(&self) -> &Landing {
        &self.landing
    }

    /// How many bytes have arrived.
    #[must_use]
    pub const fn have(&self) -> u64 {
        self.have
    }

    /// How many bytes are still to arrive.
    #[must_use]
    pub const fn missing(&self) -> u64 {
        self.landing.bytes - self.have
    }
}

impl Placed {
    /// For [`crate::bounce::Unpacking::poll`] alone.
    pub(crate) const fn after_unpack(landing: Landing) -> Self {
        Self(landing)
    }

    /// The segment that is in place.
    pub const fn landing(&self) -> &Landing {
        &self.0
    }
}
