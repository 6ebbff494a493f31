//! A CUDA lane's timeline: a flag in pinned memory to which the stream writes the number of the last finished
//! command.
//!
//! Waiting threads poll it with a plain load; none waits inside the driver.
//!
//! The flag after copies, and after all work that writes to host memory, is a command of its own. The flag
//! after an unpack kernel is the first act of the next unpack kernel. While there is none, the first poll
//! that finds the work unfinished asks for the flag. So launches back to back pay nothing for their flags.
//!
//! Invariants:
//!
//! - A command's claims are released only after the flag has passed it, and before any caller is told so.
//! - Before a claim is refused, all finished work has released its claims.
//! - A failure, once seen, is the answer to every wait for work that did not finish.

use std::{
    collections::VecDeque,
    hint,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError, Weak,
        atomic::{
            AtomicU32, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    context::Context,
    memory::Pinned,
    queue::{Queue, STUCK, pointer},
    sys::Address,
};
use crate::{Error, memory::Hold};

/// The stream, its progress, and the claims of its unfinished work.
#[derive(Debug)]
pub(crate) struct Timeline {
    in_flight: Mutex<VecDeque<Command>>,
    /// The number of commands launched, or about to be.
    launched: AtomicU64,
    /// The number of commands whose claims were released.
    reaped: AtomicU64,
    /// The end of the list of the last such command.
    lists_read: AtomicU64,
    /// The number of commands whose flag is written by work that is launched already.
    promised: AtomicU64,
    /// Held during a launch: flags are written in order.
    launching: Mutex<()>,
    marks: Marks,
    /// The number of polls that found work unfinished; now and then a poll asks the driver for the stream's
    /// state.
    looks: AtomicU32,
    failure: OnceLock<Error>,
    /// Before the flag: once the stream is gone, no work is left that writes it.
    queue: Queue,
    flag: Pinned,
}

/// The writer of the flag after work that is no unpack kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// `cuStreamWriteValue32`, where the driver has it.
    Driver,
    /// A kernel of one thread, everywhere else.
    ///
    /// Not events: any thread reads a flag with a load, but an event by a call into the driver (measured
    /// 10–15 % slower). Two ways to poll would be two timelines.
    Kernel,
}

/// The writer of the flag for a command that was just launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// Work that was launched behind the command.
    Here,
    /// The next command; the flag for those before this one is on its way.
    ByTheNext,
}

/// Launched work: the memory that it reads and writes stays claimed until it is done.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) number: u64,
    pub(super) _source: Option<Hold>,
    pub(super) _destination: Option<Hold>,
    /// The end of its list, or of the last one before it, counted from the first list's start.
    pub(super) lists_end: u64,
}

impl Timeline {
    pub(super) fn new(context: &Arc<Context>, marks: Marks) -> Result<Arc<Self>, Error> {
        let timeline = Arc::new(Self {
            in_flight: Mutex::new(VecDeque::with_capacity(COMMANDS_MAX)),
            launched: AtomicU64::new(0),
            reaped: AtomicU64::new(0),
            lists_read: AtomicU64::new(0),
            promised: AtomicU64::new(0),
            launching: Mutex::new(()),
            marks,
            looks: AtomicU32::new(0),
            failure: OnceLock::new(),
            queue: Queue::new(context)?,
            flag: Pinned::allocate(context, FLAG_BYTES)?,
        });
        let mut all = ALL.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|other| other.strong_count() > 0);
        all.push(Arc::downgrade(&timeline));
        Ok(timeline)
    }

    pub(super) const fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(super) fn flag(&self) -> Address {
        self.flag.address()
    }

    /// Returns the number of finished commands.
    pub(crate) fn completed(&self) -> u64 {
        let flag = self.flag_word().load(Acquire);
        // The flag has the low 32 bits. Far fewer commands than 2³² are in flight, so the rest follows from
        // the number of launches. That is counted before the launch and read after the flag.
        let launched = self.launched.load(Acquire);
        let flagged = launched - u64::from((launched as u32).wrapping_sub(flag));
        // An idle stream says as much as a flag.
        flagged.max(self.reaped.load(Acquire))
    }

    /// Returns the number of finished commands, for a caller that polls nothing else.
    ///
    /// Asks for the flag if no launched work will write it.
    pub(crate) fn completed_or_asked(&self) -> u64 {
        let completed = self.completed();
        if completed < self.launched.load(Acquire) {
            // A lost lane reports its failure to a wait.
            let _ = self.promise();
        }
        completed
    }

    /// Returns whether the command that was launched as number `point` is done. Does not wait.
    ///
    /// A poll is a load. If the work is unfinished and no later launch will write the flag, it asks for the
    /// flag. Every 4096th such poll asks the driver, so that a caller that only polls learns of a lost
    /// device.
    pub(crate) fn has_reached(&self, point: u64) -> Result<bool, Error> {
        if self.reaped.load(Acquire) >= point {
            return Ok(true);
        }
        if self.completed() >= point {
            self.reap();
            return Ok(true);
        }
        if let Some(failure) = self.failure.get() {
            return Err(failure.clone());
        }
        if self.promised.load(Acquire) < point {
            self.promise()?;
        }
        if self.looks.fetch_add(1, Relaxed) % LOOKS == LOOKS - 1 {
            self.ask_driver()?;
        }
        Ok(false)
    }

    /// Waits for `point`: a short spin, then short sleeps. Without a deadline the bound is `STUCK`, more than
    /// any work takes.
    pub(crate) fn wait(&self, point: u64, deadline: Option<Instant>) -> Result<bool, Error> {
        if self.has_reached(point)? {
            return Ok(true);
        }
        let start = Instant::now();
        let mut asked = start;
        loop {
            for _ in 0..SPINS {
                if self.has_reached(point)? {
                    return Ok(true);
                }
                hint::spin_loop();
            }
            let now = Instant::now();
            let limit = deadline.unwrap_or(start + STUCK);
            if now >= limit {
                return if deadline.is_some() { Ok(false) } else { Err(self.fail(Error::LaneLost)) };
            }
            if now - asked >= ASK {
                asked = now;
                self.ask_driver()?;
            }
            if now - start >= SPIN {
                thread::sleep(PAUSE.min(limit - now));
            }
        }
    }

    /// Enters a command and launches it.
    ///
    /// `launch` returns whether the stream will raise the flag for it, or only for those before. A launch
    /// that fails ends the lane.
    pub(super) fn launch(
        &self,
        command: Command,
        launch: impl FnOnce() -> Result<Raised, Error>,
    ) -> Result<(), Error> {
        let number = command.number;
        let _launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        self.in_flight().push_back(command);
        self.launched.store(number, Release);
        let raised = launch().map_err(|error| self.fail(error))?;
        let promised = match raised {
            Raised::Here => number,
            Raised::ByTheNext => number - 1,
        };
        self.promised.fetch_max(promised, Release);
        Ok(())
    }

    /// Lets the stream raise the flag to `value` when it gets here.
    pub(super) fn mark(&self, mut value: u32) -> Result<(), Error> {
        let mut flag = self.flag();
        if self.marks == Marks::Driver {
            // SAFETY: the flag is the timeline's own; the timeline finishes all work before it is dropped.
            return unsafe { self.queue.write_value(flag, value) };
        }
        let mut arguments = [pointer(&mut flag), pointer(&mut value)];
        let kernel = self.queue.context.kernels.mark;
        // SAFETY: as above; the arguments are the kernel's parameters.
        unsafe { self.queue.launch(kernel, 1, 1, &mut arguments, "start the kernel that writes a flag") }
    }

    /// Has the flag raised for all launched work.
    ///
    /// During a launch there is no need, as the launch does it.
    fn promise(&self) -> Result<(), Error> {
        let _launching = match self.launching.try_lock() {
            Ok(launching) => launching,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        // A flag for all work would count a refused launch, too.
        self.check()?;
        let launched = self.launched.load(Acquire);
        if self.promised.load(Acquire) < launched {
            let marked = self.queue.context.make_current().and_then(|()| self.mark(launched as u32));
            marked.map_err(|error| self.fail(error))?;
            self.promised.store(launched, Release);
        }
        Ok(())
    }

    /// Returns whether the stream ends with a kernel that leaves its flag to the next one. For the launching
    /// thread.
    pub(super) fn ends_in_unpack(&self, next: u64) -> bool {
        self.promised.load(Acquire) + 1 < next
    }

    /// Returns whether another command may be entered.
    pub(super) fn has_room(&self) -> bool {
        self.reap();
        self.in_flight().len() < COMMANDS_MAX
    }

    /// Returns how far the lists were read, counted from the first one's start.
    pub(super) fn lists_read(&self) -> u64 {
        self.lists_read.load(Acquire)
    }

    /// Records why the lane is lost, and returns the first such reason.
    pub(super) fn fail(&self, error: Error) -> Error {
        self.failure.get_or_init(|| error).clone()
    }

    /// Checks that the lane is not lost.
    ///
    /// # Errors
    /// The lane's first failure, if it is.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Waits for all work at the lane's end, and releases its claims.
    ///
    /// A lost device does no more work. A stuck one may: then the result is false and nothing is released, as
    /// the memory must stay as long as the process.
    pub(super) fn finish(&self) -> bool {
        let finished =
            self.queue.context.make_current().and_then(|()| self.queue.finish("finish a lane's work"));
        if finished == Err(Error::LaneLost) {
            self.fail(Error::LaneLost);
            return false;
        }
        // A launch that was refused never moves the flag; a wait for it returns the reason.
        match finished.and_then(|()| self.check()) {
            Ok(()) => {
                // Nothing runs any more, so the flag is the host's to write.
                let launched = self.launched.load(Acquire);
                self.flag_word().store(launched as u32, Release);
                self.reap();
            }
            Err(error) => drop(self.fail(error)),
        }
        self.in_flight().clear();
        true
    }

    const fn flag_word(&self) -> &AtomicU32 {
        // SAFETY: this is the first word of pinned memory that this value owns; host and stream only load and
        // store it whole.
        unsafe { AtomicU32::from_ptr(self.flag.start().as_ptr().cast()) }
    }

    fn ask_driver(&self) -> Result<(), Error> {
        self.is_idle().map(drop).map_err(|error| self.fail(error))
    }

    fn is_idle(&self) -> Result<bool, Error> {
        self.queue.context.make_current()?;
        self.queue.is_idle("finish a lane's work")
    }

    /// Releases the claims of finished commands, those included whose flag was not asked for.
    fn look_hard(&self) {
        let launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        let launched = self.launched.load(Acquire);
        let all_done = self.completed() < launched && self.check().is_ok() && self.is_idle().unwrap_or(false);
        drop(launching);
        self.reap_to(if all_done { launched } else { self.completed() });
        // A lost lane reports its failure to a wait.
        let _ = self.promise();
    }

    /// Releases the claims of finished commands.
    fn reap(&self) {
        self.reap_to(self.completed());
    }

    /// Releases the claims of the commands up to `completed`, which are done.
    fn reap_to(&self, completed: u64) {
        let mut in_flight = self.in_flight();
        while in_flight.front().is_some_and(|command| command.number <= completed) {
            if let Some(command) = in_flight.pop_front() {
                self.lists_read.store(command.lists_end, Release);
            }
        }
        // After the claims are gone, and under the lock: a thread that reads this count finds them gone.
        self.reaped.fetch_max(completed, Release);
    }

    /// Locks the queue. Nothing panics while it is half changed: a poisoned lock guards a queue that is
    /// whole.
    fn in_flight(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Releases the claims of finished work of all lanes.
///
/// No thread of this crate does so unasked: a point that is not polled frees nothing. So a refused claim
/// polls all lanes.
pub(crate) fn reap_all() {
    for timeline in ALL.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        timeline.look_hard();
    }
}

/// The timelines of all lanes of the process.
static ALL: Mutex<Vec<Weak<Timeline>>> = Mutex::new(Vec::new());

/// A full window of 32 bounce slabs and one of 32 staging slabs, twice over.
pub(super) const COMMANDS_MAX: usize = 128;
/// A page, though one word is used: no other data shares its cache line.
const FLAG_BYTES: u64 = 4 << 10;
const LOOKS: u32 = 4096;
/// The polls between two reads of the clock: about a microsecond.
const SPINS: u32 = 32;
/// The longest spin. A 512 KiB copy over PCIe 5 takes about 10 µs, and a sleep at least 50 µs (the kernel's
/// timer slack).
const SPIN: Duration = Duration::from_micros(30);
const PAUSE: Duration = Duration::from_micros(20);
const ASK: Duration = Duration::from_millis(10);
