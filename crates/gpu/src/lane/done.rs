//! Points on a lane's timeline.
//!
//! Invariant: a point that was reached stays reached, and the claims of the work before it are free by then.

use std::{sync::Arc, time::Instant};

use gputcp_proto::bounce::Completion;

use crate::{Error, cuda, host};

/// A point on a lane's timeline: the end of a piece of work and of all before it.
#[derive(Debug, Clone)]
pub struct Done {
    timeline: Timeline,
    point: u64,
}

/// A lane's timeline, of either kind.
#[derive(Debug, Clone)]
pub(crate) enum Timeline {
    Soft(Arc<host::Timeline>),
    Cuda(Arc<cuda::Timeline>),
}

impl Done {
    pub(crate) const fn new(timeline: Timeline, point: u64) -> Self {
        Self { timeline, point }
    }

    /// Blocks until the work is finished, at most until `deadline`. Returns false at the deadline.
    ///
    /// A real GPU does not wake the waiting thread. After a short spin the thread polls every few tens of
    /// microseconds, and now and then asks the driver whether the GPU is still there.
    ///
    /// # Errors
    /// If the lane stopped before the work was finished, or its GPU was lost.
    pub fn wait(&self, deadline: Instant) -> Result<bool, Error> {
        match &self.timeline {
            Timeline::Soft(timeline) => timeline.wait(self.point, Some(deadline)),
            Timeline::Cuda(timeline) => timeline.wait(self.point, Some(deadline)),
        }
    }
}

impl Completion for Done {
    type Error = Error;

    fn is_done(&mut self) -> Result<bool, Error> {
        match &self.timeline {
            Timeline::Soft(timeline) => timeline.has_reached(self.point),
            Timeline::Cuda(timeline) => timeline.has_reached(self.point),
        }
    }
}
