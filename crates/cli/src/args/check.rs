//! `gputcp plugin check` as it is typed.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use gputcp_nccl_check::{Check, probe::named_or_probe};

use super::talk::TalkArgs;
use crate::{
    failure::Failure,
    settings::{environment::Environment, memory::MemoryArg, plugin::PluginArg, size::parse_seconds},
};

/// `gputcp plugin check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The plugin: its path, or its name as in NCCL_NET_PLUGIN; :v8 behind it asks for that version of the
    /// interface
    #[arg(value_name = "PATH[:VERSION]", required_unless_present = "list", value_parser = PluginArg::parse)]
    pub plugin: Option<PluginArg>,
    /// Perform this check only; may be given more than once
    #[arg(long, value_name = "ID", value_parser = parse_check)]
    pub only: Vec<&'static Check>,
    /// List the checks, what they expect and why
    #[arg(long)]
    pub list: bool,
    /// With --list: print the page docs/plugin-check.md, which names NCCL's source for each check
    #[arg(long, requires = "list", conflicts_with = "json")]
    pub markdown: bool,
    /// The plugin's device, by index
    #[arg(long, value_name = "INDEX", default_value_t = 0)]
    pub device: u32,
    /// Memory for the checks of GPU memory: host (none), soft (the software GPU), cuda or cuda:GPU
    /// [default: the first GPU that there is]
    #[arg(short, long, value_name = "KIND", value_parser = MemoryArg::parse)]
    pub memory: Option<MemoryArg>,
    /// How long a check may take [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// Print the report as one JSON document
    #[arg(short = 'J', long)]
    pub json: bool,
    /// The command's talk.
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
    /// The version of the interface; else the newest that is known.
    #[arg(long)]
    pub version: Option<u32>,
    /// The device.
    #[arg(long)]
    pub device: u32,
    /// The GPU.
    #[arg(long)]
    pub gpu: Option<String>,
    /// The bound on its time.
    #[arg(long, value_parser = parse_seconds)]
    pub limit: Duration,
    /// Whether it is the sending side.
    #[arg(long)]
    pub sends: bool,
}

impl Environment {
    /// Fills in what the command line left open about checking a plugin.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_check(&self, args: &mut CheckArgs) -> Result<(), Failure> {
        self.fill(&mut args.timeout, &["GPUTCP_TIMEOUT"], parse_seconds)
    }
}

fn parse_check(text: &str) -> Result<&'static Check, String> {
    Check::named(text).ok_or_else(|| "there is no such check; --list names them all".into())
}

fn parse_any_check(text: &str) -> Result<&'static Check, String> {
    named_or_probe(text).ok_or_else(|| "there is no such check".into())
}
