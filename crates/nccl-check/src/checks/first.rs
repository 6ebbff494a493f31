//! The first listener and the first connection, as plain as can be. Where no connection can be made, one row
//! says so, and the others do not repeat it.

use std::time::Instant;

use super::{Check, Run, Scope, connect::at_once};
use crate::{
    bench::BenchPlugin,
    meeting::Bench,
    source::{NET, README, nccl},
    stop::Seen,
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "listen-does-not-block",
        expected: "listen returns at once, though no peer connects",
        because: "NCCL listens before it tells its peer the handle: a listen that waits for the peer waits for ever",
        sources: &[nccl(README, 296, 297), nccl(NET, 780, 782)],
        scope: Scope::ALL,
        run: Run::Alone(listen_does_not_block),
    },
    Check {
        id: "connection-works",
        expected: "listen, connect and accept give a connection, which carries a message and is closed",
        because: "NCCL moves all data over such connections. Without one, the other checks of two sides are skipped",
        sources: &[nccl(README, 155, 173), nccl(NET, 849, 853), nccl(NET, 1014, 1027)],
        scope: Scope::ALL,
        run: Run::Pair { receiving, sending },
    },
];

fn listen_does_not_block(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let began = Instant::now();
    let listening = plugin.listen()?;
    let took = began.elapsed();
    at_once("listen", took)?;
    plugin.close_listen(listening.comm)?;
    Ok(format!("it returned after {:.1} ms", took.as_secs_f64() * 1e3))
}

fn receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    bench.receive_one(comm, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("a message came, and all was closed".into())
}

fn sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.send_one(comm, 1)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}
