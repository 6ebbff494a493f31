//! Messages go to NCCL's logger, at its levels: warnings always appear, the rest with NCCL_DEBUG=INFO.
//!
//! This module writes nothing to stdout or stderr.

use std::{
    ffi::{CString, c_int, c_ulong},
    panic::Location,
    sync::{Mutex, PoisonError},
};

use gputcp_nccl_net::layout::{
    constants::{LOG_INFO, LOG_WARN},
    functions::Logger,
};

/// Keeps NCCL's logger, which is one for the process.
pub(crate) fn keep(logger: Logger) {
    if logger.is_some() {
        *LOGGER.lock().unwrap_or_else(PoisonError::into_inner) = logger;
    }
}

/// Logs a message that users must read.
#[track_caller]
pub(crate) fn warn(text: &str) {
    say(LOG_WARN, NET, text);
}

/// Logs a message that helps to follow the plugin's work.
#[track_caller]
pub(crate) fn info(text: &str) {
    say(LOG_INFO, NET, text);
}

/// Logs the same for the tuner.
#[track_caller]
pub(crate) fn tuning(text: &str) {
    say(LOG_INFO, TUNER, text);
}

#[track_caller]
fn say(level: c_int, subsystem: Subsystem, text: &str) {
    let logger = *LOGGER.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(logger) = logger else { return };
    let place = Location::caller();
    let (Ok(file), Ok(format)) = (CString::new(place.file()), CString::new(format(subsystem.name, text)))
    else {
        return;
    };
    // SAFETY: the logger that NCCL gave to `init` is NCCL's own function and stays. Both texts end in zeros,
    // and the format asks for no arguments.
    unsafe { logger(level, subsystem.flags, file.as_ptr(), place.line() as c_int, format.as_ptr()) };
}

/// Returns the text as a printf format without arguments: percent signs are doubled, control characters made
/// visible.
fn format(subsystem: &str, text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_control() { '·' } else { c }).collect();
    format!("{subsystem}/gputcp : {}", plain.replace('%', "%%"))
}

static LOGGER: Mutex<Logger> = Mutex::new(None);

/// A part of the plugin, as NCCL's log names it.
struct Subsystem {
    /// The flags of its messages. With `NCCL_DEBUG=INFO` alone, NCCL shows `NCCL_INIT` and not the others.
    flags: c_ulong,
    name: &'static str,
}

/// The network: `NCCL_INIT | NCCL_NET` in nccl_common.h.
const NET: Subsystem = Subsystem { flags: 1 | 16, name: "NET" };
/// The tuner: `NCCL_INIT | NCCL_TUNING`.
const TUNER: Subsystem = Subsystem { flags: 1 | 64, name: "TUNER" };

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_is_taken_for_a_format() {
        assert_eq!(format("NET", "50 % of %s\nand %n\0"), "NET/gputcp : 50 %% of %%s·and %%n·");
    }
}
