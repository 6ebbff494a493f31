//! Listening, connecting and accepting.

use std::{
    ptr,
    time::{Duration, Instant},
};

use gputcp_nccl_net::layout::device::DeviceHandle;

use super::{Check, Run, Scope};
use crate::{
    bench::pause,
    meeting::Bench,
    raw::P,
    source::{BOOTSTRAP, NCCL_NET_H, NET, PLUGIN, README, nccl},
    stop::{Seen, Stop, fail},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "connect-accept-not-yet",
        expected: "while the other side is missing, connect and accept return success and NULL at once. Called again with \
                   the same handle memory, they give the connection",
        because: "one proxy thread makes all of a GPU's connections by turns: a call that waits there stops the others",
        sources: &[nccl(README, 301, 311), nccl(NET, 855, 862), nccl(NET, 1023, 1027)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: not_yet_receiving, sending: not_yet_sending },
    },
    Check {
        id: "handle-128-bytes",
        expected: "listen and connect write to the 128 bytes of the handle, and not beside them",
        because: "NCCL keeps handles in its own structures, and sends 128 bytes of each to the other side",
        sources: &[nccl(NCCL_NET_H, 15, 15), nccl(README, 294, 294), nccl(NET, 780, 781)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: handle_receiving, sending: handle_sending },
    },
    Check {
        id: "dev-handle-null-pointer-accepted",
        expected: "connect and accept take a device handle argument that is NULL, or points to NULL",
        because: "NCCL passes those where it wants no device handle",
        sources: &[nccl(README, 160, 162), nccl(NET, 797, 804), nccl(PLUGIN, 496, 500)],
        scope: Scope { since: 7, ..Scope::ALL },
        run: Run::Pair { receiving: dev_handle_receiving, sending: dev_handle_sending },
    },
    Check {
        id: "several-accepts",
        expected: "one listen comm gives several connections",
        because: "other drivers than NCCL may listen once, and accept from several peers",
        sources: &[nccl(NET, 1019, 1038), nccl(BOOTSTRAP, 553, 559)],
        scope: Scope {
            stricter: Some(
                "NCCL accepts one connection of each listen comm, and closes the listen comm then",
            ),
            ..Scope::ALL
        },
        run: Run::Pair { receiving: several_receiving, sending: several_sending },
    },
];

fn handle_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    listening.handle.check_guards().or_else(|why| fail(format!("in listen, {why}")))?;
    bench.part_from_sender(&listening, comm)?;
    Ok("listen wrote the handle alone".into())
}

fn handle_sending(bench: &mut Bench) -> Seen {
    let mut handle = bench.hear_handle()?;
    let comm = bench.plugin.connect(&mut handle)?;
    handle.check_guards().or_else(|why| fail(format!("in connect, {why}")))?;
    bench.part_from_receiver(comm)?;
    Ok("connect, too".into())
}

fn not_yet_receiving(bench: &mut Bench) -> Seen {
    let listening = bench.plugin.listen()?;
    for _ in 0..3 {
        let began = Instant::now();
        let taken = bench.plugin.accept_once(listening.comm)?;
        at_once("accept, with no peer there,", began.elapsed())?;
        if taken.is_some() {
            return fail("accept gave a connection before any peer had connected");
        }
    }
    bench.link.tell(listening.handle.bytes())?;
    // The other side's first `connect` returns before this side accepts.
    bench.link.hear()?;
    let comm = bench.plugin.accept(listening.comm)?;
    bench.receive_one(comm, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok("accept said \"not yet\" three times, then gave the connection".into())
}

fn not_yet_sending(bench: &mut Bench) -> Seen {
    let mut handle = bench.hear_handle()?;
    let began = Instant::now();
    let mut comm = bench.plugin.connect_once(&mut handle)?;
    at_once("connect, before anybody accepts,", began.elapsed())?;
    bench.link.tell(b"called")?;
    let mut calls = 1;
    let comm = loop {
        if let Some(comm) = comm {
            break comm;
        }
        bench.plugin.in_time("connect never gave a connection")?;
        pause();
        comm = bench.plugin.connect_once(&mut handle)?;
        calls += 1;
    };
    bench.send_one(comm, 1)?;
    bench.part_from_receiver(comm)?;
    Ok(format!("connect gave the connection in call {calls}"))
}

fn dev_handle_receiving(bench: &mut Bench) -> Seen {
    for (message, device) in no_device_handles() {
        let listening = bench.plugin.listen()?;
        bench.link.tell(listening.handle.bytes())?;
        let plugin = &bench.plugin;
        let comm = plugin
            .until("accept never gave the connection", || plugin.accept_with(listening.comm, device))?;
        bench.receive_one(comm, message)?;
        bench.part_from_sender(&listening, comm)?;
    }
    Ok("accept took both".into())
}

fn dev_handle_sending(bench: &mut Bench) -> Seen {
    for (message, device) in no_device_handles() {
        let mut handle = bench.hear_handle()?;
        let plugin = &bench.plugin;
        let comm =
            plugin.until("connect never gave a connection", || plugin.connect_with(&mut handle, device))?;
        bench.send_one(comm, message)?;
        bench.part_from_receiver(comm)?;
    }
    Ok("connect took both".into())
}

fn several_receiving(bench: &mut Bench) -> Seen {
    let listening = bench.plugin.listen()?;
    let mut comms: Vec<P> = Vec::new();
    for _ in 0..SEVERAL {
        bench.link.tell(listening.handle.bytes())?;
        let nth = comms.len() + 1;
        let comm = bench
            .plugin
            .accept(listening.comm)
            .map_err(|stop| stop.told(|why| format!("for connection {nth} of one listen comm, {why}")))?;
        comms.push(comm);
        bench.link.meet()?;
        // NCCL would close the listen comm now.
        bench.plugin.go_beyond_nccl();
    }
    for (comm, message) in comms.iter().zip(0..) {
        bench.receive_one(*comm, message)?;
    }
    bench.link.meet()?;
    comms.iter().try_for_each(|&comm| bench.plugin.close_recv(comm))?;
    bench.plugin.close_listen(listening.comm)?;
    Ok(format!("{SEVERAL} connections, each with its own data"))
}

fn several_sending(bench: &mut Bench) -> Seen {
    let mut comms: Vec<P> = Vec::new();
    for _ in 0..SEVERAL {
        comms.push(bench.meet_receiver()?);
        bench.link.meet()?;
        bench.plugin.go_beyond_nccl();
    }
    for (comm, message) in comms.iter().zip(0..) {
        bench.send_one(*comm, message)?;
    }
    bench.link.meet()?;
    comms.iter().try_for_each(|&comm| bench.plugin.close_send(comm))?;
    Ok(String::new())
}

/// Returns the two ways to ask for no device handle.
fn no_device_handles() -> [(u64, *mut *mut DeviceHandle); 2] {
    let to_null = Box::leak(Box::new(ptr::null_mut()));
    [(1, ptr::null_mut()), (2, to_null)]
}

pub(super) fn at_once(what: &str, took: Duration) -> Result<(), Stop> {
    if took < AT_ONCE { Ok(()) } else { fail(format!("{what} took {:.1} s", took.as_secs_f64())) }
}

/// The time within which a call returns that does not wait, on a busy machine.
const AT_ONCE: Duration = Duration::from_secs(1);
const SEVERAL: usize = 3;
