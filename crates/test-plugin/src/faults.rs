//! Faults on demand: the n-th call of a function fails, hangs, crashes, ends the process, warns or prints. A
//! demand that takes more to violate is violated in the code that would keep it.

use std::{
    ffi::{CString, c_int},
    ptr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use gputcp_nccl_net::{
    ResultCode,
    export::guard::guard,
    layout::{constants::LOG_WARN, functions::Logger},
};

use crate::knobs::{Fault, Knobs, SIGABRT};

/// Runs a function of the plugin: the faults asked for, then its body.
pub(crate) fn call(function: &str, body: impl FnOnce(&'static Knobs) -> Result<(), ResultCode>) -> c_int {
    let mut chosen = None;
    let code = guard(|| {
        let knobs = Knobs::get()?;
        if due(knobs.warn.as_ref(), function, &WARNINGS) {
            warn(function);
        }
        if let Some(crash) = knobs.crash.as_ref().filter(|crash| due(Some(crash), function, &CRASHES)) {
            end(knobs, || die(crash.code));
        }
        if due(knobs.exit.as_ref(), function, &EXITS) {
            end(knobs, || std::process::exit(0));
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
    // The knob may ask for any number, also for those without a meaning.
    chosen.unwrap_or(code)
}

/// Keeps the host's logger.
pub(crate) fn keep(logger: Logger) {
    *LOGGER.lock().unwrap_or_else(PoisonError::into_inner) = logger;
}

/// Ends the process here, or on another thread while the function goes on.
fn end(knobs: &Knobs, end: impl FnOnce() + Send + 'static) {
    if knobs.beside {
        std::thread::spawn(end);
    } else {
        end();
    }
}

fn die(signal: c_int) {
    unsafe extern "C" {
        safe fn raise(signal: c_int) -> c_int;
    }
    match signal {
        SIGABRT => std::process::abort(),
        // SAFETY: none: the knob asks for this fault.
        SIGSEGV => unsafe { ptr::without_provenance_mut::<u8>(64).write_volatile(1) },
        other => _ = raise(other),
    }
}

/// Logs a cause and a consequence.
fn warn(function: &str) {
    let logger = *LOGGER.lock().unwrap_or_else(PoisonError::into_inner);
    if let (Some(logger), Ok(function)) = (logger, CString::new(function)) {
        let file = c"net/test.cc".as_ptr();
        // SAFETY: the host's logger, texts that end in zeros, and arguments of the formats' types.
        unsafe {
            logger(
                LOG_WARN,
                16,
                file,
                7,
                c"no slot for %s, %d of %.1f".as_ptr(),
                function.as_ptr(),
                31,
                32.5f64,
            );
            logger(LOG_WARN, 16, file, 9, c"%s -> %d".as_ptr(), file, 3);
        }
    }
}

/// Runs when the file is loaded, before the first call of a function: `load` for the knobs.
extern "C" fn load() {
    call("load", |_| Ok(()));
}

// SAFETY: the loader runs functions without arguments from this section.
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
static WARNINGS: AtomicU64 = AtomicU64::new(0);
static LOGGER: Mutex<Logger> = Mutex::new(None);
const SIGSEGV: c_int = 11;
