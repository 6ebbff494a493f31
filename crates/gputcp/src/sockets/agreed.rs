//! The settings that the listener and the connector agree on when a connection starts, for either end.

use std::sync::Arc;

use gputcp_proto::{
    connection::Settings,
    frame::{EAGER_BYTES, Token},
    plan::SegmentPlan,
};

use super::Socket;
use crate::{Options, trace::Tracer};

/// The sockets of a connection, and the settings that both ends hold to.
#[derive(Debug)]
pub(crate) struct Agreed {
    pub(crate) peer: Arc<str>,
    pub(crate) token: Token,
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
    /// Returns the settings of this end, which has these options.
    pub(crate) fn settings(&self, options: &Options) -> Settings {
        let depth = |slots: u16| usize::from(slots) * usize::from(self.max_receives);
        Settings {
            depth: depth(options.tuning.slots),
            peer_depth: depth(self.peer_slots),
            streams: self.data.len(),
            segment_bytes: self.segment_bytes.into(),
            piece_bytes: self.piece_bytes.into(),
            inline_bytes: self.inline_bytes.into(),
            eager_places: self.eager_places.into(),
            eager_bytes: EAGER_BYTES.min(self.inline_bytes).into(),
            max_receives: self.max_receives,
            buffers: options.device.is_some().then_some(options.tuning.slabs.into()),
            timeout: options.timeout,
        }
    }

    /// Returns the recording of this end, which has these options and settings.
    pub(crate) fn tracer(&self, options: &Options, settings: &Settings, is_sender: bool) -> Option<Tracer> {
        let trace = options.trace.as_ref()?;
        // Half of the token names the connection, and is no token.
        let (name, _) = self.token.0.split_at(8);
        let name = name.iter().map(|byte| format!("{byte:02x}")).collect();
        Some(Tracer::new(trace, name, &self.peer, is_sender, settings.streams, settings.depth))
    }

    /// Returns the longest message of device memory: its segments fit the slabs.
    pub(crate) fn longest_chunk(&self) -> u64 {
        SegmentPlan::new(self.segment_bytes.into()).with_pieces(self.piece_bytes.into()).longest_chunk()
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
