//! The knobs: environment variables that set the plugin's behaviour. The crate's page lists them.
//!
//! They are read once, when the file is loaded. A value that makes no sense fails `init` with a sentence on
//! stderr.

use std::{env, fmt::Display, str::FromStr, sync::OnceLock, time::Duration};

use gputcp_nccl_net::ResultCode;

/// The plugin's behaviour.
#[derive(Debug)]
pub(crate) struct Knobs {
    pub(crate) slots: usize,
    pub(crate) streams: usize,
    pub(crate) segment_bytes: usize,
    pub(crate) congestion: String,
    pub(crate) not_yet: u32,
    pub(crate) fifo: bool,
    pub(crate) manual: bool,
    pub(crate) sizes: Sizes,
    pub(crate) gpu: Gpu,
    pub(crate) dma_buf: bool,
    pub(crate) delay: Duration,
    pub(crate) max_recvs: usize,
    pub(crate) devices: i32,
    /// The beginning of the devices' names.
    pub(crate) name: String,
    pub(crate) speed_mbit: i32,
    pub(crate) error: Option<Fault>,
    pub(crate) hang: Option<Fault>,
    pub(crate) crash: Option<Fault>,
    pub(crate) exit: Option<Fault>,
    pub(crate) print: Option<Fault>,
    pub(crate) warn: Option<Fault>,
    /// Whether a thread of the plugin's own ends the process.
    pub(crate) beside: bool,
    violate: Vec<String>,
}

/// The sizes that `test` writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sizes {
    Right,
    Missing,
    Wrong,
}

/// The memory that CUDA pointers lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gpu {
    /// None: only host pointers are taken.
    None,
    /// Memory that the CPU reaches.
    Soft,
    /// Memory of a real GPU: the one with this ordinal, or the one whose context is current.
    Cuda(Option<i32>),
}

/// A fault in the n-th call of a function.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) function: String,
    pub(crate) nth: u64,
    pub(crate) code: i32,
}

impl Knobs {
    /// Returns the process's knobs.
    pub(crate) fn get() -> Result<&'static Self, ResultCode> {
        static KNOBS: OnceLock<Result<Knobs, String>> = OnceLock::new();
        KNOBS.get_or_init(Self::read).as_ref().map_err(|why| {
            eprintln!("gputcp test plugin: {why}");
            ResultCode::InvalidUsage
        })
    }

    /// Returns whether tables are completed in `init`. Called while the file is loaded, before the knobs are
    /// read.
    pub(crate) fn is_late() -> bool {
        text("LATE").is_some_and(|value| value == "1")
    }

    /// Returns whether this pointer of the plugin's is to lead nowhere. Called while the file is loaded, too.
    pub(crate) fn is_nowhere(pointer: &str) -> bool {
        text("NOWHERE").is_some_and(|all| all.split(',').any(|name| name == pointer))
    }

    /// Returns whether the demand with this name is to be violated.
    pub(crate) fn violates(&self, demand: &str) -> bool {
        !self.violate.is_empty() && self.violate.iter().any(|name| name == demand)
    }

    fn read() -> Result<Self, String> {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut knobs = Self {
            slots: number("SLOTS", 32, 1..=64)?,
            streams: number("STREAMS", cores.min(8), 1..=64)?,
            segment_bytes: number("SEGMENT_BYTES", 512 << 10, 4096..=1 << 30)?,
            congestion: text("CONGESTION").unwrap_or_else(|| "cubic".into()),
            not_yet: number("NOT_YET", 0, 0..=1_000_000)?,
            fifo: number("FIFO", 0, 0..=1)? == 1,
            manual: number("MANUAL", 0, 0..=1)? == 1,
            sizes: match text("SIZES").as_deref() {
                None | Some("right") => Sizes::Right,
                Some("missing") => Sizes::Missing,
                Some("wrong") => Sizes::Wrong,
                Some(_) => return Err(format!("{PREFIX}SIZES is right, missing or wrong")),
            },
            gpu: gpu()?,
            dma_buf: number("DMABUF", 0, 0..=1)? == 1,
            delay: Duration::from_micros(number("DELAY_US", 0, 0..=60_000_000)?),
            max_recvs: number("MAX_RECVS", 1, 1..=PARTS_MAX)?,
            devices: number("DEVICES", 1, -1..=4096)?,
            name: text("NAME").unwrap_or_else(|| "loopback".into()),
            speed_mbit: number("SPEED", 100_000, i32::MIN..=i32::MAX)?,
            error: fault("ERROR", Some(ResultCode::Internal.number()))?,
            hang: fault("HANG", None)?,
            crash: fault("CRASH", Some(SIGABRT))?,
            exit: fault("EXIT", None)?,
            print: fault("PRINT", None)?,
            warn: fault("WARN", None)?,
            beside: number("BESIDE", 0, 0..=1)? == 1,
            violate: text("VIOLATE").map_or_else(Vec::new, |all| all.split(',').map(str::to_owned).collect()),
        };
        number("LATE", 0, 0..=1)?;
        knobs.fifo |= knobs.violates("test-any-order");
        Ok(knobs)
    }
}

fn text(name: &str) -> Option<String> {
    env::var_os(format!("{PREFIX}{name}")).map(|value| value.to_string_lossy().into_owned())
}

fn number<T: FromStr + PartialOrd + Display>(
    name: &str,
    default: T,
    range: std::ops::RangeInclusive<T>,
) -> Result<T, String> {
    let Some(value) = text(name) else { return Ok(default) };
    match value.parse() {
        Ok(number) if range.contains(&number) => Ok(number),
        _ => Err(format!("{PREFIX}{name} is a number from {} to {}", range.start(), range.end())),
    }
}

fn gpu() -> Result<Gpu, String> {
    let value = text("GPU");
    match value.as_deref() {
        None | Some("none") => Ok(Gpu::None),
        Some("soft") => Ok(Gpu::Soft),
        Some("cuda") => Ok(Gpu::Cuda(None)),
        Some(other) => other
            .strip_prefix("cuda:")
            .and_then(|index| index.parse().ok())
            .map(|index| Gpu::Cuda(Some(index)))
            .ok_or_else(|| format!("{PREFIX}GPU is none, soft, cuda or cuda:INDEX")),
    }
}

/// Reads `FUNCTION:NTH`, or `FUNCTION:NTH:CODE` where a code can be given; counted from 1.
fn fault(name: &str, usual_code: Option<i32>) -> Result<Option<Fault>, String> {
    let Some(value) = text(name) else { return Ok(None) };
    let mut parts = value.split(':');
    let function = parts.next().unwrap_or_default().to_owned();
    let nth = parts.next().map_or(Some(1), |nth| nth.parse().ok().filter(|&nth| nth > 0));
    let code = match parts.next() {
        Some(code) if usual_code.is_some() => code.parse().ok(),
        Some(_) => None,
        None => Some(usual_code.unwrap_or_default()),
    };
    match (nth, code, parts.next()) {
        (Some(nth), Some(code), None) if !function.is_empty() => Ok(Some(Fault { function, nth, code })),
        _ => {
            let form = if usual_code.is_some() { "FUNCTION:NTH:CODE" } else { "FUNCTION:NTH" };
            Err(format!("{PREFIX}{name} is {form}, like test:3"))
        }
    }
}

/// The beginning of all knobs' names.
const PREFIX: &str = "GPUTCP_TEST_PLUGIN_";
/// The most receives of one request.
pub(crate) const PARTS_MAX: usize = 8;
/// The signal of `abort`.
pub(crate) const SIGABRT: i32 = 6;
