//! A lane's stream: it unpacks by one kernel or by copies, and stages by copies or by one kernel.
//!
//! Invariants:
//!
//! - Work is launched through the timeline, which has the claims it needs before the driver has the work.
//! - After the first refused launch the lane is lost, as the meaning of its flag is no longer known.
//! - Each command begins when the one before it is complete, also if its kernel is launched early: `unpack`
//!   waits for that before it touches anything.
//! - A kernel is launched early right behind another unpack only. No document says what an early launch
//!   behind a copy or a flag means.
//!
//! The one exception is an event that a measurement records in between, which writes no memory that is read.

use std::{
    mem,
    ops::Range,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp_proto::bounce::Fragment;

use super::{
    context::Context,
    fragments::{Entry, Lists, Summary},
    kernels::BLOCK_THREADS,
    queue::{Queue, STUCK, pointer},
    sys::Address,
    timeline::{Command, Marks, Raised, Timeline},
};
use crate::{
    Error, FRAGMENTS_MAX, MemoryKind,
    memory::{Hold, Residence},
};

/// In-order work on a device. Dropping it finishes what was launched.
#[derive(Debug)]
pub(crate) struct Stream {
    timeline: Arc<Timeline>,
    lists: Lists,
    /// The room in which lists that are out of order are sorted.
    spans: Vec<(u64, u64)>,
    launched: u64,
    launches: Launches,
}

/// The variants of a lane, which checks and benches try.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ways {
    pub(crate) marks: Marks,
    pub(crate) launches: Launches,
}

/// The time at which the unpack kernel may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Launches {
    /// While the kernel before it still runs, if the device and the driver support it.
    Early,
    /// When the kernel before it is complete.
    Plain,
}

impl Ways {
    /// The variant of every lane but those of checks and benches.
    pub(crate) const BEST: Self = Self { marks: Marks::Driver, launches: Launches::Early };
}

impl Stream {
    /// Makes all objects that the lane will ever use, and has the driver load the parts that it loads lazily.
    pub(super) fn start(context: &Arc<Context>, ways: Ways) -> Result<Self, Error> {
        let mut timeline = Timeline::new(context, ways.marks)?;
        if timeline.mark(0).is_err() {
            timeline = Timeline::new(context, Marks::Kernel)?;
            timeline.mark(0)?;
        }
        let (lists, spans) = (Lists::new(context)?, Vec::with_capacity(FRAGMENTS_MAX));
        let mut stream = Self { timeline, lists, spans, launched: 0, launches: ways.launches };
        // The launch behind the flag is plain. The launch behind that may be early; a tool that refuses early
        // launches may still take plain ones.
        stream.launch_nothing(Launches::Plain)?;
        if stream.launch_nothing(stream.launches).is_err() {
            stream.launches = Launches::Plain;
        }
        stream.queue().finish("start a lane")?;
        Ok(stream)
    }

    /// Starts one kernel that copies fragments to their destination. Waits only while the lane's rings are
    /// full.
    ///
    /// Fragments that overlap at the destination are copied one after another.
    pub(crate) fn unpack(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
    ) -> Result<(), Error> {
        let summary = Summary::of(fragments);
        if summary.overlaps(fragments, &mut self.spans) {
            return self.copy_each(source, destination, fragments);
        }
        self.copy_by_kernel(source, destination, fragments, summary, self.launches)
    }

    /// Starts one copy per fragment, by the copy engines where host memory is concerned.
    pub(crate) fn copy_each(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
    ) -> Result<(), Error> {
        if fragments.is_empty() {
            return Ok(());
        }
        self.check_reach(source)?;
        self.check_reach(destination)?;
        let (from, to) = (source.address(), destination.address());
        self.run(Some(source), Some(destination), |queue| {
            for fragment in fragments.iter().filter(|fragment| fragment.bytes > 0) {
                let Fragment { source_offset, bytes, destination_offset } = *fragment;
                // SAFETY: the fragment lies within both holds, which the command keeps until it is done. The
                // lane reaches both, so host memory is pinned.
                unsafe { queue.copy(to + destination_offset, from + source_offset, bytes, "start a copy") }?;
            }
            Ok(())
        })
    }

    /// Starts one kernel that copies parts of a source to a slab, one after another in the slab.
    ///
    /// The stream, not the next kernel, writes the command's flag, behind a fence for the whole system. The
    /// CPU reads the slab as soon as it sees the flag, which must not overtake stores to host memory.
    pub(crate) fn stage_by_kernel(
        &mut self,
        source: &Hold,
        slabs: &Hold,
        parts: &[Fragment],
    ) -> Result<(), Error> {
        self.copy_by_kernel(source, slabs, parts, Summary::of(parts), Launches::Plain)
    }

    /// Starts one kernel that copies fragments which do not overlap at the destination; behind an unpack it
    /// may start as `launches` says.
    fn copy_by_kernel(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
        summary: Summary,
        launches: Launches,
    ) -> Result<(), Error> {
        self.check_reach(source)?;
        self.check_reach(destination)?;
        let (from, to) = (source.address(), destination.address());
        // Bytes that the next kernel knows to be in the GPU's memory need not be in the host's yet.
        let is_on_host = destination.place() == Residence::Pinned;
        let mut entries = fragments
            .iter()
            .filter(|fragment| fragment.bytes > 0)
            .map(|fragment| Entry::new(fragment, from, to));
        let (list, only) = match summary.count {
            0 => (None, Entry::default()),
            1 => (None, entries.next().unwrap_or_default()),
            count => (Some(self.list_room(count)?), Entry::default()),
        };
        let list = list.map_or(0, |place| self.lists.write(place, entries));
        self.launch(Some(source), Some(destination), |stream, number| {
            if summary.count > 0 {
                let before = (number - 1) as u32;
                let launches =
                    if stream.timeline.ends_in_unpack(number) { launches } else { Launches::Plain };
                // SAFETY: the fragments lie within both holds, which the command keeps until it is done, as
                // it keeps the list's place in the ring. The lane reaches both, so host memory is pinned.
                unsafe { stream.launch_unpack(stream.queue(), launches, list, only, summary, before) }?;
                if !is_on_host {
                    return Ok(Raised::ByTheNext);
                }
            }
            stream.timeline.mark(number as u32).map(|()| Raised::Here)
        })
    }

    /// Starts other work as one command that keeps the holds.
    pub(super) fn run(
        &mut self,
        source: Option<&Hold>,
        destination: Option<&Hold>,
        start: impl FnOnce(&Queue) -> Result<(), Error>,
    ) -> Result<(), Error> {
        self.launch(source, destination, |stream, number| {
            start(stream.queue()).and_then(|()| stream.timeline.mark(number as u32)).map(|()| Raised::Here)
        })
    }

    /// Returns the number of commands that were launched.
    pub(crate) const fn launched(&self) -> u64 {
        self.launched
    }

    pub(crate) const fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }

    pub(super) fn queue(&self) -> &Queue {
        self.timeline.queue()
    }

    /// Launches a command, as soon as there is room. `launch` is given the command's number.
    fn launch(
        &mut self,
        source: Option<&Hold>,
        destination: Option<&Hold>,
        launch: impl FnOnce(&Self, u64) -> Result<Raised, Error>,
    ) -> Result<(), Error> {
        self.queue().context.make_current()?;
        self.wait_until(|timeline| timeline.has_room())?;
        self.launched += 1;
        let command = Command {
            number: self.launched,
            _source: source.cloned(),
            _destination: destination.cloned(),
            lists_end: self.lists.used(),
        };
        self.timeline.launch(command, || launch(self, self.launched))
    }

    /// Returns a place for a list, as soon as there is room.
    fn list_room(&self, count: u32) -> Result<Range<u64>, Error> {
        let place = self.lists.next(count);
        self.wait_until(|timeline| timeline.has_room() && Lists::has_room(place.end, timeline.lists_read()))?;
        Ok(place)
    }

    fn wait_until(&self, mut is_so: impl FnMut(&Timeline) -> bool) -> Result<(), Error> {
        self.timeline.check()?;
        let start = Instant::now();
        while !is_so(&self.timeline) {
            // The next command's end makes room, and a wait for it learns of a lost device.
            let next = self.timeline.completed() + 1;
            if !self.timeline.wait(next.min(self.launched), Some(Instant::now() + SLICE))?
                && start.elapsed() > STUCK
            {
                return Err(self.timeline.fail(Error::LaneLost));
            }
            thread::yield_now();
        }
        Ok(())
    }

    /// Launches the kernel over an empty list.
    fn launch_nothing(&self, launches: Launches) -> Result<(), Error> {
        // SAFETY: an empty list names no memory.
        unsafe { self.launch_unpack(self.queue(), launches, 0, Entry::default(), Summary::of(&[]), 0) }
    }

    /// Launches one unpack on another queue, past the timeline, for a comparison with lanes.
    ///
    /// # Safety
    /// Both ranges must stay valid until it is done, and this stream must have no other work meanwhile.
    pub(super) unsafe fn launch_on(
        &self,
        queue: &Queue,
        from: Address,
        to: Address,
        bytes: u64,
    ) -> Result<(), Error> {
        let all = Fragment { source_offset: 0, bytes, destination_offset: 0 };
        // SAFETY: the caller's promise.
        unsafe {
            self.launch_unpack(queue, Launches::Plain, 0, Entry::new(&all, from, to), Summary::of(&[all]), 0)
        }
    }

    /// Launches the kernel over a list, or over one fragment.
    ///
    /// When the kernels before it are done, its first act is to raise the flag to `before`.
    ///
    /// # Safety
    /// The memory that the list, or the one fragment, names must stay valid, and reserved for this, until the
    /// kernel is done. So must the list.
    unsafe fn launch_unpack(
        &self,
        queue: &Queue,
        launches: Launches,
        mut list: Address,
        mut only: Entry,
        summary: Summary,
        mut before: u32,
    ) -> Result<(), Error> {
        let context = &queue.context;
        let shape = summary.shape(context.multiprocessors);
        let (mut count, mut parts) = (summary.count, shape.parts);
        let mut flag = self.timeline.flag();
        let mut arguments = [
            pointer(&mut list),
            pointer(&mut only),
            pointer(&mut count),
            pointer(&mut parts),
            pointer(&mut flag),
            pointer(&mut before),
        ];
        let (kernel, doing) = (context.kernels.unpack, "start the unpack kernel");
        // SAFETY: the arguments are the kernel's parameters in order; the flag is the timeline's own, and the
        // rest is the caller's promise. Launched early, the kernel waits before it touches anything.
        unsafe {
            match launches {
                Launches::Early => {
                    queue.launch_early(kernel, shape.blocks, BLOCK_THREADS, &mut arguments, doing)
                }
                Launches::Plain => queue.launch(kernel, shape.blocks, BLOCK_THREADS, &mut arguments, doing),
            }
        }
    }

    /// Checks that the device can read and write the memory.
    fn check_reach(&self, hold: &Hold) -> Result<(), Error> {
        let lane = MemoryKind::Cuda(self.queue().context.ordinal);
        match hold.place() {
            Residence::Pinned => Ok(()),
            Residence::Device(ordinal) if MemoryKind::Cuda(ordinal) == lane => Ok(()),
            Residence::Device(_) | Residence::Pages => Err(Error::Unreachable { lane, memory: hold.kind() }),
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.timeline.finish() {
            // This leaks all that the work uses: the stream, the flag, the claims and the memory behind them,
            // and the lists.
            mem::forget((Arc::clone(&self.timeline), self.lists.keep()));
        }
    }
}

/// The time between two checks for room.
const SLICE: Duration = Duration::from_millis(100);
