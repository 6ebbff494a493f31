//! Answers that NCCL would misread: the code for "in progress", and a request that was left as it came.

use std::{ptr, sync::atomic::Ordering::Relaxed};

use gputcp_nccl_net::layout::constants::{OPTIONAL_RECV_COMPLETION, REQUESTS_MAX};

use super::{Check, Run, Scope, full::FULL_MAX, requests::post};
use crate::{
    bench::{BenchPlugin, answered},
    meeting::Bench,
    posting::alone,
    raw::P,
    source::{NET, PLUGIN, README, nccl, nccl_of},
    stop::{Seen, Stop, fail, stricter},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "never-in-progress-code",
        expected: "no function answers 7 (ncclInProgress)",
        because: "\"not yet\" is success with NULL, or done = 0. NCCL up to 2.13 takes 7 for an error",
        sources: &[
            nccl(README, 128, 144),
            nccl("src/include/checks.h", 121, 129),
            nccl(PLUGIN, 178, 182),
            nccl_of("v2.13.4-1", "src/include/checks.h", 107, 114),
        ],
        scope: Scope {
            stricter: Some("from 2.14 on, NCCL takes 7 for success when it connects and transfers"),
            after: &["connect-accept-not-yet"],
            ..Scope::ALL
        },
        run: Run::Pair { receiving: in_progress_receiving, sending: in_progress_sending },
    },
    Check {
        id: "irecv-overwrites-request-0x1",
        expected: "irecv writes its request always, NULL included, whatever it held before",
        because: "for LL and LL128 the request arrives as 0x1: left there, NCCL takes it for a request",
        sources: &[nccl(README, 390, 394), nccl(NET, 1478, 1484)],
        scope: Scope { since: 9, ..Scope::ALL },
        run: Run::Pair { receiving: overwrites_receiving, sending: overwrites_sending },
    },
];

fn in_progress_receiving(bench: &mut Bench) -> Seen {
    let listening = bench.plugin.listen()?;
    for _ in 0..10 {
        bench.plugin.accept_once(listening.comm)?;
    }
    bench.link.tell(listening.handle.bytes())?;
    let comm = bench.plugin.accept(listening.comm)?;
    let plugin = &bench.plugin;
    let posted =
        post(plugin, REQUESTS_MAX + 1, |_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
    let Some(&oldest) = posted.first() else { return fail("irecv never gave a request") };
    for _ in 0..10 {
        if plugin.test(oldest)?.is_some() {
            return fail("a receive was done before anything was sent");
        }
    }
    bench.link.tell_number(posted.len() as u64)?;
    for (message, request) in (0..).zip(&posted) {
        plugin.take(comm, *request, BYTES, message)?;
    }
    bench.part_from_sender(&listening, comm)?;
    never_in_progress(&bench.plugin)
}

fn in_progress_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let count = bench.link.hear_number()?;
    let plugin = &bench.plugin;
    plugin.few_at_a_time(count, |message| plugin.send(comm, plugin.message(comm, BYTES, message)?))?;
    bench.part_from_receiver(comm)?;
    never_in_progress(&bench.plugin)
}

fn never_in_progress(plugin: &BenchPlugin) -> Seen {
    match plugin.in_progress.load(Relaxed) {
        0 => Ok("no call answered 7".into()),
        times => {
            let seen = format!("7 (ncclInProgress) was answered {times} times");
            if plugin.raw.version() < 7 { fail(seen) } else { stricter(seen) }
        }
    }
}

fn overwrites_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let before: P = ptr::without_provenance_mut(OPTIONAL_RECV_COMPLETION);
    let mut posted = Vec::new();
    // The last answer of `irecv` without a request.
    let mut last = NEVER_FULL.to_owned();
    while posted.len() < FULL_MAX {
        let block = plugin.room(comm, BYTES)?;
        let request = plugin.persist(|| {
            let (code, pointer) = plugin.call("irecv", |raw| raw.irecv(comm, &mut alone(block), before));
            if code == 0 && pointer == before {
                return fail(format!(
                    "with {} receives in flight, irecv left the request at 0x1",
                    posted.len()
                ));
            }
            // Another check is about errors when full.
            last = match (code, pointer.is_null()) {
                (0, true) => "NULL when full".into(),
                (0, false) => NEVER_FULL.into(),
                _ => answered("irecv", code),
            };
            Ok((code == 0 && !pointer.is_null()).then(|| plugin.posted(comm, pointer, block)))
        })?;
        match request {
            Some(request) => posted.push(request),
            None => break,
        }
    }
    bench.link.tell_number(posted.len() as u64)?;
    for (message, request) in (0..).zip(&posted) {
        plugin.take(comm, *request, BYTES, message)?;
    }
    bench.part_from_sender(&listening, comm)?;
    if posted.is_empty() {
        return fail("irecv never gave a request");
    }
    Ok(format!("{} requests, then {last}", posted.len()))
}

fn overwrites_sending(bench: &mut Bench) -> Seen {
    in_progress_sending(bench).map(|_| String::new()).or_else(|stop| match stop {
        // Another check is about this code.
        Stop::Failed(_) | Stop::Stricter(_) if bench.plugin.in_progress.load(Relaxed) > 0 => {
            Ok(String::new())
        }
        other => Err(other),
    })
}

const BYTES: usize = 256;
const NEVER_FULL: &str = "never full: 512 were taken";
