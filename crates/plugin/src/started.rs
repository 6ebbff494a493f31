//! The plugin once it is started: its settings and devices.
//!
//! They are the same for all communicators of the process, as NCCL keeps the addresses of the names.

use std::{
    net::SocketAddr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
};

use gputcp::{CongestionControl, Handle, IoPool, Options, Trace};
use gputcp_nccl_net::ResultCode;
use gputcp_proto::frame::{INLINE_BYTES_MAX, STREAMS_MAX};

use crate::{
    answer::refused,
    devices::{self, Device, Devices},
    log, nccl,
    settings::{Congestion, Merging, Settings},
};

/// The findings of the first successful `init`.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) settings: Settings,
    pub(crate) devices: Devices,
    /// The threads of all connections, started by the first connection.
    pub(crate) pool: IoPool,
    /// The file for the life of each message, if one is asked for.
    pub(crate) trace: Option<Trace>,
}

/// Starts the plugin for one more communicator.
///
/// # Errors
/// A code, after the log was told what to correct.
pub(crate) fn start() -> Result<(), ResultCode> {
    static FIRST: Mutex<()> = Mutex::new(());
    let _one = FIRST.lock().unwrap_or_else(PoisonError::into_inner);
    if PLUGIN.get().is_none() {
        let plugin = Started::find().map_err(|why| {
            log::warn(&why);
            ResultCode::InvalidUsage
        })?;
        plugin.introduce();
        plugin.tune_nccl();
        let _ = PLUGIN.set(plugin);
    }
    COMMUNICATORS.fetch_add(1, Relaxed);
    Ok(())
}

/// Ends the plugin for one communicator, and returns whether it was the last. Connections end by their own
/// closes.
pub(crate) fn end() -> bool {
    if let Some(trace) = PLUGIN.get().and_then(|plugin| plugin.trace.as_ref()) {
        // The process may end now, without another word.
        trace.flush();
    }
    COMMUNICATORS.fetch_sub(1, Relaxed) == 1
}

/// Returns the plugin, which must have been started.
///
/// # Errors
/// If it was not.
pub(crate) fn started() -> Result<&'static Started, ResultCode> {
    PLUGIN.get().ok_or_else(|| {
        log::warn("a function was called before init");
        ResultCode::InvalidUsage
    })
}

/// Notes that NCCL has asked for a device's properties, and so has chosen this network for a communicator.
///
/// NCCL asks no network that it only tries: those see `init` and `devices`. `ncclNetInit` compares the name
/// that was asked for before it looks at properties (src/plugin/net.cc). The chosen network is asked again
/// when the communicator's topology is built (`ncclTopoGetSystem` in src/graph/topo.cc). That is before its
/// tuner starts (in `initTransportsRank` in src/init.cc, or behind it).
pub(crate) fn choose() {
    CHOSEN.store(true, Relaxed);
}

/// Returns the plugin, if NCCL has chosen its network for a communicator of the process.
pub(crate) fn chosen() -> Option<&'static Started> {
    PLUGIN.get().filter(|_| CHOSEN.load(Relaxed))
}

impl Started {
    fn find() -> Result<Self, String> {
        let settings = Settings::of_process()?;
        if let Some(path) = &settings.open_key_file {
            log::warn(&format!("the key file {} can be read by others: `chmod 600` it", path.display()));
        }
        let devices = devices::find(&settings)?;
        let pool = IoPool::new(settings.threads).map_err(|error| error.to_string())?;
        let trace = settings.trace.as_ref().map(Trace::to_file).transpose();
        let trace = trace.map_err(|error| format!("{error} (the variable {})", Trace::VARIABLE))?;
        Ok(Self { settings, devices, pool, trace })
    }

    fn tune_nccl(&self) {
        let set = if self.settings.nccl_defaults { nccl::set_unset() } else { Vec::new() };
        if !set.is_empty() {
            log::info(&format!("set what was unset: {} (GPUTCP_NCCL_DEFAULTS=0 leaves it)", set.join(" ")));
        }
    }

    fn introduce(&self) {
        let devices: Vec<String> = self.devices.all().iter().map(ToString::to_string).collect();
        let counted = |count: usize, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        log::info(&format!(
            "version {}, {} per connection, {} for all, {}, devices: {}",
            env!("CARGO_PKG_VERSION"),
            counted(self.settings.streams.into(), "stream"),
            counted(self.settings.threads, "thread"),
            if self.settings.key.is_some() { "with a key" } else { "without a key" },
            devices.join(", ")
        ));
        if let Some(trace) = &self.trace {
            log::info(&format!("the life of each message is written to {}", trace.path().display()));
        }
    }

    /// Returns the device that NCCL calls by this number.
    pub(crate) fn device(&self, number: i32) -> Result<&'static Device, ResultCode> {
        let device = self.devices.get(number);
        device.ok_or_else(|| refused(&format!("there is no device {number}, but {}", self.devices.count())))
    }

    /// Joins several devices to one, as NCCL asks for, and returns its number.
    ///
    /// If NCCL was not told to join any, it is refused: it then goes on with the devices as they are.
    pub(crate) fn join(&self, numbers: &[i32]) -> Result<i32, ResultCode> {
        if self.settings.merging != Merging::Nccl {
            log::info(&format!(
                "the devices {numbers:?} stay apart, as neither NCCL_NET_MERGE_LEVEL nor NCCL_NET_FORCE_MERGE asks to join them"
            ));
            return Err(ResultCode::InvalidArgument);
        }
        let (number, device) = self.devices.join(numbers).map_err(|why| refused(&why))?;
        log::info(&format!("device {number} is {device}"));
        Ok(number)
    }

    /// Returns the options of accepted connections.
    ///
    /// A lone message goes on the control socket up to the longest that may. NCCL polls all the time, so its
    /// own thread writes and reads that socket and none has to be woken. Between two H200 a send of 256 KiB
    /// and its reply took 275 µs with 64 KiB as the limit, and 180 µs so.
    pub(crate) fn options(&self) -> Options {
        let settings = &self.settings;
        Options::default()
            .with_streams(settings.streams)
            .with_max_receives(settings.max_receives)
            .with_timeout(settings.timeout)
            .with_key(settings.key.clone())
            .with_pool(self.pool.clone())
            .with_trace(self.trace.clone())
            .tuned(|tuning| {
                tuning.inline_bytes = INLINE_BYTES_MAX;
                tuning.eager_places = settings.eager_places;
                tuning.segment_bytes = settings.segment_bytes;
                tuning.slabs = settings.slabs;
                tuning.congestion = match &settings.congestion {
                    Congestion::Auto => None,
                    Congestion::Named(name) => Some(name.clone()),
                };
            })
    }

    /// Returns the options of a connection from this device to a listener.
    ///
    /// The connecting side sends, so its congestion control counts. Each interface, on the side that has more
    /// of them, gets as many streams as one alone has.
    pub(crate) fn options_to(&self, device: &Device, handle: &Handle) -> Options {
        let mut options = self.options();
        if device.is_merged() {
            options.bind = device.addresses.iter().map(SocketAddr::ip).collect();
        }
        let interfaces = device.addresses.len().max(handle.addresses().count()) as u16;
        options.streams = options.streams.saturating_mul(interfaces).min(STREAMS_MAX);
        let ip = handle.address.ip();
        let is_here = ip.is_loopback() || self.devices.all().iter().any(|device| device.has(ip));
        let cubic = CongestionControl::cubic();
        if self.settings.congestion == Congestion::Auto && is_here && cubic.check_usable().is_ok() {
            options.tuning.congestion = Some(cubic);
        }
        options
    }
}

static PLUGIN: OnceLock<Started> = OnceLock::new();
/// Whether NCCL has chosen this network.
///
/// It stays so: processes with two networks are rare, and a communicator does not tell which it has.
static CHOSEN: AtomicBool = AtomicBool::new(false);
/// The number of communicators that were started and not ended. Before version 11 no call ends one.
static COMMUNICATORS: AtomicUsize = AtomicUsize::new(0);
