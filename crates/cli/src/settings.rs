//! What both ends of a session agree on. The client proposes, the server checks, nobody trusts.

use std::time::Duration;

use gputcp::{Options, SLABS_MAX};
use gputcp_proto::{
    frame::{SEGMENT_BYTES, SLOTS_MAX, STREAMS_MAX},
    plan::{PIECES_MAX, SegmentPlan, fitting_piece},
    session::Role,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::args::size::show_size;

/// The kind of memory that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Plain host memory, received in place.
    Host,
    /// The software GPU's.
    Soft,
    /// A GPU's.
    Cuda,
}

/// How a received chunk reaches its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unpack {
    /// One launch per chunk over its fragments.
    Kernel,
    /// A copy per fragment.
    Copy,
    /// Gathered on the CPU, then one copy.
    Host,
    /// Nothing to unpack: the destination is host memory, received in place.
    None,
    /// Nothing to unpack: a plugin writes to the destination itself.
    #[serde(rename = "in-place")]
    InPlace,
}

/// What carries the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The built-in transport.
    #[default]
    Sockets,
    /// A NCCL net plugin on either end.
    Plugin,
}

/// Which way the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// Client to server.
    Forward,
    /// Server to client.
    Backward,
    /// Both at once.
    Both,
    /// There and back, one after the other.
    RoundTrip,
}

/// What both ends agree on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// The message sizes, in the order in which they are measured.
    pub sizes: Vec<u64>,
    /// Which way they go.
    pub flow: Flow,
    /// What carries it.
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
    /// How chunks reach their destination.
    pub unpack: Unpack,
    /// Bytes per segment; none for the transport's default.
    pub segment_bytes: Option<u32>,
    /// Slabs in the ring that a stream stages or bounces segments through; none for the transport's default.
    #[serde(default)]
    pub slabs: Option<u16>,
    /// The congestion control to ask for; none for the system's.
    pub congestion: Option<String>,
    /// A fixed send buffer.
    pub send_buffer_bytes: Option<u32>,
    /// A fixed receive buffer.
    pub recv_buffer_bytes: Option<u32>,
    /// Whether every timed message is verified.
    pub verify: bool,
    /// Whether raw sockets are measured as well.
    pub ceiling: bool,
    /// How long a side waits without progress.
    pub timeout_ms: u64,
    /// The seed of the data.
    pub seed: u64,
}

impl Settings {
    /// Checks every number: these came over the network.
    ///
    /// # Errors
    /// A sentence that says which is out of range.
    pub fn check(&self) -> Result<(), String> {
        let within = |what: &str, value: u64, least: u64, most: u64| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{what} is {value}, but must be between {least} and {most}"))
            }
        };
        within("the number of sizes", self.sizes.len() as u64, 1, SIZES_MAX as u64)?;
        for &bytes in &self.sizes {
            within("a message size", bytes, 1, MESSAGE_BYTES_MAX)?;
        }
        within("the number of streams", u64::from(self.streams), 1, u64::from(STREAMS_MAX))?;
        within("the number of channels", u64::from(self.channels), 1, u64::from(CHANNELS_MAX))?;
        let sockets = u64::from(self.streams) * u64::from(self.channels);
        within("the number of sockets (streams × channels)", sockets, 1, SOCKETS_MAX)?;
        within("the chunk size", self.chunk_bytes, 1, CHUNK_BYTES_MAX)?;
        within("the sender's window", u64::from(self.send_window), 1, u64::from(SLOTS_MAX))?;
        within("the receiver's window", u64::from(self.recv_window), 1, u64::from(SLOTS_MAX))?;
        if let Some(bytes) = self.segment_bytes {
            let (least, most) = (u64::from(*SEGMENT_BYTES.start()), u64::from(*SEGMENT_BYTES.end()));
            within("the segment size", u64::from(bytes), least, most)?;
        }
        if self.memory != Memory::Host {
            let Options { segment_bytes, piece_bytes, .. } = Options::default();
            let segment = self.segment_bytes.unwrap_or(segment_bytes);
            let plan = SegmentPlan::new(segment.into())
                .with_pieces(fitting_piece(segment.into(), piece_bytes.into()));
            if self.chunk_bytes > plan.longest_chunk() {
                return Err(format!(
                    "a chunk of {} of a GPU's memory is more than {PIECES_MAX} segments of {}: choose longer segments, or a \
                     smaller chunk",
                    show_size(self.chunk_bytes),
                    show_size(segment.into()),
                ));
            }
        }
        if let Some(slabs) = self.slabs {
            within("the number of slabs", u64::from(slabs), 1, u64::from(SLABS_MAX))?;
        }
        for bytes in [self.send_buffer_bytes, self.recv_buffer_bytes].into_iter().flatten() {
            within("a socket buffer", u64::from(bytes), 4096, 0x3fff_ffff)?;
        }
        if let Some(name) = &self.congestion
            && !is_congestion_name(name)
        {
            return Err(format!(
                "the congestion control's name must be 1 to {CONGESTION_CHARS_MAX} characters of a to z, 0 to 9, - and _"
            ));
        }
        within("the timeout in milliseconds", self.timeout_ms, 100, 86_400_000)?;
        if self.memory == Memory::Host && self.unpack != Unpack::None {
            return Err("host memory is received in place, so nothing can be unpacked".into());
        }
        if self.transport == Transport::Plugin {
            if matches!(self.unpack, Unpack::Kernel | Unpack::Copy | Unpack::Host) {
                let most = u64::from(QUEUE_WINDOW_MAX);
                within("the sender's window over an unpack queue", u64::from(self.send_window), 1, most)?;
                within("the receiver's window over an unpack queue", u64::from(self.recv_window), 1, most)?;
                within(
                    "the chunk size over a plugin's unpack queue",
                    self.chunk_bytes,
                    1,
                    QUEUED_CHUNK_BYTES_MAX,
                )?;
            }
        } else if self.unpack == Unpack::InPlace {
            return Err("only a plugin receives into other memory than the host's in place".into());
        }
        Ok(())
    }

    /// The destination's memory.
    #[must_use]
    pub const fn destination(&self) -> Memory {
        match self.unpack {
            Unpack::None => Memory::Host,
            Unpack::Kernel | Unpack::Copy | Unpack::Host | Unpack::InPlace => self.memory,
        }
    }

    /// How long a side waits without progress.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms)
    }

    /// How long a side may stay silent that fills or verifies `bytes` meanwhile: no slower than 256 MiB a second.
    #[must_use]
    pub fn patience(&self, bytes: u64) -> Duration {
        self.timeout() + Duration::from_micros(bytes.div_ceil(268))
    }

    /// How many round trips of `bytes` are made between two looks at the data: each has its own place in the buffer, so
    /// that all of them can be verified afterwards.
    #[must_use]
    pub fn rounds(bytes: u64) -> u64 {
        (ROUNDS_BYTES / bytes).clamp(1, 256)
    }

    /// The length of one message buffer: the largest size, or a whole batch of round trips.
    #[must_use]
    pub fn buffer_bytes(&self) -> u64 {
        let of = |bytes: u64| match self.flow {
            Flow::RoundTrip => Self::rounds(bytes) * bytes,
            Flow::Forward | Flow::Backward | Flow::Both => bytes,
        };
        self.sizes.iter().map(|&bytes| of(bytes)).max().unwrap_or(0)
    }

    /// What one side allocates, for messages and for the rings of its sockets: everything twice where it both sends and
    /// receives.
    #[must_use]
    pub fn memory_bytes(&self) -> u64 {
        self.buffer_bytes().saturating_add(self.ring_bytes()).saturating_mul(self.flow.directions())
    }

    /// Whether the ceiling is a pipeline through a GPU's memory. The software GPU's is what sockets reach in place: its lanes
    /// are threads of the engine's own, which no hardware asks for. Round trips are those of a bare socket.
    #[must_use]
    pub const fn ceiling_is_pipeline(&self) -> bool {
        self.ceiling && matches!(self.memory, Memory::Cuda) && !matches!(self.flow, Flow::RoundTrip)
    }

    /// What the sockets of one direction stage through where they cannot reach the memory: a ring of segments each. The
    /// ceiling's sockets have rings of their own where it is a pipeline.
    #[must_use]
    pub fn ring_bytes(&self) -> u64 {
        if self.memory == Memory::Host || self.transport == Transport::Plugin {
            return 0;
        }
        let Options { slabs, segment_bytes, .. } = Options::default();
        let rings = if self.ceiling_is_pipeline() { 2 } else { 1 };
        let sockets = rings * u64::from(self.streams) * u64::from(self.channels);
        sockets
            * u64::from(self.slabs.unwrap_or(slabs))
            * u64::from(self.segment_bytes.unwrap_or(segment_bytes))
    }

    /// What memory this side sends from, and what it receives into.
    #[must_use]
    pub fn memory_of(&self, role: Role) -> (Option<Memory>, Option<Memory>) {
        let (sends, receives) = match role {
            Role::Client => (self.flow.forward(), self.flow.backward()),
            Role::Server => (self.flow.backward(), self.flow.forward()),
        };
        (sends.then_some(self.memory), receives.then(|| self.destination()))
    }

    /// Whether this side's messages are in a GPU's memory, on one end of their way or both.
    #[must_use]
    pub fn needs_gpu(&self, role: Role) -> bool {
        let (source, destination) = self.memory_of(role);
        [source, destination].contains(&Some(Memory::Cuda))
    }

    /// Checks that the messages of these sides, and the rings that their sockets stage through, fit in the memory that
    /// `host` has left. A GPU's memory is its own; its rings are the host's.
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
                "messages of {} need {:.1} GB of memory on {host}, which has {:.1} GB left: choose {}",
                show_size(self.sizes.iter().copied().max().unwrap_or(0)),
                needed as f64 / 1e9,
                available as f64 / 1e9,
                if self.ring_bytes() > self.buffer_bytes() {
                    "smaller segments or fewer streams, whose rings need most of it"
                } else {
                    "a smaller size"
                },
            )),
            _ => Ok(()),
        }
    }
}

impl Transport {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sockets => "sockets",
            Self::Plugin => "plugin",
        }
    }
}

impl Memory {
    /// The kind of this name.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "host" => Ok(Self::Host),
            "soft" => Ok(Self::Soft),
            "cuda" => Ok(Self::Cuda),
            _ => Err("memory is host, soft, cuda, or cuda: and a GPU".into()),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Soft => "soft",
            Self::Cuda => "cuda",
        }
    }
}

impl Unpack {
    /// The mode of this name.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "kernel" => Ok(Self::Kernel),
            "copy" | "d2d" => Ok(Self::Copy),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err("unpacking is done by kernel, copy (or d2d), host, or none".into()),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel => "kernel",
            Self::Copy => "copy",
            Self::Host => "host",
            Self::None => "none",
            Self::InPlace => "in-place",
        }
    }
}

impl Flow {
    /// Whether the client sends.
    #[must_use]
    pub const fn forward(self) -> bool {
        !matches!(self, Self::Backward)
    }

    /// In how many directions a side moves data.
    #[must_use]
    pub const fn directions(self) -> u64 {
        match self {
            Self::Forward | Self::Backward => 1,
            Self::Both | Self::RoundTrip => 2,
        }
    }

    /// Whether the server sends.
    #[must_use]
    pub const fn backward(self) -> bool {
        !matches!(self, Self::Forward)
    }
}

/// Whether a congestion control can have this name at all.
#[must_use]
pub fn is_congestion_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    (1..=CONGESTION_CHARS_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// A congestion control's longest name: the kernel's TCP_CA_NAME_MAX with its end.
pub const CONGESTION_CHARS_MAX: usize = 15;
/// The most requests at a time over an unpack queue: it has 16 rows, and Google's plugins as many slots.
pub const QUEUE_WINDOW_MAX: u16 = 16;
/// The longest receive whose fragments fit a row of an unpack queue: 2048, two for each page of 4 KiB.
pub const QUEUED_CHUNK_BYTES_MAX: u64 = 4 << 20;
/// Connections of one session: with [`STREAMS_MAX`] the sockets' bound below binds first.
pub const CHANNELS_MAX: u16 = 64;
/// Data sockets of one session and direction: one thread each, on both sides, and a process has 1024 descriptors by
/// default, of which both directions take 2 × 256, and raw sockets as many again.
pub const SOCKETS_MAX: u64 = 256;
/// The longest chunk: 32 slots of it are 8 GiB, more than a pipeline ever needs.
pub const CHUNK_BYTES_MAX: u64 = 256 << 20;
/// The longest message: 2^48, more than any memory, and far from overflow.
pub const MESSAGE_BYTES_MAX: u64 = 1 << 48;
/// The most sizes of a sweep: one for every power of two.
pub const SIZES_MAX: usize = 64;
/// What one batch of round trips may occupy: 4 MiB.
const ROUNDS_BYTES: u64 = 4 << 20;
