//! The driver's sink of messages: they go to `tracing`, and the first warning within a call to the error that
//! it explains.

use std::{
    cell::RefCell,
    ffi::c_int,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::watch;
use gputcp_nccl_net::layout::{constants, functions::Logger};

use crate::message::{self, Message, Sink};

/// Returns the logger that `init` is given.
pub(crate) fn logger() -> Logger {
    message::logger::<Driver>()
}

/// Takes the plugin's first warning within this thread's last call. Without one, takes the newest warning of
/// the plugin's own threads, if it is recent.
pub(crate) fn last_words() -> Option<Arc<str>> {
    // A thread that is ending has lost the place.
    let within = SAID.try_with(|said| said.borrow_mut().take()).ok().flatten();
    let within = within.filter(|(call, _)| *call == watch::number()).map(|(_, said)| said);
    within.or_else(|| {
        let (when, said) = BESIDE.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        (when.elapsed() < RECENT).then_some(said)
    })
}

struct Driver;

impl Sink for Driver {
    fn wants(level: c_int) -> bool {
        match level {
            constants::LOG_WARN | constants::LOG_ABORT => true,
            constants::LOG_NONE | constants::LOG_VERSION | constants::LOG_INFO => {
                tracing::enabled!(target: "plugin", tracing::Level::INFO)
            }
            _ => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
        }
    }

    fn take(message: Message) {
        let Message { level, flags, file, line, text } = message;
        match level {
            constants::LOG_WARN | constants::LOG_ABORT => {
                tracing::warn!(target: "plugin", "{file}:{line} {text}");
                keep(&text);
            }
            constants::LOG_NONE | constants::LOG_VERSION | constants::LOG_INFO => {
                tracing::info!(target: "plugin", "{file}:{line} {text}");
            }
            _ => tracing::trace!(target: "plugin", flags, "{file}:{line} {text}"),
        }
    }
}

fn keep(text: &str) {
    // An empty text explains nothing.
    if text.is_empty() {
    } else if watch::inside().is_some() {
        let call = watch::number();
        let _ = SAID.try_with(|said| {
            let mut said = said.borrow_mut();
            if said.as_ref().is_none_or(|(of, _)| *of != call) {
                *said = Some((call, text.into()));
            }
        });
    } else {
        *BESIDE.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), text.into()));
    }
}

thread_local! {
    /// The first warning within one of this thread's calls, and the call's number.
    static SAID: RefCell<Option<(u64, Arc<str>)>> = const { RefCell::new(None) };
}

/// The newest warning of a thread that is in no call: one of the plugin's own.
static BESIDE: Mutex<Option<(Instant, Arc<str>)>> = Mutex::new(None);
/// The longest time between such a warning and the call that it explains.
const RECENT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{ffi::CStr, thread};

    use super::*;
    use crate::watch::watched;

    fn warn(format: &CStr, number: c_int) {
        // SAFETY: a text that ends in a zero, and its argument.
        unsafe {
            logger().unwrap()(constants::LOG_WARN, 16, c"/a/net.cc".as_ptr(), 7, format.as_ptr(), number)
        };
    }

    #[test]
    fn the_first_warning_within_the_last_call_explains_it() {
        let _alone = crate::tests::alone();
        let words = || last_words().map(|said| said.to_string());
        let _ = words();
        watched(&"init", || warn(c"an old story, %d", 1));
        watched(&"isend", || {
            warn(c" ", 0);
            warn(c"no slot for %d\n", 2);
            warn(c"net.cc:77 -> %d", 3);
        });
        assert_eq!((words().as_deref(), words()), (Some("no slot for 2"), None));
        watched(&"isend", || warn(c"an old story, %d", 4));
        watched(&"test", || {});
        assert_eq!(words(), None);
    }

    #[test]
    fn a_warning_of_the_plugins_own_threads_explains_a_call_as_well() {
        let _alone = crate::tests::alone();
        let words = || last_words().map(|said| said.to_string());
        let _ = words();
        let beside =
            || thread::scope(|scope| scope.spawn(|| warn(c"connection %d is gone", 5)).join().unwrap());
        beside();
        watched(&"test", || {});
        assert_eq!((words().as_deref(), words()), (Some("connection 5 is gone"), None));
        beside();
        watched(&"test", || warn(c"no such request: %d", 6));
        assert_eq!(words().as_deref(), Some("no such request: 6"));
        beside();
        thread::sleep(RECENT);
        assert_eq!(words(), None);
    }
}
