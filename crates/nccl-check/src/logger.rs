//! The logger that plugins are given: it brings warnings to the side's journal.
//!
//! Other messages would bury the one that tells why a check failed. None goes to stderr: only the plugin's
//! own lines stand there.

use std::{ffi::c_int, sync::OnceLock};

use gputcp_nccl_drive::message::{self, Message, Sink};
use gputcp_nccl_net::layout::{constants, functions::Logger};

use crate::journal::Journal;

/// Returns the logger that `init` is given.
pub(crate) fn logger() -> Logger {
    message::logger::<Side>()
}

/// Has warnings noted in the side's journal.
pub(crate) fn note_in(journal: Journal) {
    // A process is one side, so one journal is all.
    let _ = JOURNAL.set(journal);
}

struct Side;

impl Sink for Side {
    fn wants(level: c_int) -> bool {
        level == constants::LOG_WARN || level == constants::LOG_ABORT
    }

    fn take(message: Message) {
        if let Some(journal) = JOURNAL.get() {
            journal.say(&message.text);
        }
    }
}

static JOURNAL: OnceLock<Journal> = OnceLock::new();
