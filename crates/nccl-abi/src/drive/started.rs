//! A plugin between its `init` and its `finalize`, and how its answers become errors that name it.

use std::{ptr, sync::Arc};

use super::{
    death::name_plugin,
    error::{Error, Result},
    logger,
    table::Found,
    watch::watched,
};
use crate::{
    foreign,
    sys::{c_int, c_void, constants::TRAFFIC_CLASS_UNDEFINED, device::Config},
};

/// A plugin between `init` and `finalize`. Ended when dropped, where the version has a function for that.
pub(super) struct Started {
    pub(super) found: Found,
    pub(super) name: Arc<str>,
    pub(super) library: Arc<str>,
    /// The context that `init` gave, from version 11 on.
    pub(super) ctx: *mut c_void,
    /// Lives as long as the plugin, which may keep the address.
    config: Box<Config>,
}

impl Started {
    /// Calls `init`. The table's other functions may be missing before that.
    pub(super) fn new(library: &Arc<str>, found: Found) -> Result<Self> {
        let (name, version) = (name_of(found, library)?, found.version());
        let Some(init) = found.init() else {
            return Err(Error::Missing { plugin: name, version, function: "init" });
        };
        name_plugin(&format!("{name} (v{version})"));
        let mut started = Self {
            found,
            name,
            library: library.clone(),
            ctx: ptr::null_mut(),
            config: Box::new(Config { traffic_class: TRAFFIC_CLASS_UNDEFINED }),
        };
        let config = started.config();
        // SAFETY: the configuration lives as long as the plugin; the caller's lock keeps other threads out.
        let code = watched(&"init", || unsafe { init.call(&raw mut started.ctx, config, logger::logger()) });
        // From here on the drop calls `finalize`, also after a failure, as NCCL 2.28 does.
        started.check("init", code)?;
        // NCCL selects plugins by the name that stands there after `init`.
        started.name = name_of(found, library)?;
        name_plugin(&format!("{} (v{version})", started.name));
        Ok(started)
    }

    pub(super) fn config(&self) -> *mut Config {
        (&raw const *self.config).cast_mut()
    }

    /// Turns a code into an error that names the call.
    pub(super) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.failed(call, code)) }
    }

    pub(super) fn failed(&self, call: &'static str, code: c_int) -> Error {
        let said = logger::last_words();
        Error::Call { plugin: self.name.clone(), version: self.found.version(), call, code, said }
    }

    pub(super) fn absurd(&self, call: &'static str, what: &str) -> Error {
        Error::Absurd { plugin: self.name.clone(), version: self.found.version(), call, what: what.into() }
    }

    pub(super) fn missing(&self, function: &'static str) -> Error {
        Error::Missing { plugin: self.name.clone(), version: self.found.version(), function }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(finalize) = self.found.finalize() {
            // SAFETY: no connection is left, as each holds the plugin. The context is the one that `init`
            // gave. It is NULL after a failed `init`, and the interface asks for `finalize` then as well.
            let code = watched(&"finalize", || unsafe { finalize(self.ctx) });
            if code != 0 {
                tracing::warn!("{}", self.failed("finalize", code));
            }
        }
    }
}

/// A plugin's name for itself; the library's if it has none.
fn name_of(found: Found, library: &Arc<str>) -> Result<Arc<str>> {
    let name = foreign::text(found.name(), TEXT_BYTES).map_err(|what| Error::Name {
        library: library.clone(),
        version: found.version(),
        what,
    })?;
    let name = foreign::one_line(&name.unwrap_or_default().to_string_lossy());
    let short: String = name.chars().take(NAME_CHARS).collect();
    Ok(if short.is_empty() { library.clone() } else { short.into() })
}

/// No text is longer.
const TEXT_BYTES: usize = 4096;
const NAME_CHARS: usize = 100;
