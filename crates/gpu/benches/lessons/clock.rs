//! Two clocks, the device's and the host's, and the summary of many timings.

use std::time::{Duration, Instant};

use gputcp_gpu::{Buffer, Done, Error, Lane, ReadClaim, UnpackMode, WriteClaim, measure};
use gputcp_proto::bounce::Fragment;

use crate::{Result, Scene};

pub(crate) const BYTES: u64 = 64 << 20;
pub(crate) const CHUNK: u64 = 512 << 10;
/// All bytes in one piece.
pub(crate) const WHOLE: Fragment = Fragment { source_offset: 0, bytes: BYTES, destination_offset: 0 };

/// Several timings of the same work.
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn of(times: impl IntoIterator<Item = Result<Duration>>) -> Result<Self> {
        let mut times = times.into_iter().collect::<Result<Vec<_>>>()?;
        times.sort();
        Ok(Self(times))
    }

    pub(crate) fn median(&self) -> Duration {
        self.part(0.5)
    }

    /// Returns the time that this part of the timings does not exceed.
    pub(crate) fn part(&self, part: f64) -> Duration {
        self.0[((self.0.len() as f64 * part) as usize).min(self.0.len() - 1)]
    }

    /// Returns the median rate in GB/s.
    pub(crate) fn rate(&self, bytes: u64) -> f64 {
        rate(bytes, self.median())
    }

    /// Returns the median rate in GB/s and its range.
    pub(crate) fn rates(&self, bytes: u64) -> String {
        let (least, most) = (rate(bytes, self.part(1.0)), rate(bytes, self.part(0.0)));
        format!("{:8.1} ({least:.1} to {most:.1})", self.rate(bytes))
    }
}

fn rate(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / time.as_secs_f64() / 1e9
}

/// Lists of fragments, one launch each, from one buffer to another.
pub(crate) struct Work<'a> {
    pub(crate) from: &'a Buffer,
    pub(crate) to: &'a Buffer,
    pub(crate) mode: UnpackMode,
    pub(crate) lists: &'a [&'a [Fragment]],
}

impl Work<'_> {
    /// Returns the time until the host knows of the end, and the time until all launches are made.
    pub(crate) fn by_host(&self, lane: &mut Lane) -> Result<(Duration, Duration)> {
        let (from, to) = (self.from.read(0, BYTES)?, self.to.write(0, BYTES)?);
        let start = Instant::now();
        let last = launch(lane, &from, &to, self.mode, self.lists)?;
        let launched = start.elapsed();
        finish(last)?;
        Ok((start.elapsed(), launched))
    }

    /// Returns the time that the device takes.
    ///
    /// The device has other work before, so that it need not wait for the first launch. The software GPU has
    /// no clock, so the host's is used.
    pub(crate) fn by_device(&self, scene: &Scene, lane: &mut Lane) -> Result<Duration> {
        if scene.device.cuda_device().is_none() {
            return self.by_host(lane).map(|(time, _)| time);
        }
        let (from, to) = (self.from.read(0, BYTES)?, self.to.write(0, BYTES)?);
        launch(lane, &from, &to, UnpackMode::Kernel, &[[WHOLE].as_slice(); 8])?;
        let mut last = None;
        let time = measure::device_time(lane, |lane| {
            last = launch(lane, &from, &to, self.mode, self.lists)?;
            Ok(())
        })?;
        finish(last)?;
        Ok(time)
    }
}

/// Launches each list, and returns the end of the last.
fn launch(
    lane: &mut Lane,
    from: &ReadClaim,
    to: &WriteClaim,
    mode: UnpackMode,
    lists: &[&[Fragment]],
) -> Result<Option<Done>> {
    let mut last = None;
    for list in lists {
        last = Some(lane.unpack_fragments(from, list, to, mode)?);
    }
    Ok(last)
}

/// Waits for the end of some work, for at most 60 s.
pub(crate) fn finish(done: Option<Done>) -> Result<()> {
    let reached = done.map_or(Ok(true), |done| done.wait(Instant::now() + Duration::from_secs(60)))?;
    if reached { Ok(()) } else { Err(Error::LaneLost) }
}

/// Returns 64 MiB in chunks, each at its own offset.
pub(crate) fn chunks() -> Vec<Fragment> {
    let at = |offset| Fragment { source_offset: offset, bytes: CHUNK, destination_offset: offset };
    (0..BYTES / CHUNK).map(|index| at(index * CHUNK)).collect()
}
