//! What the user asked for, checked as a whole: every combination that makes no sense is one sentence here.

use std::time::Duration;

use gputcp::transfer::Plan;

use super::{
    MeasureArgs,
    environment::Environment,
    memory::Selector,
    plugin::PluginArgs,
    size::{Windows, show_size},
};
use crate::{
    failure::Failure,
    measure::memory::Wanted,
    settings::{Flow, MESSAGE_BYTES_MAX, Memory, SIZES_MAX, SOCKETS_MAX, Settings, Transport, Unpack},
};

/// A measurement to make.
#[derive(Debug, Clone)]
pub struct Request {
    /// What both ends will agree on, but for what depends on the other side.
    pub settings: Settings,
    /// The memory asked for; where nobody has a GPU it is that of `settings`.
    pub memory: Wanted,
    /// The plugin to move it through.
    pub plugin: PluginArgs,
    /// The GPU of this side.
    pub gpu: Option<Selector>,
    /// The GPU of the other side.
    pub peer_gpu: Option<Selector>,
    /// What was asked for of how messages are cut; the rest follows from the memory and from both machines.
    pub cut: Cut,
    /// Whether the congestion control is chosen by where the ends are.
    pub congestion_auto: bool,
    /// Timed messages of each size.
    pub amount: Amount,
    /// Messages of each size before the timed ones.
    pub warmup: u32,
    /// How often to say how far it is.
    pub interval: Option<Duration>,
    /// How to print the report.
    pub format: Format,
}

/// How messages are cut and spread, as far as it was asked for.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cut {
    /// Data sockets per connection.
    pub streams: Option<u16>,
    /// Bytes per request.
    pub chunk: Option<u64>,
    /// Bytes per segment.
    pub segment: Option<u32>,
    /// Chunks in flight.
    pub windows: Option<Windows>,
    /// How chunks reach their destination.
    pub unpack: Option<Unpack>,
}

/// How much to measure of each size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many messages.
    Count(u32),
    /// For so long.
    Time(Duration),
}

/// How to print the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values.
    Csv,
}

impl Request {
    /// The measurement that the command line and the environment ask for.
    ///
    /// # Errors
    /// [`Failure::Usage`] saying what makes no sense, and what to do.
    pub fn new(mut args: MeasureArgs, environment: &Environment) -> Result<Self, Failure> {
        environment.complete_measure(&mut args)?;
        let flow = match (args.latency, args.bidir, args.reverse) {
            (true, ..) => Flow::RoundTrip,
            (_, true, _) => Flow::Both,
            (_, _, true) => Flow::Backward,
            _ => Flow::Forward,
        };
        let wanted = wanted(&mut args)?;
        let (memory, unpack) = memory_and_unpack(wanted, args.unpack)?;
        let channels = args.channels.unwrap_or(1);
        if flow == Flow::RoundTrip && channels > 1 {
            return usage(
                "--latency moves one message at a time, so more than one of --channels is of no use: drop it",
            );
        }
        if let Some(streams) = args.streams
            && u64::from(streams) * u64::from(channels) > SOCKETS_MAX
        {
            return usage(format!(
                "{streams} streams on each of {channels} channels are more than {SOCKETS_MAX} sockets: lower one of them"
            ));
        }
        let windows = args.window.unwrap_or_else(|| Windows::of_streams(1));
        let cut = Cut {
            streams: args.streams,
            chunk: args.chunk,
            segment: args.segment,
            windows: args.window,
            unpack: args.unpack,
        };
        let latency = flow == Flow::RoundTrip;
        let settings = Settings {
            sizes: sizes(&args, if latency { 4 << 10 } else { 64 << 20 })?,
            flow,
            transport: Transport::Sockets,
            streams: args.streams.unwrap_or(1),
            channels,
            chunk_bytes: args.chunk.unwrap_or(Plan::CHUNK_BYTES),
            send_window: windows.send,
            recv_window: windows.recv,
            memory,
            unpack,
            segment_bytes: args.segment,
            slabs: args.slabs,
            congestion: args.congestion.clone().filter(|name| name != "auto"),
            send_buffer_bytes: args.sndbuf,
            recv_buffer_bytes: args.rcvbuf,
            verify: !args.no_verify,
            ceiling: !args.no_ceiling,
            timeout_ms: args.timeout.unwrap_or(DEFAULT_TIMEOUT).as_millis() as u64,
            seed: args.seed.unwrap_or(1),
        };
        settings.check().map_err(Failure::Usage)?;
        Ok(Self {
            settings,
            memory: wanted,
            plugin: args.plugin,
            gpu: args.gpu,
            peer_gpu: args.peer_gpu,
            cut,
            congestion_auto: args.congestion.is_none_or(|name| name == "auto"),
            amount: match (args.iterations, args.time) {
                (_, Some(time)) => Amount::Time(time),
                (Some(count), None) => Amount::Count(count),
                (None, None) => Amount::Count(if latency { 1000 } else { 20 }),
            },
            warmup: args.warmup.unwrap_or(if latency { 50 } else { 3 }),
            interval: args.interval,
            format: match (args.json, args.csv) {
                (true, _) => Format::Json,
                (_, true) => Format::Csv,
                _ => Format::Table,
            },
        })
    }
}

/// Without progress for this long, a side gives up.
pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// The memory asked for. Who names a GPU asks for its memory; the GPU behind `cuda:` is this side's.
fn wanted(args: &mut MeasureArgs) -> Result<Wanted, Failure> {
    let names_gpu = args.gpu.is_some() || args.peer_gpu.is_some();
    let memory = match args.memory.take() {
        Some(memory) if memory.gpu.is_some() && args.gpu.is_some() => {
            return usage("this side's GPU is named twice, by --memory and by --gpu: drop one of them");
        }
        Some(memory) => {
            args.gpu = memory.gpu.or_else(|| args.gpu.take());
            Some(memory.kind)
        }
        None => None,
    };
    let wanted = match memory {
        Some(Memory::Cuda) => Wanted::Exactly(Memory::Cuda),
        Some(memory) if names_gpu => {
            return usage(format!(
                "{} memory has nothing to do with a GPU: drop --gpu and --peer-gpu, or choose --memory cuda",
                memory.name()
            ));
        }
        Some(memory) => Wanted::Exactly(memory),
        None if names_gpu => Wanted::Exactly(Memory::Cuda),
        None if args.damage.is_some() => Wanted::Exactly(Memory::Soft),
        None => Wanted::Automatic,
    };
    if args.damage.is_some() && wanted == Wanted::Exactly(Memory::Cuda) {
        return usage("--damage reaches no GPU memory: choose --memory host or soft");
    }
    Ok(wanted)
}

fn memory_and_unpack(wanted: Wanted, unpack: Option<Unpack>) -> Result<(Memory, Unpack), Failure> {
    let memory = match wanted {
        Wanted::Exactly(memory) => memory,
        Wanted::Automatic => Memory::Soft,
    };
    match (memory, unpack) {
        (Memory::Host, None | Some(Unpack::None)) => Ok((Memory::Host, Unpack::None)),
        (Memory::Host, Some(mode)) => usage(format!(
            "host memory is received in place, so --unpack {} has nothing to do: drop it, or choose --memory soft or cuda",
            mode.name()
        )),
        (memory, unpack) => Ok((memory, unpack.unwrap_or(Unpack::Kernel))),
    }
}

/// The sizes of a sweep, or the one.
fn sizes(args: &MeasureArgs, default: u64) -> Result<Vec<u64>, Failure> {
    let Some(begin) = args.begin else {
        if args.end.is_some() {
            return usage(
                "a sweep's last size is given, but not its first: give --begin (GPUTCP_BEGIN) as well",
            );
        }
        return Ok(vec![within_reach(args.size.unwrap_or(default))?]);
    };
    let end = within_reach(args.end.unwrap_or(begin))?;
    if begin > end {
        let (begin, end) = (show_size(begin), show_size(end));
        return usage(format!("the sweep begins at {begin} and ends at {end}, which is less: swap them"));
    }
    let factor = u64::from(args.factor.unwrap_or(2));
    let next = |&bytes: &u64| bytes.checked_mul(factor);
    let sizes: Vec<u64> =
        std::iter::successors(Some(begin), next).take_while(|&bytes| bytes <= end).collect();
    assert!(sizes.len() <= SIZES_MAX, "a factor of at least 2 gives at most 49 sizes");
    Ok(sizes)
}

fn within_reach(bytes: u64) -> Result<u64, Failure> {
    if bytes > MESSAGE_BYTES_MAX {
        return usage(format!(
            "a message of {} is beyond any memory: choose a smaller size",
            show_size(bytes)
        ));
    }
    Ok(bytes)
}

fn usage<T>(sentence: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(sentence.into()))
}

#[cfg(test)]
mod tests {
    use gputcp_proto::session::Role;

    use super::*;
    use crate::args::memory::MemoryArg;

    fn gpu(name: &str) -> Option<Selector> {
        Selector::parse(name).ok()
    }

    fn request(args: MeasureArgs) -> Result<Request, Failure> {
        Request::new(args, &Environment::default())
    }

    #[test]
    fn defaults() {
        let request = request(MeasureArgs::default()).unwrap();
        insta::assert_json_snapshot!(request.settings);
        assert_eq!((request.amount, request.warmup), (Amount::Count(20), 3));
    }

    #[test]
    fn memory_is_chosen_unless_it_or_a_gpu_is_named() {
        let wanted = |args: MeasureArgs| request(args).map(|request| (request.memory, request.gpu));
        assert_eq!(wanted(MeasureArgs::default()), Ok((Wanted::Automatic, None)));
        let cuda = Wanted::Exactly(Memory::Cuda);
        let named = MeasureArgs { gpu: gpu("1"), ..Default::default() };
        assert_eq!(wanted(named), Ok((cuda, gpu("1"))));
        let named = MeasureArgs { peer_gpu: gpu("1"), ..Default::default() };
        assert_eq!(wanted(named), Ok((cuda, None)));
        let named = MeasureArgs { memory: MemoryArg::parse("cuda:1").ok(), ..Default::default() };
        assert_eq!(wanted(named), Ok((cuda, gpu("1"))));
        let damaged = MeasureArgs { damage: Some(1), ..Default::default() };
        assert_eq!(wanted(damaged), Ok((Wanted::Exactly(Memory::Soft), None)));
    }

    #[test]
    fn a_sweep_stops_at_its_end() {
        let args =
            MeasureArgs { begin: Some(1000), end: Some(30_000), factor: Some(3), ..Default::default() };
        assert_eq!(request(args).unwrap().settings.sizes, [1000, 3000, 9000, 27_000]);
        let args = MeasureArgs { begin: Some(1), end: Some(u64::MAX), ..Default::default() };
        assert_eq!(request(args).unwrap_err().exit_code(), 2);
        let args = MeasureArgs { begin: Some(1), end: Some(MESSAGE_BYTES_MAX), ..Default::default() };
        assert_eq!(request(args).unwrap().settings.sizes.len(), 49);
    }

    #[test]
    fn combinations_without_sense_are_one_sentence() {
        let bad = [
            MeasureArgs { begin: Some(2), end: Some(1), ..Default::default() },
            MeasureArgs { end: Some(1), ..Default::default() },
            MeasureArgs {
                memory: Some(Memory::Host.into()),
                unpack: Some(Unpack::Kernel),
                ..Default::default()
            },
            MeasureArgs { memory: Some(Memory::Soft.into()), gpu: gpu("0"), ..Default::default() },
            MeasureArgs { memory: Some(Memory::Host.into()), peer_gpu: gpu("0"), ..Default::default() },
            MeasureArgs { memory: MemoryArg::parse("cuda:0").ok(), gpu: gpu("0"), ..Default::default() },
            MeasureArgs { memory: Some(Memory::Cuda.into()), damage: Some(1), ..Default::default() },
            MeasureArgs { latency: true, channels: Some(2), ..Default::default() },
            MeasureArgs { streams: Some(64), channels: Some(64), ..Default::default() },
            MeasureArgs { size: Some(u64::MAX), ..Default::default() },
            MeasureArgs { chunk: Some(64 << 20), segment: Some(4096), ..Default::default() },
        ];
        let sentences: Vec<String> = bad
            .into_iter()
            .map(|args| match request(args).unwrap_err() {
                Failure::Usage(sentence) => sentence,
                other => panic!("{other:?} is no usage error"),
            })
            .collect();
        insta::assert_snapshot!(sentences.join("\n"));
    }

    #[test]
    fn memory_beyond_the_host_is_refused() {
        let settings = request(MeasureArgs { size: Some(1 << 40), ..Default::default() }).unwrap().settings;
        let both = [Role::Client, Role::Server];
        let needed = 2 * settings.memory_bytes();
        assert!(settings.check_memory("this host", &both, Some(needed)).is_ok());
        let sentence = settings.check_memory("this host", &both, Some(needed - 1)).unwrap_err();
        insta::assert_snapshot!(sentence, @"messages of 1T need 2199.0 GB of memory on this host, which has 2199.0 GB left: choose a smaller size");
        // A GPU's memory is no concern of the host's, but what is received in place is.
        let settings = Settings { memory: Memory::Cuda, ..settings };
        let rings = 2 * settings.ring_bytes();
        assert!(settings.check_memory("this host", &both, Some(rings)).is_ok());
        assert!(settings.check_memory("this host", &both, Some(rings - 1)).is_err());
        let settings = Settings { unpack: Unpack::None, ..settings };
        assert!(settings.check_memory("this host", &[Role::Client], Some(rings / 2)).is_ok());
        assert!(settings.check_memory("this host", &both, Some(1 << 39)).is_err());
    }

    #[test]
    fn rings_beyond_the_host_are_refused() {
        let args = |memory| MeasureArgs {
            memory: MemoryArg::parse(memory).ok(),
            streams: Some(64),
            channels: Some(4),
            segment: Some(64 << 20),
            size: Some(1 << 20),
            bidir: true,
            ..Default::default()
        };
        let settings = request(args("soft")).unwrap().settings;
        // 256 sockets, 4 segments each, both ways.
        assert_eq!(settings.memory_bytes(), 2 * ((1 << 20) + 256 * 4 * (64 << 20)));
        let sentence = settings.check_memory("this host", &[Role::Client], Some(100 << 30)).unwrap_err();
        insta::assert_snapshot!(sentence, @"messages of 1M need 137.4 GB of memory on this host, which has 107.4 GB left: choose smaller segments or fewer streams, whose rings need most of it");
        assert_eq!(request(args("host")).unwrap().settings.memory_bytes(), 2 << 20);
    }
}
