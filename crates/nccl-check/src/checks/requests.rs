//! How many requests fit, and what happens when no more do.

use std::{collections::VecDeque, ptr, sync::atomic::Ordering::Relaxed};

use gputcp_nccl_abi::sys::constants::{OPTIONAL_RECV_COMPLETION, REQUESTS_MAX};

use crate::{
    bench::{Plugin, Request, alone, answered, pause},
    block::Block,
    grouped::tag,
    meeting::Bench,
    raw::P,
    stop::{Seen, Stop, fail},
};

pub(super) fn count_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let posted = post(REQUESTS_MAX, |_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    let sent = bench.link.hear_number()? as usize;
    for (message, request) in (0..).zip(posted.iter().take(sent)) {
        plugin.take(comm, *request, BYTES, message)?;
    }
    // A receive that got no send would take one of those to come.
    let all = sent == posted.len();
    let grouped = if all { grouped_receiving(bench, comm)? } else { String::new() };
    bench.part_from_sender(&listening, comm)?;
    enough(posted.len(), "receives", 1).map(|seen| seen + &grouped)
}

pub(super) fn count_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let receives = bench.link.hear_number()? as usize;
    let plugin = &bench.plugin;
    let posted =
        post(receives, |message| plugin.message(comm, BYTES, message), |block| plugin.isend(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    for request in &posted {
        plugin.wait(*request)?;
    }
    let all = posted.len() == receives;
    let grouped = if all { grouped_sending(bench, comm)? } else { None };
    bench.part_from_receiver(comm)?;
    let grouped = match grouped {
        Some((asked, sent, parts)) if sent < asked => {
            format!(", {}", enough(sent, &format!("sends to {asked} parts of receives"), parts)?)
        }
        Some((_, sent, _)) => format!(", {sent} to parts of receives"),
        None => String::new(),
    };
    // Fewer receives leave fewer sends to try, and are told by the other side.
    let seen = if all { Ok(format!("{receives} sends")) } else { enough(posted.len(), "sends", 1) };
    seen.map(|seen| seen + &grouped)
}

/// The same with as many receives of several parts, if the plugin takes such; what was seen, to be added.
fn grouped_receiving(bench: &mut Bench, comm: P) -> Seen {
    let plugin = &bench.plugin;
    let parts = plugin.parts()?;
    if parts == 1 {
        return Ok(String::new());
    }
    let mut posted = Vec::new();
    while posted.len() < REQUESTS_MAX {
        let blocks = (0..parts).map(|_| plugin.room(comm, BYTES)).collect::<Result<Vec<Block>, Stop>>()?;
        match persist(|| plugin.irecv_grouped(comm, &blocks)) {
            Ok(Some(request)) => posted.push((request, blocks)),
            Ok(None) | Err(_) => break,
        }
    }
    bench.link.tell_number((posted.len() * parts) as u64)?;
    let sent = bench.link.hear_number()? as usize;
    let mut messages = 0..;
    for (request, blocks) in posted.iter().take(sent / parts) {
        plugin.wait_grouped(*request)?;
        for (block, message) in blocks.iter().zip(&mut messages) {
            block.check(BYTES, message).or_else(|why| fail(format!("in message {message}, {why}")))?;
        }
        plugin.consume_grouped(comm, *request, parts)?;
    }
    Ok(format!(", {} of {parts} parts each", posted.len()))
}

/// The parts of the other side's receives, how many of them could be sent to at once, and the parts of each; `None` if there
/// is one.
fn grouped_sending(bench: &mut Bench, comm: P) -> Result<Option<(usize, usize, usize)>, Stop> {
    let plugin = &bench.plugin;
    let parts = plugin.parts()?;
    if parts == 1 {
        return Ok(None);
    }
    let asked = bench.link.hear_number()? as usize;
    let mut posted = Vec::new();
    for (message, part) in (0..).zip((0..parts).cycle()).take(asked) {
        let block = plugin.message(comm, BYTES, message)?;
        match persist(|| plugin.isend_tagged(comm, block, tag(part))) {
            Ok(Some(request)) => posted.push(request),
            Ok(None) | Err(_) => break,
        }
    }
    bench.link.tell_number(posted.len() as u64)?;
    // Those of a receive that not all parts were sent to need not end.
    let whole = posted.len() / parts * parts;
    posted[..whole].iter().try_for_each(|request| plugin.wait(*request).map(drop))?;
    Ok(Some((asked, posted.len(), parts)))
}

/// Posts up to `most`; ends at the first that is refused, in whatever way.
pub(super) fn post(
    most: usize,
    memory: impl Fn(u64) -> Result<Block, Stop>,
    one: impl Fn(Block) -> Result<Option<Request>, Stop>,
) -> Result<Vec<Request>, Stop> {
    let mut posted = Vec::new();
    while posted.len() < most {
        let block = memory(posted.len() as u64)?;
        match persist(|| one(block)) {
            Ok(Some(request)) => posted.push(request),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(posted)
}

/// Asks again as long as "not yet" may not mean "full".
pub(super) fn persist<T>(mut one: impl FnMut() -> Result<Option<T>, Stop>) -> Result<Option<T>, Stop> {
    for _ in 0..REFUSALS {
        if let Some(request) = one()? {
            return Ok(Some(request));
        }
        pause();
    }
    Ok(None)
}

/// Judges a number of requests; `parts` to each receive.
fn enough(count: usize, what: &str, parts: usize) -> Seen {
    match count / parts {
        REQUESTS_MAX.. => Ok(format!("{count} {what}")),
        ENOUGH.. => Ok(format!(
            "{count} {what}: fewer than {}, and enough for NCCL's pipeline of 8",
            REQUESTS_MAX * parts
        )),
        _ => fail(format!("only {count} {what}")),
    }
}

pub(super) fn full_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let mut posted = VecDeque::new();
    let full =
        fill(&mut posted, |_| bench.plugin.room(comm, BYTES), |block| bench.plugin.irecv(comm, block))?;
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
    Ok(full.map_or_else(|| NEVER_FULL.into(), |slots| format!("full after {slots} receives")))
}

pub(super) fn full_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let receives = bench.link.hear_number()? as usize;
    let mut posted = VecDeque::new();
    let message = |number| bench.plugin.message(comm, BYTES, number);
    let full = fill(&mut posted, message, |block| bench.plugin.isend(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    let count = receives.max(posted.len());
    let mut next = posted.len();
    while let Some(request) = posted.pop_front() {
        bench.plugin.wait(request)?;
        if next < count {
            posted.push_back(bench.plugin.send(comm, message(next as u64)?)?);
            next += 1;
        }
    }
    bench.part_from_receiver(comm)?;
    Ok(full.map_or_else(|| NEVER_FULL.into(), |slots| format!("full after {slots} sends")))
}

/// Posts until no more fit. The number that did, if there was an end.
fn fill(
    posted: &mut VecDeque<Request>,
    memory: impl Fn(u64) -> Result<Block, Stop>,
    one: impl Fn(Block) -> Result<Option<Request>, Stop>,
) -> Result<Option<usize>, Stop> {
    while posted.len() < FULL_MAX {
        let count = posted.len();
        let block = memory(count as u64)?;
        let request = persist(|| one(block)).map_err(|stop| match stop {
            Stop::Failed(why) => Stop::Failed(format!("with {count} in flight, {why}")),
            other => other,
        })?;
        match request {
            Some(request) => posted.push_back(request),
            None => return Ok(Some(count)),
        }
    }
    Ok(None)
}

pub(super) fn in_progress_receiving(bench: &mut Bench) -> Seen {
    let listening = bench.plugin.listen()?;
    for _ in 0..10 {
        bench.plugin.accept_once(listening.comm)?;
    }
    bench.link.tell(listening.handle.bytes())?;
    let comm = bench.plugin.accept(listening.comm)?;
    let plugin = &bench.plugin;
    let posted = post(REQUESTS_MAX + 1, |_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
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

pub(super) fn in_progress_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let count = bench.link.hear_number()?;
    let mut posted = VecDeque::new();
    for message in 0..count {
        posted.push_back(bench.plugin.send(comm, bench.plugin.message(comm, BYTES, message)?)?);
        if posted.len() == FEW
            && let Some(oldest) = posted.pop_front()
        {
            bench.plugin.wait(oldest)?;
        }
    }
    posted.iter().try_for_each(|request| bench.plugin.wait(*request).map(drop))?;
    bench.part_from_receiver(comm)?;
    never_in_progress(&bench.plugin)
}

fn never_in_progress(plugin: &Plugin) -> Seen {
    match plugin.in_progress.load(Relaxed) {
        0 => Ok("no call answered 7".into()),
        times => fail(format!("7 (ncclInProgress) was answered {times} times")),
    }
}

pub(super) fn overwrites_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let before: P = ptr::without_provenance_mut(OPTIONAL_RECV_COMPLETION);
    let mut posted = Vec::new();
    // What irecv said when it gave no request.
    let mut last = NEVER_FULL.to_owned();
    while posted.len() < FULL_MAX {
        let block = plugin.room(comm, BYTES)?;
        let request = persist(|| {
            let (code, pointer) = plugin.call("irecv", |raw| raw.irecv(comm, &mut alone(block), before));
            if code == 0 && pointer == before {
                return fail(format!(
                    "with {} receives in flight, irecv left the request at 0x1",
                    posted.len()
                ));
            }
            // An error when full is told by the check that is about that.
            last = match (code, pointer.is_null()) {
                (0, true) => "NULL when full".into(),
                (0, false) => NEVER_FULL.into(),
                _ => answered("irecv", code),
            };
            Ok((code == 0 && !pointer.is_null()).then_some(Request { pointer, block }))
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

pub(super) fn overwrites_sending(bench: &mut Bench) -> Seen {
    in_progress_sending(bench).map(|_| String::new()).or_else(|stop| match stop {
        // A code that another check is about.
        Stop::Failed(_) if bench.plugin.in_progress.load(Relaxed) > 0 => Ok(String::new()),
        other => Err(other),
    })
}

/// Few enough for every plugin.
const FEW: usize = 8;
/// Fewer have been seen to do.
const ENOUGH: usize = 16;
/// A plugin that takes as many will take any number.
pub(super) const FULL_MAX: usize = 512;
/// Who says "not yet" as often means "full".
const REFUSALS: usize = 50;
const BYTES: usize = 256;
const NEVER_FULL: &str = "never full: 512 were taken";
