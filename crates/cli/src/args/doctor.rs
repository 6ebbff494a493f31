//! `gputcp doctor` as it is typed.

use clap::Args;

use super::talk::TalkArgs;

/// `gputcp doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// Print the lines that make NCCL use the plugin on this machine, for eval
    #[arg(long, conflicts_with = "json")]
    pub nccl: bool,
    /// Print the lines that make NIXL use the backend on this machine, for eval, and what UCX would do here
    #[arg(long, conflicts_with_all = ["json", "nccl"])]
    pub nixl: bool,
    /// Print the report as one JSON document
    #[arg(short = 'J', long)]
    pub json: bool,
    /// The command's talk.
    #[command(flatten)]
    pub talk: TalkArgs,
}
