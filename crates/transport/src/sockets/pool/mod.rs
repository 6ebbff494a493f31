//! One pool of I/O threads for many connections: [`worker`] runs the tasks of data sockets, [`control`] stands by for the
//! control sockets, [`Seat`] is what a connection has in the pool.
//!
//! Invariant: nobody in here waits for a peer. A task returns where its socket would block, a control socket is read and
//! written as far as it goes, and what has to wait for a time waits in a list. So connections cannot hold each other up, and
//! two processes whose pools are full of each other's connections cannot wait for each other. A GPU may be waited for: it goes
//! on whatever the network does.

mod control;
mod job;
mod worker;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::Instant,
};

pub(crate) use self::{control::Attended, job::Job};
use self::{
    control::{ControlLoop, Entry},
    worker::Worker,
};
use super::{control::Watch, locks::lock, task::Task};
use crate::{Error, Result};

/// I/O threads that are shared by connections, made with the same pool in [`Options::pool`](crate::Options::pool).
///
/// Threads `gputcp-io-0` and so on carry data, `gputcp-ctl` reads what has a socket of its own for short messages and for what
/// the two ends have to say to each other. They are started by the first connection, and end when the last connection and the
/// last clone of this handle are gone: a process that has loaded the library without using it has no threads of it, and one
/// that is done with it gets them back.
#[derive(Debug, Clone)]
pub struct IoPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workers: Box<[Arc<Worker>]>,
    control: Arc<ControlLoop>,
    /// How many threads have been started: the control thread first, then the workers'.
    started: Mutex<usize>,
    /// Where the next connection begins among workers that have equally much to do.
    turn: AtomicUsize,
}

/// What a connection has in the pool: its tasks, and an entry for its control socket. Dropped, they are shut out: once that
/// returns, nothing touches the memory of the connection's requests any more.
#[derive(Debug)]
pub(crate) struct Seat {
    jobs: Vec<Arc<Job>>,
    entry: Arc<Entry>,
    pool: IoPool,
}

impl IoPool {
    /// The most threads that carry data.
    pub const THREADS_MAX: usize = 64;

    /// A pool of `threads` threads that carry data, 1 to 64, and one more for control sockets.
    ///
    /// # Errors
    /// If the number is out of range, or the system refuses descriptors.
    pub fn new(threads: usize) -> Result<Self> {
        if !(1..=Self::THREADS_MAX).contains(&threads) {
            let most = Self::THREADS_MAX;
            return Err(Error::usage(format!("{threads} threads were asked for; a pool has 1 to {most}")));
        }
        let doing = |error| Error::system("set up the descriptors of a pool of threads", error);
        let workers = (0..threads).map(|_| Worker::new().map(Arc::new).map_err(doing));
        Ok(Self(Arc::new(Inner {
            workers: workers.collect::<Result<_>>()?,
            control: Arc::new(ControlLoop::new().map_err(doing)?),
            started: Mutex::new(0),
            turn: AtomicUsize::new(0),
        })))
    }

    /// A connection's place, still without tasks.
    pub(crate) fn seat(&self) -> Result<Seat> {
        self.start()?;
        Ok(Seat { jobs: Vec::new(), entry: self.0.control.enter(), pool: self.clone() })
    }

    /// Starts the threads that are not there yet, and waits until they are, so that nothing of their start falls after
    /// connect (invariant I4).
    fn start(&self) -> Result<()> {
        let mut started = lock(&self.0.started);
        let (begun, all_begun) = mpsc::channel::<()>();
        while *started <= self.0.workers.len() {
            let begun = begun.clone();
            let (name, life): (_, Box<dyn FnOnce() + Send>) = match started.checked_sub(1) {
                None => {
                    let control = self.0.control.clone();
                    ("gputcp-ctl".into(), Box::new(move || control.run(|| drop(begun))))
                }
                Some(number) => {
                    let worker = self.0.workers[number].clone();
                    (format!("gputcp-io-{number}"), Box::new(move || worker.run(|| drop(begun))))
                }
            };
            let thread = thread::Builder::new().name(name).spawn(life);
            thread.map_err(|error| Error::system("start a thread of the pool", error))?;
            *started += 1;
        }
        drop(begun);
        // An error when nobody is left to say more.
        let _ = all_begun.recv();
        Ok(())
    }

    /// The workers for a connection's tasks, those with the fewest first: streams of one connection go to different ones.
    fn by_load(&self) -> Vec<&Arc<Worker>> {
        let workers = &self.0.workers;
        let first = self.0.turn.fetch_add(1, Ordering::Relaxed) % workers.len();
        let mut order: Vec<_> = workers[first..].iter().chain(&workers[..first]).collect();
        order.sort_by_cached_key(|worker| worker.tasks());
        order
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Not joined: this may be one of the threads. They have nothing left to do.
        self.workers.iter().for_each(|worker| worker.stop());
        self.control.stop();
    }
}

impl Seat {
    /// Where the connection's control socket is to be watched.
    pub(crate) fn watch(&self) -> Watch {
        self.pool.0.control.watch(&self.entry)
    }

    /// Gives the connection's tasks to workers, each to one for life, and its control socket to the control thread. `own` is
    /// told which job is the task of which stream.
    pub(crate) fn start<T: Task>(
        &mut self,
        attended: Arc<dyn Attended>,
        tasks: impl Iterator<Item = T>,
        own: impl Fn(usize, &Arc<Job>),
    ) -> Result<()> {
        let workers = self.pool.by_load();
        for (stream, task) in tasks.enumerate() {
            let job = workers[stream % workers.len()].add(Box::new(task));
            let job = job.map_err(|error| Error::system("watch a data socket", error))?;
            own(stream, &job);
            self.jobs.push(job);
        }
        self.jobs.iter().for_each(|job| job.wake());
        self.entry.admit(attended).map_err(|error| Error::system("watch the control socket", error))
    }

    /// Leaves the rest to the control thread: it ends the connection when the peer has said goodbye, or at the deadline.
    pub(crate) fn leave(self, deadline: Instant) {
        let (control, entry) = (self.pool.0.control.clone(), self.entry.clone());
        entry.leave(self, deadline);
        control.expect(deadline);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.jobs.iter().for_each(|job| job.shut_out());
        self.entry.shut_out();
        self.pool.0.control.vacate(&self.entry);
    }
}
