//! Two connections in two threads of each process.

use std::thread;

use super::data;
use crate::{
    bench::Plugin,
    journal::number_this_thread,
    meeting::Bench,
    raw::P,
    stop::{Seen, Stop},
};

pub(super) fn receiving(bench: &mut Bench) -> Seen {
    let (first, a) = bench.meet_sender()?;
    let (second, b) = bench.meet_sender()?;
    both(&bench.plugin, [a, b], |plugin, comm| data::receive(plugin, comm, &sizes()).map(drop))?;
    bench.link.meet()?;
    for (listening, comm) in [(first, a), (second, b)] {
        bench.plugin.close_recv(comm)?;
        bench.plugin.close_listen(listening.comm)?;
    }
    Ok(format!("2 × {} messages", sizes().len()))
}

pub(super) fn sending(bench: &mut Bench) -> Seen {
    let comms = [bench.meet_receiver()?, bench.meet_receiver()?];
    both(&bench.plugin, comms, |plugin, comm| data::send(plugin, comm, &sizes()))?;
    bench.link.meet()?;
    comms.iter().try_for_each(|&comm| bench.plugin.close_send(comm))?;
    Ok(String::new())
}

/// The same in two threads, with a connection each.
fn both(
    plugin: &Plugin,
    comms: [P; 2],
    work: impl Fn(&Plugin, P) -> Result<(), Stop> + Copy + Send + Sync,
) -> Result<(), Stop> {
    thread::scope(|scope| {
        let threads = [1, 2].map(|number| {
            let plugin = plugin.clone();
            let comm = Comm(comms[number - 1]);
            scope.spawn(move || {
                number_this_thread(number);
                let comm = comm;
                work(&plugin, comm.0)
            })
        });
        threads
            .map(|thread| thread.join().unwrap_or_else(|_| Err(Stop::Failed("the check panicked".into()))))
            .into_iter()
            .collect()
    })
}

/// A connection on its way to its thread.
struct Comm(P);

// SAFETY: one thread at a time uses it, which is what the interface asks for.
unsafe impl Send for Comm {}

/// Even lengths, many short ones.
fn sizes() -> Vec<usize> {
    (0..50).map(|number| number * number * 40 + 8).collect()
}
