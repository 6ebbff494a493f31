//! Receives that are posted together, and end together.

use super::{Receive, Receiver, tell};
use crate::{
    bounce::Completion,
    connection::SLOTS,
    frame::{Announce, Mark, RECEIVES_MAX},
    recv::{Received, RecvSide},
    window::Slot,
};

impl<D: Completion + Clone> Receiver<D> {
    /// Posts receives as one group, in `slots`. Returns false when there are no slots for all of them: then
    /// none is posted.
    ///
    /// # Panics
    /// If there are more than [`RECEIVES_MAX`], or more than `slots`.
    pub fn post_group(&mut self, receives: &[Receive], slots: &mut [Option<Slot>]) -> bool {
        assert!(receives.len() <= RECEIVES_MAX as usize, "a group is as long as the frames can say");
        if !self.side.has_room_for(receives.len()) {
            return false;
        }
        const NONE: Announce = Announce { seq: 0, capacity: 0, inline_bytes: 0, done: 0, mark: None };
        let mut announces = [NONE; RECEIVES_MAX as usize];
        for (at, receive) in receives.iter().enumerate() {
            let Some((slot, announce)) = self.side.post(receive.capacity, true) else {
                unreachable!("there is room for all of them")
            };
            self.is_bounced[slot.index()] = receive.is_bounced;
            let mark = Mark { tag: receive.tag, following: (receives.len() - at - 1) as u8 };
            announces[at] = Announce { mark: Some(mark), ..announce };
            slots[at] = Some(slot);
        }
        tell(&mut self.life, self.announcer.posted_group(&announces[..receives.len()]));
        true
    }

    /// Ends all receives of a group, or none. Returns whether it did.
    ///
    /// # Errors
    /// If a lane is lost.
    pub fn finish_group(
        &mut self,
        slots: &mut [Option<Slot>],
        received: &mut [Received],
    ) -> Result<bool, D::Error> {
        let is_complete = |side: &RecvSide<SLOTS>, slots: &[Option<Slot>]| {
            slots.iter().flatten().all(|slot| side.is_complete(slot))
        };
        if !is_complete(&self.side, slots) {
            self.reap_all()?;
            if !is_complete(&self.side, slots) {
                return Ok(false);
            }
        }
        for (slot, received) in slots.iter_mut().zip(received) {
            let Some(slot) = slot.take() else { continue };
            let Ok(message) = self.side.finish(slot) else { unreachable!("it is complete") };
            *received = message;
        }
        Ok(true)
    }
}
