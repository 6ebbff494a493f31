//! What the listener and the connector have agreed on when a connection starts, for either end.

use std::sync::Arc;

use gputcp_proto::frame::EAGER_BYTES;
use socket2::Socket;

/// The sockets of a connection, and what both ends hold to.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) peer: Arc<str>,
    pub(crate) control: Socket,
    pub(crate) data: Vec<Socket>,
    pub(crate) segment_bytes: u32,
    pub(crate) piece_bytes: u32,
    pub(crate) inline_bytes: u32,
    pub(crate) eager_places: u16,
    pub(crate) peer_slots: u16,
}

impl Agreed {
    /// The longest message that may go to an eager place.
    pub(crate) fn eager_bytes(&self) -> u64 {
        EAGER_BYTES.min(self.inline_bytes).into()
    }
}

/// The most requests in flight, either way.
pub(crate) const SLOTS: usize = gputcp_proto::frame::SLOTS_MAX as usize;
