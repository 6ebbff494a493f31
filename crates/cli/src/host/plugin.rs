//! A NCCL net plugin on this machine: the one that a session uses, the device of it, and the facts that a
//! report shows.

use std::{
    fmt,
    sync::{
        Arc, Barrier,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use gputcp_nccl_drive::{
    DeviceKind, Error as PluginError, Library, Plugin, Properties, leave, stuck_call, tell_of_deaths,
};
use gputcp_proto::frame::SLOTS_MAX;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    output::{Output, Talk},
    printable::printable,
    settings::{
        agreed::QUEUE_WINDOW_MAX,
        plugin::{PluginArg, PluginArgs},
        resolve::PluginLimits,
    },
};

/// A plugin that was started, and the device to use.
#[derive(Debug, Clone)]
pub struct NetPlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// The device.
    pub device: Properties,
    /// The versions of the interface that its library has.
    pub versions: Vec<u32>,
    /// The facts of the plugin and its device.
    pub facts: PluginFacts,
    limit: Arc<CallLimit>,
}

/// The bound on a call to the plugin, in microseconds.
#[derive(Debug)]
struct CallLimit(AtomicU64);

impl CallLimit {
    /// Allows a call four fifths of `timeout`. A thread inside a plugin says nothing to the other side,
    /// which gives up after `timeout` and does not know why.
    fn set(&self, timeout: Duration) {
        let micros = (timeout * 4 / 5).as_micros();
        self.0.store(u64::try_from(micros).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    fn get(&self) -> Duration {
        Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

/// A plugin's facts, and those of the device of it that carries the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PluginFacts {
    /// The name that the plugin gives itself.
    pub name: String,
    /// The version of the interface that is spoken with it.
    pub version: u32,
    /// The library that it came from.
    pub library: String,
    /// The device's name.
    pub device: String,
    /// The device's speed in Mbit/s, as the plugin says; 10 000 where it does not know, as NCCL takes it.
    pub speed_mbit: u32,
    /// NCCL's device type: `unpack` for the unpack queue, `host` for received data that is in place.
    pub device_type: String,
}

impl NetPlugin {
    /// Opens the plugin that was asked for, if one was. From then on it is watched. A call that does not
    /// return for four fifths of `timeout` ends the process, as nothing else can end the call.
    ///
    /// # Errors
    /// [`Failure::Usage`] if there is no such plugin or device; [`Failure::Run`] if it fails.
    pub fn open(args: &PluginArgs, timeout: Duration, talk: Talk) -> Result<Option<Self>, Failure> {
        let Some(PluginArg::Of { name, version }) = &args.plugin else { return Ok(None) };
        // A plugin's prints are no result.
        Output::keep_stdout()?;
        tell_of_deaths(Failure::Run(String::new()).exit_code());
        let limit = Arc::new(CallLimit(AtomicU64::new(0)));
        limit.set(timeout);
        watch(limit.clone(), talk)?;
        let failed = |error: PluginError| match error {
            PluginError::Open(_)
            | PluginError::NoTable { .. }
            | PluginError::NoDevices { .. }
            | PluginError::NoDevice { .. } => Failure::Usage(error.to_string()),
            error => Failure::Run(error.to_string()),
        };
        HERE.store(true, Ordering::Relaxed);
        let library = Library::open(name).map_err(failed)?;
        let plugin = library.plugin(*version).map_err(failed)?;
        let device = plugin.device(args.plugin_device.as_deref()).map_err(failed)?.clone();
        let facts = PluginFacts {
            name: plugin.name().to_owned(),
            version: plugin.version(),
            library: plugin.library().to_owned(),
            device: device.name.clone(),
            speed_mbit: device.speed_mbit,
            device_type: device.kind.to_string(),
        };
        tracing::info!(plugin = %facts, "started");
        Ok(Some(Self { plugin, device, versions: library.versions().to_vec(), facts, limit }))
    }

    /// Puts a session's timeout in force, in place of the one that this side was started with.
    pub fn watch_for(&self, timeout: Duration) {
        self.limit.set(timeout);
    }

    /// Returns whether the device leaves what it receives into GPU memory in a bounce region, to be
    /// unpacked.
    #[must_use]
    pub fn unpacks(&self) -> bool {
        self.device.kind == DeviceKind::Unpack
    }

    /// Returns how many requests the plugin takes on one connection for sure. Version 8 of the interface is
    /// NCCL 2.20's, and NCCL has 32 since 2.19 (`NCCL_NET_MAX_REQUESTS`). Plugins of older versions, and
    /// unpack queues, take 16 at the least.
    #[must_use]
    pub fn requests(&self) -> u16 {
        if self.facts.version >= 8 && !self.unpacks() { SLOTS_MAX } else { QUEUE_WINDOW_MAX }
    }

    /// Returns the limits of its device.
    #[must_use]
    pub fn limits(&self) -> PluginLimits {
        PluginLimits {
            name: self.facts.name.clone(),
            device: self.facts.device.clone(),
            max_bytes: self.device.max_bytes,
            requests: self.requests(),
            takes_host_memory: self.device.host,
            takes_gpu_memory: self.device.cuda || self.device.dma_buf,
            unpacks: self.unpacks(),
        }
    }
}

/// Returns whether a plugin was opened, or tried to be: its code may have run in this process.
#[must_use]
pub fn is_here() -> bool {
    HERE.load(Ordering::Relaxed)
}

static HERE: AtomicBool = AtomicBool::new(false);

/// Ends the process when a plugin does not return.
fn watch(limit: Arc<CallLimit>, talk: Talk) -> Result<(), Failure> {
    // A thread that starts waits for the loader, which the plugin may hold.
    let begun = Arc::new(Barrier::new(2));
    let begins = begun.clone();
    let life = move || {
        begins.wait();
        loop {
            let bound = limit.get();
            thread::sleep(LOOK.min(bound / 16));
            if let Some((call, inside)) = stuck_call(bound) {
                let failure = Failure::Run(format!(
                    "the plugin has not returned from {call} for {:.1} s (the bound is four fifths of --timeout): it hangs, ask its authors",
                    inside.as_secs_f64()
                ));
                talk.error(&failure);
                leave(failure.exit_code().into());
            }
        }
    };
    let thread = thread::Builder::new().name("plugin watch".into()).spawn(life);
    thread.map_err(|error| Failure::Run(format!("could not start the plugin's watch: {error}")))?;
    begun.wait();
    Ok(())
}

/// Between two looks at whether a plugin hangs.
const LOOK: Duration = Duration::from_millis(250);

impl PluginFacts {
    /// Returns the same facts, fit for a terminal: they came from the other side.
    #[must_use]
    pub fn printable(self) -> Self {
        let short = |text: &str| printable(text).chars().take(200).collect();
        Self {
            name: short(&self.name),
            library: short(&self.library),
            device: short(&self.device),
            device_type: short(&self.device_type),
            ..self
        }
    }

    /// Checks that connections between the two can be expected to work.
    ///
    /// # Errors
    /// A sentence that says what differs.
    pub fn check_matches(&self, server: &Self) -> Result<(), String> {
        if self.name != server.name {
            return Err(format!(
                "the client uses the plugin {} and the server {}: use the same on both ends",
                printable(&self.name),
                printable(&server.name)
            ));
        }
        if self.device_type != server.device_type {
            return Err(format!(
                "the client's plugin has devices of type {} and the server's of type {}: set both up alike",
                printable(&self.device_type),
                printable(&server.device_type)
            ));
        }
        Ok(())
    }
}

impl fmt::Display for PluginFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, version, library, device, speed_mbit, .. } = self;
        write!(f, "{name} v{version} on {device}")?;
        if *speed_mbit > 0 {
            write!(f, " ({} Gb/s)", f64::from(*speed_mbit) / 1e3)?;
        }
        write!(f, ", from {library}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_must_speak_the_same_plugin() {
        let facts = |name: &str, device_type: &str| PluginFacts {
            name: name.into(),
            version: 8,
            library: "/x.so".into(),
            device: "eth0".into(),
            speed_mbit: 25_000,
            device_type: device_type.into(),
        };
        let mine = facts("A", "host");
        assert_eq!(mine.to_string(), "A v8 on eth0 (25 Gb/s), from /x.so");
        assert_eq!(mine.check_matches(&PluginFacts { version: 11, ..facts("A", "host") }), Ok(()));
        assert!(mine.check_matches(&facts("B", "host")).unwrap_err().contains("the same on both ends"));
        assert!(mine.check_matches(&facts("A", "unpack")).unwrap_err().contains("type unpack"));
        let hostile = PluginFacts { device: "\x1b[31m".repeat(100), ..facts("A", "host") }.printable();
        assert!(!hostile.device.contains('\x1b') && hostile.device.chars().count() == 200);
    }
}
