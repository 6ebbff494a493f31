//! Close-on-fork: a forked child does not keep the process's connections open.
//!
//! A child made by `fork` holds a copy of every descriptor, `CLOEXEC` or not, until it calls `exec`. If it
//! never does (a data loader's worker), the peer of a killed process sees no end of the connection.
//! POSIX.1-2024 has `FD_CLOFORK` for this; Linux has not.
//!
//! [`CloseOnFork`] notes the descriptors, and a handler of `pthread_atfork` replaces the child's copies by
//! `/dev/null`. The numbers stay taken, so a destructor that runs in the child closes nothing of the child's
//! own.
//!
//! Children made by `vfork`, `posix_spawn` or a bare `clone` run no such handlers; they call `exec`, which
//! closes the copies.

use std::{
    io,
    mem::ManuallyDrop,
    ops::Deref,
    os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd},
    sync::{
        Once,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// The owner of a descriptor whose copies in forked children are closed.
#[derive(Debug)]
pub struct CloseOnFork<S: AsFd>(ManuallyDrop<S>);

impl<S: AsFd> CloseOnFork<S> {
    /// Makes a descriptor so that no child forked meanwhile keeps it.
    ///
    /// # Errors
    /// As `make`.
    pub fn make(make: impl FnOnce() -> io::Result<S>) -> io::Result<Self> {
        static INSTALL: Once = Once::new();
        INSTALL.call_once(install);
        let _no_fork = Lock::take();
        let descriptor = make()?;
        note(descriptor.as_fd().as_raw_fd(), true);
        Ok(Self(ManuallyDrop::new(descriptor)))
    }
}

impl<S: AsFd> Drop for CloseOnFork<S> {
    fn drop(&mut self) {
        let _no_fork = Lock::take();
        note(self.0.as_fd().as_raw_fd(), false);
        // SAFETY: dropped once, here, and not used after.
        unsafe { ManuallyDrop::drop(&mut self.0) };
    }
}

impl<S: AsFd> Deref for CloseOnFork<S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.0
    }
}

impl<S: AsFd> AsFd for CloseOnFork<S> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Returns whether this process was forked from one that had connections.
///
/// In such a child the copies are closed, and no thread of the connections exists.
#[must_use]
pub fn is_forked_child() -> bool {
    IS_CHILD.load(Ordering::Relaxed)
}

fn install() {
    // SAFETY: the handlers call functions that are async-signal-safe (signal-safety(7)) and touch only
    // statics. glibc removes the handlers when the library that they are in is closed.
    let installed =
        unsafe { libc::pthread_atfork(Some(before), Some(after_in_parent), Some(after_in_child)) };
    // ENOMEM is the only error: children then keep their copies, as they would anyway.
    debug_assert_eq!(installed, 0);
}

extern "C" fn before() {
    HELD_FOR_FORK.store(LOCK.try_for(TIMEOUT), Ordering::Relaxed);
}

extern "C" fn after_in_parent() {
    if HELD_FOR_FORK.swap(false, Ordering::Relaxed) {
        LOCK.release();
    }
}

extern "C" fn after_in_child() {
    IS_CHILD.store(true, Ordering::Relaxed);
    HELD_FOR_FORK.store(false, Ordering::Relaxed);
    LOCK.release();
    // SAFETY: a path that ends in 0.
    let null = unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR | libc::O_CLOEXEC) };
    let used = WORDS_USED.load(Ordering::Relaxed);
    for (word, noted) in NOTED.iter().take(used).enumerate() {
        let mut bits = noted.swap(0, Ordering::Relaxed);
        while bits != 0 {
            let descriptor = (word * 64) as RawFd + bits.trailing_zeros() as RawFd;
            bits &= bits - 1;
            // SAFETY: the parent's owners hold these descriptors. In the child they are copies, which nothing
            // else uses: the connections' threads do not exist there.
            unsafe {
                if null >= 0 {
                    libc::dup3(null, descriptor, libc::O_CLOEXEC);
                } else {
                    libc::close(descriptor);
                }
            }
        }
    }
    if null >= 0 {
        // SAFETY: opened above.
        unsafe { libc::close(null) };
    }
}

/// Notes whether a descriptor is to be closed in children; ignores one beyond the table.
fn note(descriptor: RawFd, is_noted: bool) {
    let (word, bit) = (descriptor as usize / 64, 1u64 << (descriptor % 64));
    let Some(noted) = NOTED.get(word) else { return };
    if is_noted {
        noted.fetch_or(bit, Ordering::Relaxed);
        WORDS_USED.fetch_max(word + 1, Ordering::Relaxed);
    } else {
        noted.fetch_and(!bit, Ordering::Relaxed);
    }
}

/// A lock that is held while a descriptor is made or closed, and while the process forks.
///
/// It is no mutex of the standard library, because it is taken before a fork and released in the child.
struct Lock;

static LOCK: SpinLock = SpinLock(AtomicBool::new(false));

struct SpinLock(AtomicBool);

impl SpinLock {
    /// Takes the lock; false if it is not free in time: its holder may be the forking thread, in a signal
    /// handler.
    fn try_for(&self, timeout: Duration) -> bool {
        let began = Instant::now();
        while self.0.swap(true, Ordering::Acquire) {
            if began.elapsed() > timeout {
                return false;
            }
            thread::yield_now();
        }
        true
    }

    fn release(&self) {
        self.0.store(false, Ordering::Release);
    }
}

impl Lock {
    fn take() -> Option<Self> {
        LOCK.try_for(TIMEOUT).then_some(Self)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        LOCK.release();
    }
}

/// The longest wait for the lock; making or closing a descriptor takes microseconds.
const TIMEOUT: Duration = Duration::from_millis(100);
/// The words of a table with a bit for each descriptor up to the kernel's default for `fs.nr_open`, 2^20.
const WORDS: usize = (1 << 20) / 64;
static NOTED: [AtomicU64; WORDS] = [const { AtomicU64::new(0) }; WORDS];
static WORDS_USED: AtomicUsize = AtomicUsize::new(0);
static HELD_FOR_FORK: AtomicBool = AtomicBool::new(false);
static IS_CHILD: AtomicBool = AtomicBool::new(false);

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
    };

    use super::*;

    #[test]
    fn a_child_keeps_no_copy_and_a_destructor_there_closes_nothing_of_its_own() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut peer = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let ours = CloseOnFork::make(|| Ok(listener.accept()?.0)).unwrap();
        let descriptor = ours.as_raw_fd();
        let other = CloseOnFork::make(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let (other_descriptor, address) = (other.as_raw_fd(), other.local_addr().unwrap());
        drop(other);
        // The number may belong to any file by now, so the child must not touch it.
        let (mut hold, told) = io::pipe().unwrap();
        // SAFETY: the child calls async-signal-safe functions only.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                let mut stat: libc::stat = std::mem::zeroed();
                let is_null = libc::fstat(descriptor, &raw mut stat) == 0
                    && stat.st_mode & libc::S_IFMT == libc::S_IFCHR;
                let good = is_null && is_forked_child();
                libc::write(told.as_raw_fd(), [u8::from(good)].as_ptr().cast(), 1);
                libc::pause();
                libc::_exit(0);
            }
        }
        let mut good = [9];
        hold.read_exact(&mut good).unwrap();
        assert_eq!(good, [1], "the child's copy is /dev/null");
        // The connection still works here both ways, and its end is seen though the child lives.
        (&*ours).write_all(b"x").unwrap();
        peer.read_exact(&mut [0]).unwrap();
        peer.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        drop(ours);
        assert_eq!(peer.read(&mut [0]).unwrap(), 0, "the end of the connection");
        assert!(!is_forked_child());
        assert!(TcpListener::bind(address).is_ok(), "the port of {other_descriptor} is free");
        // SAFETY: our child, which is waited for.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, std::ptr::null_mut(), 0);
        }
    }
}
