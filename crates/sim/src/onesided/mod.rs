//! One-sided transfers between two ends, driven by a world from a seed.
//!
//! The rules are those that ship ([`gputcp_proto::onesided`]): keys, plans, commands, grants and links. The
//! connections are queues: their own rules have a simulator of their own. Users post, cancel, deregister. An
//! adversary may change a command on its way.

mod end;
mod memory;
mod user;
mod world;

use std::fmt;

pub use world::{Summary, outcome, replay, run};

/// The party of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Party {
    Left,
    Right,
}

impl Party {
    const BOTH: [Self; 2] = [Self::Left, Self::Right];

    const fn index(self) -> usize {
        self as usize
    }

    const fn other(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Left => "left",
            Self::Right => "right",
        })
    }
}
