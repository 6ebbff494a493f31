//! The state that all tasks of one connection share: its sockets, and its [end](End) under one lock.
//!
//! [`Shared::act`] passes an event to the end, and performs the effects without the lock. [`control`] carries
//! frames both ways on the control socket. [`wait`] waits for an answer, and watches the peer. [`fail`] fails
//! the connection. [`polls`] tells whether a caller polls.

mod control;
mod fail;
mod polls;
mod wait;

use std::{
    io,
    net::Shutdown,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock,
        atomic::{AtomicBool, AtomicU64},
    },
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use gputcp_proto::connection::{Effects, End, Failure, Inbox, SLOTS, Step, sender};

use self::polls::Polls;
pub(crate) use self::{fail::socket_error, wait::Ready};
use super::{
    Socket,
    begun::Begun,
    control::ControlSocket,
    doorbell::Doorbell,
    locks::lock,
    task::{Rest, Waker},
};
use crate::{
    Error, Options, Result,
    trace::{self, Tracer},
};

/// One end of a connection. `S` has the memory of the sender's or the receiver's messages.
#[derive(Debug)]
pub(crate) struct Shared<S: Side> {
    pub(crate) peer: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) control: ControlSocket,
    pub(crate) data: Vec<Socket>,
    pub(crate) memory: S,
    /// Wakes each data socket's task when there is work for it, or when the connection ends.
    pub(crate) work: Box<[Waker]>,
    pub(crate) doorbell: Arc<Doorbell>,
    /// The payload bytes that a socket took, or gave.
    pub(crate) carried: AtomicU64,
    pub(crate) begun: Begun,
    /// Records the life of messages; `None` without a trace.
    pub(crate) trace: Option<Tracer>,
    end: Mutex<S::End>,
    failure: OnceLock<Error>,
    /// The start of the connection's own time.
    start: Instant,
    watched: Mutex<Instant>,
    polls: Polls,
    /// The background reader leaves the control socket to the caller that polls it.
    away: AtomicBool,
}

/// The memory of one side's messages, and the part of short messages that touches it.
pub(crate) trait Side: Sized + Send + Sync + 'static {
    /// The rules of this side.
    type End: End<Done = Done> + Send;

    /// Returns whether all bytes of the request with this slot's index are written, or at their destination.
    /// The request may be finished already.
    fn is_complete(end: &Self::End, slot: usize) -> bool;

    /// Goes on with the short message that the reader is amid. Returns false if more of it is to come.
    fn take_message(_: &Shared<Self>, _: &mut Inbox<Done>) -> Result<bool> {
        Ok(true)
    }

    /// Does a part of the work for a short message on its way out.
    fn write_message(_: &Shared<Self>, _: &mut sender::Departure<Done>) -> Result<sender::Wrote> {
        Ok(sender::Wrote::Some)
    }
}

impl<S: Side> Shared<S> {
    pub(crate) fn new(
        peer: Arc<str>,
        options: &Options,
        control: ControlSocket,
        data: Vec<Socket>,
        end: S::End,
        memory: S,
        trace: Option<Tracer>,
    ) -> Result<Self> {
        let doing = "set up the connection's descriptors";
        Ok(Self {
            peer,
            timeout: options.timeout,
            control,
            work: data.iter().map(|_| Waker::default()).collect(),
            data,
            memory,
            doorbell: options
                .bell
                .clone()
                .map_or_else(|| Doorbell::new().map(Arc::new), Ok)
                .map_err(|error| Error::system(doing, error))?,
            carried: AtomicU64::new(0),
            begun: Begun::default(),
            trace,
            end: Mutex::new(end),
            failure: OnceLock::new(),
            start: Instant::now(),
            watched: Mutex::new(Instant::now()),
            polls: Polls::new(),
            away: AtomicBool::new(false),
        })
    }

    /// Returns the end, to look at it.
    pub(crate) fn end(&self) -> MutexGuard<'_, S::End> {
        lock(&self.end)
    }

    /// Passes an event to the end, and performs what follows from it.
    pub(crate) fn act<T>(&self, event: impl FnOnce(&mut S::End) -> T) -> T {
        let mut end = self.end();
        let answer = event(&mut end);
        self.go_on(end, None);
        answer
    }

    /// Does the same for an event that looks at a lane. A lost lane fails the connection.
    pub(crate) fn act_on_lane<T>(
        &self,
        event: impl FnOnce(&mut S::End) -> Result<T, gputcp_gpu::Error>,
    ) -> Result<T> {
        let mut end = self.end();
        let answer = event(&mut end).map_err(Error::from);
        if answer.is_err() {
            end.life_mut().fail(Failure::Local);
        }
        self.go_on(end, answer.as_ref().err());
        answer
    }

    /// Lets go of the end, and performs what follows from the last event. `local` is the reason for a failure
    /// that the end does not know.
    fn go_on(&self, mut end: MutexGuard<'_, S::End>, local: Option<&Error>) {
        let effects = end.effects();
        if effects.write {
            self.write(end, effects, local);
        } else {
            self.perform(end, effects, local);
        }
    }

    /// Lets go of the end, and performs effects, but for writing on the control socket.
    fn perform(&self, end: MutexGuard<'_, S::End>, effects: Effects, local: Option<&Error>) {
        let Effects { wake, done, all, write: _, want_room, look, failure } = effects;
        if let Some(trace) = &self.trace
            && !done.is_empty()
        {
            // Under the lock: no slot is issued again meanwhile.
            let is_done = |slot: &usize| done.contains(*slot) && S::is_complete(&end, *slot);
            (0..SLOTS).filter(is_done).for_each(|slot| trace.done(slot));
        }
        if let Some(failure) = &failure {
            // Under the lock: a thread that finds the end failed finds the reason too. The first one is kept.
            let error = local.cloned().unwrap_or_else(|| self.error_of(failure));
            let _ = self.failure.set(error);
        }
        drop(end);
        if failure.is_some() {
            for socket in &self.data {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
        if all {
            self.work.iter().for_each(Waker::wake);
            self.doorbell.ring_all();
        } else {
            let mut left = wake;
            while left != 0 {
                let stream = left.trailing_zeros() as usize;
                if let Some(trace) = &self.trace {
                    trace.woken(stream);
                }
                self.work[stream].wake();
                left &= left - 1;
            }
            if !done.is_empty() {
                self.doorbell.ring(&done);
            }
        }
        if want_room && let Err(error) = self.control.want_room() {
            self.fail(Error::system("watch the control socket", error));
        }
        if look {
            self.look();
        }
    }

    /// Returns the trace's time where there is a trace, for the start of a span.
    pub(crate) fn trace_time(&self) -> u64 {
        if self.trace.is_some() { trace::now() } else { 0 }
    }

    /// Returns the connection's own time.
    pub(crate) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    /// Returns the rest of a data socket's task after a step; `None` where it goes on.
    pub(crate) fn rest(&self, step: Step<Done>) -> Option<Rest> {
        match step {
            Step::GoOn => None,
            Step::Idle => Some(Rest::Work),
            Step::Lane(done) => Some(Rest::Lane(done)),
            Step::Until(time) => Some(Rest::Until(self.start + time)),
            Step::EndOfStream | Step::Over => Some(Rest::Ended),
        }
    }
}

/// Tries a call of a socket, again when a signal interrupts it. `None` where it would block.
pub(crate) fn attempt(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<Option<usize>> {
    loop {
        match call() {
            Ok(bytes) => return Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}
