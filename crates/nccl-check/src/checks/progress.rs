//! The moment at which a request is done, and the thread that moves it there.

use std::{
    ffi::c_int,
    time::{Duration, Instant},
};

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, pause},
    block::pattern,
    meeting::Bench,
    raw::{P, Sizes, UNWRITTEN},
    source::{NET, PROXY, README, nccl},
    stop::{Seen, Stop, fail, stricter},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "done-once",
        expected: "test writes done each time: 0 as long as the request is not done, then once 1",
        because: "NCCL's variable for done holds no value before the call",
        sources: &[nccl(NET, 1335, 1340), nccl(NET, 1503, 1509), nccl(README, 415, 416)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: done_receiving, sending: done_sending },
    },
    Check {
        id: "progress-without-test",
        expected: "posted requests go on though test is not called",
        because: "NCCL's progress thread serves many connections by turns, and data that waits for a turn is late",
        sources: &[
            nccl(NET, 1334, 1339),
            nccl(NET, 1499, 1508),
            nccl(PROXY, 754, 776),
            nccl(PROXY, 960, 990),
        ],
        scope: Scope {
            stricter: Some("NCCL calls test for the requests in flight all the time"),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: without_receiving, sending: without_sending },
    },
];

fn done_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let request = plugin.recv(comm, plugin.room(comm, BYTES)?)?;
    let asked = plugin.leave_to_the_check(request);
    for _ in 0..50 {
        match done(plugin, asked)? {
            0 => pause(),
            _ => return fail("test said done before anything was sent"),
        }
    }
    bench.link.tell(b"send")?;
    plugin
        .until("test never said that a request is done", || Ok((done(plugin, asked)? == 1).then_some(())))?;
    request.block.check(BYTES, 1).or_else(|why| fail(format!("test said done, but {why}")))?;
    plugin.consume(comm, request)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("0 while nothing was sent, then 1".into())
}

fn done_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let plugin = &bench.plugin;
    bench.link.hear()?;
    let asked = plugin.leave_to_the_check(plugin.send(comm, plugin.message(comm, BYTES, 1)?)?);
    plugin
        .until("test never said that a request is done", || Ok((done(plugin, asked)? == 1).then_some(())))?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// Returns the value that `test` writes as done, 0 or 1, or a failure.
fn done(plugin: &BenchPlugin, request: P) -> Result<c_int, Stop> {
    let (mut done, mut sizes) = (UNWRITTEN, Sizes::new());
    let code = plugin.call("test", |raw| raw.test(request, &raw mut done, sizes.pointer()));
    match (plugin.success("test", code)?, done) {
        (true, 0 | 1) => Ok(done),
        (true, UNWRITTEN) => fail("test left done unwritten"),
        (true, other) => fail(format!("test wrote {other} as done")),
        (false, _) => Ok(0),
    }
}

fn without_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let block = plugin.room(comm, LONG_BYTES)?;
    let request = plugin.recv(comm, block)?;
    bench.link.tell(b"posted")?;
    // Neither side calls test now: the message is longer than what sockets hold.
    let places = [0, LONG_BYTES / 3, LONG_BYTES / 2, LONG_BYTES - 1];
    let arrived = || places.iter().filter(|&&at| block.peek(at) == pattern(1, at)).count();
    let began = Instant::now();
    while arrived() < places.len() && began.elapsed() < LONG_ENOUGH {
        pause();
    }
    let (here, took) = (arrived(), began.elapsed());
    bench.link.tell(b"looked")?;
    plugin.take(comm, request, LONG_BYTES, 1)?;
    bench.part_from_sender(&listening, comm)?;
    if here < places.len() {
        return stricter(format!("within {} s a message did not arrive; with test it did", took.as_secs()));
    }
    Ok(format!("{} MiB arrived within {:.0} ms", LONG_BYTES >> 20, took.as_secs_f64() * 1e3))
}

fn without_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear_without_test()?;
    let plugin = &bench.plugin;
    let block = plugin.message(comm, LONG_BYTES, 1)?;
    // A plugin may say "not yet" until the receiver calls test.
    let mut posted = None;
    while posted.is_none() && !bench.link.is_ready(Duration::ZERO)? {
        posted = plugin.isend(comm, block)?;
        pause();
    }
    bench.link.hear_without_test()?;
    let request = match posted {
        Some(request) => request,
        None => plugin.send(comm, block)?,
    };
    plugin.wait(request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

const BYTES: usize = 100_000;
const LONG_BYTES: usize = 16 << 20;
/// The time in which a slow plugin moves the message on a busy machine.
const LONG_ENOUGH: Duration = Duration::from_secs(3);
