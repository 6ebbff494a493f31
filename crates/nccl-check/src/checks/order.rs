//! Which send meets which receive, and in which order requests may be asked for.

use crate::{
    bench::Request,
    block::Block,
    grouped::tag,
    meeting::Bench,
    raw::P,
    stop::{Seen, Stop, fail, skip},
};

pub(super) fn posted_receiving(bench: &mut Bench) -> Seen {
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

pub(super) fn posted_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let send = |message| plugin.send(comm, plugin.message(comm, BYTES, message)?);
    let posted = post(0..FEW, send)?;
    posted.iter().try_for_each(|request| plugin.wait(*request).map(drop))?;
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
    posted.iter().try_for_each(|request| plugin.wait(*request).map(drop))?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn take_all(bench: &Bench, comm: P, posted: &[Request], from: u64) -> Result<(), Stop> {
    (from..).zip(posted).try_for_each(|(message, request)| bench.plugin.take(comm, *request, BYTES, message))
}

fn post(
    messages: std::ops::Range<u64>,
    mut one: impl FnMut(u64) -> Result<Request, Stop>,
) -> Result<Vec<Request>, Stop> {
    messages.map(&mut one).collect()
}

pub(super) fn grouped_receiving(bench: &mut Bench) -> Seen {
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
        plugin.consume_grouped(comm, request, parts)?;
    }
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{GROUPS} groups of {parts}, sent in the other order"))
}

pub(super) fn grouped_sending(bench: &mut Bench) -> Seen {
    let parts = parts(bench)?;
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    for number in 0..GROUPS {
        let mut posted = Vec::new();
        for part in (0..parts).rev() {
            let block = plugin.message(comm, part_bytes(part), message(number, part))?;
            let tag = tag(part);
            posted
                .push(plugin.until("isend never gave a request", || plugin.isend_tagged(comm, block, tag))?);
        }
        posted.iter().try_for_each(|request| plugin.wait(*request).map(drop))?;
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

/// Each part has a length of its own.
const fn part_bytes(part: usize) -> usize {
    BYTES - 100 * part
}

const fn message(group: u64, part: usize) -> u64 {
    group * 100 + part as u64
}

pub(super) fn any_order_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let posted = post(0..FEW, |_| plugin.recv(comm, plugin.room(comm, BYTES)?))?;
    bench.link.tell(b"posted")?;
    for (message, request) in posted.iter().enumerate().rev() {
        plugin.wait(*request).map_err(|stop| newest(stop, message as u64))?;
        let right = request.block.check(BYTES, message as u64);
        right.or_else(|why| fail(format!("in message {message}, {why}")))?;
    }
    posted.iter().try_for_each(|request| plugin.consume(comm, *request))?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{FEW} receives, the newest asked for first"))
}

pub(super) fn any_order_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let posted = post(0..FEW, |message| plugin.send(comm, plugin.message(comm, BYTES, message)?))?;
    for (message, request) in posted.iter().enumerate().rev() {
        plugin.wait(*request).map_err(|stop| newest(stop, message as u64))?;
    }
    bench.part_from_receiver(comm)?;
    Ok(format!("{FEW} sends, the newest asked for first"))
}

fn newest(stop: Stop, message: u64) -> Stop {
    match stop {
        Stop::Failed(why) => Stop::Failed(format!("asked for request {message} before older ones, {why}")),
        other => other,
    }
}

/// Few enough for every plugin.
const FEW: u64 = 8;
const BYTES: usize = 2000;
const GROUPS: u64 = 2;
