//! What NCCL is answered when something fails: a code, and a sentence in its log.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use gputcp::{Error, Guilty};
use gputcp_nccl_abi::{ResultCode, guard::guard};
use gputcp_socket::is_forked_child;

use crate::log;

/// Runs the body of an exported function and gives NCCL's answer: no panic leaves it, and in a forked child nothing runs, because
/// the threads, and whoever held a lock, stayed in the parent.
pub(crate) fn answer(body: impl FnOnce() -> Result<(), ResultCode>) -> c_int {
    guard(|| {
        if is_forked_child() {
            say_forked();
            return Err(ResultCode::InvalidUsage);
        }
        body()
    })
}

/// Says once what a forked child cannot do. Straight to the descriptor: the logger's lock may be one that the fork left locked.
fn say_forked() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        let _ = rustix::io::write(rustix::stdio::stderr(), FORKED.as_bytes());
    }
}

const FORKED: &str = "NET/gputcp : a process that was forked from one with connections called the plugin: connections stay with \
                      the process that made them; start workers with exec (\"spawn\" or \"forkserver\" in Python), or before NCCL is used\n";

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
