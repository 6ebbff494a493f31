//! The answer to NCCL when a call fails: a code, and a sentence in its log.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use gputcp::{Error, Origin};
use gputcp_nccl_net::{ResultCode, export::guard::guard};
use gputcp_socket::is_forked_child;

use crate::log;

/// Runs the body of an exported function and returns NCCL's answer.
///
/// No panic leaves it. In a forked child nothing runs: the threads, and every holder of a lock, stayed in the
/// parent.
pub(crate) fn answer(body: impl FnOnce() -> Result<(), ResultCode>) -> c_int {
    guard(|| {
        if is_forked_child() {
            say_forked();
            return Err(ResultCode::InvalidUsage);
        }
        body()
    })
}

/// Prints once that a forked child cannot use the plugin.
///
/// It writes straight to the descriptor: the logger's lock may be one that the fork left locked.
fn say_forked() {
    static SAID: AtomicBool = AtomicBool::new(false);
    if !SAID.swap(true, Relaxed) {
        let _ = rustix::io::write(rustix::stdio::stderr(), FORKED.as_bytes());
    }
}

const FORKED: &str = "NET/gputcp : a process that was forked from one with connections called the plugin: connections stay with \
                      the process that made them; start workers with exec (\"spawn\" or \"forkserver\" in Python), or before NCCL is used\n";

/// Writes the reason of a failure to NCCL's log, and returns the code for it.
#[track_caller]
pub(crate) fn failed(error: &Error) -> ResultCode {
    log::warn(&format!("{error}{}", hint(error)));
    code(error)
}

/// Returns the name of the variable that an error of the library has to do with.
const fn hint(error: &Error) -> &'static str {
    match error {
        Error::Timeout { .. } => " (the bound is GPUTCP_TIMEOUT)",
        Error::WrongKey { .. } => " (the key is GPUTCP_KEY_FILE's)",
        _ => "",
    }
}

/// Writes to NCCL's log why a request of NCCL's is refused, and returns the code for it.
#[track_caller]
pub(crate) fn refused(why: &str) -> ResultCode {
    log::warn(why);
    ResultCode::InvalidArgument
}

fn code(error: &Error) -> ResultCode {
    match (error, error.origin()) {
        (Error::System { .. }, _) => ResultCode::System,
        (_, Origin::Peer) => ResultCode::Remote,
        (_, Origin::Caller) => ResultCode::InvalidUsage,
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

    #[test]
    fn a_failure_names_the_variable_that_bounds_it() {
        let peer: Arc<str> = "10.0.0.1:1".into();
        let late = Error::Timeout { what: "a test", peer: peer.clone(), after: Duration::ZERO };
        assert_eq!(hint(&late), " (the bound is GPUTCP_TIMEOUT)");
        assert_eq!(hint(&Error::WrongKey { peer }), " (the key is GPUTCP_KEY_FILE's)");
    }
}
