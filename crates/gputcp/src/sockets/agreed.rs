//! The settings that the listener and the connector agree on when a connection starts, for either end.

use std::sync::Arc;

use gputcp_proto::frame::{EAGER_BYTES, RECEIVES_MAX, SLOTS_MAX};

use super::Socket;

/// The sockets of a connection, and the settings that both ends hold to.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) peer: Arc<str>,
    pub(crate) control: Socket,
    pub(crate) data: Vec<Socket>,
    pub(crate) segment_bytes: u32,
    pub(crate) piece_bytes: u32,
    pub(crate) inline_bytes: u32,
    pub(crate) eager_places: u16,
    pub(crate) max_receives: u16,
    pub(crate) peer_slots: u16,
}

impl Agreed {
    /// Returns how many messages may be in flight where `slots` requests may.
    pub(crate) fn depth(&self, slots: u16) -> usize {
        usize::from(slots) * usize::from(self.max_receives)
    }

    /// Returns the longest message that may go to an eager place.
    pub(crate) fn eager_bytes(&self) -> u64 {
        EAGER_BYTES.min(self.inline_bytes).into()
    }
}

/// Returns how many receives may be grouped and how many eager places there are, from the settings of the two
/// ends. An early message has no tag, so there are no eager places where receives are grouped.
pub(crate) fn groups_or_eager(max_receives: [u16; 2], eager_places: [u16; 2]) -> (u16, u16) {
    match max_receives.into_iter().min() {
        Some(max_receives @ 2..) => (max_receives, 0),
        _ => (1, eager_places.into_iter().min().unwrap_or(0)),
    }
}

/// The most messages in flight, either way: requests, and receives of each.
pub(crate) const SLOTS: usize = (SLOTS_MAX * RECEIVES_MAX) as usize;
