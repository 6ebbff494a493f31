//! Ctrl-C: everything that waits also waits for this.
//!
//! The first signal is a request to stop: waits end with [`Failure::Interrupted`], the results so far are
//! printed, and the other side is told. The second one ends the process at once.

use std::{
    collections::BTreeMap,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, Barrier, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll},
    io::Errno,
};
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    iterator::Signals,
};

use crate::failure::Failure;

/// The request to stop. Clones share it.
#[derive(Clone)]
pub struct Interrupt(Arc<Inner>);

/// An action to perform when the request comes, for as long as this lives.
#[must_use]
pub struct Hook {
    inner: Arc<Inner>,
    number: u64,
}

struct Inner {
    fired: AtomicBool,
    /// Readable once fired, and never read: every waiter sees it.
    event: OwnedFd,
    hooks: Mutex<Hooks>,
}

#[derive(Default)]
struct Hooks {
    last: u64,
    hooks: BTreeMap<u64, Box<dyn Fn() + Send>>,
}

impl Interrupt {
    /// Makes a request that only [`Self::fire`] triggers.
    ///
    /// # Errors
    /// If the system has no descriptor left.
    pub fn new() -> io::Result<Self> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { fired: AtomicBool::new(false), event, hooks: Mutex::default() })))
    }

    /// Makes SIGINT, SIGTERM and SIGHUP fire it.
    ///
    /// # Errors
    /// If the signals cannot be watched.
    pub fn watch_signals(&self) -> io::Result<()> {
        let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP])?;
        let interrupt = self.clone();
        // A thread that starts waits for the loader, which a plugin may hold from now on.
        let begun = Arc::new(Barrier::new(2));
        let begins = begun.clone();
        thread::Builder::new().name("signals".into()).spawn(move || {
            begins.wait();
            for _ in signals.forever() {
                if interrupt.fired() {
                    // Not by `exit`, in which a plugin could hold it.
                    gputcp_nccl_drive::leave(Failure::Interrupted.exit_code().into());
                }
                interrupt.fire();
            }
        })?;
        begun.wait();
        Ok(())
    }

    /// Makes the request.
    pub fn fire(&self) {
        self.0.fired.store(true, Ordering::SeqCst);
        // It can only fail if it was written 2^64 times.
        let _ = rustix::io::write(&self.0.event, &1u64.to_ne_bytes());
        for hook in self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner).hooks.values() {
            hook();
        }
    }

    /// Returns whether the request was made.
    #[must_use]
    pub fn fired(&self) -> bool {
        self.0.fired.load(Ordering::SeqCst)
    }

    /// Returns an error once the request was made.
    ///
    /// # Errors
    /// [`Failure::Interrupted`].
    pub fn check(&self) -> Result<(), Failure> {
        if self.fired() { Err(Failure::Interrupted) } else { Ok(()) }
    }

    /// Does `what` when the request is made, at once if it was made already.
    pub fn on_fire(&self, what: impl Fn() + Send + 'static) -> Hook {
        let mut hooks = self.0.hooks.lock().unwrap_or_else(PoisonError::into_inner);
        if self.fired() {
            what();
        }
        hooks.last += 1;
        let number = hooks.last;
        hooks.hooks.insert(number, Box::new(what));
        Hook { inner: self.0.clone(), number }
    }

    /// Waits until one of `fds` has one of its events: true; or the deadline is over: false.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if the request is made.
    pub fn wait<'fd>(
        &'fd self,
        fds: &mut Vec<PollFd<'fd>>,
        deadline: Option<Instant>,
    ) -> Result<bool, Failure> {
        fds.push(PollFd::new(&self.0.event, PollFlags::IN));
        let ready = poll_until(fds, deadline);
        fds.pop();
        self.check()?;
        ready.map_err(|error| Failure::Run(format!("could not wait for the network: {error}")))
    }

    /// Waits for one descriptor.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if the request is made.
    pub fn wait_one(
        &self,
        fd: BorrowedFd<'_>,
        events: PollFlags,
        deadline: Instant,
    ) -> Result<bool, Failure> {
        self.wait(&mut vec![PollFd::from_borrowed_fd(fd, events)], Some(deadline))
    }

    /// Sleeps until the deadline.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] if the request is made.
    pub fn sleep_until(&self, deadline: Instant) -> Result<(), Failure> {
        self.wait(&mut Vec::new(), Some(deadline)).map(|_| ())
    }
}

impl AsFd for Interrupt {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.event.as_fd()
    }
}

impl Drop for Hook {
    fn drop(&mut self) {
        self.inner.hooks.lock().unwrap_or_else(PoisonError::into_inner).hooks.remove(&self.number);
    }
}

/// Polls with a deadline that survives signals. Returns true if any descriptor is ready.
pub(crate) fn poll_until(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let timespec = left
            .map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        match poll(fds, timespec.as_ref()) {
            Ok(0) if left.is_some_and(|left| left.is_zero()) => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::AtomicU32,
        time::{Duration, Instant},
    };

    use super::*;

    #[test]
    fn a_wait_ends_at_its_deadline_or_when_fired() {
        let interrupt = Interrupt::new().unwrap();
        let soon = Instant::now() + Duration::from_millis(20);
        interrupt.sleep_until(soon).unwrap();
        assert!(Instant::now() >= soon);
        let other = interrupt.clone();
        let thread = thread::spawn(move || other.fire());
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(interrupt.sleep_until(late), Err(Failure::Interrupted));
        thread.join().unwrap();
    }

    #[test]
    fn hooks_run_once_while_they_live() {
        let interrupt = Interrupt::new().unwrap();
        let count = Arc::new(AtomicU32::new(0));
        let counting = |count: &Arc<AtomicU32>| {
            let count = count.clone();
            move || {
                count.fetch_add(1, Ordering::SeqCst);
            }
        };
        drop(interrupt.on_fire(counting(&count)));
        let _before = interrupt.on_fire(counting(&count));
        interrupt.fire();
        assert_eq!(count.load(Ordering::SeqCst), 1);
        let _after = interrupt.on_fire(counting(&count));
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
