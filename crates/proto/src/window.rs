//! Slots and sequence numbers.
//!
//! Invariants I1 (a slot is a value) and I3 (sequence numbers are minted, never chosen).

/// A request's place in its connection's order.
///
/// It is minted once by [`Window::issue`] and never reused: there is no way to make one, copy one or choose
/// one.
#[derive(Debug, PartialEq, Eq)]
pub struct Seq(u64);

impl Seq {
    /// Returns the number as it stands on the wire.
    #[must_use]
    pub const fn wire(&self) -> u64 {
        self.0
    }
}

/// The right to one of a window's `N` places. It moves through the stages of a request; only
/// [`Window::release`] ends it.
#[must_use = "a dropped slot is never given back: its place stays taken"]
#[derive(Debug, PartialEq, Eq)]
pub struct Slot {
    seq: Seq,
    index: usize,
}

impl Slot {
    /// Returns the sequence number minted with this slot.
    #[must_use]
    pub const fn seq(&self) -> &Seq {
        &self.seq
    }

    /// Returns which of the window's places this is, `0..N`.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }
}

/// A ring of up to `N` places.
///
/// A window of depth `D <= N` uses the first `D` places. Sequence number `s` takes place `s % D`, so a
/// shallow window walks over little memory. Slots may come back in any order. A place is issued again only
/// when its slot has come back: a slow request holds up the one `D` behind it, no other.
#[derive(Debug)]
pub struct Window<const N: usize> {
    next: u64,
    holders: [Option<u64>; N],
    in_flight: usize,
    depth: usize,
}

impl<const N: usize> Window<N> {
    /// Returns a window of all `N` places.
    #[must_use]
    pub const fn new() -> Self {
        const { assert!(N > 0, "a window has at least one place") };
        Self { next: 0, holders: [None; N], in_flight: 0, depth: N }
    }

    /// Returns a window that uses `depth` of its `N` places.
    ///
    /// # Panics
    /// If `depth` is 0 or above `N`: settings are checked before they come here.
    #[must_use]
    pub const fn with_depth(depth: usize) -> Self {
        assert!(depth >= 1 && depth <= N, "a window's depth is 1..=N");
        let mut window = Self::new();
        window.depth = depth;
        window
    }

    /// Issues the next slot, or `None` when none is free: ask again after a release.
    pub fn issue(&mut self) -> Option<Slot> {
        let index = place(self.next, self.depth);
        if self.holders[index].is_some() {
            return None;
        }
        let seq = Seq(self.next);
        self.next += 1;
        self.in_flight += 1;
        self.holders[index] = Some(seq.0);
        Some(Slot { seq, index })
    }

    /// Takes a slot back.
    ///
    /// # Panics
    /// If the slot is not out in this window: it was issued by another one.
    pub fn release(&mut self, slot: Slot) {
        assert_eq!(
            self.holders[slot.index],
            Some(slot.seq.0),
            "a slot goes back to the window that issued it"
        );
        self.holders[slot.index] = None;
        self.in_flight -= 1;
    }

    /// Returns the place of the slot that is out under this sequence number, if one is.
    #[must_use]
    pub const fn holder(&self, seq: u64) -> Option<usize> {
        let index = place(seq, self.depth);
        match self.holders[index] {
            Some(held) if held == seq => Some(index),
            _ => None,
        }
    }

    /// Returns whether [`Window::issue`] would give a slot.
    #[must_use]
    pub const fn has_room(&self) -> bool {
        self.holders[place(self.next, self.depth)].is_none()
    }

    /// Returns whether [`Window::issue`] would give so many slots in a row.
    #[must_use]
    pub fn has_room_for(&self, count: usize) -> bool {
        let next = self.next..self.next + count as u64;
        count <= self.depth && next.into_iter().all(|seq| self.holders[place(seq, self.depth)].is_none())
    }

    /// Returns the places of the slots that are out.
    pub fn in_use(&self) -> impl Iterator<Item = usize> + '_ {
        self.holders[..self.depth].iter().zip(0..).filter(|(holder, _)| holder.is_some()).map(|(_, at)| at)
    }

    /// Returns how many slots are out.
    #[must_use]
    pub const fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Returns the sequence number that the next slot will carry.
    #[must_use]
    pub const fn next_seq(&self) -> u64 {
        self.next
    }
}

impl<const N: usize> Default for Window<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the place of a sequence number in a ring of `depth`.
pub(crate) const fn place(seq: u64, depth: usize) -> usize {
    (seq % depth as u64) as usize
}
