//! Registrations.

use std::ptr;

use super::{Check, Run, Scope};
use crate::{
    bench::BenchPlugin,
    block::Block,
    meeting::Bench,
    raw::P,
    source::{NET, NET_IB, NET_SOCKET, PROXY, README, nccl},
    stop::{Seen, Stop},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "null-mhandle",
        expected: "isend and irecv take NULL for a registration",
        because: "NCCL passes what regMr gave, which is NULL where a plugin has no registrations",
        sources: &[
            nccl(README, 345, 347),
            nccl(NET, 1229, 1230),
            nccl(NET, 1410, 1411),
            nccl(NET_SOCKET, 643, 645),
            nccl(NET_IB, 2250, 2250),
        ],
        scope: Scope {
            stricter: Some(
                "NCCL passes NULL only where regMr gave NULL. Its own InfiniBand reads what regMr gave",
            ),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: null_mhandle_receiving, sending: null_mhandle_sending },
    },
    Check {
        id: "deregister-in-flight",
        expected: "deregMr succeeds while requests with that registration are in flight, and the data arrives",
        because: "after ncclCommAbort NCCL deregisters with requests in flight, and an error ends its clean-up",
        sources: &[nccl(NET, 1136, 1141), nccl(NET, 1181, 1186), nccl(PROXY, 1088, 1091)],
        scope: Scope {
            stricter: Some("NCCL closes the connection next, and the data is of no use to it any more"),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: deregister_receiving, sending: deregister_sending },
    },
];

fn null_mhandle_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let block = unregistered(&bench.plugin, comm)?;
    let request = bench.plugin.recv(comm, block)?;
    bench.plugin.take(comm, request, BYTES, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{BYTES} bytes without a registration"))
}

fn null_mhandle_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let block = unregistered(&bench.plugin, comm)?;
    block.fill(1);
    let request = bench.plugin.send(comm, block)?;
    bench.plugin.wait(request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// Returns memory to be posted with NULL. Where `regMr` gives another value, NCCL would pass that.
fn unregistered(plugin: &BenchPlugin, comm: P) -> Result<Block, Stop> {
    let mut block = plugin.room(comm, BYTES)?;
    if !block.mhandle.is_null() {
        plugin.go_beyond_nccl();
        block.mhandle = ptr::null_mut();
    }
    Ok(block)
}

fn deregister_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let mut block = Block::new(BYTES);
    block.mhandle = bench.plugin.register(comm, block)?;
    let request = bench.plugin.recv(comm, block)?;
    bench.plugin.deregister(comm, block.mhandle).map_err(in_flight)?;
    // NCCL would close now.
    bench.plugin.go_beyond_nccl();
    bench.link.tell(b"posted")?;
    bench.plugin.take(comm, request, BYTES, 1).map_err(afterwards)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("deregistered with a receive posted, which was completed".into())
}

fn deregister_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let mut block = Block::new(BYTES);
    block.fill(1);
    bench.link.hear()?;
    block.mhandle = bench.plugin.register(comm, block)?;
    let request = bench.plugin.send(comm, block)?;
    bench.plugin.deregister(comm, block.mhandle).map_err(in_flight)?;
    bench.plugin.go_beyond_nccl();
    bench.plugin.wait(request).map_err(afterwards)?;
    bench.part_from_receiver(comm)?;
    Ok("deregistered with a send posted, which was completed".into())
}

fn in_flight(stop: Stop) -> Stop {
    stop.told(|why| format!("with a request in flight, {why}"))
}

fn afterwards(stop: Stop) -> Stop {
    stop.told(|why| format!("deregistered with a request in flight, {why}"))
}

/// The length of a message: longer than a piece that plugins send at a time.
const BYTES: usize = 300_000;
