//! The state that all tasks of one connection share: its sockets, and its state under one lock. [`wait`]
//! waits for an answer, [`attend`] hears the control socket meanwhile and while no caller waits ([`polls`]),
//! [`fail`] fails the connection.

mod attend;
mod fail;
mod live;
mod polls;
mod wait;

use std::{
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use gputcp_proto::frame::Control;

pub(crate) use self::{fail::SocketEnd, wait::Ready};
use self::{live::Watched, polls::Polls};
use super::{
    Socket,
    begun::Begun,
    control::{ControlSocket, Reader, Watch},
    doorbell::Doorbell,
    locks::lock,
    task::Waker,
};
use crate::{Error, Result};

/// One end of a connection. `S` is the sender's or the receiver's state.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) peer: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) control: ControlSocket,
    pub(crate) data: Vec<Socket>,
    pub(crate) state: Mutex<S>,
    /// Wakes each data socket's task when there is work for it, or when the connection ends.
    pub(crate) work: Box<[Waker]>,
    pub(crate) doorbell: Doorbell,
    pub(crate) counters: Counters,
    begun: Begun,
    failure: OnceLock<Error>,
    frames_heard: AtomicU64,
    watched: Mutex<Watched>,
    peer_said_goodbye: AtomicBool,
    control_ended: AtomicBool,
    closing: AtomicBool,
    polls: Polls,
    /// The background reader leaves the control socket to the caller that polls it.
    away: AtomicBool,
}

/// Bytes that passed, counted where they pass.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Payload bytes that a socket took, or gave.
    pub(crate) carried: AtomicU64,
    /// Payload bytes at their destination, counted by the receiver.
    pub(crate) placed: AtomicU64,
}

/// A side's own answer to control frames.
pub(crate) trait Side: Sized {
    /// Whether this end sends. A receiver's announcements mean nothing to a sender that has said goodbye,
    /// which has sent all. So no byte is lost if the sender is gone when they are written.
    const SENDS: bool;

    /// Handles an announcement, or begins with an inline message: the reader is then amid it.
    fn dispatch(shared: &Shared<Self>, frame: Control, reader: &mut Reader) -> Result<()>;

    /// Returns whether requests are in flight, and whether a message has begun and is not over.
    fn owed(&self) -> (bool, bool);

    /// Returns the messages that came and that no request asked for.
    fn unreceived(&self) -> usize {
        0
    }

    /// Takes the peer's goodbye, before any waiter hears of it.
    fn goodbye(_: &Shared<Self>) {}

    /// Reads on in the message that the reader is amid. Returns false if more of it is to come.
    fn take_rest(_: &Shared<Self>, _: &mut Reader) -> Result<bool> {
        Ok(true)
    }

    /// Writes the messages that the control socket had no room for.
    fn write_on(_: &Shared<Self>) -> Result<()> {
        Ok(())
    }
}

impl<S: Side> Shared<S> {
    pub(crate) fn new(
        peer: Arc<str>,
        timeout: Duration,
        (control, watch, depth): (Socket, &Watch, usize),
        data: Vec<Socket>,
        state: S,
    ) -> Result<Self> {
        let doing = "set up the connection's descriptors";
        Ok(Self {
            peer,
            timeout,
            control: ControlSocket::new(control, watch, depth)
                .map_err(|error| Error::system(doing, error))?,
            work: data.iter().map(|_| Waker::default()).collect(),
            data,
            state: Mutex::new(state),
            doorbell: Doorbell::new().map_err(|error| Error::system(doing, error))?,
            counters: Counters::default(),
            begun: Begun::default(),
            failure: OnceLock::new(),
            frames_heard: AtomicU64::new(0),
            watched: Mutex::new(Watched::new(timeout)),
            peer_said_goodbye: AtomicBool::new(false),
            control_ended: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            polls: Polls::new(),
            away: AtomicBool::new(false),
        })
    }

    /// Counts one of the connection's threads, whose allocations at its start are over.
    pub(crate) fn thread_begins(&self) {
        self.begun.one_more();
    }

    /// Waits for the connection's threads, so that nothing of their start falls after connect (invariant I4).
    pub(crate) fn wait_for_threads(&self, count: usize) {
        self.begun.wait_for(count);
    }

    pub(crate) fn peer_has_said_goodbye(&self) -> bool {
        self.peer_said_goodbye.load(Ordering::Acquire)
    }

    /// Returns whether no more can come on the control socket, behind the peer's goodbye.
    pub(crate) fn control_has_ended(&self) -> bool {
        self.control_ended.load(Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Wakes the I/O threads to end once nothing is left to carry.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Has every task look at the connection again.
    fn wake_all(&self) {
        // A task that has just begun sees the change at its first look, which takes this lock. Otherwise it
        // has set its waker before.
        drop(lock(&self.state));
        self.work.iter().for_each(Waker::wake);
    }
}
