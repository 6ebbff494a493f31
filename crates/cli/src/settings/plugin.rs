//! NCCL net plugins as people name them.

use clap::Args;

use super::environment::Environment;
use crate::failure::Failure;

/// The plugin that carries the data, if one does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args)]
pub struct PluginArgs {
    /// Move the data through a NCCL net plugin: its path, or its name as in NCCL_NET_PLUGIN; none for the
    /// built-in sockets. A suffix :v8 asks for that version of the interface. A server needs its own
    #[arg(long, value_name = "PATH[:VERSION]", value_parser = PluginArg::parse, help_heading = "Plugin")]
    pub plugin: Option<PluginArg>,
    /// The plugin's device, by index or name [default: the first]
    #[arg(long, value_name = "N|NAME", value_parser = parse_device, help_heading = "Plugin")]
    pub plugin_device: Option<String>,
}

/// A plugin's name, and the version of the interface to speak with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PluginArg {
    /// The built-in sockets, whatever variables say.
    None,
    /// A plugin.
    Of {
        /// A path, or a name as in `NCCL_NET_PLUGIN`.
        name: String,
        /// The version asked for; else the newest that is known.
        version: Option<u32>,
    },
}

impl Environment {
    /// Fills in which plugin to use.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_plugin(&self, args: &mut PluginArgs) -> Result<(), Failure> {
        self.fill(&mut args.plugin, &["GPUTCP_PLUGIN", "UCCL_TCPX_PLUGIN_PATH"], PluginArg::parse)?;
        self.fill(&mut args.plugin_device, &["GPUTCP_PLUGIN_DEVICE"], parse_device)
    }
}

impl PluginArg {
    /// Parses a plugin: `PATH`, `NAME`, either with `:v8` behind it, or `none`.
    ///
    /// # Errors
    /// A sentence that says how one is named.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if text.eq_ignore_ascii_case("none") {
            return Ok(Self::None);
        }
        let (name, version) = match text.rsplit_once(':').map(|(name, tail)| (name, version(tail))) {
            Some((name, Some(version))) => (name, Some(version)),
            _ => (text, None),
        };
        if name.is_empty() || name.contains('\0') {
            return Err("a plugin is named by its path, or by its name as in NCCL_NET_PLUGIN".into());
        }
        Ok(Self::Of { name: name.to_owned(), version })
    }

    /// Returns it as it is typed.
    #[must_use]
    pub fn typed(&self) -> String {
        match self {
            Self::None => "none".into(),
            Self::Of { name, version: None } => name.clone(),
            Self::Of { name, version: Some(version) } => format!("{name}:v{version}"),
        }
    }
}

/// Parses a version: `8`, `v8` or `ncclNetPlugin_v8`.
fn version(text: &str) -> Option<u32> {
    let number = text.strip_prefix("ncclNetPlugin_").unwrap_or(text);
    let number = number.strip_prefix('v').unwrap_or(number);
    // Three digits are no version, but may be part of a path.
    number.parse().ok().filter(|version| *version < 100)
}

/// Parses a device's index or name.
fn parse_device(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a plugin's device is named by its index or its name".into()),
        text => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plugins_are_named_with_and_without_a_version() {
        let of = |name: &str, version| Ok(PluginArg::Of { name: name.into(), version });
        assert_eq!(PluginArg::parse("/a/b.so"), of("/a/b.so", None));
        assert_eq!(PluginArg::parse("/a/b.so:v8"), of("/a/b.so", Some(8)));
        assert_eq!(PluginArg::parse("tcpx:7"), of("tcpx", Some(7)));
        assert_eq!(PluginArg::parse("x:ncclNetPlugin_v11"), of("x", Some(11)));
        assert_eq!(PluginArg::parse("/odd:name/b.so"), of("/odd:name/b.so", None));
        assert_eq!(PluginArg::parse("None"), Ok(PluginArg::None));
        for bad in ["", " ", ":v8", "a\0b"] {
            assert!(PluginArg::parse(bad).is_err(), "{bad:?}");
        }
        for text in ["none", "/a/b.so", "tcpx:v7"] {
            assert_eq!(PluginArg::parse(text).unwrap().typed(), text);
        }
    }
}
