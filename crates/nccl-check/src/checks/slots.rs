//! The moment at which a receive's slot is free again: once done, or once consumed under `irecvConsumed`.

use std::collections::VecDeque;

use gputcp_nccl_net::layout::constants::REQUESTS_MAX;

use super::{Check, Run, Scope, full::FULL_MAX, requests::post};
use crate::{
    meeting::Bench,
    posting::PostedRequest,
    source::{NET, README, nccl},
    stop::{Seen, fail},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "slot-reuse",
    expected: "a slot can be used again after done = 1, or after irecvConsumed where the plugin has that, not before",
    because: "NCCL sends without end over one connection. Until irecvConsumed the GPU reads the slot's data",
    sources: &[nccl(README, 415, 416), nccl(NET, 1605, 1617)],
    scope: Scope::ALL,
    run: Run::Pair { receiving, sending },
}];

fn receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let mut posted = VecDeque::new();
    let (room, irecv) = (|_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block));
    let keeps = plugin.raw.keeps_slots();
    // A plugin that keeps slots has to show whether it gives one more: all slots are taken.
    posted.extend(post(plugin, if keeps { FULL_MAX } else { REQUESTS_MAX }, room, irecv)?);
    let slots = posted.len();
    if slots == 0 {
        return fail("irecv never gave a request");
    }
    bench.link.tell_number((slots * ROUNDS) as u64)?;
    let mut kept = String::new();
    if keeps {
        // All are done and none is consumed: every slot is the GPU's.
        for (message, request) in (0..).zip(&posted) {
            plugin.wait(*request)?;
            request.block.holds(BYTES, message)?;
        }
        let block = room(0)?;
        // Another check is about errors when full.
        let more = plugin.persist(|| irecv(block)).unwrap_or_default();
        // A plugin that was never full may have more slots, but none of these.
        let held =
            |more: PostedRequest| posted.iter().any(|request| request.ticket.pointer == more.ticket.pointer);
        if more.is_some_and(|more| slots < FULL_MAX || held(more)) {
            return fail(format!("with {slots} receives done and none consumed, irecv gave another slot"));
        }
        posted.drain(..).try_for_each(|request| plugin.consume(comm, request))?;
        kept = " (after irecvConsumed)".into();
    }
    let mut taken = if kept.is_empty() { 0 } else { slots };
    let mut next = slots;
    while taken < slots * ROUNDS {
        if let Some(request) = posted.pop_front() {
            plugin.take(comm, request, BYTES, taken as u64)?;
            taken += 1;
        }
        while next < slots * ROUNDS && posted.len() < slots {
            let request = {
                let block = room(0)?;
                plugin.until("irecv gave no slot again", || irecv(block))?
            };
            posted.push_back(request);
            next += 1;
        }
    }
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{slots} slots were used {ROUNDS} times each{kept}"))
}

fn sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let count = bench.link.hear_number()?;
    let plugin = &bench.plugin;
    plugin.few_at_a_time(count, |message| {
        let block = plugin.message(comm, BYTES, message)?;
        plugin.until("isend gave no slot again", || plugin.isend(comm, block))
    })?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

const ROUNDS: usize = 8;
const BYTES: usize = 256;
