//! A plugin that was started: its name, its devices, and how its answers become errors.

use std::{
    fmt, ptr,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    calls::Calls,
    error::{Error, Result},
    library::Found,
    logger,
    properties::Properties,
    text,
    watch::watched,
};
use crate::sys::{c_int, c_void, constants::TRAFFIC_CLASS_UNDEFINED, device::Config};

/// A plugin that was started. From version 11 on it is ended when the last of its users is gone; older ones never are.
pub struct Plugin {
    name: Arc<str>,
    library: Arc<str>,
    pub(super) calls: Calls,
    /// What `init` gave, from version 11 on.
    pub(super) ctx: *mut c_void,
    /// Lives as long as the plugin, which may keep the address.
    config: Box<Config>,
    devices: Vec<Properties>,
}

// SAFETY: NCCL calls a plugin's functions from several threads at a time, and shares its context among them.
unsafe impl Send for Plugin {}
// SAFETY: as above.
unsafe impl Sync for Plugin {}

impl Plugin {
    /// Starts what a library's table describes.
    pub(super) fn start(library: &Arc<str>, found: Found) -> Result<Arc<Self>> {
        let mut started = STARTED.lock().unwrap_or_else(PoisonError::into_inner);
        // Before version 11 nothing undoes `init`, so it is called once.
        if let Some((_, plugin)) = started.iter().find(|(address, _)| *address == found.address()) {
            return Ok(plugin.clone());
        }
        let before = read(library, found)?;
        let mut plugin = Self {
            name: name(before.name, library),
            library: library.clone(),
            calls: before,
            ctx: ptr::null_mut(),
            config: Box::new(Config { traffic_class: TRAFFIC_CLASS_UNDEFINED }),
            devices: Vec::new(),
        };
        let _ = logger::last_warning();
        let config = &raw mut *plugin.config;
        // SAFETY: the configuration lives as long as the plugin; the lock keeps other threads out.
        let code = watched(&"init", || unsafe { before.init(&raw mut plugin.ctx, config, logger::logger()) });
        // Whatever came of it: from here on the plugin's drop ends it, also after a failure, as NCCL does.
        plugin.check("init", code)?;
        // Some complete their tables only now.
        plugin.calls = read(library, found)?;
        plugin.devices = plugin.describe()?;
        let (version, plugin) = (plugin.calls.version, Arc::new(plugin));
        if version < 11 {
            started.push((found.address(), plugin.clone()));
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
            let there = "none at all, see what it says with -v; often its interfaces are down, or excluded by NCCL_SOCKET_IFNAME";
            return Err(self.no_device("to use", there));
        }
        let one = |dev: c_int| {
            // SAFETY: the plugin was started, and has that many devices.
            let raw = watched(&"getProperties", || unsafe { self.calls.properties(dev) });
            let raw = raw.map_err(|code| self.failed("getProperties", code))?;
            // SAFETY: the interface has texts there that end in zeros, or NULL.
            unsafe { Properties::check(dev as usize, &raw) }
                .map_err(|what| self.absurd("getProperties", &what))
        };
        (0..count).map(one).collect()
    }

    /// What the plugin calls itself.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The library that it came from.
    #[must_use]
    pub fn library(&self) -> &str {
        &self.library
    }

    /// The version of the interface that is spoken with it.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.calls.version
    }

    /// Its devices; at least one.
    #[must_use]
    pub fn devices(&self) -> &[Properties] {
        &self.devices
    }

    /// The device of this name or index; the first if nobody asks for one.
    ///
    /// # Errors
    /// [`Error::NoDevice`] naming those that there are.
    pub fn device(&self, asked: Option<&str>) -> Result<&Properties> {
        let Some(asked) = asked else { return Ok(&self.devices[0]) };
        let by_name = self.devices.iter().find(|device| device.is_called(asked));
        by_name.or_else(|| self.devices.get(asked.parse::<usize>().ok()?)).ok_or_else(|| {
            let there: Vec<String> =
                self.devices.iter().map(|device| format!("{} ({})", device.index, device.name)).collect();
            self.no_device(asked, &there.join(", "))
        })
    }

    /// Whether it has receives given back (`irecvConsumed`).
    #[must_use]
    pub const fn has_consumed(&self) -> bool {
        self.calls.optional.irecv_consumed.is_some()
    }

    pub(super) fn config(&self) -> *mut Config {
        (&raw const *self.config).cast_mut()
    }

    /// Turns a code into an error that names the call.
    pub(super) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.failed(call, code)) }
    }

    pub(super) fn failed(&self, call: &'static str, code: c_int) -> Error {
        let said = logger::last_warning();
        Error::Call { plugin: self.name.clone(), version: self.calls.version, call, code, said }
    }

    pub(super) fn absurd(&self, call: &'static str, what: &str) -> Error {
        Error::Absurd { plugin: self.name.clone(), version: self.calls.version, call, what: what.into() }
    }

    fn no_device(&self, asked: &str, there: &str) -> Error {
        Error::NoDevice { plugin: self.name.clone(), asked: asked.into(), there: there.into() }
    }
}

impl Drop for Plugin {
    fn drop(&mut self) {
        if let Some(finalize) = self.calls.optional.finalize {
            // SAFETY: no connection is left, as each holds the plugin; the context is what `init` gave, or NULL if it
            // failed, for which the interface asks as well.
            let code = watched(&"finalize", || unsafe { finalize(self.ctx) });
            if code != 0 {
                tracing::warn!("{}", self.failed("finalize", code));
            }
        }
    }
}

impl fmt::Debug for Plugin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plugin").field("name", &self.name).field("version", &self.calls.version).finish()
    }
}

fn read(library: &Arc<str>, found: Found) -> Result<Calls> {
    Calls::read(found).map_err(|(version, text, function)| Error::Missing {
        plugin: name(text, library),
        version,
        function,
    })
}

/// A plugin's name for itself; the library's if it has none that can be read.
fn name(start: *const std::ffi::c_char, library: &Arc<str>) -> Arc<str> {
    // SAFETY: a table's name ends in a zero.
    let text = unsafe { text::shown(start, NAME_BYTES) };
    if text.is_empty() { library.clone() } else { text.into() }
}

/// Plugins of versions that cannot be ended, by where their tables are.
static STARTED: Mutex<Vec<(usize, Arc<Plugin>)>> = Mutex::new(Vec::new());
/// More devices than this, virtual ones included, are an error of the plugin.
pub const DEVICES_MAX: c_int = 1024;
const NAME_BYTES: usize = 100;
