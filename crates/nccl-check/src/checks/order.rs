//! The match of sends and receives, and the order in which requests may be asked for.

use super::{Check, Run, Scope};
use crate::{
    bench::BenchPlugin,
    block::Block,
    grouped::tag,
    meeting::Bench,
    posting::PostedRequest,
    raw::P,
    source::{NET, README, nccl},
    stop::{Seen, Stop, fail, skip},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "posted-order",
        expected: "sends meet receives in the order in which both were posted",
        because: "NCCL posts the steps of a channel in order, all with the same tag",
        sources: &[nccl(README, 399, 402), nccl(NET, 1322, 1322), nccl(NET, 1468, 1468)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: posted_receiving, sending: posted_sending },
    },
    Check {
        id: "grouped-tags",
        expected: "within a grouped receive the tag says which part a send is for",
        because: "with maxRecvs > 1 NCCL receives from several ranks in one request",
        sources: &[nccl(README, 377, 385), nccl(NET, 1379, 1408), nccl(NET, 1463, 1482)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: grouped_receiving, sending: grouped_sending },
    },
    Check {
        id: "test-any-order",
        expected: "test may be called for any request in flight, not only the oldest",
        because: "with maxRecvs > 1 several operations share a connection, and NCCL asks for each one's requests",
        sources: &[nccl(NET, 830, 845), nccl(NET, 1238, 1242), nccl(NET, 1334, 1339), nccl(NET, 1499, 1508)],
        scope: Scope {
            stricter: Some(
                "with maxRecvs 1 NCCL asks for the oldest send, or receive, of a connection alone",
            ),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: any_order_receiving, sending: any_order_sending },
    },
];

fn posted_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    // The receives first, then the sends.
    let posted = post(0..FEW, |_| plugin.recv(comm, plugin.room(comm, BYTES)?))?;
    bench.link.tell(b"posted")?;
    take_all(bench, comm, &posted, 0)?;
    // The sends first, then the receives.
    bench.link.hear()?;
    let posted = post(0..FEW, |_| bench.plugin.recv(comm, bench.plugin.room(comm, BYTES)?))?;
    take_all(bench, comm, &posted, FEW)?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{FEW} messages in order with the receives posted first, and {FEW} with the sends first"))
}

fn posted_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let send = |message| plugin.send(comm, plugin.message(comm, BYTES, message)?);
    let posted = post(0..FEW, send)?;
    plugin.wait_for_all(&posted)?;
    // Some plugins give a send no slot before its receive is known.
    let mut posted = Vec::new();
    for message in FEW..2 * FEW {
        match plugin.isend(comm, plugin.message(comm, BYTES, message)?)? {
            Some(request) => posted.push(request),
            None => break,
        }
    }
    bench.link.tell(b"posted")?;
    posted.extend(post(FEW + posted.len() as u64..2 * FEW, send)?);
    plugin.wait_for_all(&posted)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn take_all(bench: &Bench, comm: P, posted: &[PostedRequest], from: u64) -> Result<(), Stop> {
    (from..).zip(posted).try_for_each(|(message, request)| bench.plugin.take(comm, *request, BYTES, message))
}

/// Posts a request for each of these.
pub(super) fn post<T>(
    these: impl IntoIterator<Item = T>,
    one: impl FnMut(T) -> Result<PostedRequest, Stop>,
) -> Result<Vec<PostedRequest>, Stop> {
    these.into_iter().map(one).collect()
}

fn grouped_receiving(bench: &mut Bench) -> Seen {
    let parts = parts(bench)?;
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let mut groups = Vec::new();
    for _ in 0..GROUPS {
        let blocks = (0..parts)
            .map(|part| plugin.room(comm, part_bytes(part)))
            .collect::<Result<Vec<Block>, Stop>>()?;
        let request = plugin.until("irecv never gave a request", || plugin.irecv_grouped(comm, &blocks))?;
        groups.push((request, blocks));
    }
    bench.link.tell(b"posted")?;
    for ((request, blocks), number) in groups.into_iter().zip(0..) {
        let sizes = plugin.wait_grouped(request)?;
        sizes.check_guard(parts).or_else(fail)?;
        for (part, block) in blocks.iter().enumerate() {
            let size = sizes.of(part);
            let bytes = part_bytes(part);
            let tag = tag(part);
            block
                .check(bytes, message(number, part))
                .or_else(|why| fail(format!("the part with tag {tag} has not its send's data: {why}")))?;
            if size != bytes as i32 {
                return fail(format!(
                    "test said {size} bytes for the part with tag {tag}, which got {bytes}"
                ));
            }
        }
        plugin.consume_grouped(comm, request)?;
    }
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{GROUPS} groups of {parts}, sent in the other order"))
}

fn grouped_sending(bench: &mut Bench) -> Seen {
    let parts = parts(bench)?;
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    for number in 0..GROUPS {
        let mut posted = Vec::new();
        for part in (0..parts).rev() {
            let block = plugin.message(comm, part_bytes(part), message(number, part))?;
            let tag = tag(part);
            posted.push(plugin.send_tagged(comm, block, tag)?);
        }
        plugin.wait_for_all(&posted)?;
    }
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn parts(bench: &Bench) -> Result<usize, Stop> {
    match bench.plugin.parts()? {
        1 => skip("maxRecvs is 1"),
        parts => Ok(parts),
    }
}

/// Returns the length of a part, which no other part has.
const fn part_bytes(part: usize) -> usize {
    BYTES - 100 * part
}

const fn message(group: u64, part: usize) -> u64 {
    group * 100 + part as u64
}

fn any_order_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let posted = post(0..FEW, |_| plugin.recv(comm, plugin.room(comm, BYTES)?))?;
    bench.link.tell(b"posted")?;
    beyond_for_one(plugin)?;
    for (message, request) in posted.iter().enumerate().rev() {
        plugin.wait(*request).map_err(|stop| newest(stop, message as u64))?;
        request.block.holds(BYTES, message as u64)?;
    }
    posted.iter().try_for_each(|request| plugin.consume(comm, *request))?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{FEW} receives, the newest asked for first"))
}

fn any_order_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let posted = post(0..FEW, |message| plugin.send(comm, plugin.message(comm, BYTES, message)?))?;
    beyond_for_one(plugin)?;
    for (message, request) in posted.iter().enumerate().rev() {
        plugin.wait(*request).map_err(|stop| newest(stop, message as u64))?;
    }
    bench.part_from_receiver(comm)?;
    Ok(format!("{FEW} sends, the newest asked for first"))
}

fn newest(stop: Stop, message: u64) -> Stop {
    stop.told(|why| format!("asked for request {message} before older ones, {why}"))
}

/// Notes that the check goes beyond NCCL where a request has one receive: NCCL asks for the oldest alone.
fn beyond_for_one(plugin: &BenchPlugin) -> Result<(), Stop> {
    if plugin.parts()? == 1 {
        plugin.go_beyond_nccl();
    }
    Ok(())
}

/// The most requests in flight: few enough for every plugin.
const FEW: u64 = 8;
const BYTES: usize = 2000;
const GROUPS: u64 = 2;
