//! Many messages of many sizes, several in flight.

use std::collections::VecDeque;

use super::{Check, Run, Scope};
use crate::{
    bench::BenchPlugin,
    meeting::Bench,
    posting::FEW,
    raw::P,
    source::{NET, README, nccl},
    stop::{Seen, Stop},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "data-integrity",
    expected: "many messages, of many lengths up to 2 MiB, arrive as they were sent, into memory that belongs to them",
    because: "NCCL does not look at the data, and every rank computes with it",
    sources: &[nccl(README, 361, 366), nccl(README, 377, 385), nccl(NET, 1586, 1591)],
    scope: Scope::ALL,
    run: Run::Pair { receiving, sending },
}];

fn receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let bytes = receive(&bench.plugin, comm, &sizes())?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{} messages, {bytes} bytes", sizes().len()))
}

fn sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    send(&bench.plugin, comm, &sizes())?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// Receives messages of these sizes, each into a little more room, and checks every byte.
pub(super) fn receive(plugin: &BenchPlugin, comm: P, sizes: &[usize]) -> Result<usize, Stop> {
    let mut posted = VecDeque::new();
    let mut unposted = sizes.iter();
    let mut bytes = 0;
    for (message, &size) in (0..).zip(sizes) {
        while posted.len() < FEW {
            let Some(&size) = unposted.next() else { break };
            posted.push_back(plugin.recv(comm, plugin.room(comm, size + ROOM)?)?);
        }
        if let Some(request) = posted.pop_front() {
            plugin.take(comm, request, size, message)?;
            bytes += size;
        }
    }
    Ok(bytes)
}

/// Sends messages of these sizes.
pub(super) fn send(plugin: &BenchPlugin, comm: P, sizes: &[usize]) -> Result<(), Stop> {
    plugin.few_at_a_time(sizes.len() as u64, |message| {
        plugin.send(comm, plugin.message(comm, sizes[message as usize], message)?)
    })
}

/// Returns small sizes, those around powers of two, and long ones of any length. Empty messages are another
/// check's.
fn sizes() -> Vec<usize> {
    let mut sizes: Vec<usize> = (1..10).collect();
    for power in [12, 16, 19, 20] {
        sizes.extend([(1 << power) - 1, 1 << power, (1 << power) + 1]);
    }
    let mut random = 1u64;
    for _ in 0..30 {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // The lengths' logarithms are even, up to 2 MiB.
        let power = (random >> 59) % 22;
        sizes.push(((random >> 20) as usize) % (1 << power) + 1);
    }
    sizes
}

const ROOM: usize = 64;
