//! How a connection ends: in good order by [`close`], with both goodbyes, or by [`leave`], which waits for the peer's behind
//! the caller's back; or by [`abandon`].

use std::{
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp_proto::frame::Control;

use super::{
    bound::Bound,
    control::Alone,
    shared::{Ready, Shared, Side},
};
use crate::{Error, Result};

/// Says goodbye and waits for the peer's, so that neither closes on data under way; then ends the threads.
pub(crate) fn close<S: Side>(
    shared: &Arc<Shared<S>>,
    alone: &Arc<Alone>,
    threads: &mut Vec<JoinHandle<()>>,
    open: usize,
    deadline: Instant,
) -> Result<()> {
    say_goodbye(shared, alone, threads, open)?;
    hear_goodbye(shared, alone, threads, deadline)
}

/// Says goodbye, and leaves the rest to a thread of its own, which gives the peer `patience`: for whoever must not wait. Two
/// processes that close their connections one after another, in different orders, would wait for each other.
pub(crate) fn leave<S: Side + Send + 'static>(
    shared: &Arc<Shared<S>>,
    alone: &Arc<Alone>,
    threads: &mut Vec<JoinHandle<()>>,
    open: usize,
    patience: Duration,
) -> Result<()> {
    say_goodbye(shared, alone, threads, open)?;
    let (rest, alone_still, mut ending) = (Arc::clone(shared), alone.clone(), std::mem::take(threads));
    let deadline = Instant::now() + patience;
    let last = thread::Builder::new().name("gputcp-leave".into()).spawn(move || {
        // Nobody is left to be told how it went.
        let _ = hear_goodbye(&rest, &alone_still, &mut ending, deadline);
    });
    last.map(drop).map_err(|error| {
        // Nobody waits for the threads any more, but they do end.
        let error = Error::system("start a thread to end the connection", error);
        shared.fail(error.clone());
        alone.stop();
        error
    })
}

fn say_goodbye<S: Side>(
    shared: &Arc<Shared<S>>,
    alone: &Arc<Alone>,
    threads: &mut Vec<JoinHandle<()>>,
    open: usize,
) -> Result<()> {
    if open > 0 {
        abandon(shared, alone, threads);
        return Err(Error::usage(format!(
            "a connection was closed with {open} requests in flight: wait for them first"
        )));
    }
    shared.check()?;
    shared.begin_close();
    shared.control.write(&Control::Goodbye.encode()).or_else(|error| shared.control_failed(error))
}

fn hear_goodbye<S: Side>(
    shared: &Arc<Shared<S>>,
    alone: &Arc<Alone>,
    threads: &mut Vec<JoinHandle<()>>,
    deadline: Instant,
) -> Result<()> {
    let closed = shared.wait_for("closing the connection", Bound::Deadline(deadline), None, false, || {
        Ok(if shared.peer_has_said_goodbye() { Ready::Yes(()) } else { Ready::No })
    });
    if closed.is_ok() {
        end_threads(shared, alone, threads);
    } else {
        abandon(shared, alone, threads);
    }
    closed
}

/// Resets the connection, if it is still up, and ends its threads.
pub(crate) fn abandon<S: Side>(shared: &Arc<Shared<S>>, alone: &Alone, threads: &mut Vec<JoinHandle<()>>) {
    if threads.is_empty() {
        return;
    }
    shared.fail(Error::Cancelled { reason: "the connection was dropped".into() });
    end_threads(shared, alone, threads);
}

fn end_threads<S: Side>(shared: &Shared<S>, alone: &Alone, threads: &mut Vec<JoinHandle<()>>) {
    alone.stop();
    for socket in &shared.data {
        // A reader that has not seen the end of its stream yet sees it now. An already closed socket is no error.
        let _ = socket.shutdown(std::net::Shutdown::Both);
    }
    for thread in threads.drain(..) {
        // A thread that panicked has said so on stderr; the connection is over either way.
        let _ = thread.join();
    }
}
