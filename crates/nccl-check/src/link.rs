//! Short messages between the two sides of a check, over a socket pair that the parent made. A side that
//! waits for one goes on asking for its requests, as NCCL does.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};

use crate::{
    bench::BenchPlugin,
    stop::{Stop, fail},
};

/// One side's end.
pub(crate) struct Link {
    stream: UnixStream,
    deadline: Instant,
    /// The plugin whose requests in flight are asked for during a wait.
    plugin: BenchPlugin,
}

impl Link {
    /// Takes the end that the parent made. The plugin has been started.
    pub(crate) fn new(fd: OwnedFd, deadline: Instant, plugin: BenchPlugin) -> Self {
        Self { stream: fd.into(), deadline, plugin }
    }

    /// Tells the other side.
    pub(crate) fn tell(&mut self, what: &[u8]) -> Result<(), Stop> {
        let length = u32::try_from(what.len()).unwrap_or(u32::MAX).to_ne_bytes();
        // The other side is gone: it, or the parent, tells the reason.
        self.stream.write_all(&[&length, what].concat()).map_err(|_| Stop::Alone)
    }

    /// Waits this long for a message or the end of the other side. Returns whether either has come.
    pub(crate) fn is_ready(&self, wait: Duration) -> Result<bool, Stop> {
        if Instant::now() >= self.deadline {
            return Err(Stop::Unheard);
        }
        let wait = Timespec { tv_sec: wait.as_secs().cast_signed(), tv_nsec: wait.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&self.stream, PollFlags::IN)], Some(&wait)) {
            Ok(ready) => Ok(ready > 0),
            Err(Errno::INTR) => Ok(false),
            Err(_) => Err(Stop::Alone),
        }
    }

    /// Waits for a message of the other side, and asks for the requests in flight meanwhile.
    pub(crate) fn hear(&mut self) -> Result<Vec<u8>, Stop> {
        while !self.is_ready(Duration::ZERO)? && self.plugin.attend() {
            self.is_ready(BETWEEN)?;
        }
        self.hear_without_test()
    }

    /// Waits for a message of the other side without a call of the plugin.
    pub(crate) fn hear_without_test(&mut self) -> Result<Vec<u8>, Stop> {
        let left = self.deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        // A zero timeout, which is refused, cannot occur.
        let _ = self.stream.set_read_timeout(Some(left));
        let heard = (|| {
            let mut length = [0; 4];
            self.stream.read_exact(&mut length)?;
            let mut what = vec![0; (u32::from_ne_bytes(length) as usize).min(LONGEST)];
            self.stream.read_exact(&mut what)?;
            Ok(what)
        })();
        heard.map_err(|error: io::Error| match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Stop::Unheard,
            _ => Stop::Alone,
        })
    }

    /// Tells the other side a number.
    pub(crate) fn tell_number(&mut self, number: u64) -> Result<(), Stop> {
        self.tell(&number.to_ne_bytes())
    }

    /// Waits for a number from the other side.
    pub(crate) fn hear_number(&mut self) -> Result<u64, Stop> {
        let said = self.hear()?;
        <[u8; 8]>::try_from(&said[..]).map(u64::from_ne_bytes).or_else(|_| fail("the sides lost step"))
    }

    /// Waits until both sides have reached this point.
    pub(crate) fn meet(&mut self) -> Result<(), Stop> {
        self.tell(b"here")?;
        self.hear().map(drop)
    }
}

/// The limit of a message's length; a handle is the longest.
const LONGEST: usize = 4096;
/// The time between two rounds of asking for the requests in flight.
const BETWEEN: Duration = Duration::from_micros(50);
