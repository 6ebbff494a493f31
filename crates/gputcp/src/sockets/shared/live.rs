//! Checks that the peer is alive while requests are in flight. The background reader looks at the connection
//! regularly, whatever the caller does, so that `test` has a bound as well as `wait`. [`Liveness`] has the
//! rule.

use std::{
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use gputcp_proto::{
    frame::Control,
    liveness::{Liveness, Look, Next},
};
use gputcp_socket::TcpInfo;

use super::{Counters, Shared, Side};
use crate::{Error, sockets::locks::lock};

/// The counts that the looks so far have seen.
#[derive(Debug)]
pub(super) struct Watched {
    rule: Liveness,
    last: Instant,
    carried: u64,
    moved: u64,
}

impl Watched {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { rule: Liveness::new(timeout), last: Instant::now(), carried: 0, moved: 0 }
    }
}

impl<S: Side> Shared<S> {
    /// Returns how often [`Shared::watch`] is to be called.
    pub(crate) fn watch_interval(&self) -> Duration {
        lock(&self.watched).rule.interval()
    }

    /// Checks whether the peer does its duty, and fails the connection if not.
    pub(crate) fn watch(&self) {
        if self.has_failed() {
            return;
        }
        let (is_waiting, is_amid) = lock(&self.state).owed();
        let mut watched = lock(&self.watched);
        let now = Instant::now();
        let since = now.duration_since(watched.last);
        watched.last = now;
        let carried =
            self.counters.carried.load(Ordering::Relaxed) + self.counters.placed.load(Ordering::Relaxed);
        if std::mem::replace(&mut watched.carried, carried) != carried {
            watched.moved += 1;
        } else if is_amid {
            // The counters of whole segments stand still; the kernel counts each byte.
            watched.moved = self.moved();
        }
        let heard = self.frames_heard.load(Ordering::Relaxed);
        // A sender's written bytes are in its kernel: they tell nothing of the peer's process.
        let heard = if S::SENDS { heard } else { heard.wrapping_add(carried) };
        let moved = watched.moved;
        let next = watched.rule.look(since, Look { is_waiting, is_amid, heard, moved });
        drop(watched);
        let late = |what: &'static str| Error::Timeout { what, peer: self.peer.clone(), after: self.timeout };
        match next {
            Next::Nothing => {}
            Next::Ask => {
                let asked = self.control.write_if_idle(&Control::Ping.encode());
                // A failure of the connection is noted there.
                let _ = asked.or_else(|error| self.control_failed(error));
            }
            Next::Silent => self.fail(late("an answer that the peer's threads owe")),
            Next::Stalled => self.fail(late("a message that has begun")),
        }
    }

    /// Returns a number that changes with each payload byte that moves, by this process's counters and by the
    /// kernel's. Pings and their answers are no payload, and are not written amid a short message.
    pub(super) fn moved(&self) -> u64 {
        let control = self.control.is_amid().then(|| self.control.socket());
        let infos = self.data.iter().chain(control).filter_map(|socket| TcpInfo::read(socket).ok());
        let in_kernel = infos.map(|info| info.bytes_acked.wrapping_add(info.bytes_received));
        in_kernel.fold(self.counted(), u64::wrapping_add)
    }

    /// Returns the payload bytes that this process has carried, and those that it has placed.
    fn counted(&self) -> u64 {
        let Counters { carried, placed } = &self.counters;
        carried.load(Ordering::Relaxed).wrapping_add(placed.load(Ordering::Relaxed))
    }
}
