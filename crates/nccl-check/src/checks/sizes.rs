//! Lengths: 0, less than the room, more than the room; and a caller that passes NULL for the sizes.

use std::{
    ffi::c_int,
    ptr,
    time::{Duration, Instant},
};

use gputcp_nccl_net::ResultCode;

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, answered, pause},
    meeting::Bench,
    posting::PostedRequest,
    raw::{P, Sizes},
    source::{BOOTSTRAP, NET, NET_IB, NET_SOCKET, README, nccl},
    stop::{Seen, Stop, fail, stricter},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "size-zero",
        expected: "messages of 0 bytes are sent and received as any other",
        because: "NCCL sends empty steps where a rank has no data",
        sources: &[nccl(NET, 1467, 1467), nccl(NET, 1609, 1611), nccl(README, 420, 421)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: zero_receiving, sending: zero_sending },
    },
    Check {
        id: "receive-larger-than-send",
        expected: "a receive may be larger than its send. Test says the size of the send, and writes nothing behind it",
        because: "NCCL posts receives of a whole slice, and flushes, or does not, by the size that test says",
        sources: &[
            nccl(README, 387, 388),
            nccl(README, 406, 413),
            nccl(NET, 1459, 1467),
            nccl(NET, 1507, 1529),
        ],
        scope: Scope::ALL,
        run: Run::Pair { receiving: smaller_receiving, sending: smaller_sending },
    },
    Check {
        id: "send-larger-than-receive",
        expected: "a send that is larger than its receive ends in an error, on either side, and writes nothing beyond the \
                   receive",
        because: "a message that is cut short is wrong results",
        sources: &[
            nccl(README, 139, 140),
            nccl(README, 388, 388),
            nccl(NET_SOCKET, 561, 569),
            nccl(NET_IB, 2217, 2217),
        ],
        scope: Scope {
            stricter: Some("NCCL's own InfiniBand cuts the message to the receive, and tells neither side"),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: larger_receiving, sending: larger_sending },
    },
    Check {
        id: "null-sizes",
        expected: "test takes NULL for sizes",
        because: "NCCL passes NULL for flushes, and for the messages of its bootstrap over a plugin",
        sources: &[nccl(NET, 1577, 1578), nccl(BOOTSTRAP, 152, 180), nccl(README, 108, 110)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: null_receiving, sending: null_sending },
    },
];

fn zero_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    for (room, bytes) in ZERO {
        let request = bench.plugin.recv(comm, bench.plugin.room(comm, room)?)?;
        bench.plugin.take(comm, request, bytes, 1)?;
    }
    bench.part_from_sender(&listening, comm)?;
    Ok("received nothing into no room, nothing into some, then something".into())
}

fn zero_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    for (_, bytes) in ZERO {
        let request = bench.plugin.send(comm, bench.plugin.message(comm, bytes, 1)?)?;
        bench.plugin.wait(request)?;
    }
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn smaller_receiving(bench: &mut Bench) -> Seen {
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

fn smaller_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    for (_, bytes) in SMALLER {
        let request = bench.plugin.send(comm, bench.plugin.message(comm, bytes, 1)?)?;
        bench.plugin.wait(request)?;
    }
    bench.plugin.check_sizes()?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// The end of a request that must not succeed.
#[derive(Debug, Clone, Copy)]
enum Ended {
    Not,
    Done(usize),
    With(c_int),
}

fn larger_receiving(bench: &mut Bench) -> Seen {
    let (_, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let request = plugin.recv(comm, plugin.room(comm, ROOM)?)?;
    let asked = plugin.leave_to_the_check(request);
    bench.link.tell(b"posted")?;
    let here = end(plugin, asked);
    let there = bench.link.hear_number()? as c_int;
    request
        .block
        .check_guards()
        .or_else(|why| fail(format!("{LARGER} bytes sent to room for {ROOM}: {why}")))?;
    // The connection stays as it is: another check closes after an error.
    bench.link.meet()?;
    match (here, there) {
        (_, USAGE) => Ok(format!("the sender's {}", answered("isend or test", USAGE))),
        (Ended::With(code), _) => Ok(format!("the receiver's {}", answered("test", code))),
        (_, code @ 1..) => Ok(format!("the sender's {}", answered("isend or test", code))),
        (Ended::Done(bytes), _) => stricter(format!(
            "{LARGER} bytes were sent to room for {ROOM}: test said done, with {bytes} bytes"
        )),
        (Ended::Not, _) => stricter("neither side was told"),
    }
}

fn larger_sending(bench: &mut Bench) -> Seen {
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
        Ok((over || !pointer.is_null()).then_some(pointer))
    })?;
    if code == 0
        && let Ended::With(answer) = end(plugin, posted)
    {
        code = answer;
    }
    bench.link.tell_number(u64::from(code.unsigned_abs()))?;
    bench.link.meet()?;
    Ok(String::new())
}

/// Asks for a request until it ends, for a while.
fn end(plugin: &BenchPlugin, request: P) -> Ended {
    let until = Instant::now() + A_WHILE;
    while Instant::now() < until {
        let (mut done, mut sizes) = (0, Sizes::new());
        let code = plugin.call("test", |raw| raw.test(request, &raw mut done, sizes.pointer()));
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

fn null_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let request = bench.plugin.recv(comm, bench.plugin.room(comm, ROOM)?)?;
    without_sizes(&bench.plugin, request)?;
    request.block.check(ROOM, 1).or_else(fail)?;
    bench.plugin.consume(comm, request)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("a receive and a send were done".into())
}

fn null_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let request = bench.plugin.send(comm, bench.plugin.message(comm, ROOM, 1)?)?;
    without_sizes(&bench.plugin, request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn without_sizes(plugin: &BenchPlugin, request: PostedRequest) -> Result<(), Stop> {
    let request = plugin.leave_to_the_check(request);
    plugin.until("test never said that a request is done", || {
        let mut done = 0;
        let code = plugin.call("test", |raw| raw.test(request, &raw mut done, ptr::null_mut()));
        Ok((plugin.success("test", code)? && done != 0).then_some(()))
    })
}

/// The room and the length of each message.
const ZERO: [(usize, usize); 3] = [(0, 0), (64, 0), (64, 64)];
const SMALLER: [(usize, usize); 3] = [(4096, 1000), (1 << 20, 8), (1 << 20, 600_000)];
const ROOM: usize = 1000;
/// The length of a message that is too long; its end lies within the block's guards.
const LARGER: usize = 5000;
/// The code that says the most: the sizes differ.
const USAGE: c_int = ResultCode::InvalidUsage.number();
/// The time in which an end comes that must come.
const A_WHILE: Duration = Duration::from_secs(3);
