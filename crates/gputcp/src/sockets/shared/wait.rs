//! Waits for an answer: handles the frames of the control socket, asks again, and sleeps until the doorbell
//! rings or more frames come. Every wait has a bound.

use std::{
    io,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use rustix::event::{PollFd, PollFlags};

use super::{Shared, Side};
use crate::{
    Error, Result,
    sockets::{bound::Bound, control::poll_until},
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
            self.pump(&mut lead.reader);
            let mut in_time = Ok(true);
            match ask()? {
                Ready::Yes(answer) => return Ok(answer),
                Ready::AfterLane(done) => {
                    self.check()?;
                    done.wait(bound.next_look().min(Instant::now() + WAITER_LOOK))?;
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
        let count = if self.control_ended.load(Ordering::Acquire) { 1 } else { 2 };
        poll_until(&mut watched[..count], Some(deadline))
    }
}

/// The time that a waiter spins for a short message before it sleeps. A wake-up costs about 30 µs, and two of
/// them lie in a blocking round trip of 71 µs (loopback). Beyond that, spinning only burns the core.
const SPIN: Duration = Duration::from_micros(60);
/// The time that a waiter watches a lane before it looks at the connection again.
const WAITER_LOOK: Duration = Duration::from_millis(20);
