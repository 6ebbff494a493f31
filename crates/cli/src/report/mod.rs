//! The results: typed ([`Report`]), with the figures behind them ([`statistics`]) and the warnings about
//! them ([`warnings`]). There are three ways to print them ([`table`], [`json`], [`csv`]); [`printer`]
//! picks one.

pub mod csv;
pub mod gpus;
pub mod json;
pub mod printer;
pub mod statistics;
pub mod table;
pub mod warnings;

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    bootstrap::message::TcpCounters,
    host::{gpu::GpuFacts, plugin::PluginFacts},
    settings::{Memory, OneSided, Settings, Transport, Unpack, depth::one},
};

/// The name of the report's form. A reader that knows it knows the fields; more may be added, none change
/// their meaning.
pub const SCHEMA: &str = "gputcp.report/1";

/// A whole measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: String,
    /// The program's version.
    pub version: String,
    /// The commit it was built from, where the build could tell; the peer's may be another.
    #[serde(default)]
    pub commit: Option<String>,
    /// The subcommand.
    pub command: String,
    /// Whether it was cut short; then the last result may have fewer iterations.
    pub interrupted: bool,
    /// The request, and the settings agreed on.
    pub config: Config,
    /// The two ends.
    pub sides: Sides,
    /// The rate that was reached without a protocol, with the largest size.
    pub ceiling: Option<Ceiling>,
    /// One for each size and direction.
    pub results: Vec<Row>,
    /// Warnings about the results.
    pub warnings: Vec<String>,
}

/// The request, and the settings agreed on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Config {
    /// The settings that both ends agreed on.
    #[serde(flatten)]
    pub settings: Settings,
    /// Timed messages of each size, if counted.
    pub iterations: Option<u32>,
    /// Seconds of each size, if timed.
    pub time_s: Option<f64>,
    /// Messages of each size before the timed ones.
    pub warmup: u32,
    /// The plugins that carried the data, if any did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<Plugins>,
    /// Whether both ends are on one machine, so that no network was involved.
    pub loopback: bool,
    /// The time that the connections took to make, in milliseconds.
    pub setup_ms: f64,
}

/// The machine of each end, for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hosts<'a> {
    /// The client's name.
    pub client: &'a str,
    /// The server's name.
    pub server: &'a str,
}

/// The plugin of each end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Plugins {
    /// The client's.
    pub client: PluginFacts,
    /// The server's.
    pub server: PluginFacts,
}

/// The two ends. With data in both directions, the client is called the sender.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Sides {
    /// The side that the data comes from.
    pub sender: SideFacts,
    /// The side that the data goes to.
    pub receiver: SideFacts,
}

/// The facts of one end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct SideFacts {
    /// `client` or `server`.
    pub role: String,
    /// The machine's name.
    pub host: String,
    /// Cores that the process may use.
    pub cores: u32,
    /// The memory of its messages: `host`, `soft`, or `cuda:` and the GPU's index. An end that does both is
    /// named by the memory it sends from.
    pub memory: String,
    /// The GPU of that memory.
    pub gpu: Option<GpuFacts>,
    /// The most memory that the process had resident; unknown of the other side if the run was cut short.
    pub peak_resident_bytes: Option<u64>,
    /// The congestion control in force on the sockets that it sends with.
    pub congestion: Option<String>,
    /// The kernel's counters of the sockets that it sends with, over the whole session.
    pub tcp: Option<TcpCounters>,
    /// Connections to it that were not ours.
    pub strays: u64,
}

/// The rate of the same sockets without a protocol in the same configuration, measured in the same run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Ceiling {
    /// The kind of the ceiling.
    pub kind: CeilingKind,
    /// The memory that it moved: the GPUs' for a pipeline, else host memory, whatever the messages are in.
    pub memory: Memory,
    /// Goodput; none for a ping-pong.
    pub gb_per_s: Option<f64>,
    /// The round trip; none for anything else.
    pub round_trip_us: Option<f64>,
}

/// The way a ceiling was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CeilingKind {
    /// Raw sockets over host memory, as many as the engine has.
    Sockets,
    /// A ping-pong over one raw socket, over host memory.
    SocketPingPong,
    /// GPU memory through as many raw sockets as the engine has, without a protocol. Slices are staged
    /// ahead of each socket, and unpacked behind it, through rings like the engine's.
    GpuPipeline,
}

/// The way that a result's data went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Client to server.
    Forward,
    /// Server to client.
    Backward,
    /// The sum of both, while both went at once.
    Both,
    /// There and back.
    RoundTrip,
}

/// A result: one size, one way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Row {
    /// The message's length.
    pub bytes: u64,
    /// The way that the data went.
    pub way: Way,
    /// The transport that carried it.
    pub transport: Transport,
    /// Bytes per request; none for one-sided transfers, whose chunks the library chooses.
    pub chunk_bytes: Option<u64>,
    /// Chunks in flight; none for one-sided transfers.
    pub window: Option<Window>,
    /// Data sockets per connection.
    pub streams: u16,
    /// Connections.
    pub channels: u16,
    /// The source's memory.
    pub memory: Memory,
    /// The destination's memory.
    pub destination: Memory,
    /// The GPU at the source; with both ways at once, and there and back, the client's.
    pub source_gpu: Option<String>,
    /// The GPU at the destination.
    pub destination_gpu: Option<String>,
    /// The way chunks reached their destination.
    pub unpack: Unpack,
    /// Messages or one-sided transfers in flight at most. With 1 each was measured alone, with more they were
    /// measured by bursts.
    #[serde(default = "one::<u16>")]
    pub depth: u16,
    /// The messages of an iteration: 1, or those of a burst, which go without a pause.
    #[serde(default = "one::<u64>")]
    pub messages: u64,
    /// Timed messages; bursts with a depth above 1, round trips in a ping-pong.
    pub iterations: u64,
    /// Decimal gigabytes per second at the destination; none for a ping-pong.
    pub goodput_gb_per_s: Option<Spread>,
    /// The median of the same in decimal gigabits per second.
    pub goodput_gbit_per_s: Option<f64>,
    /// Time per message, on the receiver's clock; of a round trip in a ping-pong. That of a burst's message
    /// is from the post of its first receive to its last byte at its destination. That of a one-sided
    /// transfer is the client's, from its post until it is done.
    pub time_us: Times,
    /// The slices without a protocol with this size, in the same unit as the result: GB/s, or µs for a
    /// ping-pong.
    pub ceiling: Option<Slices>,
    /// The result's part of the ceiling: of its goodput, or of its speed there and back.
    pub percent_of_ceiling: Option<f64>,
    /// Whether every timed message was verified at its destination; none if verification was off.
    pub verified: Option<bool>,
    /// Bytes that the sender sent in timed messages.
    pub bytes_sent: u64,
    /// Bytes that came off the receiver's sockets.
    pub bytes_landed: u64,
    /// Bytes that reached their destination.
    pub bytes_unpacked: u64,
    /// CPU time of each process per gigabyte moved; with both ways at once only in the row of their sum.
    pub cpu_s_per_gb: Option<CpuCost>,
    /// The kernel's counters while this was measured; none where a plugin keeps its sockets to itself.
    pub tcp: Option<RowTcp>,
    /// The one-sided transfers that were timed, in the place of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_sided: Option<OneSided>,
}

/// Chunks in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Window {
    /// At the sender.
    pub send: u16,
    /// At the receiver.
    pub recv: u16,
}

/// Goodput and its spread over the messages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// Half of the messages were faster.
    pub median: f64,
    /// The slowest.
    pub min: f64,
    /// The fastest.
    pub max: f64,
    /// The average.
    pub mean: f64,
    /// The standard deviation.
    pub stddev: f64,
    /// The interval that holds the true median with 95 % confidence.
    pub median_ci95: [f64; 2],
}

/// Times per message.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// All but one in a hundred were faster.
    pub p99: f64,
    /// The fastest.
    pub min: f64,
    /// The slowest.
    pub max: f64,
    /// The average.
    pub mean: f64,
    /// The interval that holds the true median with 95 % confidence.
    pub p50_ci95: [f64; 2],
}

/// The slices of a ceiling, which were measured before, between and after the messages.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Slices {
    /// The kind of the ceiling.
    pub kind: CeilingKind,
    /// The number of slices.
    pub count: u64,
    /// The median slice: the ceiling.
    pub median: f64,
    /// The lowest.
    pub min: f64,
    /// The highest.
    pub max: f64,
}

/// CPU seconds per gigabyte.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct CpuCost {
    /// The sender's process.
    pub sender: f64,
    /// The receiver's process.
    pub receiver: f64,
}

/// The kernel's counters for one result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct RowTcp {
    /// Packets sent again.
    pub retransmits: u64,
    /// The median smoothed round-trip time at the end, in microseconds.
    pub rtt_us: u32,
    /// The median congestion window at the end, in packets.
    pub cwnd_packets: u32,
}

impl Ceiling {
    /// Returns the ceiling that these slices measured.
    #[must_use]
    pub fn of(slices: &Slices) -> Self {
        let Slices { kind, median, .. } = *slices;
        let is_rate = kind != CeilingKind::SocketPingPong;
        Self {
            kind,
            memory: if kind == CeilingKind::GpuPipeline { Memory::Cuda } else { Memory::Host },
            gb_per_s: is_rate.then_some(median),
            round_trip_us: (!is_rate).then_some(median),
        }
    }
}

impl fmt::Display for CeilingKind {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Way {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

/// Returns the memory as a result names it: `soft`, or `soft→host` where the ends differ.
#[must_use]
pub fn memory_name(source: Memory, destination: Memory) -> String {
    if source == destination { source.to_string() } else { format!("{source}→{destination}") }
}

#[cfg(test)]
mod tests;
