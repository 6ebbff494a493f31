//! Telling the sender which receives are posted, in batches.
//!
//! An announcement is held back while the sender has several announced and unmatched: it does not starve, and several
//! announcements then share one write and one wake-up at the sender. Whoever matches a receive sends what is held back,
//! so a held announcement never depends on anybody polling.
//!
//! Who posts leaves the writing to those who match for as long as the sender has anything. A write takes 5 µs on the loopback, and
//! NCCL has one thread that posts for all connections: at messages of 128 KiB it did little else (three quarters of its time).

use std::io;

use gputcp_proto::frame::{Announce, Control};

use crate::sockets::{agreed::SLOTS, control::ControlSocket};

#[derive(Debug)]
pub(super) struct Announcer {
    held: [u8; SLOTS * Control::BYTES],
    held_bytes: usize,
    /// Announced, and no byte of it has come yet.
    unmatched: usize,
}

impl Announcer {
    pub(super) const fn new() -> Self {
        Self { held: [0; SLOTS * Control::BYTES], held_bytes: 0, unmatched: 0 }
    }

    /// A receive was posted.
    pub(super) fn posted(&mut self, announce: Announce, control: &ControlSocket) -> io::Result<()> {
        let frame = Control::Announce(announce).encode();
        self.held[self.held_bytes..self.held_bytes + frame.len()].copy_from_slice(&frame);
        self.held_bytes += frame.len();
        self.flush_if_due(control, STARVING)
    }

    /// The first bytes of an announced receive's message have come.
    pub(super) fn matched(&mut self, control: &ControlSocket) -> io::Result<()> {
        self.unmatched -= 1;
        self.flush_if_due(control, LOW_WATER)
    }

    fn flush_if_due(&mut self, control: &ControlSocket, low_water: usize) -> io::Result<()> {
        let held = self.held_bytes / Control::BYTES;
        if held == 0 || (held < BATCH && self.unmatched >= low_water) {
            return Ok(());
        }
        self.unmatched += held;
        control.write(&self.held[..std::mem::take(&mut self.held_bytes)])
    }
}

/// Announcements that go out together.
const BATCH: usize = 4;
/// What the sender is left with at least by who matches: 6 chunks of 512 KiB are 3 MiB ahead of its sockets.
const LOW_WATER: usize = 6;
/// And by who posts. Not 0, or what is held would never be sent: the match of the last one announced sends it.
const STARVING: usize = 1;
