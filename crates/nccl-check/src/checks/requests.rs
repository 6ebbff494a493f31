//! The number of requests that can be in flight at once.

use std::time::{Duration, Instant};

use gputcp_nccl_net::layout::constants::REQUESTS_MAX;

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, pause},
    block::Block,
    grouped::tag,
    meeting::Bench,
    outstanding::Ticket,
    posting::PostedRequest,
    raw::P,
    source::{NCCL_NET_H, NET, README, nccl, nccl_of},
    stop::{Seen, Stop, fail},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "requests-32",
    expected: "32 receives can be in flight on a connection, and 32 sends for each of maxRecvs. Up to v6 it is 8",
    because: "NCCL_NET_MAX_REQUESTS is 32 since 2.19, times maxRecvs for sends. NCCL's pipeline is 8 deep: 16 do",
    sources: &[
        nccl(NCCL_NET_H, 32, 33),
        nccl(README, 329, 336),
        nccl("src/include/plugin/net/net_v6.h", 10, 10),
        nccl(NET, 1215, 1215),
        nccl_of("v2.12.12-1", "src/include/nccl_net.h", 18, 19),
    ],
    scope: Scope::ALL,
    run: Run::Pair { receiving: count_receiving, sending: count_sending },
}];

fn count_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let posted = post(plugin, REQUESTS_MAX, |_| plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
    bench.link.tell_number(posted.len() as u64)?;
    let sent = bench.link.hear_number()? as usize;
    for (message, request) in (0..).zip(posted.iter().take(sent)) {
        plugin.take(comm, *request, BYTES, message)?;
    }
    // A receive without its send would take one of those to come.
    let all = sent == posted.len();
    let grouped = if all { grouped_receiving(bench, comm)? } else { String::new() };
    bench.part_from_sender(&listening, comm)?;
    enough(&bench.plugin, posted.len(), "receives", 1).map(|seen| seen + &grouped)
}

fn count_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let receives = bench.link.hear_number()? as usize;
    let plugin = &bench.plugin;
    let mut flight = Flight::new(plugin, comm);
    for message in 0..receives as u64 {
        let block = plugin.message(comm, BYTES, message)?;
        if !flight.add(|| Ok(plugin.isend(comm, block)?.map(|request| request.ticket)))? {
            break;
        }
    }
    bench.link.tell_number(flight.posted.len() as u64)?;
    flight.land(flight.posted.len())?;
    let (most, all) = (flight.most, flight.posted.len() == receives);
    let grouped = if all { grouped_sending(bench, comm)? } else { None };
    bench.part_from_receiver(comm)?;
    let plugin = &bench.plugin;
    let grouped = match grouped {
        Some((asked, sent, parts)) if sent < asked => {
            format!(", {}", enough(plugin, sent, &format!("sends to {asked} parts of receives"), parts)?)
        }
        Some((_, sent, _)) => format!(", {sent} to parts of receives"),
        None => String::new(),
    };
    // Fewer receives leave fewer sends to try; the other side tells them.
    let seen = if most == receives { Ok(format!("{most} sends")) } else { enough(plugin, most, "sends", 1) };
    seen.map(|seen| seen + &grouped)
}

/// Receives several parts in each request, if the plugin takes such receives. Returns the words to add.
fn grouped_receiving(bench: &mut Bench, comm: P) -> Seen {
    let plugin = &bench.plugin;
    let parts = plugin.parts()?;
    if parts == 1 {
        return Ok(String::new());
    }
    let mut posted = Vec::new();
    while posted.len() < REQUESTS_MAX {
        let blocks = (0..parts).map(|_| plugin.room(comm, BYTES)).collect::<Result<Vec<Block>, Stop>>()?;
        match plugin.persist(|| plugin.irecv_grouped(comm, &blocks)) {
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
            block.holds(BYTES, message)?;
        }
        plugin.consume_grouped(comm, *request)?;
    }
    Ok(format!(", {} of {parts} parts each", posted.len()))
}

/// Sends to receives of several parts. Returns the parts of the other side's receives, the most sends to them
/// that were in flight at once, and the parts of each receive. `None` if a receive has one part.
fn grouped_sending(bench: &mut Bench, comm: P) -> Result<Option<(usize, usize, usize)>, Stop> {
    let plugin = &bench.plugin;
    let parts = plugin.parts()?;
    if parts == 1 {
        return Ok(None);
    }
    let asked = bench.link.hear_number()? as usize;
    let mut flight = Flight::new(plugin, comm);
    for (message, part) in (0..).zip((0..parts).cycle()).take(asked) {
        let block = plugin.message(comm, BYTES, message)?;
        let sent = || Ok(plugin.isend_tagged(comm, block, tag(part))?.map(|request| request.ticket));
        if !flight.add(sent)? {
            break;
        }
    }
    bench.link.tell_number(flight.posted.len() as u64)?;
    // A receive that lacks the send of a part need not end, and neither need its other sends.
    flight.land(flight.posted.len() / parts * parts)?;
    Ok(Some((asked, flight.most, parts)))
}

/// The sends of a connection, and the most that were in flight at once.
struct Flight<'plugin> {
    plugin: &'plugin BenchPlugin,
    comm: P,
    posted: Vec<Ticket>,
    most: usize,
    /// Whether a send was refused for long.
    full: bool,
}

impl<'plugin> Flight<'plugin> {
    const fn new(plugin: &'plugin BenchPlugin, comm: P) -> Self {
        Self { plugin, comm, posted: Vec::new(), most: 0, full: false }
    }

    /// Posts one more send; false once the plugin takes no more. A plugin that says "not yet" has time to
    /// hear of the receives. Then `add` asks for the requests in flight, as some plugins move data only so.
    fn add(&mut self, one: impl Fn() -> Result<Option<Ticket>, Stop>) -> Result<bool, Stop> {
        let began = Instant::now();
        while began.elapsed() < LANDED {
            match one() {
                Ok(Some(ticket)) => {
                    self.posted.push(ticket);
                    self.most = self.most.max(self.plugin.outstanding().in_flight(self.comm));
                    return Ok(true);
                }
                Ok(None) => {}
                Err(Stop::Failed(_)) => return Ok(false),
                Err(other) => return Err(other),
            }
            self.full |= began.elapsed() > HEARD;
            if self.full {
                self.plugin.attend_to_one(self.comm);
            }
            pause();
        }
        Ok(false)
    }

    /// Waits for the first `count` sends.
    fn land(&self, count: usize) -> Result<(), Stop> {
        self.posted[..count].iter().try_for_each(|&ticket| {
            let done = || self.plugin.ask(ticket);
            self.plugin.until("test never said that a request is done", done).map(drop)
        })
    }
}

/// Posts up to `most` requests; ends at the first refusal or error.
pub(super) fn post(
    plugin: &BenchPlugin,
    most: usize,
    memory: impl Fn(u64) -> Result<Block, Stop>,
    one: impl Fn(Block) -> Result<Option<PostedRequest>, Stop>,
) -> Result<Vec<PostedRequest>, Stop> {
    let mut posted = Vec::new();
    while posted.len() < most {
        let block = memory(posted.len() as u64)?;
        match plugin.persist(|| one(block)) {
            Ok(Some(request)) => posted.push(request),
            Ok(None) | Err(_) => break,
        }
    }
    Ok(posted)
}

/// Returns the number of requests, for `parts` to each, that NCCL's header promises for a version.
pub(super) const fn promised(version: u32, parts: usize) -> usize {
    (if version < 7 { REQUESTS_V6 } else { REQUESTS_MAX }) * parts
}

/// Judges a number of requests, with `parts` to each receive.
fn enough(plugin: &BenchPlugin, count: usize, what: &str, parts: usize) -> Seen {
    let promised = promised(plugin.raw.version(), parts);
    if count >= REQUESTS_MAX * parts {
        Ok(format!("{count} {what}"))
    } else if count >= promised.min(ENOUGH * parts) {
        let fewer = REQUESTS_MAX * parts;
        Ok(format!("{count} {what}: fewer than {fewer}, and enough for NCCL's pipeline of 8"))
    } else {
        fail(format!("only {count} {what}"))
    }
}

/// The number that does for NCCL's pipeline; NCCL has also run with fewer.
const ENOUGH: usize = 16;
/// `NCCL_NET_MAX_REQUESTS` before 2.19.
const REQUESTS_V6: usize = 8;
/// The time that a send waits to hear of its receive.
const HEARD: Duration = Duration::from_millis(300);
/// The time that a send waits for another send to make room.
const LANDED: Duration = Duration::from_millis(1000);
const BYTES: usize = 256;
