//! The command line as it is typed. A measurement's options are in
//! [`settings::asked`](crate::settings::asked).

pub mod check;
pub mod doctor;
pub mod network;
pub mod talk;

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use self::{
    check::{CheckArgs, CheckSideArgs},
    doctor::DoctorArgs,
    network::{FamilyArgs, NetworkArgs},
    talk::TalkArgs,
};
use crate::settings::{
    asked::MeasureArgs,
    plugin::{PluginArg, PluginArgs},
    size::parse_seconds,
};

/// Moves memory between two machines over TCP and measures it honestly.
#[derive(Debug, Parser)]
#[command(
    name = "gputcp",
    version = crate::version::long(),
    max_term_width = 100,
    after_help = "Every option with a value can also be set as GPUTCP_NAME (GPUTCP_CHUNK=1M); a flag wins.\n\
                  Exit codes: 0 ok, 1 run failed, 2 usage, 3 corrupted data, 5 other side, 130 interrupted."
)]
pub struct Cli {
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands of `gputcp`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Measure on this machine: starts a server process of its own and moves data to it
    Loopback(LoopbackArgs),
    /// Serve clients one after another
    Server(ServerArgs),
    /// Measure between this machine and a server
    Client(ClientArgs),
    /// Look at this machine: what is well, what could be better, and what to type for it
    Doctor(DoctorArgs),
    /// Look at a NCCL net plugin
    #[command(subcommand)]
    Plugin(PluginCommand),
}

/// The subcommands of `gputcp plugin`.
#[derive(Debug, Subcommand)]
pub enum PluginCommand {
    /// List a plugin's devices
    List(PluginListArgs),
    /// Check whether a plugin does what NCCL demands of it
    Check(CheckArgs),
    /// One side of one check, in a process of its own
    #[command(hide = true)]
    CheckSide(CheckSideArgs),
}

impl PluginCommand {
    /// Returns the choice of how much to say.
    #[must_use]
    pub const fn talk(&self) -> TalkArgs {
        match self {
            Self::List(args) => args.talk,
            Self::Check(args) => args.talk,
            Self::CheckSide(_) => TalkArgs { quiet: false, verbose: 0 },
        }
    }
}

/// `gputcp plugin list`.
#[derive(Debug, Args)]
pub struct PluginListArgs {
    /// The plugin: its path, or its name as in NCCL_NET_PLUGIN; :v8 behind it asks for that version of the
    /// interface
    #[arg(value_name = "PATH[:VERSION]", value_parser = PluginArg::parse)]
    pub plugin: PluginArg,
    /// Print one JSON document
    #[arg(short = 'J', long)]
    pub json: bool,
    /// The command's talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp loopback`.
#[derive(Debug, Args)]
pub struct LoopbackArgs {
    /// The measurement's options.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// IPv4 or IPv6.
    #[command(flatten)]
    pub family: FamilyArgs,
    /// The command's talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp client`.
#[derive(Debug, Args)]
pub struct ClientArgs {
    /// The server's name or address
    pub host: String,
    /// The measurement's options.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// The place of the other side.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The command's talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}

/// `gputcp server`.
#[derive(Debug, Args)]
pub struct ServerArgs {
    /// Serve one client and exit with its exit code
    #[arg(long)]
    pub once: bool,
    /// Give up after this long without progress (default: the client's)
    #[arg(long, value_name = "SECONDS", value_parser = parse_seconds)]
    pub timeout: Option<Duration>,
    /// The plugin for clients that ask for one.
    #[command(flatten)]
    pub plugin: PluginArgs,
    /// The place to listen at.
    #[command(flatten)]
    pub network: NetworkArgs,
    /// The command's talk.
    #[command(flatten)]
    pub talk: TalkArgs,
    /// Belong to this process: tell it the port on stdout, and end with it
    #[arg(long, hide = true, value_name = "PID")]
    pub child_of: Option<i32>,
}
