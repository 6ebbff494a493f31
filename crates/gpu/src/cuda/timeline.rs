//! A CUDA lane's timeline: a flag in pinned memory that the stream writes the number of the last finished command to.
//! Looked at with a plain load; nobody waits inside the driver.
//!
//! A flag after copies, and after whatever writes to host memory, is a command of its own; one after another unpack kernel is the
//! next kernel's first act, or is asked for by whoever first looks in vain while there is no next kernel. So launches back to back pay nothing for their flags.
//!
//! Invariants: a command's claims are let go of only after the flag has passed it, and before anybody is told so; whoever
//! is refused a claim has first seen all finished work let go of; and a failure, once seen, is what everyone is told who
//! waits for what did not finish.

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

/// The stream, how far it has come, and what its unfinished work holds.
#[derive(Debug)]
pub(crate) struct Timeline {
    in_flight: Mutex<VecDeque<Command>>,
    /// Commands launched, or about to be.
    launched: AtomicU64,
    /// Commands whose claims were let go of.
    reaped: AtomicU64,
    /// Where the list of the last such command ended.
    lists_read: AtomicU64,
    /// Commands that the stream will raise the flag for, by what is launched already.
    promised: AtomicU64,
    /// Held while something is launched: flags are written in order.
    launching: Mutex<()>,
    marks: Marks,
    /// Looks in vain; now and then the driver is asked whether there is still hope.
    looks: AtomicU32,
    failure: OnceLock<Error>,
    /// Before the flag: no work is left that writes it once the stream is gone.
    queue: Queue,
    flag: Pinned,
}

/// How the flag is written where no kernel of ours does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Marks {
    /// `cuStreamWriteValue32`, where the driver has it.
    Driver,
    /// A kernel of one thread, everywhere else. Not events: a flag is read by any thread with a load, an event by a call
    /// into the driver (measured 10–15 % slower), and two ways to look would be two timelines.
    Kernel,
}

/// Who raises the flag for a command that was just launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Raised {
    /// Work that was launched behind it.
    Here,
    /// The next command; the flag for those before it is on its way.
    ByTheNext,
}

/// Launched work: what it reads and writes stays claimed until it is done.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) number: u64,
    pub(super) _source: Option<Hold>,
    pub(super) _destination: Option<Hold>,
    /// Where its list ends, or the last one before it, counted from the first list's start.
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

    /// How many commands are done.
    pub(crate) fn completed(&self) -> u64 {
        let flag = self.flag_word().load(Acquire);
        // The flag has the low 32 bits. Far fewer commands than 2³² are in flight, so the rest follows from how many were
        // launched, which is counted before the launch and read after the flag.
        let launched = self.launched.load(Acquire);
        let flagged = launched - u64::from((launched as u32).wrapping_sub(flag));
        // An idle stream tells as much as a flag.
        flagged.max(self.reaped.load(Acquire))
    }

    /// The same for who looks at nothing else: asks for the flag, if nothing launched will write it.
    pub(crate) fn completed_or_asked(&self) -> u64 {
        let completed = self.completed();
        if completed < self.launched.load(Acquire) {
            // A lost lane says so to who waits for it.
            let _ = self.promise();
        }
        completed
    }

    /// Whether the command that was launched as number `point` is done. A load; the first time in vain also asks for the
    /// flag, if nothing launched since will write it, and every 4096th time asks the driver, so that who only ever polls
    /// hears of a lost device. Neither waits.
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

    /// Waits for `point`: a short spin, then short sleeps. Without a deadline, as long as is more than long enough.
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

    /// Enters a command and launches it. `launch` says whether the stream will raise the flag for it, or only for those
    /// before. What it refuses, or fails to launch, ends the lane.
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
            // SAFETY: the flag is the timeline's own, which finishes all work before it goes.
            return unsafe { self.queue.write_value(flag, value) };
        }
        let mut arguments = [pointer(&mut flag), pointer(&mut value)];
        let kernel = self.queue.context.kernels.mark;
        // SAFETY: as above; the arguments are the kernel's parameters.
        unsafe { self.queue.launch(kernel, 1, 1, &mut arguments, "start the kernel that writes a flag") }
    }

    /// Has the flag raised for all that was launched. While something is being launched there is no need: it does so.
    fn promise(&self) -> Result<(), Error> {
        let _launching = match self.launching.try_lock() {
            Ok(launching) => launching,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            Err(TryLockError::WouldBlock) => return Ok(()),
        };
        // A flag for all would be one for what was refused, too.
        self.check()?;
        let launched = self.launched.load(Acquire);
        if self.promised.load(Acquire) < launched {
            let marked = self.queue.context.make_current().and_then(|()| self.mark(launched as u32));
            marked.map_err(|error| self.fail(error))?;
            self.promised.store(launched, Release);
        }
        Ok(())
    }

    /// Whether the last thing in the stream is a kernel that leaves its flag to the next one. For whoever is launching.
    pub(super) fn ends_in_unpack(&self, next: u64) -> bool {
        self.promised.load(Acquire) + 1 < next
    }

    /// Whether another command may be entered.
    pub(super) fn has_room(&self) -> bool {
        self.reap();
        self.in_flight().len() < COMMANDS_MAX
    }

    /// How far the lists were read, counted from the first one's start.
    pub(super) fn lists_read(&self) -> u64 {
        self.lists_read.load(Acquire)
    }

    /// Records why the lane is lost; gives the first such reason.
    pub(super) fn fail(&self, error: Error) -> Error {
        self.failure.get_or_init(|| error).clone()
    }

    /// # Errors
    /// If the lane is lost.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.failure.get().map_or(Ok(()), |failure| Err(failure.clone()))
    }

    /// Waits for all work, and lets go of all it held: at the lane's end. A lost device does no more work; one that is
    /// stuck may, so then false, and nothing is let go of: whatever the work uses must stay as long as the process.
    pub(super) fn finish(&self) -> bool {
        let finished =
            self.queue.context.make_current().and_then(|()| self.queue.finish("finish a lane's work"));
        if finished == Err(Error::LaneLost) {
            self.fail(Error::LaneLost);
            return false;
        }
        // A launch that was refused never moves the flag: whoever waits for it is told why.
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
        // SAFETY: the first word of pinned memory that this value owns; host and stream only ever load and store it whole.
        unsafe { AtomicU32::from_ptr(self.flag.start().as_ptr().cast()) }
    }

    fn ask_driver(&self) -> Result<(), Error> {
        self.is_idle().map(drop).map_err(|error| self.fail(error))
    }

    fn is_idle(&self) -> Result<bool, Error> {
        self.queue.context.make_current()?;
        self.queue.is_idle("finish a lane's work")
    }

    /// Lets go of what finished commands held, those included whose flag nobody has asked for.
    fn look_hard(&self) {
        let launching = self.launching.lock().unwrap_or_else(PoisonError::into_inner);
        let launched = self.launched.load(Acquire);
        let all_done = self.completed() < launched && self.check().is_ok() && self.is_idle().unwrap_or(false);
        drop(launching);
        self.reap_to(if all_done { launched } else { self.completed() });
        // A lost lane says so to who waits for it.
        let _ = self.promise();
    }

    /// Lets go of what finished commands held.
    fn reap(&self) {
        self.reap_to(self.completed());
    }

    /// Lets go of what the commands up to `completed` held, which are done.
    fn reap_to(&self, completed: u64) {
        let mut in_flight = self.in_flight();
        while in_flight.front().is_some_and(|command| command.number <= completed) {
            if let Some(command) = in_flight.pop_front() {
                self.lists_read.store(command.lists_end, Release);
            }
        }
        // After the claims are gone, and under the lock: who finds it so finds them gone.
        self.reaped.fetch_max(completed, Release);
    }

    /// Nothing panics while the queue is half changed: a poisoned lock guards a queue that is whole.
    fn in_flight(&self) -> MutexGuard<'_, VecDeque<Command>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets go of what finished work of any lane held. No thread of ours does so unasked: a point that nobody looks at frees
/// nothing, so who is refused a claim looks for all.
pub(crate) fn reap_all() {
    for timeline in ALL.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
        timeline.look_hard();
    }
}

/// The timelines of all lanes of the process.
static ALL: Mutex<Vec<Weak<Timeline>>> = Mutex::new(Vec::new());

/// A full window of 32 bounce slabs and one of 32 staging slabs, twice over.
pub(super) const COMMANDS_MAX: usize = 128;
/// A page, though one word is used: nothing else shares its cache line.
const FLAG_BYTES: u64 = 4 << 10;
const LOOKS: u32 = 4096;
/// Between two looks at the clock: about a microsecond.
const SPINS: u32 = 32;
/// A 512 KiB copy over PCIe 5 takes about 10 µs, and a sleep at least 50 µs (the kernel's timer slack).
const SPIN: Duration = Duration::from_micros(30);
const PAUSE: Duration = Duration::from_micros(20);
const ASK: Duration = Duration::from_millis(10);
