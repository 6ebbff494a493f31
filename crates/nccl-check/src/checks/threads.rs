//! Four connections in four threads of each process.

use std::thread;

use super::{Check, Run, Scope, data};
use crate::{
    bench::BenchPlugin,
    journal::number_this_thread,
    meeting::Bench,
    raw::P,
    source::{PROXY, nccl},
    stop::{Seen, Stop},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "threads",
    expected: "four threads use four connections at once",
    because: "NCCL has a progress thread per GPU, and several GPUs may be in one process",
    sources: &[nccl(PROXY, 932, 943), nccl(PROXY, 1010, 1017)],
    scope: Scope::ALL,
    run: Run::Pair { receiving, sending },
}];

fn receiving(bench: &mut Bench) -> Seen {
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        open.push(bench.meet_sender()?);
    }
    let comms: Vec<P> = open.iter().map(|(_, comm)| *comm).collect();
    all(&bench.plugin, &comms, |plugin, comm| data::receive(plugin, comm, &sizes()).map(drop))?;
    bench.link.meet()?;
    for (listening, comm) in open {
        bench.plugin.close_recv(comm)?;
        bench.plugin.close_listen(listening.comm)?;
    }
    Ok(format!("{CONNECTIONS} × {} messages", sizes().len()))
}

fn sending(bench: &mut Bench) -> Seen {
    let mut comms = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS {
        comms.push(bench.meet_receiver()?);
    }
    all(&bench.plugin, &comms, |plugin, comm| data::send(plugin, comm, &sizes()))?;
    bench.link.meet()?;
    comms.iter().try_for_each(|&comm| bench.plugin.close_send(comm))?;
    Ok(String::new())
}

/// Does the same work in as many threads, with a connection each.
fn all(
    plugin: &BenchPlugin,
    comms: &[P],
    work: impl Fn(&BenchPlugin, P) -> Result<(), Stop> + Copy + Send + Sync,
) -> Result<(), Stop> {
    thread::scope(|scope| {
        let start = |(index, &comm): (usize, &P)| {
            let (plugin, comm) = (plugin.clone(), Comm(comm));
            scope.spawn(move || {
                number_this_thread(index + 1);
                let comm = comm;
                work(&plugin, comm.0)
            })
        };
        let threads: Vec<_> = comms.iter().enumerate().map(start).collect();
        let ended = threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::Failed("the check panicked".into()))));
        // All threads are joined before the first failure is told.
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

/// A connection on its way to its thread.
struct Comm(P);

// SAFETY: one thread at a time uses it: the interface asks for no more.
unsafe impl Send for Comm {}

/// Returns even lengths, many of them short.
fn sizes() -> Vec<usize> {
    (0..50).map(|number| number * number * 40 + 8).collect()
}

/// The number of connections and threads, as of four GPUs in one process.
const CONNECTIONS: usize = 4;
