//! The settings that both ends of a session agree on. The client proposes, the server checks, neither trusts.

use std::time::Duration;

use gputcp_proto::{
    frame::{SLOTS_MAX, STREAMS_MAX},
    plan::PIECES_MAX,
};

use crate::session::Role;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    depth::one,
    kinds::{Flow, Memory, Transport, Unpack},
    one_sided::OneSided,
    size::{show_size, within},
    sockets::SocketSettings,
};

/// The settings that both ends agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The message sizes, in the order in which they are measured.
    pub sizes: Vec<u64>,
    /// The way that they go.
    pub flow: Flow,
    /// The carrier of the data.
    #[serde(default)]
    pub transport: Transport,
    /// Data sockets per connection; how many a plugin has is its own matter.
    pub streams: u16,
    /// Connections.
    pub channels: u16,
    /// Bytes per request.
    pub chunk_bytes: u64,
    /// Chunks that the sender keeps in flight.
    pub send_window: u16,
    /// Chunks that the receiver keeps in flight.
    pub recv_window: u16,
    /// The memory at the source, and at the destination unless `unpack` is none.
    pub memory: Memory,
    /// The way chunks reach their destination.
    pub unpack: Unpack,
    /// The options of the built-in transport alone.
    #[serde(flatten)]
    pub sockets: SocketSettings,
    /// Whether every timed message is verified.
    pub verify: bool,
    /// Whether raw sockets are measured as well.
    pub ceiling: bool,
    /// The time that a side waits without progress.
    pub timeout_ms: u64,
    /// The seed of the data.
    pub seed: u64,
    /// Messages or one-sided transfers in flight at most. With 1 each is measured alone, with more they are
    /// measured by bursts.
    #[serde(default = "one::<u16>")]
    pub depth: u16,
    /// The one-sided transfers that are measured in the place of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_sided: Option<OneSided>,
}

impl Settings {
    /// Checks every number: these came over the network.
    ///
    /// # Errors
    /// A sentence that says which is out of range.
    pub fn check(&self) -> Result<(), String> {
        within("the number of sizes", self.sizes.len() as u64, 1..=SIZES_MAX as u64)?;
        for &bytes in &self.sizes {
            within("a message size", bytes, 1..=MESSAGE_BYTES_MAX)?;
        }
        within("the number of streams", self.streams, 1..=STREAMS_MAX)?;
        within("the number of channels", self.channels, 1..=CHANNELS_MAX)?;
        let sockets = u64::from(self.streams) * u64::from(self.channels);
        within("the number of sockets (streams × channels)", sockets, 1..=SOCKETS_MAX)?;
        within("the chunk size", self.chunk_bytes, 1..=CHUNK_BYTES_MAX)?;
        within("the sender's window", self.send_window, 1..=SLOTS_MAX)?;
        within("the receiver's window", self.recv_window, 1..=SLOTS_MAX)?;
        self.sockets.check()?;
        if self.memory != Memory::Host && self.chunk_bytes > self.segments().longest_chunk() {
            return Err(format!(
                "a chunk of {} of a GPU's memory is more than {PIECES_MAX} segments of {}: choose longer segments, or a \
                 smaller chunk",
                show_size(self.chunk_bytes),
                show_size(self.segment_bytes()),
            ));
        }
        within("the timeout in milliseconds", self.timeout_ms, 100..=86_400_000)?;
        if self.memory == Memory::Host && self.unpack != Unpack::None {
            return Err("host memory is received in place, so nothing can be unpacked".into());
        }
        if self.transport == Transport::Plugin {
            if matches!(self.unpack, Unpack::Kernel | Unpack::Copy | Unpack::Host) {
                let windows = 1..=QUEUE_WINDOW_MAX;
                within("the sender's window over an unpack queue", self.send_window, windows.clone())?;
                within("the receiver's window over an unpack queue", self.recv_window, windows)?;
                let chunks = 1..=QUEUED_CHUNK_BYTES_MAX;
                within("the chunk size over a plugin's unpack queue", self.chunk_bytes, chunks)?;
            }
        } else if self.unpack == Unpack::InPlace {
            return Err("only a plugin receives into other memory than the host's in place".into());
        }
        self.check_depth()?;
        self.one_sided.map_or(Ok(()), |one_sided| one_sided.check(self))
    }

    /// Returns the number of the transport's connections. The endpoints of one-sided transfers make theirs.
    #[must_use]
    pub const fn connections(&self) -> u16 {
        if self.one_sided.is_some() { 0 } else { self.channels }
    }

    /// Returns the destination's memory.
    #[must_use]
    pub const fn destination(&self) -> Memory {
        match self.unpack {
            Unpack::None => Memory::Host,
            Unpack::Kernel | Unpack::Copy | Unpack::Host | Unpack::InPlace => self.memory,
        }
    }

    /// Returns how long a side waits without progress.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// Returns how long a side may stay silent that fills or verifies `bytes` meanwhile: it does 256 MiB a
    /// second.
    #[must_use]
    pub fn stall_timeout(&self, bytes: u64) -> Duration {
        self.timeout() + Duration::from_micros(bytes.div_ceil(268))
    }

    /// Returns the memory that this side sends from, and the memory that it receives into.
    #[must_use]
    pub fn memory_of(&self, role: Role) -> (Option<Memory>, Option<Memory>) {
        let (sends, receives) = match role {
            Role::Client => (self.flow.forward(), self.flow.backward()),
            Role::Server => (self.flow.backward(), self.flow.forward()),
        };
        (sends.then_some(self.memory), receives.then(|| self.destination()))
    }

    /// Returns whether this side's messages are in a GPU's memory, on one end of their way or both.
    #[must_use]
    pub fn needs_gpu(&self, role: Role) -> bool {
        let (source, destination) = self.memory_of(role);
        [source, destination].contains(&Some(Memory::Cuda))
    }

    /// Returns whether the ceiling is a pipeline through a GPU's memory. The software GPU's is that of
    /// sockets in place: its lanes are threads of the engine's own, which no hardware asks for. Round trips
    /// are those of a bare socket.
    #[must_use]
    pub const fn ceiling_is_pipeline(&self) -> bool {
        self.ceiling && matches!(self.memory, Memory::Cuda) && !matches!(self.flow, Flow::RoundTrip)
    }
}

/// The most requests at a time over an unpack queue: it has 16 rows, and Google's plugins as many slots.
pub const QUEUE_WINDOW_MAX: u16 = 16;
/// The longest receive whose fragments fit a row of an unpack queue: 2048, two for each page of 4 KiB.
pub const QUEUED_CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Connections of one session: with [`STREAMS_MAX`] the sockets' bound below binds first.
pub const CHANNELS_MAX: u16 = 64;
/// Data sockets of one session and direction, with a thread each on both sides. A process has 1024
/// descriptors by default: both directions take 2 × 256 of them, and raw sockets as many again.
pub const SOCKETS_MAX: u64 = 256;
/// The longest chunk: 32 slots of it are 8 GiB, more than a pipeline ever needs.
pub const CHUNK_BYTES_MAX: u64 = 256 << 20;
/// The longest message: 2^48, more than any memory, and far from overflow.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 48;
/// The most sizes of a sweep: one for every power of two.
pub const SIZES_MAX: usize = 64;
/// The time without progress after which a side gives up.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);
