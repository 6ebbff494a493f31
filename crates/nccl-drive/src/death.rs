//! A plugin that ends the process, by a signal or by `exit`. One sentence on stderr names the plugin, the
//! function that was being called and the signal. The exit code is no success.
//!
//! All of it is async-signal-safe. It takes no lock and allocates nothing; the texts that it reads were
//! published before by a single atomic store.

use std::{
    ffi::{c_int, c_void},
    mem, ptr,
    sync::atomic::{
        AtomicI32, AtomicPtr,
        Ordering::{Acquire, Relaxed, Release},
    },
};

use crate::foreign;
use crate::watch::inside;

/// Reports a plugin that ends the process from now on; the process then ends with this exit code. The first
/// call counts.
///
/// Signals from another process keep their effect. A plugin that installs signal handlers of its own replaces
/// these. `_exit` and SIGKILL cannot be noticed from within the process.
pub fn tell_of_deaths(exit_code: u8) {
    if EXIT_CODE.compare_exchange(NOT_TOLD, exit_code.into(), Relaxed, Relaxed).is_err() {
        return;
    }
    for (signal, _) in SIGNALS {
        // SAFETY: the handler has the form that the flags name, and is async-signal-safe. It runs on the
        // alternate stack, where the thread has one, so that a stack overflow is reported too.
        unsafe {
            let mut action: libc::sigaction = mem::zeroed();
            action.sa_sigaction = died as extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            libc::sigemptyset(&raw mut action.sa_mask);
            if libc::sigaction(signal, &raw const action, ptr::null_mut()) != 0 {
                tracing::warn!("a plugin that dies of signal {signal} will go unnoticed");
            }
        }
    }
    // SAFETY: a function without arguments, for as long as the process lives.
    if unsafe { libc::atexit(exited) != 0 || at_quick_exit(exited) != 0 } {
        tracing::warn!("a plugin that ends the process will go unnoticed: the system runs nothing at exit");
    }
}

/// Publishes the plugin's name for the sentence.
pub(crate) fn name_plugin(name: &str) {
    // A handler may be reading the previous name, which is therefore never freed.
    let name = foreign::one_line(name.trim_end()).chars().take(NAME_CHARS).collect();
    let name: &'static Name = Box::leak(Box::new(Name(name)));
    NAME.store(ptr::from_ref(name).cast_mut(), Release);
}

/// Ends the process at once. `exit` would first run the functions that foreign code has registered, and wait
/// for the loader, which a call that is stuck in `dlopen` holds.
pub fn leave(code: c_int) -> ! {
    // SAFETY: it needs nothing.
    unsafe { libc::_exit(code) }
}

struct Name(String);

extern "C" fn died(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    if is_of_another_process(info) {
        // SAFETY: both are async-signal-safe. The signal stays blocked until this handler has returned.
        unsafe {
            libc::signal(signal, libc::SIG_DFL);
            libc::raise(signal);
        }
        return;
    }
    let name = SIGNALS.iter().find(|(number, _)| *number == signal).map_or("a signal", |(_, name)| name);
    tell(|line| match inside() {
        Some(call) => line.plugin().say(" died of ").say(name).say(" in ").say(call).say(BROKEN),
        None => line
            .say(name)
            .say(" ended this process on a thread that was in no call to ")
            .plugin()
            .say(": one of the plugin's own may be the cause, ask its authors"),
    })
}

/// Reports a plugin that calls `exit`, which runs this function on the calling thread.
extern "C" fn exited() {
    // SAFETY: a question.
    let is_main = thread() == unsafe { libc::getpid() };
    match inside() {
        Some(call) => tell(|line| line.plugin().say(" ended this process in ").say(call).say(BROKEN)),
        // The command's own exit.
        None if is_main => {}
        None => tell(|line| line.plugin().say(" ended this process on a thread of its own").say(BROKEN)),
    }
}

/// Says a line, once for all threads, and ends the process.
fn tell(sentence: impl FnOnce(&mut Line) -> &mut Line) -> ! {
    let me = thread();
    if let Err(teller) = TELLER.compare_exchange(0, me, Relaxed, Relaxed) {
        // Another thread is writing the sentence and ends the process; or this thread has crashed while
        // writing it.
        if teller != me {
            // SAFETY: no descriptors.
            unsafe { libc::poll(ptr::null_mut(), 0, TIMEOUT_MS) };
        }
    } else {
        let mut line = Line { bytes: [0; LINE_BYTES], used: 0 };
        sentence(line.say("gputcp: ")).say("\n").print();
    }
    leave(EXIT_CODE.load(Relaxed).max(1))
}

/// Returns the thread's number by a bare system call: glibc has a function for it from 2.30 on only.
fn thread() -> c_int {
    rustix::thread::gettid().as_raw_nonzero().get()
}

/// Returns whether another process sent the signal, as `kill` does.
fn is_of_another_process(info: *const libc::siginfo_t) -> bool {
    // SAFETY: the kernel's; a signal that was sent carries its sender's process number.
    unsafe { (*info).si_code <= 0 && (*info).si_pid() != libc::getpid() }
}

/// A sentence that is put together without an allocation. Text beyond its room is cut.
struct Line {
    bytes: [u8; LINE_BYTES],
    used: usize,
}

impl Line {
    fn say(&mut self, text: &str) -> &mut Self {
        let room = &mut self.bytes[self.used..];
        let length = text.len().min(room.len());
        room[..length].copy_from_slice(&text.as_bytes()[..length]);
        self.used += length;
        self
    }

    fn plugin(&mut self) -> &mut Self {
        // SAFETY: NULL, or a name that lives for ever.
        let name = unsafe { NAME.load(Acquire).as_ref() }.map_or("without a name", |name| &name.0);
        self.say("the plugin ").say(name)
    }

    /// Writes it to stderr, unless the reader there takes nothing for a second.
    fn print(&self) {
        let mut stderr = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
        // SAFETY: one descriptor, and the line's bytes. A pipe with room takes a line of this length whole.
        unsafe {
            if libc::poll(&raw mut stderr, 1, TIMEOUT_MS) == 1 {
                libc::write(libc::STDERR_FILENO, self.bytes.as_ptr().cast(), self.used);
            }
        }
    }
}

unsafe extern "C" {
    fn at_quick_exit(what: extern "C" fn()) -> c_int;
}

/// The signals of a crash.
const SIGNALS: [(c_int, &str); 7] = [
    (libc::SIGSEGV, "SIGSEGV"),
    (libc::SIGBUS, "SIGBUS"),
    (libc::SIGILL, "SIGILL"),
    (libc::SIGFPE, "SIGFPE"),
    (libc::SIGABRT, "SIGABRT"),
    (libc::SIGTRAP, "SIGTRAP"),
    (libc::SIGSYS, "SIGSYS"),
];
const BROKEN: &str = ": it is broken, ask its authors";
/// The plugin's name.
static NAME: AtomicPtr<Name> = AtomicPtr::new(ptr::null_mut());
/// The exit code, once deaths are reported.
static EXIT_CODE: AtomicI32 = AtomicI32::new(NOT_TOLD);
const NOT_TOLD: c_int = -1;
/// The thread that writes the sentence.
static TELLER: AtomicI32 = AtomicI32::new(0);
/// For the reader of stderr.
const TIMEOUT_MS: c_int = 1000;
/// A path can be longer.
const NAME_CHARS: usize = 200;
/// More than a sentence with such a name needs.
const LINE_BYTES: usize = 1200;
