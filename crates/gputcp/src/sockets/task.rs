//! What is done for one data socket, as a task: it works until it would have to wait, says for what, and goes on from there
//! when it is called again. Between calls it holds no lock, so whoever runs it may do something else meanwhile.

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
use crate::Error;

/// The work for one data socket, from connect to close.
pub(crate) trait Task: Send + 'static {
    /// What its thread is called, if it has one of its own.
    fn name() -> &'static str
    where
        Self: Sized;

    /// Does the next part of its work: a call of a socket, mostly, of a segment at most.
    fn go_on(&mut self) -> Next;

    /// Its socket has failed: what it was doing is over.
    fn socket_failed(&mut self, error: io::Error);

    /// Goes on as far as it can, or until it has done its share. May be called at any time.
    fn step(&mut self) -> Step {
        for _ in 0..SHARE {
            match self.go_on() {
                Ok(None) => {}
                Ok(Some(step)) => return step,
                Err(Stop::Failed(error)) => {
                    self.fail(error);
                    return Step::Ended;
                }
                Err(Stop::Socket(error)) => self.socket_failed(error),
            }
        }
        Step::Again
    }

    /// Its data socket.
    fn socket(&self) -> BorrowedFd<'_>;

    /// What it may have to wait for there.
    fn events(&self) -> EventFlags;

    /// Fails its connection.
    fn fail(&self, error: Error);
}

/// Why a task has returned.
#[derive(Debug)]
pub(crate) enum Step {
    /// It has done its share and goes on at once.
    Again,
    /// The socket must be ready. Not where that is a blocking one: it waits in its calls.
    Socket,
    /// There is nothing to carry until its [`Waker`] is used.
    Work,
    /// The lane must have come this far.
    Lane(Done),
    /// Not before then, unless its [`Waker`] is used.
    Until(Instant),
    /// It is over.
    Ended,
}

/// What comes next of a step: nothing to wait for, or what to return.
pub(crate) type Next = Result<Option<Step>, Stop>;

/// Why a task ends early.
pub(crate) enum Stop {
    Failed(Error),
    Socket(io::Error),
}

/// How a task is woken. What happens before it is set, the task sees at its first step.
#[derive(Debug, Default)]
pub(crate) struct Waker(OnceLock<Sleeper>);

#[derive(Debug)]
enum Sleeper {
    Thread(Thread),
    Job(Arc<Job>),
}

impl Waker {
    /// Has the task stepped once more. Whoever changes what the task looks at does that before.
    pub(crate) fn wake(&self) {
        match self.0.get() {
            Some(Sleeper::Thread(thread)) => thread.unpark(),
            Some(Sleeper::Job(job)) => job.wake(),
            None => {}
        }
    }

    /// The calling thread is the one to wake.
    pub(crate) fn is_here(&self) {
        // Set once: a task has one thread for life.
        let _ = self.0.set(Sleeper::Thread(thread::current()));
    }

    /// The task is a pool's, as this job.
    pub(crate) fn is_job(&self, job: &Arc<Job>) {
        let _ = self.0.set(Sleeper::Job(job.clone()));
    }
}

/// Runs a task on the calling thread, whose sockets block. An `unpark` in between is remembered by `park`, so none is missed.
pub(crate) fn run_alone(mut task: impl Task) {
    loop {
        match task.step() {
            Step::Again | Step::Socket => {}
            Step::Work => thread::park(),
            // A lane that is lost says so at the next step.
            Step::Lane(done) => drop(done.wait(Instant::now() + LANE_LOOK)),
            Step::Until(moment) => thread::park_timeout(moment.saturating_duration_since(Instant::now())),
            Step::Ended => return,
        }
    }
}

/// A read or write, again when a signal interrupts it; `None` where it would block.
pub(crate) fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> Result<Option<usize>, Stop> {
    loop {
        match call() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(Stop::Socket(error)),
        }
    }
}

/// How many parts of its work a task does in one step.
const SHARE: usize = 4;
/// How long a lane is waited for before the connection is looked at again.
pub(super) const LANE_LOOK: Duration = Duration::from_millis(100);
