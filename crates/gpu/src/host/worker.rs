//! A lane's worker: a thread that runs the queued copies in order and moves the timeline, with the delays of
//! its options.

use std::{sync::Arc, thread, thread::JoinHandle};

use gputcp_proto::bounce::Fragment;

use super::{
    copy::{Stores, copy_bytes},
    queue::{Command, Queue},
    timeline::Timeline,
};
use crate::{Error, SoftOptions, memory::Hold, pattern::scramble};

/// The software GPU's stream: it takes work, and its timeline moves. Dropping it runs the queued work,
/// without delays.
#[derive(Debug)]
pub(crate) struct Stream {
    queue: Arc<Queue>,
    timeline: Arc<Timeline>,
    worker: Option<JoinHandle<()>>,
    launched: u64,
}

impl Stream {
    /// Starts the worker of the device's lane `number`.
    pub(crate) fn start(options: SoftOptions, number: u64) -> Result<Self, Error> {
        let queue = Arc::new(Queue::new());
        let timeline = Arc::new(Timeline::new());
        let worker = Worker {
            queue: Arc::clone(&queue),
            timeline: Arc::clone(&timeline),
            options,
            random: scramble(options.seed) ^ number,
        };
        let spawned = thread::Builder::new().name("gputcp-lane".to_owned()).spawn(move || worker.run());
        let worker = spawned.map_err(|error| Error::Thread { kind: error.kind() })?;
        queue.wait_for_worker();
        Ok(Self { queue, timeline, worker: Some(worker), launched: 0 })
    }

    /// Starts one command that copies fragments from a bounce region to their destination, in order. Waits
    /// only while the queue is full.
    pub(crate) fn unpack(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
    ) -> Result<(), Error> {
        self.launch(source, destination, fragments, Stores::for_unpack_into(destination.buffer_bytes()))
    }

    /// Starts one command that copies parts of a source to a slab, from where a socket reads them next. Waits
    /// only while the queue is full.
    pub(crate) fn stage(&mut self, source: &Hold, slabs: &Hold, parts: &[Fragment]) -> Result<(), Error> {
        self.launch(source, slabs, parts, Stores::Cached)
    }

    fn launch(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
        stores: Stores,
    ) -> Result<(), Error> {
        self.queue.push(source, destination, fragments, stores)?;
        self.launched += 1;
        Ok(())
    }

    /// Returns the number of commands that were launched.
    pub(crate) const fn launched(&self) -> u64 {
        self.launched
    }

    pub(crate) const fn timeline(&self) -> &Arc<Timeline> {
        &self.timeline
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(worker) = self.worker.take() {
            // A worker that panicked has ended the timeline.
            let _ = worker.join();
        }
    }
}

struct Worker {
    queue: Arc<Queue>,
    timeline: Arc<Timeline>,
    options: SoftOptions,
    random: u64,
}

impl Worker {
    fn run(mut self) {
        self.queue.worker_begins();
        for done in 0.. {
            if self.options.lost_after == Some(done) {
                return;
            }
            let Some(command) = self.queue.next() else { return };
            self.be_late();
            self.execute(&command);
            self.be_late();
            // Before the report: a caller that learns of the end may claim the memory at once.
            drop(command);
            self.timeline.advance();
        }
    }

    fn execute(&self, command: &Command) {
        let (source, destination) = (command.source.start(), command.destination.start());
        self.queue.for_each_fragment(command, |fragment| {
            // SAFETY: the queue took the fragment only because it lies within both holds. The command keeps
            // them, so both are mapped. The destination is under a write claim of its own and overlaps no
            // source.
            unsafe {
                copy_bytes(
                    source.add(fragment.source_offset as usize).as_ptr(),
                    destination.add(fragment.destination_offset as usize).as_ptr(),
                    fragment.bytes as usize,
                    command.stores,
                );
            }
        });
    }

    fn be_late(&mut self) {
        if self.options.lateness.is_zero() {
            return;
        }
        self.random = scramble(self.random);
        let share = (self.random >> 32) as f64 / f64::from(u32::MAX);
        self.queue.pause(self.options.lateness.mul_f64(share));
    }
}

impl Drop for Worker {
    /// Ends the timeline after any end of the worker, so that no caller waits for it any longer.
    fn drop(&mut self) {
        self.queue.close();
        self.timeline.end();
    }
}
