//! A batch of round trips: each message is answered by one of the same size. Every round has its own place
//! in the buffers, so all of them can be verified afterwards, and the client times each.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::session::Role;
use gputcp::transfer::{Message, Moved, Receiver};
use gputcp_gpu::{Buffer, Pattern};

use super::{
    burst,
    run::{Clock, Counted, Outcome, barrier, patterns, settle},
    side::{Incoming, Outgoing, Side},
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Begin, Received, Sent, Work},
    },
    failure::Failure,
    settings::Settings,
};

/// Runs a batch; both ends call this. The times are the client's, one for each round.
///
/// # Errors
/// If anything of it fails: then nothing of it counts.
pub fn run(
    side: &mut Side,
    link: &mut Link,
    role: Role,
    begin: &Begin,
) -> Result<(Outcome, Vec<Duration>), Failure> {
    let Begin { work, bytes, iteration, rounds } = *begin;
    if rounds == 0 || rounds > Settings::rounds(bytes) {
        return Err(Failure::Peer(format!(
            "the client asks for {rounds} round trips at once, which is out of range"
        )));
    }
    let transfer = work == Work::Transfer;
    let tcp = side.tcp();
    let stall_timeout = side.settings.stall_timeout(bytes * rounds);
    let (out_pattern, in_pattern) = patterns(side.settings.seed, iteration, role);
    let verify = transfer && side.settings.verify;
    let (Some(outgoing), Some(incoming)) = (&mut side.outgoing, &mut side.incoming) else {
        return Err(Failure::Run("a ping-pong needs both directions".into()));
    };
    outgoing.buffer.fill(out_pattern, 0, bytes * rounds)?;
    side.damage.apply(&outgoing.buffer, begin.bytes / 2, begin)?;
    let before = Counted::of(incoming);
    // The server is the receiver that says Go, for the whole batch.
    let barrier = barrier(link, role == Role::Client, role == Role::Server, stall_timeout);
    let mut times = Vec::with_capacity(rounds as usize);
    let (clock, moved) = if transfer {
        play(outgoing, incoming, role, begin, barrier, &mut times)?
    } else {
        let (Some(out), Some(into)) = (&mut outgoing.raw, &mut incoming.raw) else {
            return Err(Failure::Peer("the client asks for raw sockets that were not agreed on".into()));
        };
        let sockets = if role == Role::Client { &out.sockets } else { &into.sockets };
        let clock = barrier()?;
        let mut lap = Lap::new(&mut times);
        sockets.ping_pong(role, begin, &mut out.area, &mut into.area, || lap.round())?;
        (clock, Moved { chunks: rounds, bytes: bytes * rounds })
    };
    let cpu_ns = clock.cpu().as_nanos() as u64;
    let counted = if transfer {
        Counted::of(incoming).since(before)
    } else {
        Counted { landed: moved.bytes, unpacked: moved.bytes }
    };
    let mismatch = if verify { check(&incoming.buffer, in_pattern, bytes * rounds)? } else { None };
    let time_ns = times.iter().sum::<Duration>().as_nanos() as u64;
    let received = Received {
        time_ns,
        landed: counted.landed,
        unpacked: counted.unpacked,
        chunks: moved.chunks,
        cpu_ns,
        verified: verify.then_some(mismatch.is_none()),
        mismatch,
        message_times_ns: Vec::new(),
    };
    // A batch has one number.
    let name = burst::name(&Begin { rounds: 1, ..*begin });
    let sent = Sent { bytes: moved.bytes, chunks: moved.chunks, cpu_ns, tcp };
    let mut outcome = match role {
        Role::Client => settle(link, (begin, &name), stall_timeout, Some(sent), || Ok(None))?,
        Role::Server => settle(link, (begin, &name), stall_timeout, None, || Ok(Some(received.clone())))?,
    };
    if role == Role::Client {
        // The answers arrived here: this side's own look at them counts as well.
        super::run::reconcile((begin, &name), &sent, &received)?;
        outcome.received = Some(super::run::Exchanged { sent, received, time_ns });
    }
    Ok((outcome, times))
}

/// Moves the batch through the engine.
fn play(
    outgoing: &mut Outgoing,
    incoming: &mut Incoming,
    role: Role,
    begin: &Begin,
    barrier: impl FnOnce() -> Result<Clock, Failure>,
    times: &mut Vec<Duration>,
) -> Result<(Clock, Moved), Failure> {
    let (Begin { bytes, rounds, .. }, Incoming { buffer, comms, plan, .. }) = (*begin, incoming);
    let message = |round: u64| Message { buffer, offset: round * bytes, bytes };
    // As many rounds' receives are posted ahead as the window holds, so that announcing them delays no
    // message.
    let ahead = (plan.window as u64 / bytes.div_ceil(plan.chunk_bytes)).clamp(1, rounds);
    let mut posted = VecDeque::with_capacity(ahead as usize);
    for round in 0..ahead {
        let mut receiver = Receiver::new(*plan, 1);
        let receiving = receiver.post(comms, message(round))?;
        posted.push_back((receiver, receiving));
    }
    let mut total = Moved::default();
    let clock = barrier()?;
    let mut lap = Lap::new(times);
    for round in 0..rounds {
        if role == Role::Client {
            outgoing.send_at(round * bytes, bytes)?;
        }
        if let Some((mut receiver, receiving)) = posted.pop_front() {
            let moved = receiver.finish(comms, receiving)?;
            total = Moved { chunks: total.chunks + moved.chunks, bytes: total.bytes + moved.bytes };
            if round + ahead < rounds {
                let receiving = receiver.post(comms, message(round + ahead))?;
                posted.push_back((receiver, receiving));
            }
        }
        if role == Role::Server {
            outgoing.send_at(round * bytes, bytes)?;
        }
        lap.round();
    }
    Ok((clock, total))
}

fn check(buffer: &Buffer, pattern: Pattern, bytes: u64) -> Result<Option<String>, Failure> {
    Ok(buffer.verify(pattern, 0, bytes)?.err().map(|mismatch| mismatch.to_string()))
}

/// Times from one round to the next.
struct Lap<'a> {
    last: Instant,
    times: &'a mut Vec<Duration>,
}

impl<'a> Lap<'a> {
    fn new(times: &'a mut Vec<Duration>) -> Self {
        Self { last: Instant::now(), times }
    }

    fn round(&mut self) {
        let now = Instant::now();
        self.times.push(now - self.last);
        self.last = now;
    }
}
