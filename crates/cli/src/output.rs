//! The command's output: results on stdout, everything else on stderr.
//!
//! The reader may be slow, gone, or a full disk. A write never blocks for ever. It is made in pieces that a
//! pipe takes whole or not at all; each waits for room, and the wait is bounded.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::OnceLock,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::{Errno, fcntl_dupfd_cloexec},
    stdio::{dup2_stdout, stderr, stdout},
};
use tracing::level_filters::LevelFilter;

use crate::{failure::Failure, interrupt::poll_until, printable::printable};

/// The results' way out.
#[derive(Debug, Clone, Copy)]
pub struct Output {
    /// The bound on a reader that takes no bytes.
    pub timeout: Duration,
}

/// The amount of talk on stderr.
#[derive(Debug, Clone, Copy, Default)]
pub struct Talk {
    quiet: bool,
}

/// The descriptor for results, once stdout is no longer theirs alone.
static KEPT: OnceLock<Result<OwnedFd, Errno>> = OnceLock::new();

impl Output {
    /// Keeps stdout for results: whatever else writes there from now on, such as a plugin, writes to stderr.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system has no descriptor left.
    pub fn keep_stdout() -> Result<(), Failure> {
        // Above the three standard descriptors.
        let keep = || fcntl_dupfd_cloexec(stdout(), 3).and_then(|kept| dup2_stdout(stderr()).map(|()| kept));
        let kept = KEPT.get_or_init(keep).as_ref().map(drop);
        kept.map_err(|error| Failure::Run(format!("could not keep standard output for the results: {error}")))
    }

    /// Prints a piece of the result.
    ///
    /// # Errors
    /// [`Failure::Run`] if it cannot be written: the disk is full, or the reader is gone, or reads nothing.
    pub fn print(&self, text: &str) -> Result<(), Failure> {
        let out = KEPT.get().and_then(|kept| kept.as_ref().ok()).map_or_else(|| stdout(), AsFd::as_fd);
        write_bounded(out, text.as_bytes(), self.timeout).map_err(|error| {
            let what = match error.kind() {
                io::ErrorKind::BrokenPipe => "its reader has closed it".into(),
                io::ErrorKind::StorageFull => "the disk is full".into(),
                io::ErrorKind::TimedOut => {
                    format!("nobody has read from it for {:?} (the bound is --timeout)", self.timeout)
                }
                _ => error.to_string(),
            };
            Failure::Run(format!("could not write the result to standard output: {what}"))
        })
    }
}

impl Talk {
    /// Makes the talk that the command line asks for: silent but for errors, or so much more. Sets up the
    /// logs as well.
    #[must_use]
    pub fn new(quiet: bool, verbose: u8) -> Self {
        let level = match verbose {
            0 => LevelFilter::OFF,
            1 => LevelFilter::INFO,
            2 => LevelFilter::DEBUG,
            _ => LevelFilter::TRACE,
        };
        // A second subscriber is refused; that happens only where tests run several commands in one process.
        let _ = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_ansi(false)
            .with_writer(|| Stderr)
            .try_init();
        Self { quiet }
    }

    /// Says something worth knowing.
    pub fn note(self, line: &str) {
        if !self.quiet {
            say(line);
        }
    }

    /// Says something to mind.
    pub fn warn(self, line: &str) {
        if !self.quiet {
            say(&format!("warning: {line}"));
        }
    }

    /// Says why the command failed.
    pub fn error(self, failure: &Failure) {
        // A failure's text may quote the other side.
        say(&printable(&format!("gputcp: {failure}")));
    }

    /// Prints a line of another component's wording.
    pub fn pass_on(self, line: &str) {
        say(line);
    }

    /// Returns whether only errors are said.
    #[must_use]
    pub const fn is_quiet(self) -> bool {
        self.quiet
    }
}

/// Standard error for the logs.
struct Stderr;

impl io::Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A broken stderr leaves no place to report it.
        let _ = write_bounded(stderr(), bytes, STDERR_TIMEOUT);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn say(line: &str) {
    let _ = io::Write::write(&mut Stderr, format!("{line}\n").as_bytes());
}

/// Writes everything, or fails once nothing could be written for `timeout`.
pub(crate) fn write_bounded(fd: BorrowedFd<'_>, mut bytes: &[u8], timeout: Duration) -> io::Result<()> {
    while !bytes.is_empty() {
        let fd = fd.as_fd();
        if !poll_until(&mut [PollFd::from_borrowed_fd(fd, PollFlags::OUT)], Some(Instant::now() + timeout))? {
            return Err(io::ErrorKind::TimedOut.into());
        }
        match rustix::io::write(fd, &bytes[..bytes.len().min(PIPE_BUF)]) {
            Ok(written) => bytes = &bytes[written..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// The most that a pipe takes whole when poll says that it has room (pipe(7)).
const PIPE_BUF: usize = 4096;
/// Log lines are not worth a longer wait.
const STDERR_TIMEOUT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use std::{io::Read as _, thread};

    use super::*;

    const SHORT: Duration = Duration::from_millis(50);

    #[test]
    fn a_pipe_that_nobody_reads_fails_in_time() {
        let (_reader, writer) = io::pipe().unwrap();
        let error = write_bounded(writer.as_fd(), &vec![0; 1 << 20], SHORT).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn a_slow_reader_gets_everything() {
        let (mut reader, writer) = io::pipe().unwrap();
        let thread = thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        let text: Vec<u8> = (0..1u32 << 20).map(|n| n as u8).collect();
        write_bounded(writer.as_fd(), &text, Duration::from_secs(10)).unwrap();
        drop(writer);
        assert_eq!(thread.join().unwrap(), text);
    }

    #[test]
    fn a_reader_that_left_is_an_error() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        assert_eq!(write_bounded(writer.as_fd(), b"x", SHORT).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    }
}
