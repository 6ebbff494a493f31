//! The work for one data socket, as a task. A task works until it would have to wait, returns the event to
//! wait for, and goes on from there when it is called again. Between calls it holds no lock, so its thread
//! may run other tasks meanwhile.

use std::{
    io,
    os::fd::BorrowedFd,
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use rustix::event::epoll::EventFlags;

use super::pool::Job;
use crate::{
    Error,
    trace::{Pen, Reason},
};

/// The work for one data socket, from connect to close.
pub(crate) trait Task: Send + 'static {
    /// Returns the name of its thread, if it has one of its own.
    fn name() -> &'static str
    where
        Self: Sized;

    /// Does the next part of its work: mostly a call of a socket, of a segment at most.
    fn go_on(&mut self) -> Next;

    /// Takes the failure of its socket: the current work is over.
    fn socket_failed(&mut self, error: io::Error);

    /// Goes on as far as it can, or until it has done its share. May be called at any time.
    fn step(&mut self) -> Rest {
        if let Some(pen) = self.pen() {
            pen.goes_on();
        }
        let rest = self.share();
        if let Some(pen) = self.pen()
            && let Some(reason) = rest.reason()
        {
            pen.rests(reason);
        }
        rest
    }

    /// Does its share of the work, or as far as it can go.
    fn share(&mut self) -> Rest {
        for _ in 0..SHARE {
            match self.go_on() {
                Ok(None) => {}
                Ok(Some(rest)) => return rest,
                Err(Stop::Failed(error)) => {
                    self.fail(error);
                    return Rest::Ended;
                }
                Err(Stop::Socket(error)) => self.socket_failed(error),
            }
        }
        Rest::Again
    }

    /// Returns its data socket.
    fn socket(&self) -> BorrowedFd<'_>;

    /// Returns the events that it may have to wait for on the socket.
    fn events(&self) -> EventFlags;

    /// Fails its connection.
    fn fail(&self, error: Error);

    /// Returns its recording; `None` without a trace.
    fn pen(&mut self) -> Option<&mut Pen> {
        None
    }
}

/// The reason for which a task has returned.
#[derive(Debug)]
pub(crate) enum Rest {
    /// The task has done its share and goes on at once.
    Again,
    /// The socket must be ready. A blocking socket waits in its calls instead.
    Socket,
    /// No work is there until its [`Waker`] is used.
    Work,
    /// The lane must have come this far.
    Lane(Done),
    /// The task goes on at that time, or when its [`Waker`] is used.
    Until(Instant),
    /// The task is over.
    Ended,
}

impl Rest {
    /// Returns what the task waits for, in a trace.
    const fn reason(&self) -> Option<Reason> {
        match self {
            Self::Again => Some(Reason::Turn),
            Self::Socket => Some(Reason::Socket),
            Self::Work => Some(Reason::Work),
            Self::Lane(_) => Some(Reason::Lane),
            Self::Until(_) => Some(Reason::Time),
            Self::Ended => None,
        }
    }
}

/// The outcome of a part of the work: `None` to go on, or the rest to return.
pub(crate) type Next = Result<Option<Rest>, Stop>;

/// The reason for which a task ends early.
pub(crate) enum Stop {
    Failed(Error),
    Socket(io::Error),
}

/// Wakes a task. The task sees at its first step the changes that came before the waker was set.
#[derive(Debug, Default)]
pub(crate) struct Waker(OnceLock<Sleeper>);

#[derive(Debug)]
enum Sleeper {
    Thread(Thread),
    Job(Arc<Job>),
}

impl Waker {
    /// Has the task stepped once more. The caller changes the state that the task looks at before this call.
    pub(crate) fn wake(&self) {
        match self.0.get() {
            Some(Sleeper::Thread(thread)) => thread.unpark(),
            Some(Sleeper::Job(job)) => job.wake(),
            None => {}
        }
    }

    /// Makes the calling thread the one to wake.
    pub(crate) fn is_here(&self) {
        // Set once: a task has one thread for life.
        let _ = self.0.set(Sleeper::Thread(thread::current()));
    }

    /// Makes this job of a pool the one to wake.
    pub(crate) fn is_job(&self, job: &Arc<Job>) {
        let _ = self.0.set(Sleeper::Job(job.clone()));
    }
}

/// Runs a task on the calling thread, whose sockets block. `park` remembers an `unpark` in between, so none
/// is missed.
pub(crate) fn run_alone(mut task: impl Task) {
    loop {
        match task.step() {
            Rest::Again | Rest::Socket => {}
            Rest::Work => thread::park(),
            // A lane that is lost reports it at the next step.
            Rest::Lane(done) => drop(done.wait(Instant::now() + LANE_LOOK)),
            Rest::Until(moment) => thread::park_timeout(moment.saturating_duration_since(Instant::now())),
            Rest::Ended => return,
        }
    }
}

/// The parts of its work that a task does in one step.
const SHARE: usize = 4;
/// The longest wait for a lane before the connection is looked at again.
pub(super) const LANE_LOOK: Duration = Duration::from_millis(100);
