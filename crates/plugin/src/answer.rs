//! What NCCL is answered when something fails: a code, and a sentence in its log.

use gputcp::{Error, Guilty};
use gputcp_nccl_abi::ResultCode;

use crate::log;

/// Says in NCCL's log why something failed; gives the code for it.
#[track_caller]
pub(crate) fn failed(error: &Error) -> ResultCode {
    log::warn(&error.to_string());
    code(error)
}

/// Says in NCCL's log what NCCL should not have asked for.
#[track_caller]
pub(crate) fn refused(why: &str) -> ResultCode {
    log::warn(why);
    ResultCode::InvalidArgument
}

fn code(error: &Error) -> ResultCode {
    match (error, error.guilty()) {
        (Error::System { .. }, _) => ResultCode::System,
        (_, Guilty::Peer) => ResultCode::Remote,
        (_, Guilty::Caller) => ResultCode::InvalidUsage,
        _ => ResultCode::Internal,
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc, time::Duration};

    use super::*;

    #[test]
    fn each_kind_of_failure_has_its_code() {
        let peer: Arc<str> = "10.0.0.1:1".into();
        let refused = io::Error::from(io::ErrorKind::PermissionDenied);
        for (error, expected) in [
            (Error::PeerGone { peer: peer.clone(), detail: "reset".into() }, ResultCode::Remote),
            (Error::PeerClosed { peer: peer.clone(), open: 1 }, ResultCode::Remote),
            (Error::Timeout { what: "a test", peer, after: Duration::ZERO }, ResultCode::Remote),
            (Error::System { doing: "open a socket".into(), source: refused.into() }, ResultCode::System),
            (Error::Usage("a message is too long".into()), ResultCode::InvalidUsage),
            (Error::Cancelled { reason: "dropped".into() }, ResultCode::Internal),
        ] {
            assert_eq!(code(&error), expected, "{error}");
        }
    }
}
