//! The regions of an endpoint: which ranges a peer may touch, and until when.
//!
//! A peer's range is hostile until it is checked against the region's length, rights and life. The check
//! gives a [`Grant`], and only its return ends the use. So a region is never forgotten while its memory is
//! being read or written.

use super::{
    command::Range,
    key::{Key, Operation, Rights, Space},
};

/// The reason why a range was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No region has this key: it was guessed, or the region is no longer registered.
    #[error("no region has its key: it was deregistered, or never was")]
    UnknownKey,
    /// The range is not within the region.
    #[error("it is not within the region")]
    OutOfRange,
    /// The region is not for this operation.
    #[error("its region allows no such operation")]
    NotAllowed,
}

/// The name of a region in a request: its place and its secret.
pub type Name = (u32, [u8; 16]);

/// The right to use a region for one chunk.
#[must_use = "dropped, its region can never be deregistered"]
#[derive(Debug, PartialEq, Eq)]
pub struct Grant {
    place: u32,
}

/// The regions of an endpoint.
#[derive(Debug, Default)]
pub struct Regions {
    places: Vec<Place>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Place {
    key: Option<Key>,
    /// Grants that are out.
    uses: usize,
    /// The owner has asked for the end of the region.
    is_revoked: bool,
}

impl Regions {
    /// Registers a region of `bytes` bytes under a fresh secret.
    ///
    /// The secret must be random: a peer that knows it may use the region.
    pub fn register(&mut self, bytes: u64, rights: Rights, space: Space, secret: [u8; 16]) -> Key {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { key: None, uses: 0, is_revoked: false });
            (self.places.len() - 1) as u32
        });
        let key = Key::new(place, secret, bytes, rights, space);
        self.places[place as usize] = Place { key: Some(key), uses: 0, is_revoked: false };
        key
    }

    /// Checks the ranges of a chunk, and grants the use of its regions, one grant for each name.
    ///
    /// # Errors
    /// The index of the first bad range, and the [`Refusal`]; 0 where no range is of a bad region.
    pub fn grant(
        &mut self,
        operation: Operation,
        names: impl Iterator<Item = Name>,
        ranges: impl Iterator<Item = Range>,
    ) -> Result<Vec<Grant>, (usize, Refusal)> {
        let found: Vec<Result<Key, Refusal>> = names.map(|name| self.key_of(operation, &name)).collect();
        for (index, Range { region, offset, bytes }) in ranges.enumerate() {
            let key = found.get(usize::from(region)).copied().unwrap_or(Err(Refusal::UnknownKey));
            let key = key.map_err(|refusal| (index, refusal))?;
            if offset.checked_add(bytes.into()).is_none_or(|end| end > key.bytes()) {
                return Err((index, Refusal::OutOfRange));
            }
        }
        let keys: Vec<Key> = found.into_iter().collect::<Result<_, _>>().map_err(|refusal| (0, refusal))?;
        let granted = keys.into_iter().map(|Key { place, .. }| {
            self.places[place as usize].uses += 1;
            Grant { place }
        });
        Ok(granted.collect())
    }

    /// Returns the key of a region that a peer named.
    fn key_of(&self, operation: Operation, (place, secret): &Name) -> Result<Key, Refusal> {
        let found = self.places.get(*place as usize).filter(|found| !found.is_revoked);
        let key = found.and_then(|found| found.key).filter(|key| is_same(&key.secret, secret));
        let key = key.ok_or(Refusal::UnknownKey)?;
        if key.rights().allow(operation) { Ok(key) } else { Err(Refusal::NotAllowed) }
    }

    /// Grants the owner's own use of a region, as the local side of a transfer. `None` once it is revoked.
    pub fn grant_own(&mut self, key: &Key) -> Option<Grant> {
        let found = self.places.get_mut(key.place as usize)?;
        if found.is_revoked || found.key.as_ref() != Some(key) {
            return None;
        }
        found.uses += 1;
        Some(Grant { place: key.place })
    }

    /// Ends a use.
    ///
    /// # Panics
    /// If the grant is another table's.
    pub fn give_back(&mut self, grant: Grant) {
        let place = &mut self.places[grant.place as usize];
        assert!(place.uses > 0, "a grant goes back to the table that gave it");
        place.uses -= 1;
    }

    /// Revokes a region: no new use is granted.
    pub fn revoke(&mut self, key: &Key) {
        if let Some(place) = self.place_of(key) {
            place.is_revoked = true;
        }
    }

    /// Forgets a region that is revoked and not in use. Returns false while it is in use: ask again.
    pub fn forget(&mut self, key: &Key) -> bool {
        let number = key.place;
        let Some(place) = self.place_of(key) else { return true };
        if !place.is_revoked || place.uses > 0 {
            return false;
        }
        place.key = None;
        self.free.push(number);
        true
    }

    /// Returns the place of a grant's region.
    #[must_use]
    pub const fn place(grant: &Grant) -> usize {
        grant.place as usize
    }

    fn place_of(&mut self, key: &Key) -> Option<&mut Place> {
        self.places.get_mut(key.place as usize).filter(|place| place.key.as_ref() == Some(key))
    }
}

/// Compares two secrets in a time that tells nothing of where they differ.
fn is_same(a: &[u8; 16], b: &[u8; 16]) -> bool {
    a.iter().zip(b).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}
