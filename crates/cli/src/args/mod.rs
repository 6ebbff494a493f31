//! The command line as it is typed: letters and words only. What they mean together is checked in [`request`].

pub mod check;
pub mod doctor;
pub mod environment;
pub mod memory;
pub mod plugin;
pub mod request;
pub mod size;

use std::{path::PathBuf, time::Duration};

use clap::{ArgAction, Args, Parser, Subcommand};
use gputcp_proto::frame::STREAMS_MAX;

use self::{
    check::{CheckArgs, CheckSideArgs},
    doctor::DoctorArgs,
    memory::{MemoryArg, Selector},
    plugin::{PluginArg, PluginArgs},
    size::{Windows, parse_count, parse_seconds, parse_size, parse_windows},
};
use crate::{host::bind::Bind, settings::Unpack};

/// Moves memory between two machines over TCP and measures it honestly.
#[derive(Debug, Parser)]
#[command(
    name = "gputcp",
    version = crate::version::long(),
    max_term_width = 100,
    after_help = "Every option with a value can also be set as GPUTCP_NAME (GPUTCP_CHUNK=1M); a flag wins.\n\
                  Exit codes: 0 ok, 1 run failed, 2 usage, 3 corrupted data, 5 other side, 130 interrupted."
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure on this machine: starts a server process of its own and moves data to it
    Loopback(LoopbackArgs),
    /// Serve clients one after another
    Server(ServerArgs),
    /// Measure between this machine and a server
    Client(ClientArgs),
    /// Look at this machine: what is well, what could be better, and what to type for it
    Doctor(DoctorArgs),
    /// Look at a NCCL net plugin
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// What to do with a plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List a plugin's devices
    List(PluginListArgs),
    /// Check whether a plugin does what NCCL demands of it
    Check(CheckArgs),
    /// One side of one check, in a process of its own
    #[command(hide = true)]
    CheckSide(CheckSideArgs),
}

impl PluginCommand {
    /// How much to say.
    #[must_use]
    pub const fn talk(&self) -> TalkArgs {
        match self {
            Self::List(args) => args.talk,
            Self::Check(args) => args.talk,
            Self::CheckSide(_) => TalkArgs { quiet: false, verbose: 0 },
        }
    }
}

/// `gputcp plugin list`.
#[derive(Debug, Args)]
pub struct PluginListArgs {
    /// The plugin: its path, or its name as in NCCL_NET_PLUGIN; :v8 behind it asks for that version of the interface
    #[arg(value_name = "PATH[:VERSION]", value_parser = PluginArg::parse)]
    pub plugin: PluginArg,
    /// Print one JSON document
    #[arg(short = 'J', long)]
    pub json: bool,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp loopback`.
#[derive(Debug, Args)]
pub struct LoopbackArgs {
    /// What to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// IPv4 or IPv6.
    #[command(flatten)]
    pub family: FamilyArgs,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The server's name or address
    pub host: String,
    /// What to measure.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Where to find the other side.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Serve one client and exit with its exit code
    #[arg(long)]
    pub once: bool,
    /// Give up after this long without progress (default: the client's)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// The plugin for clients that ask for one.
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// Where to listen.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
    /// Belong to this process: tell it the port on stdout, and end with it
    #[arg(long, hide = true, value_name = "PID")]
    pub child_of: Option<i32>,
}

/// Addresses and ports.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Port of the server [default: 12347]
    #[arg(short, long, value_parser = parse_port)]
    pub port: Option<u16>,
    /// Local address or network interface to use
    #[arg(short = 'B', long, value_name = "ADDRESS|IFACE", value_parser = parse_bind)]
    pub bind: Option<Bind>,
    /// File with a key that both ends must have
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
    /// IPv4 or IPv6.
    #[command(flatten)]
    pub family: FamilyArgs,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, Args)]
pub struct FamilyArgs {
    /// Use IPv4 only
    #[arg(short = '4', long)]
    pub ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long, conflicts_with = "ipv4")]
    pub ipv6: bool,
}

/// How much to say on stderr.
#[derive(Debug, Clone, Copy, Args)]
pub struct TalkArgs {
    /// Say nothing but errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr (twice for even more)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}

/// What to measure, and how.
#[derive(Debug, Clone, Default, Args)]
pub struct MeasureArgs {
    /// Message size [default: 64M; 4K with --latency]
    #[arg(short, long, value_parser = parse_size, conflicts_with_all = ["begin", "end"], help_heading = "Messages")]
    pub size: Option<u64>,
    /// First message size of a sweep
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size, help_heading = "Messages")]
    pub begin: Option<u64>,
    /// Last message size of a sweep
    #[arg(short, long, value_name = "SIZE", value_parser = parse_size, requires = "begin", help_heading = "Messages")]
    pub end: Option<u64>,
    /// Factor between the sizes of a sweep [default: 2]
    #[arg(short, long, value_parser = parse_factor, requires = "end", help_heading = "Messages")]
    pub factor: Option<u32>,
    /// Timed messages per size [default: 20; 1000 with --latency]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_iterations, conflicts_with = "time",
          help_heading = "Messages")]
    pub iterations: Option<u32>,
    /// Time messages of each size for this long instead
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Messages")]
    pub time: Option<Duration>,
    /// Messages per size before the timed ones [default: 3; 50 with --latency]
    #[arg(short, long, value_name = "N", value_parser = parse_warmup, help_heading = "Messages")]
    pub warmup: Option<u32>,

    /// The server sends, the client receives
    #[arg(short = 'R', long, conflicts_with_all = ["bidir", "latency"], help_heading = "Direction")]
    pub reverse: bool,
    /// Both send at once
    #[arg(long, conflicts_with = "latency", help_heading = "Direction")]
    pub bidir: bool,
    /// Ping-pong: each message is answered by one of the same size; reports the round trip
    #[arg(long, help_heading = "Direction")]
    pub latency: bool,

    /// Data sockets per connection [default: the cores of the smaller side, at most 8]
    #[arg(short = 'P', long, value_name = "N", value_parser = parse_streams, help_heading = "Transfer")]
    pub streams: Option<u16>,
    /// Connections; chunk i travels on connection i mod N [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_channels, help_heading = "Transfer")]
    pub channels: Option<u16>,
    /// Bytes per request [default: 512K; 4M between GPUs]
    #[arg(long, value_name = "SIZE", value_parser = parse_chunk, help_heading = "Transfer")]
    pub chunk: Option<u64>,
    /// Chunks in flight, of both sides or as SEND,RECV [default: 12,16; up to 24,32 with
    /// more than 4 streams]
    #[arg(long, value_name = "N|SEND,RECV", value_parser = parse_windows, help_heading = "Transfer")]
    pub window: Option<Windows>,
    /// Memory to move: host (received in place), soft (the software GPU), cuda or cuda:GPU [default: cuda where both
    /// ends have a GPU, else soft]
    #[arg(short, long, value_name = "KIND", value_parser = MemoryArg::parse, help_heading = "Transfer")]
    pub memory: Option<MemoryArg>,
    /// This side's GPU: index, UUID or PCI address [default: the first]
    #[arg(short, long, value_name = "GPU", value_parser = Selector::parse, help_heading = "Transfer")]
    pub gpu: Option<Selector>,
    /// The server's GPU [default: its first that is not this side's]
    #[arg(long, value_name = "GPU", value_parser = Selector::parse, help_heading = "Transfer")]
    pub peer_gpu: Option<Selector>,
    /// How a received chunk reaches its destination: kernel, copy (or d2d), host, none [default: kernel;
    /// copy for --latency between GPUs]
    #[arg(long, value_name = "MODE", value_parser = Unpack::parse, help_heading = "Transfer")]
    pub unpack: Option<Unpack>,
    /// Bytes per segment: what one socket carries at a time [default: 512K; 2M between GPUs]
    #[arg(long, value_name = "SIZE", value_parser = parse_segment, help_heading = "Transfer")]
    pub segment: Option<u32>,
    /// Segments in the pinned ring that a stream stages or bounces through [default: 4; 3 between GPUs]
    #[arg(long, value_name = "N", value_parser = parse_slabs, help_heading = "Transfer")]
    pub slabs: Option<u16>,
    /// Congestion control of the data sockets: auto, or a name the kernel knows [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_congestion, help_heading = "Transfer")]
    pub congestion: Option<String>,
    /// Fixed send buffer of the data sockets [default: the kernel tunes it]
    #[arg(long, value_name = "SIZE", value_parser = parse_socket_buffer, help_heading = "Transfer")]
    pub sndbuf: Option<u32>,
    /// Fixed receive buffer of the data sockets [default: the kernel tunes it]
    #[arg(long, value_name = "SIZE", value_parser = parse_socket_buffer, help_heading = "Transfer")]
    pub rcvbuf: Option<u32>,

    /// What carries the data.
    #[command(flatten)]
    pub plugin: PluginArgs,

    /// Verify every timed message, outside the clock (the default)
    #[arg(long, overrides_with = "no_verify", help_heading = "Measuring")]
    pub verify: bool,
    /// Do not verify
    #[arg(long, overrides_with = "verify", help_heading = "Measuring")]
    pub no_verify: bool,
    /// Do not measure what raw sockets reach
    #[arg(long, help_heading = "Measuring")]
    pub no_ceiling: bool,
    /// Seed of the data
    #[arg(long, value_name = "N", value_parser = parse_seed, help_heading = "Measuring")]
    pub seed: Option<u64>,
    /// Damage one bit of this message, to see that verification notices
    #[arg(long, hide = true, value_name = "ITERATION")]
    pub damage: Option<u64>,
    /// Give up after this long without progress [default: 30]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Measuring")]
    pub timeout: Option<Duration>,

    /// Say on stderr how far it is, this often
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Output")]
    pub interval: Option<Duration>,
    /// Print the report as one JSON document
    #[arg(short = 'J', long, conflicts_with = "csv", help_heading = "Output")]
    pub json: bool,
    /// Print the report as CSV
    #[arg(long, help_heading = "Output")]
    pub csv: bool,
}

/// A port. 0 lets the system choose, which only makes sense for a server that tells it.
pub(crate) fn parse_port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "a port is between 0 and 65535".into())
}

pub(crate) fn parse_bind(text: &str) -> Result<Bind, String> {
    Bind::parse(text)
}

fn parse_factor(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(factor) if factor >= 2 => Ok(factor),
        _ => Err("the factor of a sweep is a whole number from 2 on".into()),
    }
}

pub(crate) fn parse_iterations(text: &str) -> Result<u32, String> {
    parse_count(text, "iterations", 1, 1_000_000_000)
}

fn parse_warmup(text: &str) -> Result<u32, String> {
    parse_count(text, "warm-up messages", 0, 1_000_000)
}

pub(crate) fn parse_streams(text: &str) -> Result<u16, String> {
    parse_count(text, "streams", 1, u32::from(STREAMS_MAX)).map(|count| count as u16)
}

pub(crate) fn parse_channels(text: &str) -> Result<u16, String> {
    parse_count(text, "channels", 1, u32::from(crate::settings::CHANNELS_MAX)).map(|count| count as u16)
}

pub(crate) fn parse_chunk(text: &str) -> Result<u64, String> {
    let most = crate::settings::CHUNK_BYTES_MAX;
    match parse_size(text)? {
        bytes if bytes <= most => Ok(bytes),
        _ => Err(format!("a chunk is at most {}", size::show_size(most))),
    }
}

fn parse_segment(text: &str) -> Result<u32, String> {
    let range = gputcp_proto::frame::SEGMENT_BYTES;
    match u32::try_from(parse_size(text)?) {
        Ok(bytes) if range.contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "a segment has between {} and {}",
            size::show_size(u64::from(*range.start())),
            size::show_size(u64::from(*range.end()))
        )),
    }
}

fn parse_slabs(text: &str) -> Result<u16, String> {
    parse_count(text, "slabs", 1, u32::from(gputcp::SLABS_MAX)).map(|count| count as u16)
}

fn parse_socket_buffer(text: &str) -> Result<u32, String> {
    match parse_size(text)? {
        // The kernel stores twice the value in an int (socket(7)).
        bytes @ 4096..=0x3fff_ffff => Ok(bytes as u32),
        _ => Err("a socket buffer has between 4K and 1G".into()),
    }
}

/// A congestion control's name, or `auto`. The kernel's names are short words (TCP_CA_NAME_MAX is 16).
fn parse_congestion(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > 15 || !text.bytes().all(word) {
        return Err("a congestion control is auto, or a name like cubic or bbr".into());
    }
    Ok(text.to_owned())
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| "a seed is a whole number".into())
}
