//! The probe: it loads a plugin, starts it and asks for its devices, in a process of its own.

use std::ffi::c_int;

use gputcp_nccl_drive::DEVICES_MAX;

use crate::{
    bench::BenchPlugin,
    checks::{Check, Run, Scope},
    raw::Raw,
    source::{PLUGIN, nccl},
    stop::{Seen, fail},
};

/// A plugin's answers about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probed {
    /// The plugin's name.
    pub name: String,
    /// The version of the plugin's table.
    pub version: u32,
    /// The number of the plugin's devices.
    pub devices: u32,
}

/// The reason why a plugin cannot be checked, in a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// The file is no plugin, or not of that version.
    NoPlugin(String),
    /// The file is a plugin, and does not start.
    NoStart(String),
}

/// The probe as a check: all others need it to pass.
pub static PROBE: Check = Check {
    id: "probe",
    expected: "the plugin is loaded, starts, and has a device",
    because: "else NCCL goes on to the next plugin",
    sources: &[nccl(PLUGIN, 172, 187), nccl(PLUGIN, 222, 232)],
    scope: Scope::ALL,
    run: Run::Alone(probe),
};

/// Returns the check of this name, or the probe that comes before them.
#[must_use]
pub fn named_or_probe(id: &str) -> Option<&'static Check> {
    Check::named(id).or_else(|| (id == PROBE.id).then_some(&PROBE))
}

fn probe(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let (code, devices) = plugin.call("devices", Raw::devices);
    plugin.success("devices", code)?;
    match devices {
        1..=DEVICES_MAX if plugin.dev < devices => {
            Ok(format!("{} {devices} {}", plugin.raw.version(), plugin.raw.name().unwrap_or_default()))
        }
        1..=DEVICES_MAX => {
            fail(format!("it has no device {}: devices said that there are {devices}", plugin.dev))
        }
        TOO_MANY.. => {
            fail(format!("devices said that there are {devices}: more than {DEVICES_MAX} are an error"))
        }
        _ => fail(format!("devices said that there are {devices}: it finds no network that it can use")),
    }
}

impl Probed {
    /// Reads the evidence of [`probe`].
    pub(crate) fn read(seen: &str) -> Option<Self> {
        let mut words = seen.splitn(3, ' ');
        let (version, devices) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some(Self { name: words.next()?.to_owned(), version, devices })
    }
}

const TOO_MANY: c_int = DEVICES_MAX + 1;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_probe_is_no_check_of_its_own() {
        assert!(Check::named(PROBE.id).is_none());
        assert_eq!(named_or_probe(PROBE.id).map(|probe| probe.id), Some("probe"));
    }
}
