//! NIXL's statuses, and the one for each error.

use gputcp::{Error, Origin};

use crate::log;

/// A status, as NIXL numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Status(i32);

impl Status {
    pub(crate) const IN_PROGRESS: Self = Self(1);
    pub(crate) const SUCCESS: Self = Self(0);
    pub(crate) const NOT_POSTED: Self = Self(-1);
    pub(crate) const INVALID_PARAMETER: Self = Self(-2);
    pub(crate) const BACKEND: Self = Self(-3);
    pub(crate) const NOT_FOUND: Self = Self(-4);
    pub(crate) const MISMATCH: Self = Self(-5);
    pub(crate) const NOT_ALLOWED: Self = Self(-6);
    pub(crate) const REPOST_ACTIVE: Self = Self(-7);
    pub(crate) const REMOTE_DISCONNECT: Self = Self(-10);
    pub(crate) const CANCELED: Self = Self(-11);
}

/// Writes why something failed, and returns the status for it.
pub(crate) fn failed(doing: &str, error: &Error) -> Status {
    log::say(&format!("could not {doing}: {error}"));
    of_error(error)
}

/// Writes why something is refused.
pub(crate) fn refused(status: Status, why: &str) -> Status {
    log::say(why);
    status
}

/// Returns the status of an error.
fn of_error(error: &Error) -> Status {
    match (error, error.origin()) {
        (Error::WrongKey { .. }, _) => Status::NOT_ALLOWED,
        (_, Origin::Peer) => Status::REMOTE_DISCONNECT,
        (_, Origin::User) => Status::CANCELED,
        _ => Status::BACKEND,
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::Arc, time::Duration};

    use super::*;

    #[test]
    fn each_kind_of_error_has_its_status() {
        let peer: Arc<str> = "10.0.0.1:1".into();
        for (error, expected) in [
            (Error::PeerGone { peer: peer.clone(), detail: "reset".into() }, Status::REMOTE_DISCONNECT),
            (Error::Refused { peer: peer.clone(), why: "nobody".into() }, Status::REMOTE_DISCONNECT),
            (
                Error::Timeout { what: "a test", peer: peer.clone(), after: Duration::ZERO },
                Status::REMOTE_DISCONNECT,
            ),
            (Error::WrongKey { peer }, Status::NOT_ALLOWED),
            (Error::Cancelled { reason: "released".into() }, Status::CANCELED),
            (Error::Usage("a block is bad".into()), Status::BACKEND),
        ] {
            assert_eq!(of_error(&error), expected, "{error}");
        }
    }
}
