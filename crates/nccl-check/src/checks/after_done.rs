//! A sender that closes the moment `test` says done. The receiver gets its messages, however soon the
//! connection ends.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Check, Run, Scope, order::post};
use crate::{
    bench::BenchPlugin,
    meeting::Bench,
    posting::PostedRequest,
    source::{BOOTSTRAP, NET, README, nccl},
    stop::{Seen, Stop},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "close-after-done-loses-nothing",
    expected: "a sender may close as soon as test has said done of all its sends: the receiver gets all of them",
    because: "a rank closes when its own requests are done, whatever its peer has got by then",
    sources: &[
        nccl(README, 406, 408),
        nccl(NET, 1345, 1366),
        nccl(NET, 1161, 1167),
        nccl(BOOTSTRAP, 181, 196),
        nccl(BOOTSTRAP, 1188, 1191),
    ],
    scope: Scope::ALL,
    run: Run::Pair { receiving, sending },
}];

/// The messages of a connection.
struct Shape {
    count: u64,
    bytes: usize,
    /// The time between the connection's start and its first receive.
    late: Duration,
}

fn receiving(bench: &mut Bench) -> Seen {
    let until = Instant::now() + ENOUGH.min(bench.plugin.time_left() / 3);
    let mut connections = 0;
    while connections < CONNECTIONS && (connections < CONNECTIONS_MIN || Instant::now() < until) {
        let shape = shape(connections);
        bench.link.tell_number(GO_ON)?;
        let (listening, comm) = bench.meet_sender()?;
        let plugin = &bench.plugin;
        // The memory is made first: between the sender's start and its close come the receives alone.
        let room: Vec<_> =
            (0..shape.count).map(|_| plugin.room(comm, shape.bytes)).collect::<Result<_, Stop>>()?;
        bench.link.tell(b"send")?;
        thread::sleep(shape.late);
        let lost = |stop: Stop| stop.told(|why| format!("on connection {}, {why}", connections + 1));
        let posted = post(room, |block| plugin.recv(comm, block)).map_err(lost)?;
        for (message, request) in (0..).zip(posted) {
            done(plugin, request).map_err(lost)?;
            request.block.holds(shape.bytes, message).map_err(lost)?;
            plugin.consume(comm, request)?;
        }
        plugin.close_recv(comm).map_err(lost)?;
        plugin.close_listen(listening.comm)?;
        connections += 1;
    }
    bench.link.tell_number(OVER)?;
    bench.link.meet()?;
    Ok(format!("{connections} connections that ended at once lost nothing"))
}

fn sending(bench: &mut Bench) -> Seen {
    for connection in 0.. {
        if bench.link.hear_number()? == OVER {
            break;
        }
        let shape = shape(connection);
        let comm = bench.meet_receiver()?;
        let plugin = &bench.plugin;
        let messages: Vec<_> = (0..shape.count)
            .map(|message| plugin.message(comm, shape.bytes, message))
            .collect::<Result<_, Stop>>()?;
        bench.link.hear()?;
        for request in post(messages, |block| plugin.send(comm, block))? {
            done(plugin, request)?;
        }
        plugin.close_send(comm)?;
    }
    bench.link.meet()?;
    Ok(String::new())
}

/// Waits for a request without a pause, as the connection may end between any two calls.
fn done(plugin: &BenchPlugin, request: PostedRequest) -> Result<(), Stop> {
    while plugin.test(request)?.is_none() {
        plugin.in_time("test never said that a request is done")?;
    }
    Ok(())
}

/// Returns one long message, several short ones, or short ones that come before their receives.
const fn shape(connection: usize) -> Shape {
    match connection % 3 {
        0 => Shape { count: 1, bytes: 1 << 20, late: Duration::ZERO },
        1 => Shape { count: 8, bytes: 10_000, late: Duration::ZERO },
        _ => Shape { count: 8, bytes: 1000, late: Duration::from_micros(500) },
    }
}

/// The connections of a run: it finds a loss on one connection in thirty with a probability of 99 %.
const CONNECTIONS: usize = 150;
/// The fewest connections, for plugins that take long to connect.
const CONNECTIONS_MIN: usize = 10;
const ENOUGH: Duration = Duration::from_secs(3);
/// The receiving side's word before each connection; its last word is [`OVER`].
const GO_ON: u64 = 1;
const OVER: u64 = 0;
