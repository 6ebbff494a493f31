//! A measurement as the user asks for it: each option's flag, its variables, and the values that they take.

use std::time::Duration;

use clap::Args;
use gputcp_proto::frame::STREAMS_MAX;

use super::{
    agreed::{CHANNELS_MAX, CHUNK_BYTES_MAX},
    depth::{self, parse_depth},
    environment::Environment,
    kinds::{Memory, Unpack},
    memory::{MemoryArg, Selector},
    one_sided::OneSidedArgs,
    plugin::PluginArgs,
    size::{Windows, parse_count, parse_seconds, parse_size, parse_windows, show_size},
    sockets::SocketSettings,
};
use crate::failure::Failure;

/// A measurement as it is typed.
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
    /// Timed messages of each size, or bursts with --depth [default: 20; 10 with --depth; 1000 with
    /// --latency]
    #[arg(short = 'n', long, value_name = "N", value_parser = parse_iterations, conflicts_with = "time",
          help_heading = "Messages")]
    pub iterations: Option<u32>,
    /// Time messages of each size for this long instead
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_seconds, help_heading = "Messages")]
    pub time: Option<Duration>,
    /// Messages or bursts of each size before the timed ones [default: 3; 1 with --depth; 50 with --latency]
    #[arg(short, long, value_name = "N", value_parser = parse_warmup, help_heading = "Messages")]
    pub warmup: Option<u32>,
    /// Messages or one-sided transfers in flight, as far as --window allows: the next begins while the last
    /// one ends. From 2 on, bursts are timed: as many without a pause as 1G holds, between N and 256
    /// [default: 1]
    #[arg(long, value_name = "N", value_parser = parse_depth, help_heading = "Messages")]
    pub depth: Option<u16>,

    /// The server sends, the client receives
    #[arg(short = 'R', long, conflicts_with_all = ["bidir", "latency"], help_heading = "Direction")]
    pub reverse: bool,
    /// Both send at once
    #[arg(long, conflicts_with = "latency", help_heading = "Direction")]
    pub bidir: bool,
    /// Ping-pong: each message is answered by one of the same size; reports the round trip
    #[arg(long, help_heading = "Direction")]
    pub latency: bool,

    /// One-sided transfers in the place of messages.
    #[command(flatten)]
    pub one_sided: OneSidedArgs,

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
    /// Memory to move: host (received in place), soft (the software GPU), cuda or cuda:GPU [default: cuda
    /// where both ends have a GPU, else soft]
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
    /// The options of the built-in transport alone.
    #[command(flatten)]
    pub sockets: SocketSettings,

    /// The plugin that carries the data.
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

impl Environment {
    /// Fills in what the command line left open for a measurement.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_measure(&self, args: &mut MeasureArgs) -> Result<(), Failure> {
        // A flag beats every variable that would contradict it, not only its namesake.
        self.complete_one_sided(args)?;
        let is_one_sided = args.one_sided.op.is_some();
        if !is_one_sided && args.size.is_none() && args.begin.is_none() && args.end.is_none() {
            args.begin = self.first(&["GPUTCP_BEGIN"], parse_size)?;
            args.end = self.first(&["GPUTCP_END"], parse_size)?;
            if args.begin.is_none() && args.end.is_none() {
                args.size = self.first(&["GPUTCP_SIZE", "UCCL_TCPX_PERF_SIZE"], parse_size)?;
            }
        }
        if args.end.is_some() {
            self.fill(&mut args.factor, &["GPUTCP_FACTOR"], parse_factor)?;
        }
        if args.iterations.is_none() && args.time.is_none() {
            args.time = self.first(&["GPUTCP_TIME"], parse_seconds)?;
            if args.time.is_none() {
                args.iterations =
                    self.first(&["GPUTCP_ITERATIONS", "UCCL_TCPX_PERF_ITERS"], parse_iterations)?;
            }
        }
        self.fill(&mut args.warmup, &["GPUTCP_WARMUP"], parse_warmup)?;
        if depth::conflict(args).is_none() {
            self.fill(&mut args.depth, &["GPUTCP_DEPTH"], parse_depth)?;
        }
        self.fill(&mut args.streams, &["GPUTCP_STREAMS"], parse_streams)?;
        if args.streams.is_none() {
            args.streams = self.sockets_of_nccl()?;
        }
        if !is_one_sided {
            self.fill(&mut args.channels, &["GPUTCP_CHANNELS", "UCCL_TCPX_NUM_CHANNELS"], parse_channels)?;
            let chunk = ["GPUTCP_CHUNK", "UCCL_TCPX_CHUNK_BYTES", "NCCL_P2P_NET_CHUNKSIZE"];
            self.fill(&mut args.chunk, &chunk, parse_chunk)?;
            self.fill(&mut args.window, &["GPUTCP_WINDOW"], parse_windows)?;
            self.complete_plugin(&mut args.plugin)?;
        }
        let host_flag = kind(args) == Some(Memory::Host);
        self.complete_memory(args)?;
        // With --memory host there is nothing to unpack: a variable that says how is no error then.
        if !host_flag && args.unpack.is_none() {
            args.unpack = self.first(&["GPUTCP_UNPACK"], Unpack::parse)?;
            if args.unpack.is_none()
                && self.first(&["UCCL_TCPX_HOST_RECV_DEBUG"], parse_switch)? == Some(true)
            {
                args.unpack = Some(Unpack::None);
            }
            if args.unpack.is_none() && kind(args) != Some(Memory::Host) {
                args.unpack = self.first(&["UCCL_TCPX_UNPACK_IMPL"], Unpack::parse)?;
            }
        }
        args.sockets.complete(self)?;
        self.fill(&mut args.seed, &["GPUTCP_SEED"], parse_seed)?;
        self.fill(&mut args.timeout, &["GPUTCP_TIMEOUT"], parse_seconds)?;
        self.fill(&mut args.interval, &["GPUTCP_INTERVAL"], parse_seconds)
    }

    /// Fills in the memory and the GPUs. A flag that names a GPU beats a variable that names other memory,
    /// and the reverse.
    fn complete_memory(&self, args: &mut MeasureArgs) -> Result<(), Failure> {
        if args.gpu.is_none() && args.peer_gpu.is_none() {
            self.fill(&mut args.memory, &["GPUTCP_MEMORY"], MemoryArg::parse)?;
        }
        if !matches!(kind(args), None | Some(Memory::Cuda)) {
            return Ok(());
        }
        if args.memory.as_ref().is_none_or(|memory| memory.gpu.is_none()) {
            self.fill(&mut args.gpu, &["GPUTCP_GPU"], Selector::parse)?;
        }
        self.fill(&mut args.peer_gpu, &["GPUTCP_PEER_GPU"], Selector::parse)
    }

    /// Returns NCCL's sockets per connection: sockets per thread × threads.
    fn sockets_of_nccl(&self) -> Result<Option<u16>, Failure> {
        let (per_thread, threads) = ("NCCL_NSOCKS_PERTHREAD", "NCCL_SOCKET_NTHREADS");
        let (sockets, by) =
            (self.first(&[per_thread], parse_streams)?, self.first(&[threads], parse_streams)?);
        if sockets.is_none() && by.is_none() {
            return Ok(None);
        }
        let product = u32::from(sockets.unwrap_or(1)) * u32::from(by.unwrap_or(1));
        match parse_streams(&product.to_string()) {
            Ok(streams) => Ok(Some(streams)),
            Err(why) => Err(Failure::Usage(format!(
                "{per_thread} × {threads} asks for {product} sockets, but {why}: lower one of them, or give --streams"
            ))),
        }
    }
}

fn kind(args: &MeasureArgs) -> Option<Memory> {
    args.memory.as_ref().map(|memory| memory.kind)
}

fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim() {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("a switch is 0 or 1".into()),
    }
}

fn parse_factor(text: &str) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(factor) if factor >= 2 => Ok(factor),
        _ => Err("the factor of a sweep is a whole number from 2 on".into()),
    }
}

fn parse_iterations(text: &str) -> Result<u32, String> {
    parse_count(text, "iterations", 1, 1_000_000_000)
}

fn parse_warmup(text: &str) -> Result<u32, String> {
    parse_count(text, "warm-up messages", 0, 1_000_000)
}

fn parse_streams(text: &str) -> Result<u16, String> {
    parse_count(text, "streams", 1, u32::from(STREAMS_MAX)).map(|count| count as u16)
}

fn parse_channels(text: &str) -> Result<u16, String> {
    parse_count(text, "channels", 1, u32::from(CHANNELS_MAX)).map(|count| count as u16)
}

fn parse_chunk(text: &str) -> Result<u64, String> {
    let most = CHUNK_BYTES_MAX;
    match parse_size(text)? {
        bytes if bytes <= most => Ok(bytes),
        _ => Err(format!("a chunk is at most {}", show_size(most))),
    }
}

fn parse_seed(text: &str) -> Result<u64, String> {
    text.trim().parse().map_err(|_| "a seed is a whole number".into())
}

#[cfg(test)]
mod tests;
