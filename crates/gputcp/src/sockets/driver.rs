//! Runs a connection's tasks on threads of its own or on those of a pool. A connection's own threads are one
//! for each data socket and the background reader of the control socket. The work is the same.

use std::{
    io,
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp_proto::connection::End;
use rustix::thread::CpuSet;

use super::{
    control::{Alone, Attention, Watch},
    cores,
    pool::{Attended, IoPool, Seat},
    shared::{Shared, Side},
    task::{Task, run_alone},
};
use crate::{Error, Result};

/// The threads that do a connection's work.
#[derive(Debug)]
pub(crate) enum Driver {
    /// Threads of its own, and the descriptors of the background reader.
    Threads(Vec<JoinHandle<()>>, Arc<Alone>),
    /// Threads of a pool.
    Pool(Seat),
    /// No threads: the connection has ended.
    Ended,
}

impl Driver {
    /// Returns the driver of a connection that is about to begin.
    pub(crate) fn new(pool: Option<&IoPool>) -> Result<Self> {
        if let Some(pool) = pool {
            return Ok(Self::Pool(pool.seat()?));
        }
        let alone =
            Alone::new().map_err(|error| Error::system("set up the connection's descriptors", error))?;
        Ok(Self::Threads(Vec::new(), Arc::new(alone)))
    }

    /// Returns where the connection's control socket is to be watched.
    pub(crate) fn watch(&self) -> Watch {
        match self {
            Self::Threads(_, alone) => alone.watch(),
            Self::Pool(seat) => seat.watch(),
            Self::Ended => unreachable!("a connection begins before it ends"),
        }
    }

    /// Starts the work: a task for each data socket, and the background reader of the control socket. Threads
    /// of its own stay on the cores `near`; those of a pool serve all devices. When this returns, all that
    /// the connection will ever need is there (invariant I4).
    pub(crate) fn start<S: Side, T: Task>(
        &mut self,
        shared: &Arc<Shared<S>>,
        near: Option<&CpuSet>,
        tasks: impl Iterator<Item = T>,
    ) -> Result<()> {
        for socket in &shared.data {
            let set = socket.set_nonblocking(matches!(self, Self::Pool(_)));
            set.map_err(|error| Error::system("set up a data socket", error))?;
        }
        match self {
            Self::Threads(threads, alone) => {
                let background = alone.clone();
                threads.push(spawn("gputcp-control", shared, near, move |shared| {
                    shared.read_in_background(&background)
                })?);
                for (stream, task) in tasks.enumerate() {
                    threads.push(spawn(T::name(), shared, near, move |shared| {
                        shared.work[stream].is_here();
                        run_alone(task);
                    })?);
                }
                shared.begun.wait_for(threads.len());
                Ok(())
            }
            Self::Pool(seat) => {
                seat.start(shared.clone(), tasks, |stream, job| shared.work[stream].is_job(job))
            }
            Self::Ended => unreachable!("a connection begins before it ends"),
        }
    }

    pub(crate) const fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Ends the work. When this returns, nothing touches the memory of the connection's requests any more.
    pub(crate) fn end<S: Side>(&mut self, shared: &Shared<S>) {
        if let Self::Threads(_, alone) = self {
            alone.stop();
        }
        for socket in &shared.data {
            // A reader that has not seen the end of its stream yet sees it now. A socket that is already
            // closed is no error.
            let _ = socket.shutdown(std::net::Shutdown::Both);
        }
        // A seat is shut out when it is dropped.
        if let Self::Threads(threads, _) = std::mem::replace(self, Self::Ended) {
            for thread in threads {
                // A thread that panicked has reported it on stderr; the connection is over either way.
                let _ = thread.join();
            }
        }
    }

    /// Has the connection ended without the caller when the peer has said goodbye, or `deadline` has passed.
    /// A thread of its own waits for that with `hear`, or the pool does.
    pub(crate) fn leave<S: Side>(
        &mut self,
        shared: &Arc<Shared<S>>,
        deadline: Instant,
        hear: impl FnOnce(&Arc<Shared<S>>, &mut Self) + Send + 'static,
    ) -> Result<()> {
        match std::mem::replace(self, Self::Ended) {
            Self::Pool(seat) => {
                seat.leave(deadline);
                Ok(())
            }
            Self::Threads(threads, alone) => {
                let (rest, mut driver) = (Arc::clone(shared), Self::Threads(threads, alone.clone()));
                let last = thread::Builder::new().name("gputcp-leave".into());
                last.spawn(move || hear(&rest, &mut driver)).map(drop).map_err(|error| {
                    // No thread joins the others any more, but they do end.
                    let error = Error::system("start a thread to end the connection", error);
                    shared.fail(error.clone());
                    alone.stop();
                    error
                })
            }
            Self::Ended => Ok(()),
        }
    }
}

/// Starts one of a connection's threads. If the thread panics, the connection fails at once instead of at a
/// deadline.
fn spawn<S: Side>(
    name: &'static str,
    shared: &Arc<Shared<S>>,
    near: Option<&CpuSet>,
    life: impl FnOnce(&Arc<Shared<S>>) + Send + 'static,
) -> Result<JoinHandle<()>> {
    struct Guard<S: Side>(Arc<Shared<S>>, &'static str);
    impl<S: Side> Drop for Guard<S> {
        fn drop(&mut self) {
            if thread::panicking() {
                let panicked = io::Error::other("it panicked, which is a bug in gputcp: please report it");
                self.0.fail(Error::system(format!("go on with thread {}", self.1), panicked));
            }
        }
    }
    let guard = Guard(shared.clone(), name);
    let near = near.copied();
    let thread = thread::Builder::new().name(name.into()).spawn(move || {
        cores::stay(near.as_ref());
        guard.0.begun.one_more();
        life(&guard.0);
    });
    thread.map_err(|error| Error::system("start a thread for the connection", error))
}

impl<S: Side> Attended for Shared<S> {
    fn attend(&self) -> Attention {
        Self::attend(self)
    }

    fn watch(&self) {
        Self::watch(self);
    }

    fn watch_interval(&self) -> Duration {
        Self::watch_interval(self)
    }

    fn arm(&self) -> io::Result<()> {
        self.control.arm()
    }

    fn disarm(&self) {
        self.control.disarm();
    }

    fn is_over(&self) -> bool {
        self.end().life().peer_has_said_goodbye() || self.has_failed()
    }

    fn fail(&self, error: Error) {
        Self::fail(self, error);
    }

    fn give_up(&self) {
        let (peer, after) = (self.peer.clone(), self.timeout);
        self.fail(Error::Timeout { what: "closing the connection", peer, after });
    }
}
