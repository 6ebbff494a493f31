//! Registrations.

use crate::{
    block::Block,
    meeting::Bench,
    stop::{Seen, Stop},
};

pub(super) fn null_mhandle_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let request = bench.plugin.recv(comm, Block::new(BYTES))?;
    bench.plugin.take(comm, request, BYTES, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{BYTES} bytes without a registration"))
}

pub(super) fn null_mhandle_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let block = Block::new(BYTES);
    block.fill(1);
    let request = bench.plugin.send(comm, block)?;
    bench.plugin.wait(request)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

pub(super) fn deregister_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let mut block = Block::new(BYTES);
    block.mhandle = bench.plugin.register(comm, block)?;
    let request = bench.plugin.recv(comm, block)?;
    bench.plugin.deregister(comm, block.mhandle).map_err(in_flight)?;
    bench.link.tell(b"posted")?;
    bench.plugin.take(comm, request, BYTES, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("deregistered with a receive posted, which was completed".into())
}

pub(super) fn deregister_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    bench.link.hear()?;
    let mut block = Block::new(BYTES);
    block.fill(1);
    block.mhandle = bench.plugin.register(comm, block)?;
    let request = bench.plugin.send(comm, block)?;
    bench.plugin.deregister(comm, block.mhandle).map_err(in_flight)?;
    bench.plugin.wait(request)?;
    bench.part_from_receiver(comm)?;
    Ok("deregistered with a send posted, which was completed".into())
}

fn in_flight(stop: Stop) -> Stop {
    match stop {
        Stop::Failed(why) => Stop::Failed(format!("with a request in flight, {why}")),
        other => other,
    }
}

/// Longer than what plugins send in one piece.
const BYTES: usize = 300_000;
