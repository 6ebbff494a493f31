//! The failures of a command, and the exit codes that tell them to a script.

use std::{fmt, io};

use rustix::io::Errno;

use crate::printable::Reason;

/// The reason why a command failed. Each holds one sentence: the event, the party it concerns, the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The run failed here: something local went wrong, or a measurement did not add up.
    #[error("{0}")]
    Run(String),
    /// The request cannot be carried out.
    #[error("{0}")]
    Usage(String),
    /// Data arrived that is not what was sent.
    #[error("{0}")]
    Corrupt(String),
    /// The other side is missing, died, refused, broke the protocol or speaks another version.
    #[error("{0}")]
    Peer(String),
    /// The server is busy with another client: worth another try.
    #[error("{0}")]
    Busy(String),
    /// The user pressed Ctrl-C.
    #[error("interrupted")]
    Interrupted,
}

impl Failure {
    /// Returns the process's exit code for this failure.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Run(_) => 1,
            Self::Usage(_) => 2,
            Self::Corrupt(_) => 3,
            Self::Peer(_) | Self::Busy(_) => 5,
            Self::Interrupted => 130,
        }
    }

    /// Returns the failure of a peer that broke the protocol.
    #[must_use]
    pub fn violation(peer: &str, violation: &dyn fmt::Display) -> Self {
        Self::Peer(format!("{peer} {violation}"))
    }

    /// Returns the failure that the other side told of, as this side's. The exit code is the same on both
    /// ends, except where a failure concerns only the other side: its usage is not this side's.
    #[must_use]
    pub fn told_by(peer: &str, code: u8, reason: &Reason) -> Self {
        match code {
            3 => Self::Corrupt(format!("{peer} says: {reason}")),
            130 => Self::Peer(format!("{peer} was interrupted")),
            _ => Self::Peer(format!("{peer} gave up: {reason}")),
        }
    }
}

/// Returns advice on the system's refusal, to be put behind it; empty if there is none.
#[must_use]
pub fn advice(error: &io::Error) -> &'static str {
    match Errno::from_io_error(error) {
        Some(Errno::MFILE) => "; raise the limit of open files with `ulimit -n`, or use fewer streams",
        Some(Errno::NFILE) => "; the whole machine has too many files open: use fewer streams",
        _ => "",
    }
}
