//! Faults on demand: the n-th call of a function fails, hangs, crashes, ends the process or prints. A violated demand may need more than that; it is
//! violated where it would be kept.

use std::{
    ffi::c_int,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use gputcp_nccl_abi::{ResultCode, guard::guard};

use crate::knobs::{Fault, Knobs};

/// The body of a function of the plugin: the faults asked for, then what it is for.
pub(crate) fn call(function: &str, body: impl FnOnce(&'static Knobs) -> Result<(), ResultCode>) -> c_int {
    let mut chosen = None;
    let code = guard(|| {
        let knobs = Knobs::get()?;
        if due(knobs.crash.as_ref(), function, &CRASHES) {
            std::process::abort();
        }
        if due(knobs.exit.as_ref(), function, &EXITS) {
            std::process::exit(0);
        }
        if due(knobs.print.as_ref(), function, &PRINTS) {
            println!("{function} was called");
        }
        if due(knobs.hang.as_ref(), function, &HANGS) {
            loop {
                std::thread::sleep(Duration::from_secs(3600));
            }
        }
        if due(knobs.error.as_ref(), function, &ERRORS) {
            chosen = knobs.error.as_ref().map(|fault| fault.code);
            return Ok(());
        }
        body(knobs)
    });
    // Any number may be asked for, not only those that mean something.
    chosen.unwrap_or(code)
}

/// Run when the file is loaded, before anybody calls a function: `load` for the knobs.
extern "C" fn load() {
    call("load", |_| Ok(()));
}

// SAFETY: functions without arguments are what the loader runs of this section.
#[used]
#[unsafe(link_section = ".init_array")]
static LOAD: extern "C" fn() = load;

fn due(fault: Option<&Fault>, function: &str, calls: &AtomicU64) -> bool {
    fault.is_some_and(|fault| {
        fault.function.eq_ignore_ascii_case(function) && calls.fetch_add(1, Relaxed) + 1 == fault.nth
    })
}

static CRASHES: AtomicU64 = AtomicU64::new(0);
static EXITS: AtomicU64 = AtomicU64::new(0);
static PRINTS: AtomicU64 = AtomicU64::new(0);
static HANGS: AtomicU64 = AtomicU64::new(0);
static ERRORS: AtomicU64 = AtomicU64::new(0);
