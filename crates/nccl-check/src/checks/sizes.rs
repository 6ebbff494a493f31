//! Lengths: none, less than there is room for, more than that; and a caller who does not want to know.

use std::{
    ffi::c_int,
    ptr,
    time::{Duration, Instant},
};

use gputcp_nccl_abi::ResultCode;

use crate::{
    bench::{Plugin, Request, answered, pause},
    meeting::Bench,
    raw::Sizes,
    stop::{Seen, Stop, fail},
};

pub(super) fn zero_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    for (room, bytes) in ZERO {
        let request = bench.plugin.recv(comm, bench.plugin.room(comm, room)?)?;
        bench.plugin.take(comm, request, bytes, 1)?;
    }
    bench.part_from_sender(&listening, comm)?;
    Ok("received nothing into no room, nothing into some, then something".into())
}

pub(super) fn zero_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    for (_, bytes) in ZERO {
        let request = bench.plugin.send(comm, bench.plugin.message(comm, bytes, 1)?)?;
        bench.plugin.wait(request)?;
    }
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

pub(super) fn smaller_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    for (room, bytes) in SMALLER {
        let request = bench.plugin.recv(comm, bench.plugin.room(comm, room)?)?;
        let said = bench.plugin.wait(request)?;
        let right = request.block.check(bytes, 1);
        right.or_else(|why| fail(format!("of {bytes} bytes sent to room for {room}, {why}")))?;
        bench.plugin.consume(comm, request)?;
        if said != bytes {
            let said = if said == usize::MAX { "no size".into() } else { format!("{said} bytes") };
            return fail(format!("{bytes} bytes were sent to room for {room}: test said {said}"));
        }
    }
    bench.plugin.check_sizes()?;
    bench.part_from_sender(&listening, comm)?;
    Ok("test said the sizes of the sends".into())
}

pub(super) fn smaller_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    for (_, bytes) in SMALLER {
        let request = bench.plugin.send(comm, bench.plugin.message(comm, bytes, 1)?)?;
        bench.plugin.wait(request)?;
    }
    bench.plugin.check_sizes()?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// How a request ended that must not succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Not,
    Done(usize),
    With(c_int),
}

pub(super) fn larger_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let request = plugin.recv(comm, plugin.room(comm, ROOM)?)?;
    bench.link.tell(b"posted")?;
    let here = end(plugin, request);
    let there = bench.link.hear_number()? as c_int;
    request
        .block
        .check_guards()
        .or_else(|why| fail(format!("{LARGER} bytes sent to room for {ROOM}: {why}")))?;
    bench.link.meet()?;
    // What answers an error may answer one to its close as well.
    let _ = plugin.close_recv(comm);
    let _ = plugin.close_listen(listening.comm);
    match (here, there) {
        (Ended::With(USAGE), _) => Ok(format!("the receiver's test answered {USAGE}")),
        (_, USAGE) => Ok(format!("the sender was answered {USAGE}")),
        (Ended::Done(bytes), _) => {
            fail(format!("{LARGER} bytes were sent to room for {ROOM}: test said done, with {bytes} bytes"))
        }
        (Ended::With(code), _) => fail(format!("the receiver's {}", answered("test", code))),
        (Ended::Not, 0) => fail("neither side was told"),
        (Ended::Not, code) => fail(format!("the sender's {}", answered("isend or test", code))),
    }
}

pub(super) fn larger_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let block = plugin.message(comm, LARGER, 1)?;
    let mut code = 0;
    let posted = plugin.until("isend never gave a request", || {
        let (answer, pointer) =
            plugin.call("isend", |raw| raw.isend(comm, block.pointer(), block.bytes, 7, block.mhandle));
        code = answer;
        let over = code != 0 && code != ResultCode::InProgress.number();
        Ok((over || !pointer.is_null()).then_some(Request { pointer, block }))
    })?;
    if code == 0
        && let Ended::With(answer) = end(plugin, posted)
    {
        code = answer;
    }
    bench.link.tell_number(u64::from(code.unsigned_abs()))?;
    bench.link.meet()?;
    let _ = plugin.close_send(comm);
    Ok(String::new())
}

/// Asks until there is an end, for a while.
fn end(plugin: &Plugin, request: Request) -> Ended {
    let until = Instant::now() + A_WHILE;
    while Instant::now() < until {
        let (mut done, mut sizes) = (0, Sizes::new());
        let code = plugin.call("test", |raw| raw.test(request.pointer, &raw mut done, sizes.pointer()));
        if code != 0 && code != ResultCode::InProgress.number() {
            return Ended::With(code);
        }
        if done != 0 {
            return Ended::Done(usize::try_from(sizes.of(0)).unwrap_or(0));
        }
        pause();
    }
    Ended::Not
}

pub(super) fn null_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let request = bench.plugin.recv(comm, bench.plugin.room(comm, ROOM)?)?;
    without_sizes(&bench.plugin, request)?;
    request.block.check(ROOM, 1).or_else(fail)?;
    bench.plugin.consume(comm, request)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("a receive and a send were done".into())
}

pub(super) fn null_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let request = bench.plugin.send(comm, bench.plugin.message(comm, ROOM, 1)?)?;
    without_sizes(&bench.plugin, request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn without_sizes(plugin: &Plugin, request: Request) -> Result<(), Stop> {
    plugin.until("test never said that a request is done", || {
        let mut done = 0;
        let code = plugin.call("test", |raw| raw.test(request.pointer, &raw mut done, ptr::null_mut()));
        Ok((plugin.success("test", code)? && done != 0).then_some(()))
    })
}

/// Room and length of each message.
const ZERO: [(usize, usize); 3] = [(0, 0), (64, 0), (64, 64)];
const SMALLER: [(usize, usize); 3] = [(4096, 1000), (1 << 20, 8), (1 << 20, 600_000)];
const ROOM: usize = 1000;
/// Within the block's guards, should all of it be written.
const LARGER: usize = 5000;
const USAGE: c_int = ResultCode::InvalidUsage.number();
/// An end that must come, comes by then.
const A_WHILE: Duration = Duration::from_secs(3);
