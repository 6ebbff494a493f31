//! A lane's stream: a worker thread or a GPU does its work. Only here do lanes differ.

use std::slice;

use gputcp_proto::bounce::Fragment;

use super::{Done, UnpackMode, done::Timeline};
use crate::{Error, MemoryKind, cuda, host, memory::Hold};

#[derive(Debug)]
pub(crate) enum Stream {
    Soft(host::Stream),
    Cuda(cuda::Stream),
}

impl Stream {
    /// Starts to copy fragments to their destination: one launch, and one command on the timeline.
    pub(super) fn unpack(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
    ) -> Result<(), Error> {
        match self {
            Self::Soft(stream) => {
                on_host(source)?;
                on_host(destination)?;
                stream.unpack(source, destination, fragments)
            }
            Self::Cuda(stream) => stream.unpack(source, destination, fragments),
        }
    }

    /// Starts to copy fragments to their destination: a copy for each.
    pub(super) fn copy_each(
        &mut self,
        source: &Hold,
        destination: &Hold,
        fragments: &[Fragment],
    ) -> Result<(), Error> {
        match self {
            Self::Soft(_) => {
                fragments.iter().try_for_each(|one| self.unpack(source, destination, slice::from_ref(one)))
            }
            Self::Cuda(stream) => stream.copy_each(source, destination, fragments),
        }
    }

    /// Starts to copy parts of a source to the lane's own memory, where they do not overlap.
    ///
    /// That is one launch in mode [`UnpackMode::Kernel`], otherwise a copy for each part.
    pub(super) fn stage(
        &mut self,
        source: &Hold,
        lane: &Hold,
        parts: &[Fragment],
        mode: UnpackMode,
    ) -> Result<(), Error> {
        match (self, mode) {
            (Self::Soft(stream), UnpackMode::Kernel) => {
                on_host(source)?;
                stream.stage(source, lane, parts)
            }
            (Self::Soft(stream), _) => {
                on_host(source)?;
                parts.iter().try_for_each(|part| stream.stage(source, lane, slice::from_ref(part)))
            }
            (Self::Cuda(stream), UnpackMode::Kernel) => stream.stage_by_kernel(source, lane, parts),
            (Self::Cuda(stream), _) => stream.copy_each(source, lane, parts),
        }
    }

    /// Returns whether the stream itself can unpack from there; if not, the CPU has to gather.
    pub(super) fn reaches(&self, source: &Hold) -> bool {
        match self {
            Self::Soft(_) => true,
            Self::Cuda(_) => source.place() != crate::memory::Residence::Pages,
        }
    }

    /// Returns the end of all work that was launched so far.
    pub(crate) fn now(&self) -> Done {
        self.done_at(self.launched())
    }

    /// Returns the lane's start, which every command is behind: the end of work that no lane does.
    pub(super) fn start(&self) -> Done {
        self.done_at(0)
    }

    fn done_at(&self, point: u64) -> Done {
        let timeline = match self {
            Self::Soft(stream) => Timeline::Soft(stream.timeline().clone()),
            Self::Cuda(stream) => Timeline::Cuda(stream.timeline().clone()),
        };
        Done::new(timeline, point)
    }

    /// Returns the number of commands that were launched.
    pub(super) const fn launched(&self) -> u64 {
        match self {
            Self::Soft(stream) => stream.launched(),
            Self::Cuda(stream) => stream.launched(),
        }
    }

    /// Returns the number of finished commands.
    pub(super) fn completed(&self) -> u64 {
        match self {
            Self::Soft(stream) => stream.timeline().completed(),
            Self::Cuda(stream) => stream.timeline().completed(),
        }
    }

    /// Returns the number of finished commands, for a caller that polls until the last is done.
    pub(super) fn ask_completed(&self) -> u64 {
        match self {
            Self::Soft(stream) => stream.timeline().completed(),
            Self::Cuda(stream) => stream.timeline().completed_or_asked(),
        }
    }

    /// Waits for a command, however long it takes.
    pub(super) fn wait(&self, point: u64) -> Result<(), Error> {
        match self {
            Self::Soft(stream) => stream.timeline().wait(point, None).map(drop),
            Self::Cuda(stream) => stream.timeline().wait(point, None).map(drop),
        }
    }
}

/// Checks that the memory is the host's: the software GPU's threads must not touch a GPU's address.
fn on_host(hold: &Hold) -> Result<(), Error> {
    if hold.is_on_host() {
        Ok(())
    } else {
        Err(Error::Unreachable { lane: MemoryKind::Soft, memory: hold.kind() })
    }
}
