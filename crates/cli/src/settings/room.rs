//! The memory that a session takes on each side, before any of it is allocated.

use crate::session::Role;

use super::{
    agreed::Settings,
    kinds::{Flow, Memory, Transport},
    size::show_size,
};

impl Settings {
    /// Returns how many round trips of `bytes` are made between two looks at the data. Each has its own place
    /// in the buffer, so that all of them can be verified afterwards.
    #[must_use]
    pub fn rounds(bytes: u64) -> u64 {
        (ROUNDS_BYTES / bytes).clamp(1, 256)
    }

    /// Returns the length of one message buffer. It has the largest size, a whole batch of round trips, a
    /// burst of messages, or a region of one-sided transfers.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        if let Some(one_sided) = &self.one_sided {
            return self.messages(one_sided.bytes()).saturating_mul(one_sided.region_bytes());
        }
        let of = |bytes: u64| match self.flow {
            Flow::RoundTrip => Self::rounds(bytes) * bytes,
            Flow::Forward | Flow::Backward | Flow::Both => self.messages(bytes).saturating_mul(bytes),
        };
        self.sizes.iter().map(|&bytes| of(bytes)).max().unwrap_or(0)
    }

    /// Returns the bytes that one side allocates, for messages and for the rings of its sockets. A side that
    /// both sends and receives has everything twice.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.buffer_bytes().saturating_add(self.ring_bytes()).saturating_mul(self.flow.directions())
    }

    /// Returns the bytes of one direction's rings: one for each socket that cannot reach the memory. The
    /// ceiling's sockets have rings of their own where it is a pipeline.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        if self.memory == Memory::Host || self.transport == Transport::Plugin {
            return 0;
        }
        // An endpoint has connections both ways.
        let rings = 1 + u64::from(self.one_sided.is_some()) + u64::from(self.ceiling_is_pipeline());
        let sockets = rings * u64::from(self.streams) * u64::from(self.channels);
        sockets * self.slabs() * self.segment_bytes()
    }

    /// Checks that the messages of these sides, and the rings of their sockets, fit in the memory that `host`
    /// has left. A GPU's memory is its own; its rings are the host's.
    ///
    /// # Errors
    /// A sentence that says how much is missing.
    pub fn check_memory(&self, host: &str, roles: &[Role], available: Option<u64>) -> Result<(), String> {
        let places = roles.iter().flat_map(|&role| {
            let (source, destination) = self.memory_of(role);
            [source, destination].into_iter().flatten()
        });
        let needed = places.fold(0u64, |sum, memory| {
            let message = if memory == Memory::Cuda { 0 } else { self.buffer_bytes() };
            let ring = if memory == Memory::Host { 0 } else { self.ring_bytes() };
            sum.saturating_add(message).saturating_add(ring)
        });
        match available {
            Some(available) if needed > available => Err(format!(
                "{} of {} need {:.1} GB of memory on {host}, which has {:.1} GB left: choose {}",
                if self.has_bursts() {
                    format!("bursts of {}", self.many_alone())
                } else {
                    "messages".into()
                },
                show_size(self.sizes.iter().copied().max().unwrap_or(0)),
                needed as f64 / 1e9,
                available as f64 / 1e9,
                if self.ring_bytes() > self.buffer_bytes() {
                    "smaller segments or fewer streams, whose rings need most of it"
                } else if self.has_bursts() && self.one_sided.is_some() {
                    "fewer or smaller blocks, or --depth 1"
                } else if self.has_bursts() {
                    "a smaller size, or --depth 1"
                } else if self.one_sided.is_some() {
                    "fewer or smaller blocks"
                } else {
                    "a smaller size"
                },
            )),
            _ => Ok(()),
        }
    }
}

/// The most that one batch of round trips occupies: 4 MiB.
const ROUNDS_BYTES: u64 = 4 << 20;
