//! One I/O thread of a pool: steps the tasks that are ready, each as far as its share, and sleeps when there
//! are none.
//!
//! Data sockets are watched edge-triggered and entered once. A task that found its socket not ready is woken
//! when that changes, without a system call of its own.

use std::{
    collections::VecDeque,
    io,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::job::Job;
use crate::sockets::{
    begun::Begun,
    locks::lock,
    task::{Rest, Task},
};

#[derive(Debug)]
pub(super) struct Worker {
    set: OwnedFd,
    /// Rung only while the worker sleeps.
    bell: OwnedFd,
    inbox: Mutex<Inbox>,
    begun: Begun,
}

#[derive(Debug, Default)]
struct Inbox {
    places: Vec<Option<PoolEntry>>,
    /// Places whose task is to be stepped, each at most once.
    ready: VecDeque<usize>,
    /// The number of tasks that wait for a time.
    timers: usize,
    asleep: bool,
    stopped: bool,
}

#[derive(Debug)]
struct PoolEntry {
    job: Arc<Job>,
    is_ready: bool,
    until: Option<Instant>,
}

impl Worker {
    pub(super) fn new() -> io::Result<Self> {
        let set = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&set, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self { set, bell, inbox: Mutex::default(), begun: Begun::default() })
    }

    /// Blocks until the thread is there.
    pub(super) fn wait_for_thread(&self) {
        self.begun.wait_for(1);
    }

    /// Returns how many tasks it has.
    pub(super) fn tasks(&self) -> usize {
        lock(&self.inbox).places.iter().flatten().count()
    }

    /// Takes a task. All that the worker will need for it is there when this returns (invariant I4).
    pub(super) fn add(self: &Arc<Self>, task: Box<dyn Task>) -> io::Result<Arc<Job>> {
        let mut inbox = lock(&self.inbox);
        let free = inbox.places.iter().position(Option::is_none);
        let at = free.unwrap_or(inbox.places.len());
        epoll::add(&self.set, task.socket(), epoll::EventData::new_u64(at as u64), task.events())?;
        let job = Arc::new(Job::new(self.clone(), at, task));
        let place = Some(PoolEntry { job: job.clone(), is_ready: false, until: None });
        if at == inbox.places.len() {
            inbox.places.push(place);
        } else {
            inbox.places[at] = place;
        }
        let more = inbox.places.len() - inbox.ready.len();
        inbox.ready.reserve(more);
        Ok(job)
    }

    /// Forgets a task.
    pub(super) fn remove(&self, at: usize, task: &dyn Task) {
        // Fails only if the socket was never in the set.
        let _ = epoll::delete(&self.set, task.socket());
        let mut inbox = lock(&self.inbox);
        inbox.set_timer(at, None);
        inbox.places[at] = None;
        inbox.ready.retain(|&ready| ready != at);
    }

    /// Has the task in this place stepped.
    pub(super) fn wake(&self, at: usize) {
        let mut inbox = lock(&self.inbox);
        inbox.make_ready(at);
        if std::mem::take(&mut inbox.asleep) {
            drop(inbox);
            self.ring();
        }
    }

    /// Ends the thread. No task is left.
    pub(super) fn stop(&self) {
        lock(&self.inbox).stopped = true;
        self.ring();
    }

    /// Runs the thread.
    pub(super) fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS);
        self.begun.one_more();
        while let Some(limit) = self.limit() {
            let limit = limit.map(|limit| Timespec {
                tv_sec: limit.as_secs().cast_signed(),
                tv_nsec: limit.subsec_nanos().into(),
            });
            // If a signal interrupts it, it finds no event and sleeps again.
            let _ = epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut events), limit.as_ref());
            self.round(&mut events);
        }
    }

    /// Returns how long to sleep: not at all while a task is ready, and for ever (`Some(None)`) while none
    /// waits for a time. Returns `None` when the thread is to end.
    fn limit(&self) -> Option<Option<Duration>> {
        let mut inbox = lock(&self.inbox);
        if inbox.stopped {
            return None;
        }
        if !inbox.ready.is_empty() {
            return Some(Some(Duration::ZERO));
        }
        inbox.asleep = true;
        Some(inbox.next_timer().map(|until| until.saturating_duration_since(Instant::now())))
    }

    /// Steps every task that is ready by now, once.
    fn round(&self, events: &mut Vec<epoll::Event>) {
        let mut inbox = lock(&self.inbox);
        inbox.asleep = false;
        for event in events.drain(..) {
            match { event.data }.u64() {
                BELL => drop(rustix::io::read(&self.bell, &mut [0; 8])),
                at => inbox.make_ready(at as usize),
            }
        }
        inbox.make_due_ready();
        let count = inbox.ready.len();
        drop(inbox);
        let (mut lane, mut only_lanes) = (None, true);
        for _ in 0..count {
            let Some((at, job)) = lock(&self.inbox).next_ready() else { break };
            let rest = job.step();
            only_lanes &= matches!(rest, Rest::Lane(_));
            match rest {
                Rest::Again => lock(&self.inbox).make_ready(at),
                Rest::Lane(done) => {
                    lock(&self.inbox).make_ready(at);
                    // The work that was started first is likely to be done first.
                    lane.get_or_insert(done);
                }
                Rest::Until(moment) => lock(&self.inbox).set_timer(at, Some(moment)),
                Rest::Socket | Rest::Work | Rest::Ended => {}
            }
        }
        if let Some(done) = lane.filter(|_| only_lanes) {
            // A lane that is lost reports it at the next step.
            let _ = done.wait(Instant::now() + POOL_LOOK);
        }
    }

    fn ring(&self) {
        // The write fails only when the counter is full, and then the worker is woken anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Inbox {
    /// Makes a place ready. An event may come late, for a place that is empty by now, or another's: a task
    /// may be stepped at any time.
    fn make_ready(&mut self, at: usize) {
        if let Some(Some(place)) = self.places.get_mut(at)
            && !std::mem::replace(&mut place.is_ready, true)
        {
            self.ready.push_back(at);
        }
    }

    fn next_ready(&mut self) -> Option<(usize, Arc<Job>)> {
        let at = self.ready.pop_front()?;
        self.set_timer(at, None);
        let place = self.places[at].as_mut()?;
        place.is_ready = false;
        Some((at, place.job.clone()))
    }

    fn set_timer(&mut self, at: usize, until: Option<Instant>) {
        let Some(Some(place)) = self.places.get_mut(at) else { return };
        let before = std::mem::replace(&mut place.until, until);
        self.timers = self.timers + usize::from(until.is_some()) - usize::from(before.is_some());
    }

    /// Returns the earliest time that a task waits for. It is looked for only while a connection ends.
    fn next_timer(&self) -> Option<Instant> {
        if self.timers == 0 {
            return None;
        }
        self.places.iter().flatten().filter_map(|place| place.until).min()
    }

    fn make_due_ready(&mut self) {
        if self.timers == 0 {
            return;
        }
        let now = Instant::now();
        for at in 0..self.places.len() {
            if self.places[at].as_ref().and_then(|place| place.until).is_some_and(|until| until <= now) {
                self.make_ready(at);
            }
        }
    }
}

/// The name of the bell in the set; places are numbered from 0.
const BELL: u64 = u64::MAX;
/// Events taken at a time; the rest is reported next time.
const EVENTS: usize = 64;
/// The longest wait for a lane, when all tasks that could go on wait for lanes, before sockets are looked at.
const POOL_LOOK: Duration = Duration::from_micros(200);
