//! The control thread of a pool: stands by for the control sockets of all connections, and ends those that
//! were left.

use std::{
    fmt, io,
    os::fd::OwnedFd,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use super::{Seat, job::panicked};
use crate::{
    Error,
    sockets::{
        begun::Begun,
        control::{AWAY, Attention, Watch},
        locks::lock,
    },
};

/// A connection in the view of the control thread.
pub(crate) trait Attended: Send + Sync {
    /// Handles the events of the control socket, unless a caller polls it; never waits for the peer.
    fn attend(&self) -> Attention;

    /// Checks whether the peer does its duty, and fails the connection if not.
    fn watch(&self);

    /// Returns how often [`Attended::watch`] is to be called.
    fn watch_interval(&self) -> Duration;

    /// Has the control thread woken for the control socket.
    fn arm(&self) -> io::Result<()>;

    /// Takes the control socket out of the watched set.
    fn disarm(&self);

    /// Returns whether the peer has said goodbye, or the connection has failed.
    fn is_over(&self) -> bool;

    /// Fails the connection.
    fn fail(&self, error: Error);

    /// Fails the connection because the peer did not say goodbye in time.
    fn give_up(&self);
}

#[derive(Debug)]
pub(super) struct ControlLoop {
    set: Arc<OwnedFd>,
    bell: OwnedFd,
    table: Mutex<Table>,
    begun: Begun,
}

#[derive(Debug, Default)]
struct Table {
    entries: Vec<Option<Arc<Entry>>>,
    /// When the next connection that was left is given up; none that was left by then is overlooked.
    due: Option<Instant>,
    /// The interval of watching the connections: the shortest that one of them asks for.
    watch_interval: Option<Duration>,
    stopped: bool,
}

/// A connection's entry.
pub(super) struct Entry {
    number: usize,
    /// Locked while it is attended to. `None` before the connection has begun and once it is shut out.
    attended: Mutex<Option<Arc<dyn Attended>>>,
    leaving: Mutex<Option<Leaving>>,
    /// A caller polls the control socket: the control thread looks at it again after a while.
    away: AtomicBool,
}

/// The rest of a connection whose handle is gone.
struct Leaving {
    seat: Seat,
    deadline: Instant,
}

impl ControlLoop {
    pub(super) fn new() -> io::Result<Self> {
        let set = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&set, &bell, epoll::EventData::new_u64(BELL), epoll::EventFlags::IN)?;
        Ok(Self { set, bell, table: Mutex::default(), begun: Begun::default() })
    }

    /// Makes a new entry.
    pub(super) fn enter(&self) -> Arc<Entry> {
        let mut table = lock(&self.table);
        let free = table.entries.iter().position(Option::is_none);
        let number = free.unwrap_or(table.entries.len());
        let entry = Arc::new(Entry {
            number,
            attended: Mutex::new(None),
            leaving: Mutex::new(None),
            away: AtomicBool::new(false),
        });
        if number == table.entries.len() {
            table.entries.push(Some(entry.clone()));
        } else {
            table.entries[number] = Some(entry.clone());
        }
        entry
    }

    /// Blocks until the thread is there.
    pub(super) fn wait_for_thread(&self) {
        self.begun.wait_for(1);
    }

    pub(super) fn watch(&self, entry: &Entry) -> Watch {
        Watch { set: self.set.clone(), name: entry.number as u64 }
    }

    pub(super) fn vacate(&self, entry: &Entry) {
        let mut table = lock(&self.table);
        table.entries[entry.number] = None;
        if table.entries.iter().all(Option::is_none) {
            table.watch_interval = None;
        }
    }

    /// Notes a connection that was left, and that is to be given up at `deadline`.
    pub(super) fn expect(&self, deadline: Instant) {
        let mut table = lock(&self.table);
        if table.due.is_none_or(|due| deadline < due) {
            table.due = Some(deadline);
            drop(table);
            self.ring();
        }
    }

    /// Notes a connection that has begun, and that is to be watched at this interval.
    pub(super) fn watch_every(&self, interval: Duration) {
        let mut table = lock(&self.table);
        if table.watch_interval.is_none_or(|least| interval < least) {
            table.watch_interval = Some(interval);
            drop(table);
            self.ring();
        }
    }

    /// Ends the thread. No connection is left.
    pub(super) fn stop(&self) {
        lock(&self.table).stopped = true;
        self.ring();
    }

    /// Runs the thread.
    pub(super) fn run(&self) {
        let mut events = Vec::with_capacity(EVENTS);
        let mut back: Option<Instant> = None;
        let mut watched = Instant::now();
        self.begun.one_more();
        loop {
            let table = lock(&self.table);
            let (due, stopped) = (table.due, table.stopped);
            let watch = table.watch_interval.map(|interval| watched + interval);
            drop(table);
            if stopped {
                return;
            }
            let next = due.into_iter().chain(back).chain(watch).min();
            let limit = next.map(|due| due.saturating_duration_since(Instant::now())).map(|limit| Timespec {
                tv_sec: limit.as_secs().cast_signed(),
                tv_nsec: limit.subsec_nanos().into(),
            });
            // If a signal interrupts it, it finds no event and sleeps again.
            let _ = epoll::wait(&self.set, rustix::buffer::spare_capacity(&mut events), limit.as_ref());
            for event in events.drain(..) {
                match { event.data }.u64() {
                    BELL => drop(rustix::io::read(&self.bell, &mut [0; 8])),
                    number if self.attend(number as usize) => {
                        back.get_or_insert_with(|| Instant::now() + AWAY);
                    }
                    _ => {}
                }
            }
            if back.is_some_and(|back| back <= Instant::now()) {
                back = self.come_back().then(|| Instant::now() + AWAY);
            }
            if watch.is_some_and(|watch| watch <= Instant::now()) {
                self.for_each(|entry| entry.watch());
                watched = Instant::now();
            }
            if due.is_some_and(|due| due <= Instant::now()) {
                self.give_up_the_late();
            }
        }
    }

    /// Attends to an entry. An event may come late, for an entry that is empty by now, or another's, which
    /// then finds no work. Returns true if the thread is to come back to the connection.
    fn attend(&self, number: usize) -> bool {
        let entry = lock(&self.table).entries.get(number).cloned().flatten();
        entry.is_some_and(|entry| entry.attend())
    }

    /// Attends to the connections that were left to the callers that poll them. Returns true if some still
    /// are.
    fn come_back(&self) -> bool {
        let mut away = false;
        self.for_each(|entry| away |= entry.away.load(Ordering::Relaxed) && entry.attend());
        away
    }

    /// Calls `act` with every entry, without the table's lock.
    fn for_each(&self, mut act: impl FnMut(&Arc<Entry>)) {
        for number in 0.. {
            let table = lock(&self.table);
            if number >= table.entries.len() {
                break;
            }
            let Some(entry) = table.entries[number].clone() else { continue };
            drop(table);
            act(&entry);
        }
    }

    fn give_up_the_late(&self) {
        let now = Instant::now();
        lock(&self.table).due = None;
        self.for_each(|entry| {
            let deadline = lock(&entry.leaving).as_ref().map(|leaving| leaving.deadline);
            match deadline {
                None => {}
                Some(deadline) if deadline > now => self.expect(deadline),
                Some(_) => {
                    if let Some(attended) = &*lock(&entry.attended) {
                        attended.give_up();
                    }
                    entry.finish();
                }
            }
        });
    }

    fn ring(&self) {
        // The write fails only when the counter is full, and then the thread is woken anyway.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }
}

impl Entry {
    /// Begins to watch the connection.
    pub(super) fn admit(&self, attended: Arc<dyn Attended>) -> io::Result<()> {
        // Inserted before it is armed, so that no event finds the entry empty.
        let armed = lock(&self.attended).insert(attended).clone();
        armed.arm()
    }

    /// Takes over a connection whose handle is gone. Ends it at once if that can be.
    pub(super) fn leave(&self, seat: Seat, deadline: Instant) {
        *lock(&self.leaving) = Some(Leaving { seat, deadline });
        // The control thread looks for `leaving` after each event: either it finds it, or its result is seen
        // here.
        let over = lock(&self.attended).as_ref().is_none_or(|attended| attended.is_over());
        if over {
            self.finish();
        }
    }

    /// Takes the connection out. When this returns, the control thread is not at the connection any more.
    pub(super) fn shut_out(&self) {
        if let Some(attended) = lock(&self.attended).take() {
            attended.disarm();
        }
    }

    /// Attends to the connection. Returns true if the thread is to come back to it.
    fn attend(&self) -> bool {
        let attended = lock(&self.attended);
        let Some(connection) = &*attended else { return false };
        // A panic fails this connection, and not the thread.
        let attention = catch_unwind(AssertUnwindSafe(|| connection.attend())).unwrap_or_else(|_| {
            connection.fail(panicked());
            Attention::Over
        });
        let over = connection.is_over();
        let away = attention == Attention::Away;
        self.away.store(away, Ordering::Relaxed);
        drop(attended);
        if over {
            self.finish();
        }
        away
    }

    fn watch(&self) {
        let attended = lock(&self.attended);
        let Some(connection) = &*attended else { return };
        connection.watch();
        let over = connection.is_over();
        drop(attended);
        if over {
            self.finish();
        }
    }

    /// Ends a connection that was left.
    fn finish(&self) {
        let leaving = lock(&self.leaving).take();
        // Not under the lock: this shuts out its entry too.
        drop(leaving.map(|leaving| leaving.seat));
    }
}

impl fmt::Debug for Entry {
    /// Leaves the connection out, as it leads back to this entry.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry").field("number", &self.number).finish_non_exhaustive()
    }
}

/// The name of the bell in the set; entries are numbered from 0.
const BELL: u64 = u64::MAX;
/// Events taken at a time; the rest is reported next time.
const EVENTS: usize = 64;
