//! How much a command says, as it is typed.

use clap::{ArgAction, Args};

/// How much to say on stderr.
#[derive(Debug, Clone, Copy, Args)]
pub struct TalkArgs {
    /// Say nothing but errors on stderr
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
    /// Say more on stderr (twice for even more)
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
}
