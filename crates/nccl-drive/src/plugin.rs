//! A plugin that was started: its functions and its devices.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::{Error, Result},
    properties::Properties,
    started::Started,
    watch::watched,
};
use gputcp_nccl_net::{
    call::{Calls, TooLong},
    layout::{c_int, c_void, device::Config},
    versions::TablePlace,
};

/// A plugin that was started. From version 11 on it is ended when its last user drops it; an older one never
/// is.
pub struct Plugin {
    started: Started,
    pub(crate) calls: Calls,
    devices: Vec<Properties>,
}

// SAFETY: NCCL calls a plugin's functions from several threads at a time, and shares its context among them.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

impl Plugin {
    /// Starts the plugin that a library's table describes.
    pub(crate) fn start(library: &Arc<str>, place: TablePlace) -> Result<Arc<Self>> {
        let mut all = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        // Before version 11 nothing undoes `init`, so it is called once.
        if let Some((_, plugin)) = all.iter().find(|(address, _)| *address == place.address()) {
            return Ok(plugin.clone());
        }
        let started = Started::new(library, place)?;
        let calls = started.functions.calls().map_err(|function| started.missing(function))?;
        let mut plugin = Self { started, calls, devices: Vec::new() };
        plugin.devices = plugin.describe()?;
        let plugin = Arc::new(plugin);
        if place.version() < 11 {
            all.push((place.address(), plugin.clone()));
        }
        Ok(plugin)
    }

    fn describe(&self) -> Result<Vec<Properties>> {
        let mut count = 0;
        // SAFETY: the plugin was started; it writes one number.
        self.check("devices", watched(&"devices", || unsafe { (self.calls.devices)(&raw mut count) }))?;
        if !(0..=DEVICES_MAX).contains(&count) {
            return Err(self.absurd("devices", &format!("{count} devices")));
        }
        if count == 0 {
            return Err(Error::NoDevices { plugin: self.started.name.clone() });
        }
        let one = |dev: c_int| {
            // SAFETY: the plugin was started, and has that many devices.
            let raw = watched(&"getProperties", || unsafe { self.calls.get_properties(dev) });
            let raw = raw.map_err(|code| self.failed("getProperties", code))?;
            Properties::check(dev as usize, &raw).map_err(|what| self.absurd("getProperties", &what))
        };
        (0..count).map(one).collect()
    }

    /// Returns the plugin's own name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.started.name
    }

    /// Returns the name of the plugin's library.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.started.library
    }

    /// Returns the version of the interface that the plugin is driven with.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.started.version
    }

    /// Returns the plugin's devices, at least one.
    #[must_use]
    pub fn devices(&self) -> &[Properties] {
        &self.devices
    }

    /// Returns the device of this name or index, or the first for `None`.
    ///
    /// # Errors
    /// [`Error::NoDevice`], which names the devices that there are.
    pub fn device(&self, asked: Option<&str>) -> Result<&Properties> {
        let Some(asked) = asked else { return Ok(&self.devices[0]) };
        let by_name = self.devices.iter().find(|device| device.is_called(asked));
        by_name.or_else(|| self.devices.get(asked.parse::<usize>().ok()?)).ok_or_else(|| {
            let there: Vec<String> =
                self.devices.iter().map(|device| format!("{} ({})", device.index, device.name)).collect();
            let (plugin, there) = (self.started.name.clone(), there.join(", ").into());
            Error::NoDevice { plugin, asked: asked.into(), there }
        })
    }

    /// Returns the context, which versions with communicators are given in each call, and the configuration.
    pub(crate) fn shared(&self) -> (*mut c_void, *mut Config) {
        (self.started.ctx, self.started.config())
    }

    /// Turns a code into an error that names the call.
    pub(crate) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        self.started.check(call, code)
    }

    /// Turns a length that the version cannot express into an error that names the call.
    pub(crate) fn fits(
        &self,
        call: &'static str,
        bytes: u64,
        code: std::result::Result<c_int, TooLong>,
    ) -> Result<c_int> {
        code.map_err(|TooLong| Error::TooLong { bytes, version: self.version(), call })
    }

    pub(crate) fn failed(&self, call: &'static str, code: c_int) -> Error {
        self.started.failed(call, code)
    }

    pub(crate) fn absurd(&self, call: &'static str, what: &str) -> Error {
        self.started.absurd(call, what)
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name()).field("version", &self.version()).finish()
    }
}

/// Plugins of versions that cannot be ended, by the addresses of their tables.
static STARTED: Mutex<Vec<(usize, Arc<Plugin>)>> = Mutex::new(Vec::new());
/// More devices than this, virtual ones included, are an error of the plugin.
pub const DEVICES_MAX: c_int = 1024;
