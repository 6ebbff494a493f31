//! Ends a connection. [`close`] ends it in good order, with both goodbyes. [`leave`] waits for the peer's
//! goodbye after the call has returned. [`abandon`] resets it.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp_proto::connection::End;

use super::{
    bound::Bound,
    control::OnItsWay,
    driver::Driver,
    shared::{Ready, Shared, Side},
};
use crate::{Error, Result};

/// Says goodbye and waits for the peer's, so that neither side closes on data under way; then ends the work.
pub(crate) fn close<S: Side>(shared: &Arc<Shared<S>>, driver: &mut Driver, deadline: Instant) -> Result<()> {
    say_goodbye(shared, driver)?;
    hear_goodbye(shared, driver, deadline)?;
    // The goodbye is behind all of the peer's messages.
    match shared.end().unreceived() {
        0 => Ok(()),
        left => Err(Error::usage(format!(
            "{left} messages came that were never received: both ends must move the same messages"
        ))),
    }
}

/// Says goodbye, and leaves the rest to a thread of its own or to the pool, which gives the peer `timeout`.
/// It is for callers that must not wait: two processes that close their connections in different orders would
/// wait for each other. The peer's kernel has all that was written when this returns, so that this process
/// may end: see [`settle`].
pub(crate) fn leave<S: Side>(shared: &Arc<Shared<S>>, driver: &mut Driver, timeout: Duration) -> Result<()> {
    say_goodbye(shared, driver)?;
    settle(shared);
    if let Some(trace) = &shared.trace {
        // The process may end now, without another word.
        trace.flush();
    }
    let deadline = Instant::now() + timeout;
    driver.leave(shared, deadline, move |shared, driver| {
        // The caller has returned, so no thread takes the result.
        let _ = hear_goodbye(shared, driver, deadline);
    })
}

fn say_goodbye<S: Side>(shared: &Arc<Shared<S>>, driver: &mut Driver) -> Result<()> {
    if let Err(open) = shared.act(End::close) {
        abandon(shared, driver);
        return Err(Error::usage(format!(
            "a connection was closed with {open} requests in flight: wait for them first"
        )));
    }
    shared.check()
}

/// Waits until the peer's kernel has acknowledged all bytes of the control socket. As acknowledgements may be
/// delayed, it waits at most two round trips from when all was sent. If this process ended earlier, with
/// bytes on that socket unread or still coming, its kernel would reset the connection. The kernel would then
/// forget the bytes that it had not yet sent (RFC 1122, 4.2.2.13). No bytes come on the data sockets, whose
/// rest the kernel sends in any case.
fn settle<S: Side>(shared: &Shared<S>) {
    let mut until = Instant::now() + SETTLE;
    let mut is_sent = false;
    loop {
        let (is_over, has_frames) = {
            let end = shared.end();
            let life = end.life();
            (life.has_failed() || life.control_has_ended(), life.has_frames())
        };
        if is_over || Instant::now() >= until {
            break;
        }
        match shared.control.on_its_way(has_frames) {
            OnItsWay::Nothing => break,
            OnItsWay::Sent { round_trip } if !is_sent => {
                is_sent = true;
                until = until.min(Instant::now() + 2 * round_trip + LOOK);
            }
            OnItsWay::Sent { .. } | OnItsWay::NotSent => {}
        }
        thread::sleep(LOOK);
    }
}

fn hear_goodbye<S: Side>(shared: &Arc<Shared<S>>, driver: &mut Driver, deadline: Instant) -> Result<()> {
    let closed = shared.wait_for("closing the connection", Bound::Deadline(deadline), None, false, || {
        let is_over = shared.end().life().peer_has_said_goodbye();
        Ok(if is_over { Ready::Yes(()) } else { Ready::No })
    });
    if closed.is_ok() {
        driver.end(shared);
    } else {
        abandon(shared, driver);
    }
    closed
}

/// Resets the connection, if it is still up, and ends its work.
pub(crate) fn abandon<S: Side>(shared: &Shared<S>, driver: &mut Driver) {
    if driver.has_ended() {
        return;
    }
    shared.fail(Error::Cancelled { reason: "the connection was dropped".into() });
    driver.end(shared);
}

/// The longest time to send all: a peer that does not read is not waited for.
const SETTLE: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_micros(20);
