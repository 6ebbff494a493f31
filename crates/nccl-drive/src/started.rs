//! A plugin between its `init` and its `finalize`, and how its answers become errors that name it.

use std::{ptr, sync::Arc};

use crate::{
    death::name_plugin,
    error::{Error, Result},
    foreign, logger,
    watch::watched,
};
use gputcp_nccl_net::{
    call::Functions,
    layout::{c_char, c_int, c_void, constants::TRAFFIC_CLASS_UNDEFINED, device::Config},
    versions::TablePlace,
};

/// A plugin between `init` and `finalize`. Ended when dropped, where the version has a function for that.
pub(crate) struct Started {
    pub(crate) version: u32,
    /// The table as it was after `init`.
    pub(crate) functions: Functions,
    pub(crate) name: Arc<str>,
    pub(crate) library: Arc<str>,
    /// The context that `init` gave, from version 11 on.
    pub(crate) ctx: *mut c_void,
    /// Lives as long as the plugin, which may keep the address.
    config: Box<Config>,
}

impl Started {
    /// Calls `init`. The table's other functions may be missing before that.
    pub(crate) fn new(library: &Arc<str>, place: TablePlace) -> Result<Self> {
        // SAFETY: libraries are never closed, and the caller's lock keeps other threads out of `init`.
        let functions = unsafe { place.read() };
        let version = place.version();
        let name = name_of(functions.name, version, library)?;
        let Some(init) = functions.init else {
            return Err(Error::Missing { plugin: name, version, function: "init" });
        };
        name_plugin(&format!("{name} (v{version})"));
        let mut started = Self {
            version,
            functions,
            name,
            library: library.clone(),
            ctx: ptr::null_mut(),
            config: Box::new(Config { traffic_class: TRAFFIC_CLASS_UNDEFINED }),
        };
        let config = started.config();
        // SAFETY: the configuration lives as long as the plugin; the caller's lock keeps other threads out.
        let code = watched(&"init", || unsafe {
            init.call(&raw mut started.ctx, std::process::id().into(), config, logger::logger())
        });
        // Some plugins fill their table in only there.
        // SAFETY: as above; `init` has returned.
        started.functions = unsafe { place.read() };
        // From here on the drop calls `finalize`, also after a failure, as NCCL 2.28 does.
        started.check("init", code)?;
        // NCCL selects plugins by the name that stands there after `init`.
        started.name = name_of(started.functions.name, version, library)?;
        name_plugin(&format!("{} (v{version})", started.name));
        Ok(started)
    }

    pub(crate) fn config(&self) -> *mut Config {
        (&raw const *self.config).cast_mut()
    }

    /// Turns a code into an error that names the call.
    pub(crate) fn check(&self, call: &'static str, code: c_int) -> Result<()> {
        if code == 0 { Ok(()) } else { Err(self.failed(call, code)) }
    }

    pub(crate) fn failed(&self, call: &'static str, code: c_int) -> Error {
        let said = logger::last_words();
        Error::Call { plugin: self.name.clone(), version: self.version, call, code, said }
    }

    pub(crate) fn absurd(&self, call: &'static str, what: &str) -> Error {
        Error::Absurd { plugin: self.name.clone(), version: self.version, call, what: what.into() }
    }

    pub(crate) fn missing(&self, function: &'static str) -> Error {
        Error::Missing { plugin: self.name.clone(), version: self.version, function }
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        if let Some(finalize) = self.functions.finalize {
            // SAFETY: no connection is left, as each holds the plugin. The context is the one that `init`
            // gave. It is NULL after a failed `init`, and the interface asks for `finalize` then as well.
            let code = watched(&"finalize", || unsafe { finalize(self.ctx) });
            if code != 0 {
                tracing::warn!("{}", self.failed("finalize", code));
            }
        }
    }
}

/// Returns the plugin's own name, or the library's if it has none.
fn name_of(name: *const c_char, version: u32, library: &Arc<str>) -> Result<Arc<str>> {
    let name = foreign::text(name, TEXT_BYTES).map_err(|what| Error::Name {
        library: library.clone(),
        version,
        what,
    })?;
    let name = foreign::one_line(name.unwrap_or_default().to_string_lossy().trim_end());
    let short: String = name.chars().take(NAME_CHARS).collect();
    Ok(if short.is_empty() { library.clone() } else { short.into() })
}

/// No text is longer.
const TEXT_BYTES: usize = 4096;
const NAME_CHARS: usize = 100;
