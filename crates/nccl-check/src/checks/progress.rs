//! When a request is done, and who moves it there.

use std::{
    ffi::c_int,
    time::{Duration, Instant},
};

use crate::{
    bench::{Plugin, Request, pause},
    block::pattern,
    meeting::Bench,
    raw::{Sizes, UNWRITTEN},
    stop::{Seen, Stop, fail},
};

pub(super) fn done_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let request = plugin.recv(comm, plugin.room(comm, BYTES)?)?;
    for _ in 0..50 {
        match done(plugin, request)? {
            0 => pause(),
            _ => return fail("test said done before anything was sent"),
        }
    }
    bench.link.tell(b"send")?;
    plugin.until("test never said that a request is done", || {
        Ok((done(plugin, request)? == 1).then_some(()))
    })?;
    request.block.check(BYTES, 1).or_else(|why| fail(format!("test said done, but {why}")))?;
    plugin.consume(comm, request)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("0 while nothing was sent, then 1".into())
}

pub(super) fn done_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let plugin = &bench.plugin;
    bench.link.hear()?;
    let request = plugin.send(comm, plugin.message(comm, BYTES, 1)?)?;
    plugin.until("test never said that a request is done", || {
        Ok((done(plugin, request)? == 1).then_some(()))
    })?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// What test writes, if it is one of the two values that there are.
fn done(plugin: &Plugin, request: Request) -> Result<c_int, Stop> {
    let (mut done, mut sizes) = (UNWRITTEN, Sizes::new());
    let code = plugin.call("test", |raw| raw.test(request.pointer, &raw mut done, sizes.pointer()));
    match (plugin.success("test", code)?, done) {
        (true, 0 | 1) => Ok(done),
        (true, UNWRITTEN) => fail("test left done unwritten"),
        (true, other) => fail(format!("test wrote {other} as done")),
        (false, _) => Ok(0),
    }
}

pub(super) fn without_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let block = plugin.room(comm, LONG_BYTES)?;
    let request = plugin.recv(comm, block)?;
    bench.link.tell(b"posted")?;
    // Neither side calls the plugin now: the message is longer than what sockets hold.
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
        return fail(format!(
            "{} s after it was sent, a message had not arrived; with test it did",
            took.as_secs()
        ));
    }
    Ok(format!("{} MiB arrived within {:.0} ms", LONG_BYTES >> 20, took.as_secs_f64() * 1e3))
}

pub(super) fn without_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    let request = plugin.send(comm, plugin.message(comm, LONG_BYTES, 1)?)?;
    bench.link.hear()?;
    plugin.wait(request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

const BYTES: usize = 100_000;
const LONG_BYTES: usize = 16 << 20;
/// A slow plugin on a busy machine has it there by then.
const LONG_ENOUGH: Duration = Duration::from_secs(3);
