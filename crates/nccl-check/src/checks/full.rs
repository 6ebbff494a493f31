//! The answer of a plugin when no more requests fit.

use std::collections::VecDeque;

use super::{Check, Run, Scope, requests::promised};
use crate::{
    bench::BenchPlugin,
    block::Block,
    meeting::Bench,
    posting::PostedRequest,
    source::{NET, NET_IB, NET_SOCKET, README, nccl},
    stop::{Seen, Stop, stricter},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "full-is-null-not-error",
    expected: "without a free slot, isend and irecv return success and NULL, and work again once one is free",
    because: "NCCL asks again later; any error ends the communicator",
    sources: &[
        nccl(README, 368, 370),
        nccl(README, 383, 385),
        nccl(NET, 1322, 1323),
        nccl(NET, 1482, 1483),
        nccl(NET, 1418, 1431),
        nccl(NET_SOCKET, 491, 492),
        nccl(README, 329, 336),
        nccl(NET_IB, 1926, 1928),
    ],
    scope: Scope {
        stricter: Some(
            "NCCL has at most 8 receives of a connection in flight. It has at most 32 sends for each of maxRecvs, and 8 up \
         to v6. Its own networks answer an error beyond",
        ),
        ..Scope::ALL
    },
    run: Run::Pair { receiving, sending },
}];

/// How filling a connection ended.
enum Full {
    /// NULL after so many requests, as NCCL demands.
    Null(usize),
    /// An error after so many requests, more than NCCL has in flight; and the error's sentence.
    Error(usize, String),
    Never,
}

fn receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let mut posted = VecDeque::new();
    let plugin = &bench.plugin;
    let full =
        fill(plugin, &mut posted, RECEIVES, |_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    let count = (bench.link.hear_number()? as usize).max(posted.len());
    let (mut taken, mut next) = (0, posted.len());
    while taken < count {
        if let Some(request) = posted.pop_front() {
            bench.plugin.take(comm, request, BYTES, taken as u64)?;
            taken += 1;
        }
        if next < count {
            posted.push_back(bench.plugin.recv(comm, bench.plugin.room(comm, BYTES)?)?);
            next += 1;
        }
    }
    bench.part_from_sender(&listening, comm)?;
    full.judged("receives")
}

fn sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let receives = bench.link.hear_number()? as usize;
    let plugin = &bench.plugin;
    let most = promised(plugin.raw.version(), plugin.parts()?);
    let message = |number| plugin.message(comm, BYTES, number);
    // The first send may have to wait until its receive is known.
    let mut posted = VecDeque::from([plugin.send(comm, message(0)?)?]);
    let full = fill(plugin, &mut posted, most, message, |block| plugin.isend(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    let count = receives.max(posted.len());
    let mut next = posted.len();
    while let Some(request) = posted.pop_front() {
        plugin.wait(request)?;
        if next < count {
            posted.push_back(plugin.send(comm, message(next as u64)?)?);
            next += 1;
        }
    }
    bench.part_from_receiver(comm)?;
    full.judged("sends")
}

/// Posts until no more requests fit. An error below `most` is a fault: NCCL has up to `most` in flight.
fn fill(
    plugin: &BenchPlugin,
    posted: &mut VecDeque<PostedRequest>,
    most: usize,
    memory: impl Fn(u64) -> Result<Block, Stop>,
    one: impl Fn(Block) -> Result<Option<PostedRequest>, Stop>,
) -> Result<Full, Stop> {
    while posted.len() < FULL_MAX {
        let count = posted.len();
        let block = memory(count as u64)?;
        match plugin.persist(|| one(block)) {
            Ok(Some(request)) => posted.push_back(request),
            Ok(None) => return Ok(Full::Null(count)),
            Err(Stop::Failed(why)) if count >= most => return Ok(Full::Error(count, why)),
            Err(stop) => return Err(stop.told(|why| format!("with {count} in flight, {why}"))),
        }
    }
    Ok(Full::Never)
}

impl Full {
    fn judged(self, what: &str) -> Seen {
        match self {
            Self::Null(slots) => Ok(format!("full after {slots} {what}")),
            Self::Error(count, why) => stricter(format!("with {count} in flight, {why}")),
            Self::Never => Ok(format!("never full: {FULL_MAX} {what} were taken")),
        }
    }
}

/// NCCL's pipeline: `NCCL_STEPS`.
const RECEIVES: usize = 8;
/// The number of requests that stands for any number.
pub(super) const FULL_MAX: usize = 512;
const BYTES: usize = 256;
