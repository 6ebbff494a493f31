//! A measurement that was asked for: its settings, and what only this side needs to know.

use std::time::Duration;

use super::{
    agreed::Settings,
    asked::MeasureArgs,
    environment::Environment,
    memory::{Selector, Wanted},
    resolve::{Here, resolve, wanted},
};
use crate::failure::Failure;

/// A measurement to make.
#[derive(Debug, Clone)]
pub struct MeasureRequest {
    /// The flags and variables that asked for it.
    pub asked: MeasureArgs,
    /// The settings, as far as they depend on neither machine.
    pub settings: Settings,
    /// The memory asked for.
    pub memory: Wanted,
    /// The GPU of this side.
    pub gpu: Option<Selector>,
    /// Timed messages of each size.
    pub amount: Amount,
    /// Messages of each size before the timed ones.
    pub warmup: u32,
    /// The time between two lines of progress.
    pub interval: Option<Duration>,
    /// The format of the report.
    pub format: Format,
}

/// The amount to measure of each size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Amount {
    /// So many messages.
    Count(u32),
    /// As many messages as this time allows.
    Time(Duration),
}

/// The format of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Aligned columns.
    Table,
    /// One JSON document.
    Json,
    /// Comma-separated values.
    Csv,
}

impl MeasureRequest {
    /// Makes the measurement that the command line and the environment ask for.
    ///
    /// # Errors
    /// [`Failure::Usage`] saying what makes no sense, and what to do.
    pub fn new(mut asked: MeasureArgs, environment: &Environment) -> Result<Self, Failure> {
        environment.complete_measure(&mut asked)?;
        let settings = resolve(&asked, &Here::default(), None)?;
        let (count, warmup) = match (asked.latency, settings.has_bursts()) {
            (true, _) => (1000, 50),
            (_, true) => (10, 1),
            _ => (20, 3),
        };
        Ok(Self {
            settings,
            memory: wanted(&asked)?,
            // The GPU behind `cuda:` is this side's.
            gpu: asked.memory.as_ref().and_then(|memory| memory.gpu.clone()).or_else(|| asked.gpu.clone()),
            amount: match (asked.iterations, asked.time) {
                (_, Some(time)) => Amount::Time(time),
                (Some(count), None) => Amount::Count(count),
                (None, None) => Amount::Count(count),
            },
            warmup: asked.warmup.unwrap_or(warmup),
            interval: asked.interval,
            format: match (asked.json, asked.csv) {
                (true, _) => Format::Json,
                (_, true) => Format::Csv,
                _ => Format::Table,
            },
            asked,
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::session::Role;

    use super::*;
    use crate::settings::{Memory, SocketSettings, Unpack, agreed::MESSAGE_BYTES_MAX, memory::MemoryArg};

    fn gpu(name: &str) -> Option<Selector> {
        Selector::parse(name).ok()
    }

    fn request(args: MeasureArgs) -> Result<MeasureRequest, Failure> {
        MeasureRequest::new(args, &Environment::default())
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
            MeasureArgs {
                chunk: Some(64 << 20),
                sockets: SocketSettings { segment_bytes: Some(4096), ..Default::default() },
                ..Default::default()
            },
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
            sockets: SocketSettings { segment_bytes: Some(64 << 20), ..Default::default() },
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
