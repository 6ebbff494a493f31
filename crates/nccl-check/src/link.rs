//! What the two sides of a check tell each other: short messages over a socket pair that the parent made.

use std::{
    io::{self, Read as _, Write as _},
    os::{fd::OwnedFd, unix::net::UnixStream},
    time::{Duration, Instant},
};

use crate::stop::{Stop, fail};

/// One side's end.
#[derive(Debug)]
pub(crate) struct Link {
    stream: UnixStream,
    deadline: Instant,
}

impl Link {
    pub(crate) fn new(fd: OwnedFd, deadline: Instant) -> Self {
        Self { stream: fd.into(), deadline }
    }

    /// Tells the other side.
    pub(crate) fn tell(&mut self, what: &[u8]) -> Result<(), Stop> {
        let length = u32::try_from(what.len()).unwrap_or(u32::MAX).to_ne_bytes();
        // The other side is gone: it, or the parent, says why.
        self.stream.write_all(&[&length, what].concat()).map_err(|_| Stop::Alone)
    }

    /// Waits for what the other side tells.
    pub(crate) fn hear(&mut self) -> Result<Vec<u8>, Stop> {
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
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                Stop::Failed("the other side was not heard of in time".into())
            }
            _ => Stop::Alone,
        })
    }

    /// A number for the other side.
    pub(crate) fn tell_number(&mut self, number: u64) -> Result<(), Stop> {
        self.tell(&number.to_ne_bytes())
    }

    /// A number from the other side.
    pub(crate) fn hear_number(&mut self) -> Result<u64, Stop> {
        let said = self.hear()?;
        <[u8; 8]>::try_from(&said[..]).map(u64::from_ne_bytes).or_else(|_| fail("the sides lost step"))
    }

    /// Waits until both sides are here.
    pub(crate) fn meet(&mut self) -> Result<(), Stop> {
        self.tell(b"here")?;
        self.hear().map(drop)
    }
}

/// The longest message is a handle.
const LONGEST: usize = 4096;
