//! One pool of I/O threads for many connections. [`worker`] runs the tasks of data sockets, [`control`]
//! stands by for the control sockets, [`Seat`] is a connection's share of the pool.
//!
//! Invariant: no thread in here waits for a peer. A task returns where its socket would block. A control
//! socket is read and written as far as it goes. A task that waits for a time waits in a list. So connections
//! cannot hold each other up, and two processes whose pools serve each other's connections cannot wait for
//! each other. A GPU may be waited for: it goes on whatever the network does.

mod control;
mod job;
mod worker;

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Instant,
};

use rustix::thread::{CpuSet, sched_getaffinity};

pub(crate) use self::{control::Attended, job::Job};
use self::{
    control::{ControlLoop, Entry},
    worker::Worker,
};
use super::{control::Watch, cores, locks::lock, task::Task};
use crate::{Error, Result};

/// I/O threads that are shared by the connections made with the same pool in
/// [`Options::pool`](crate::Options::pool).
///
/// Threads `gputcp-io-0` and so on carry data. `gputcp-ctl` reads the control sockets, which carry short
/// messages and the frames between the two ends. The first connections start as many threads as their sockets
/// need. The threads end when the last connection and the last clone of this handle are gone. So a process
/// that has loaded the library has none of its threads before use, and none again after it. They run on the
/// cores that the thread which made the pool might use then, whichever thread makes a connection.
#[derive(Debug, Clone)]
pub struct IoPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    workers: Box<[Arc<Worker>]>,
    control: Arc<ControlLoop>,
    started: Mutex<Started>,
    /// The cores of the threads; `None` where the system does not name them.
    cores: Option<CpuSet>,
    /// The worker with which the next connection begins, among workers that have equally much to do.
    turn: AtomicUsize,
}

/// Which threads have been started.
#[derive(Debug)]
struct Started {
    control: bool,
    workers: Box<[bool]>,
}

/// A connection's share of the pool: its tasks, and an entry for its control socket. Dropped, they are shut
/// out: once that returns, no thread of the pool touches the memory of the connection's requests any more.
#[derive(Debug)]
pub(crate) struct Seat {
    jobs: Vec<Arc<Job>>,
    entry: Arc<Entry>,
    pool: IoPool,
}

impl IoPool {
    /// The most threads that carry data.
    pub const THREADS_MAX: usize = 64;

    /// Makes a pool of `threads` threads that carry data, 1 to 64, and one more for control sockets.
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
            started: Mutex::new(Started { control: false, workers: vec![false; threads].into() }),
            cores: sched_getaffinity(None).ok(),
            turn: AtomicUsize::new(0),
        })))
    }

    /// Returns a place for a connection, still without tasks.
    pub(crate) fn seat(&self) -> Result<Seat> {
        let mut started = lock(&self.0.started);
        if !started.control {
            let control = self.0.control.clone();
            self.start("gputcp-ctl".into(), move || control.run())?;
            self.0.control.wait_for_thread();
            started.control = true;
        }
        drop(started);
        Ok(Seat { jobs: Vec::new(), entry: self.0.control.enter(), pool: self.clone() })
    }

    /// Starts a thread on the pool's cores.
    fn start(&self, name: String, life: impl FnOnce() + Send + 'static) -> Result<()> {
        let cores = self.0.cores;
        let thread = thread::Builder::new().name(name).spawn(move || {
            cores::stay(cores.as_ref());
            life();
        });
        thread.map(drop).map_err(|error| Error::system("start a thread of the pool", error))
    }

    /// Returns the workers for a connection's `tasks` tasks, those with the fewest tasks first, with their
    /// threads started. Streams of one connection go to different workers.
    fn by_load(&self, tasks: usize) -> Result<Vec<&Arc<Worker>>> {
        let workers = &self.0.workers;
        let first = self.0.turn.fetch_add(1, Ordering::Relaxed) % workers.len();
        let mut order: Vec<_> = (first..workers.len()).chain(0..first).collect();
        let mut started = lock(&self.0.started);
        // Among workers with no tasks, one whose thread is there.
        order.sort_by_cached_key(|&number| (workers[number].tasks(), !started.workers[number]));
        order.truncate(tasks);
        for &number in &order {
            if !started.workers[number] {
                let worker = workers[number].clone();
                self.start(format!("gputcp-io-{number}"), move || worker.run())?;
                workers[number].wait_for_thread();
                started.workers[number] = true;
            }
        }
        Ok(order.into_iter().map(|number| &workers[number]).collect())
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The threads are not joined: this may be one of them. They have no tasks left.
        self.workers.iter().for_each(|worker| worker.stop());
        self.control.stop();
    }
}

impl Seat {
    /// Returns where the connection's control socket is to be watched.
    pub(crate) fn watch(&self) -> Watch {
        self.pool.0.control.watch(&self.entry)
    }

    /// Gives the connection's tasks to workers, each to one for life, and its control socket to the control
    /// thread. `own` is called with each stream and its job.
    pub(crate) fn start<T: Task>(
        &mut self,
        attended: Arc<dyn Attended>,
        tasks: impl Iterator<Item = T>,
        own: impl Fn(usize, &Arc<Job>),
    ) -> Result<()> {
        let tasks: Vec<T> = tasks.collect();
        let workers = self.pool.by_load(tasks.len())?;
        for (stream, task) in tasks.into_iter().enumerate() {
            let job = workers[stream % workers.len()].add(Box::new(task));
            let job = job.map_err(|error| Error::system("watch a data socket", error))?;
            own(stream, &job);
            self.jobs.push(job);
        }
        self.jobs.iter().for_each(|job| job.wake());
        self.pool.0.control.watch_every(attended.watch_interval());
        self.entry.admit(attended).map_err(|error| Error::system("watch the control socket", error))
    }

    /// Leaves the rest to the control thread. It ends the connection when the peer has said goodbye, or at
    /// the deadline.
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
