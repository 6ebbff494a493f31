//! `gputcp plugin …` as it is typed.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use gputcp_nccl_check::Check;

use super::{TalkArgs, size::parse_seconds};

/// `gputcp plugin`.
#[derive(Debug, Args)]
pub struct PluginArgs {
    /// What to do with it.
    #[command(subcommand)]
    pub command: PluginCommand,
}

impl PluginArgs {
    /// How much to say.
    #[must_use]
    pub const fn talk(&self) -> TalkArgs {
        match &self.command {
            PluginCommand::Check(args) => args.talk,
            PluginCommand::CheckSide(_) => TalkArgs { quiet: false, verbose: 0 },
        }
    }
}

/// What to do with a NCCL net plugin.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// Check whether a plugin does what NCCL demands of it
    Check(CheckArgs),
    /// One side of one check, in a process of its own
    #[command(hide = true)]
    CheckSide(CheckSideArgs),
}

/// `gputcp plugin check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The plugin's path, or what NCCL_NET_PLUGIN would be, and which version of the interface [default: its newest]
    #[arg(value_name = "PLUGIN[:VERSION]", required_unless_present = "list", value_parser = PluginArg::parse)]
    pub plugin: Option<PluginArg>,
    /// Perform this check only; may be given more than once
    #[arg(long, value_name = "ID", value_parser = parse_check)]
    pub only: Vec<&'static Check>,
    /// List the checks, what they expect and why
    #[arg(long)]
    pub list: bool,
    /// The plugin's device, by index
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub device: u32,
    /// How long a check may take [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// Print the report as one JSON document
    #[arg(short = 'J', long)]
    pub json: bool,
    /// How much to say.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp plugin check-side`: what [`gputcp_nccl_check::side::Side`] says.
#[derive(Debug, Args)]
pub struct CheckSideArgs {
    /// The check.
    #[arg(value_parser = parse_any_check)]
    pub check: &'static Check,
    /// The plugin.
    pub plugin: String,
    /// The journal.
    pub journal: PathBuf,
    /// Which version.
    #[arg(long)]
    pub version: Option<u32>,
    /// The device.
    #[arg(long)]
    pub device: u32,
    /// How long it may take.
    #[arg(long, value_parser = parse_seconds)]
    pub limit: Duration,
    /// Whether it is the sending side.
    #[arg(long)]
    pub sends: bool,
}

/// A plugin, and which version of the interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginArg {
    /// Its path or name.
    pub name: String,
    /// The version; its newest without.
    pub version: Option<u32>,
}

impl PluginArg {
    /// Reads `PLUGIN[:VERSION]`; a version is a number, with or without a `v`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let split = text.rsplit_once(':').and_then(|(name, version)| {
            let digits = version.strip_prefix('v').unwrap_or(version);
            digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| (name, digits.parse().ok()))
        });
        match split {
            Some(("", _)) => Err("before the colon stands the plugin's path".into()),
            Some((name, version @ Some(_))) => Ok(Self { name: name.into(), version }),
            Some((_, None)) => Err("after the colon stands a version, like 8 or v11".into()),
            None if text.is_empty() => Err("a plugin is a path, or what NCCL_NET_PLUGIN would be".into()),
            None => Ok(Self { name: text.into(), version: None }),
        }
    }
}

fn parse_check(text: &str) -> Result<&'static Check, String> {
    Check::named(text).ok_or_else(|| "there is no such check; --list names them all".into())
}

fn parse_any_check(text: &str) -> Result<&'static Check, String> {
    Check::named_or_probe(text).ok_or_else(|| "there is no such check".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_stands_behind_the_last_colon() {
        for (text, name, version) in [
            ("/a/b.so", "/a/b.so", None),
            ("/a/b.so:8", "/a/b.so", Some(8)),
            ("b:v11", "b", Some(11)),
            ("/a:b/c.so", "/a:b/c.so", None),
            ("/a:b/c.so:v7", "/a:b/c.so", Some(7)),
        ] {
            assert_eq!(PluginArg::parse(text), Ok(PluginArg { name: name.into(), version }), "{text}");
        }
        for text in ["", ":8", "b:", "b:v", "b:99999999999"] {
            assert!(PluginArg::parse(text).is_err(), "{text}");
        }
    }
}
