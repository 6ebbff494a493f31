//! The options for a command's talk on stderr.

use clap::{ArgAction, Args};

/// The amount of a command's talk on stderr.
#[derive(Debug, Clone, Copy, Args)]
pub struct TalkArgs {
    /// Say nothing but errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr (twice for even more)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}
