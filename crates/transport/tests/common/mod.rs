//! Connections over loopback, both ends in this process.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs that use different parts"
)]

use std::{
    thread,
    time::{Duration, Instant},
};

use gputcp::{
    Connector, Handle, Listener, Options, RecvComm, Result, SendComm,
    transfer::{Message, Moved, Plan, Receiver, Sender},
};
use gputcp_gpu::{Buffer, Device, Pattern, SoftOptions};

pub const PATIENCE: Duration = Duration::from_secs(20);

pub fn soon() -> Instant {
    Instant::now() + PATIENCE
}

pub fn options(streams: u16) -> Options {
    Options { streams, timeout: Duration::from_secs(10), ..Options::default() }
}

pub fn soft() -> Device {
    Device::soft(SoftOptions::default())
}

pub fn listen(options: &Options) -> (Listener, Handle) {
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options.clone()).unwrap();
    let handle = listener.handle();
    (listener, handle)
}

/// A connection with different settings at its two ends.
pub fn pair_of(send: Options, recv: &Options) -> (SendComm, RecvComm) {
    let (mut listener, handle) = listen(recv);
    let connecting = thread::spawn(move || Connector::new(&handle, send)?.connect(soon()));
    let receiver = listener.accept(soon()).unwrap();
    (connecting.join().unwrap().unwrap(), receiver)
}

pub fn pair(options: &Options) -> (SendComm, RecvComm) {
    pair_of(options.clone(), options)
}

/// Where a test's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Host,
    Soft,
}

impl Place {
    pub fn buffer(self, bytes: u64) -> Buffer {
        match self {
            Self::Host => Buffer::host(bytes).unwrap(),
            Self::Soft => soft().allocate(bytes).unwrap(),
        }
    }

    pub fn device(self) -> Option<Device> {
        (self == Self::Soft).then(soft)
    }
}

/// Moves messages of these lengths from the start of one buffer to that of another and verifies each.
pub fn move_and_verify(
    sends: &mut [SendComm],
    recvs: &mut [RecvComm],
    buffers: (&Buffer, &Buffer),
    plans: (Plan, Plan),
    lengths: &[u64],
) -> Result<Moved> {
    let messages: Vec<_> = lengths.iter().map(|&bytes| (0, 0, bytes)).collect();
    move_at_and_verify(sends, recvs, buffers, plans, &messages)
}

/// Moves messages, each given by where it starts in the source and in the destination and by its length. Verifies each, and
/// that what is around it in the destination stays as it was.
pub fn move_at_and_verify(
    sends: &mut [SendComm],
    recvs: &mut [RecvComm],
    (from, to): (&Buffer, &Buffer),
    (send_plan, recv_plan): (Plan, Plan),
    messages: &[(u64, u64, u64)],
) -> Result<Moved> {
    let mut total = Moved::default();
    let pattern = |iteration: usize| Pattern { seed: 7, iteration: iteration as u64 };
    thread::scope(|scope| {
        let (go, wait_for_go) = std::sync::mpsc::channel();
        let (verified, wait_for_verified) = std::sync::mpsc::channel();
        let connections = sends.len();
        let sending = scope.spawn(move || -> Result<()> {
            let mut sender = Sender::new(send_plan, connections);
            for (iteration, &(offset, _, bytes)) in messages.iter().enumerate() {
                if wait_for_go.recv().is_err() {
                    break;
                }
                from.fill(pattern(iteration), offset, bytes)?;
                sender.send(sends, Message { buffer: from, offset, bytes })?;
                if wait_for_verified.recv().is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut receiver = Receiver::new(recv_plan, recvs.len());
        let received: Result<()> = (|| {
            for (iteration, &(_, offset, bytes)) in messages.iter().enumerate() {
                let around = [(0, offset), (offset + bytes, to.bytes() - offset - bytes)];
                let guard = Pattern { seed: 8, iteration: iteration as u64 };
                around.iter().try_for_each(|&(start, bytes)| to.fill(guard, start, bytes))?;
                let receiving = receiver.post(recvs, Message { buffer: to, offset, bytes })?;
                go.send(()).unwrap();
                let moved = receiver.finish(recvs, receiving)?;
                total.chunks += moved.chunks;
                total.bytes += moved.bytes;
                let what = format!("message {iteration} of {bytes} bytes at {offset}");
                assert_eq!(to.verify(pattern(iteration), offset, bytes)?, Ok(()), "{what}");
                for (start, bytes) in around {
                    assert_eq!(to.verify(guard, start, bytes)?, Ok(()), "around {what}");
                }
                verified.send(()).ok();
            }
            Ok(())
        })();
        drop((go, verified));
        sending.join().unwrap()?;
        received
    })?;
    Ok(total)
}

pub fn close(sends: Vec<SendComm>, recvs: Vec<RecvComm>) {
    // Each on a thread of its own: a close waits for its peer, and the two lists may be in different orders.
    thread::scope(|scope| {
        sends.into_iter().for_each(|comm| drop(scope.spawn(move || comm.close(soon()).unwrap())));
        recvs.into_iter().for_each(|comm| drop(scope.spawn(move || comm.close(soon()).unwrap())));
    });
}

/// What a process holds that can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: usize,
    pub threads: usize,
    pub resident_kib: u64,
}

pub fn holdings() -> Holdings {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Holdings {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}
