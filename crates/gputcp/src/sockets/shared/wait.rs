//! Waits for an answer: handles the frames of the control socket, asks again, and sleeps until the doorbell
//! rings or more frames come. Every wait has a bound.
//!
//! The background reader looks at the connection regularly, whatever the caller does, so that `test` has a
//! bound as well as `wait`.

use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use gputcp_proto::connection::End;
use gputcp_socket::TcpInfo;
use rustix::event::{PollFd, PollFlags};

use super::{Shared, Side};
use crate::{
    Error, Result,
    sockets::{bound::Bound, control::poll_until, locks::lock},
    trace::Reason,
};

/// The outcome of a waiter's question.
pub(crate) enum Ready<T> {
    /// The answer.
    Yes(T),
    /// No answer yet: ask again when the doorbell rings or a frame comes.
    No,
    /// No answer yet: ask again when the lane has come this far.
    AfterLane(Done),
}

impl<S: Side> Shared<S> {
    /// Waits for an answer, reading the control socket meanwhile. `slot` is the one whose completion may
    /// change the answer; `None` if any event may. With `spin` it tries for a moment before it sleeps. That
    /// is for messages on the control socket, where a wake-up costs more than the message.
    pub(crate) fn wait_for<T>(
        &self,
        what: &'static str,
        mut bound: Bound,
        slot: Option<usize>,
        spin: bool,
        mut ask: impl FnMut() -> Result<Ready<T>>,
    ) -> Result<T> {
        if let Ready::Yes(answer) = ask()? {
            return Ok(answer);
        }
        let began = Instant::now();
        let mut lead =
            self.control.lead().map_err(|error| Error::system("watch the control socket", error))?;
        loop {
            self.pump(&mut lead.inbox);
            let mut in_time = Ok(true);
            match ask()? {
                Ready::Yes(answer) => return Ok(answer),
                Ready::AfterLane(done) => {
                    self.check()?;
                    let slept = self.trace_time();
                    done.wait(bound.next_look().min(Instant::now() + WAITER_LOOK))?;
                    if let Some(trace) = &self.trace {
                        trace.slept(slept, Reason::Lane);
                    }
                    in_time = Ok(Instant::now() < bound.next_look());
                }
                Ready::No => {
                    self.check()?;
                    if spin && began.elapsed() < SPIN {
                        std::thread::yield_now();
                        continue;
                    }
                    self.doorbell.listen(slot);
                    // Ask once more, for an event from before the bell was heard.
                    let asked = ask();
                    if matches!(asked, Ok(Ready::No)) && !self.has_failed() {
                        // A control socket that is always ready does not put off the bound.
                        let is_late = Instant::now() >= bound.next_look();
                        in_time = if is_late { Ok(false) } else { self.sleep(bound.next_look()) };
                    }
                    self.doorbell.silence();
                    if let Ready::Yes(answer) = asked? {
                        return Ok(answer);
                    }
                }
            }
            let in_time = in_time.map_err(|error| Error::system("wait for the peer", error))?;
            if !in_time && !bound.goes_on(|| self.moved()) {
                let after = bound.length(began);
                self.fail(Error::Timeout { what, peer: self.peer.clone(), after });
            }
            self.check()?;
        }
    }

    fn sleep(&self, deadline: Instant) -> io::Result<bool> {
        let bell = self.doorbell.descriptor();
        let control = self.control.descriptor();
        let mut watched = [PollFd::new(&bell, PollFlags::IN), PollFd::new(&control, PollFlags::IN)];
        let count = if self.end().life().control_has_ended() { 1 } else { 2 };
        let slept = self.trace_time();
        let in_time = poll_until(&mut watched[..count], Some(deadline));
        if let Some(trace) = &self.trace {
            trace.slept(slept, Reason::Bell);
        }
        in_time
    }

    /// Returns how often [`Shared::watch`] is to be called.
    pub(crate) fn watch_interval(&self) -> Duration {
        self.end().life().look_interval()
    }

    /// Checks whether the peer does its duty, and fails the connection if not.
    pub(crate) fn watch(&self) {
        let carried = self.carried.load(Ordering::Relaxed);
        let wants_count = self.end().wants_count(carried);
        let moved = wants_count.then(|| self.moved());
        let now = Instant::now();
        let since = now.duration_since(std::mem::replace(&mut *lock(&self.watched), now));
        // A lane that is lost has failed the connection.
        let _ = self.act_on_lane(|end| end.look(since, carried, moved));
    }

    /// Returns a number that changes with each payload byte that moves, by this process's counters and by the
    /// kernel's. Pings and their answers are no payload, and are not written amid a short message.
    fn moved(&self) -> u64 {
        let (placed, is_amid) = {
            let end = self.end();
            (end.placed_bytes(), end.is_amid_write())
        };
        let counted = self.carried.load(Ordering::Relaxed).wrapping_add(placed);
        let control = is_amid.then(|| self.control.socket());
        let infos = self.data.iter().chain(control).filter_map(|socket| TcpInfo::read(socket).ok());
        let in_kernel = infos.map(|info| info.bytes_acked.wrapping_add(info.bytes_received));
        in_kernel.fold(counted, u64::wrapping_add)
    }
}

/// The time that a waiter spins for a short message before it sleeps. A wake-up costs about 30 µs, and two of
/// them lie in a blocking round trip of 71 µs (loopback). Beyond that, spinning only burns the core.
const SPIN: Duration = Duration::from_micros(60);
/// The time that a waiter watches a lane before it looks at the connection again.
const WAITER_LOOK: Duration = Duration::from_millis(20);
