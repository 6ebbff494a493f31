//! One message, or a burst of them, on either end and in either direction, or both at once.
//!
//! The order: fill (outside the clock) → Filled → the receiver posts its first receives → Go → the transfer
//! → Sent and Received are reconciled. The very bytes that were timed are then verified, outside the clock.

use std::time::{Duration, Instant};

use crate::session::{Kind, Role};
use gputcp::transfer::Moved;
use gputcp_gpu::{Buffer, Mismatch, Pattern};

use super::{
    burst,
    fly::{fly, slice},
    one_sided,
    side::{Incoming, Side},
    transport::Inbound,
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Begin, Filled, Go, Received, Sent, Work},
    },
    failure::Failure,
    host::usage::cpu_time,
    interrupt::Interrupt,
    printable::printable,
};

/// The outcome of a run, by flow.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The message that this side sent, as both ends saw it.
    pub sent: Option<Exchanged>,
    /// The message that this side received, as both ends saw it.
    pub received: Option<Exchanged>,
}

/// One flow's message, reconciled.
#[derive(Debug, Clone)]
pub struct Exchanged {
    /// The sender's word.
    pub sent: Sent,
    /// The receiver's word.
    pub received: Received,
    /// The time it took, on the clock of the end that owns it.
    pub time_ns: u64,
}

impl Exchanged {
    /// Puts both ends' words together. The receiver owns the clock.
    const fn new(sent: Sent, received: Received) -> Self {
        let time_ns = received.time_ns;
        Self { sent, received, time_ns }
    }
}

/// Runs what the client said in `begin`; both ends call this.
///
/// # Errors
/// If anything of it fails: then nothing of it counts.
pub fn run(side: &mut Side, link: &mut Link, role: Role, begin: &Begin) -> Result<Outcome, Failure> {
    let transfer = begin.work == Work::Transfer;
    if let (true, Some(end)) = (transfer, &side.one_sided) {
        let buffer = side.buffer().ok_or_else(|| Failure::Run("this side has no region".into()))?;
        let (settings, damage) = (&side.settings, side.damage);
        return one_sided::run::Run { end, settings, buffer, damage, begin }.run(link, role);
    }
    let interrupt = link.interrupt().clone();
    if let Some(outgoing) = &side.outgoing {
        // Raw sockets get fresh data as well, so that caches and cores are in the same state for both.
        burst::make(&outgoing.buffer, begin, (&side.settings, role, side.damage), &interrupt)?;
    }
    let before = side.incoming.as_ref().map(Counted::of);
    let stall_timeout = side.settings.stall_timeout(begin.all_bytes());
    let flown = {
        let barrier = barrier(link, side.outgoing.is_some(), side.incoming.is_some(), stall_timeout);
        let (outgoing, incoming) = (side.outgoing.as_mut(), side.incoming.as_mut());
        if transfer {
            fly(outgoing, incoming, (begin, side.settings.depth), barrier)?
        } else {
            slice(outgoing, incoming, begin, barrier)?
        }
    };
    let cpu_ns = flown.cpu.as_nanos() as u64;
    let tcp = side.tcp();
    let sent = flown.sent.map(|Moved { bytes, chunks }| Sent { bytes, chunks, cpu_ns, tcp });
    let message_times_ns = flown.message_times_ns;
    let received = || -> Result<Option<Received>, Failure> {
        let (Some(incoming), Some(moved), Some(before)) = (&side.incoming, flown.received, before) else {
            return Ok(None);
        };
        let counted = if transfer {
            Counted::of(incoming).since(before)
        } else {
            Counted { landed: moved.bytes, unpacked: moved.bytes }
        };
        // GPUs look at their memory in no time, and what a pipeline did is worth a look.
        let look = (transfer || side.settings.ceiling_is_pipeline()) && side.settings.verify;
        let look_at = || burst::check(&incoming.buffer, begin, (&side.settings, role), &interrupt);
        let mismatch = look.then(look_at).transpose()?;
        Ok(Some(Received {
            time_ns: flown.time.as_nanos() as u64,
            landed: counted.landed,
            unpacked: counted.unpacked,
            chunks: moved.chunks,
            cpu_ns,
            verified: mismatch.as_ref().map(Option::is_none),
            mismatch: mismatch.flatten(),
            message_times_ns,
        }))
    };
    settle(link, (begin, &burst::name(begin)), stall_timeout, sent, received)
}

/// Writes a message at `offset`.
///
/// # Errors
/// [`Failure::Interrupted`] as soon as the user asks for it, with the message half made.
pub(super) fn fill(
    buffer: &Buffer,
    pattern: Pattern,
    offset: u64,
    bytes: u64,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let done = buffer.fill_while(pattern, offset, bytes, || !interrupt.fired())?;
    if done { Ok(()) } else { Err(Failure::Interrupted) }
}

/// Compares a message at `offset`.
///
/// # Errors
/// [`Failure::Interrupted`] as soon as the user asks for it, with no verdict on the message.
pub(super) fn verify(
    buffer: &Buffer,
    pattern: Pattern,
    offset: u64,
    bytes: u64,
    interrupt: &Interrupt,
) -> Result<Result<(), Mismatch>, Failure> {
    buffer.verify_while(pattern, offset, bytes, || !interrupt.fired())?.ok_or(Failure::Interrupted)
}

/// Ends a run: both ends tell each other their counts, and check that they are the same. `received` is
/// called after the sender's word has come, because verifying takes its time. `message` names what was moved.
pub(super) fn settle(
    link: &mut Link,
    (begin, message): (&Begin, &str),
    stall_timeout: Duration,
    sent: Option<Sent>,
    received: impl FnOnce() -> Result<Option<Received>, Failure>,
) -> Result<Outcome, Failure> {
    let deadline = || Instant::now() + stall_timeout;
    if let Some(sent) = &sent {
        link.say(Kind::Sent, sent, deadline())?;
    }
    let mut outcome = Outcome::default();
    if let Some(received) = received()? {
        let sent = link.hear(Kind::Sent, deadline())?;
        link.say(Kind::Received, &received, deadline())?;
        outcome.received = Some(Exchanged::new(sent, received));
    }
    if let Some(sent) = sent {
        let received = link.hear(Kind::Received, deadline())?;
        outcome.sent = Some(Exchanged::new(sent, received));
    }
    // Both directions are heard out before either fails, so that both ends fail alike.
    for Exchanged { sent, received, .. } in [&outcome.sent, &outcome.received].into_iter().flatten() {
        reconcile((begin, message), sent, received)?;
    }
    Ok(outcome)
}

/// Checks that sent = landed = unpacked = the message's bytes, and that the data is right.
pub(super) fn reconcile(
    (begin, message): (&Begin, &str),
    sent: &Sent,
    received: &Received,
) -> Result<(), Failure> {
    let expected = begin.all_bytes();
    if received.verified == Some(false) {
        let what = received.mismatch.as_deref().map_or_else(|| "the data differs".into(), printable);
        return Err(Failure::Corrupt(format!("{message} arrived wrong: {what}; do not trust this path")));
    }
    let times = received.message_times_ns.len() as u64;
    if times != 0 && times != begin.rounds {
        let rounds = begin.rounds;
        return Err(Failure::Peer(format!(
            "{message} has {rounds} messages, and its receiver timed {times}"
        )));
    }
    let equal = [sent.bytes, received.landed, received.unpacked].iter().all(|&counted| counted == expected);
    if !equal || sent.chunks != received.chunks {
        return Err(Failure::Run(format!(
            "{message} of {expected} bytes does not add up: {} sent in {} chunks, {} landed, {} unpacked in {} \
             chunks; nothing of it is counted",
            sent.bytes, sent.chunks, received.landed, received.unpacked, received.chunks
        )));
    }
    Ok(())
}

/// Returns the data of both directions, outgoing first. They are never the same, so that neither can stand
/// in for the other.
pub(super) const fn patterns(seed: u64, iteration: u64, role: Role) -> (Pattern, Pattern) {
    let forward = Pattern { seed, iteration: 2 * iteration };
    let backward = Pattern { seed, iteration: 2 * iteration + 1 };
    match role {
        Role::Client => (forward, backward),
        Role::Server => (backward, forward),
    }
}

/// Bytes that the receiving connections have counted so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counted {
    /// Off the sockets.
    pub(super) landed: u64,
    /// At their destination.
    pub(super) unpacked: u64,
}

impl Counted {
    pub(super) fn of(incoming: &Incoming) -> Self {
        let comms = || incoming.comms.iter();
        Self {
            landed: comms().map(Inbound::bytes_landed).sum(),
            unpacked: comms().map(Inbound::bytes_placed).sum(),
        }
    }

    pub(super) const fn since(self, before: Self) -> Self {
        Self { landed: self.landed - before.landed, unpacked: self.unpacked - before.unpacked }
    }
}

/// Started when a run's Go is said.
pub(super) struct Clock {
    pub(super) began: Instant,
    cpu: Duration,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { began: Instant::now(), cpu: cpu_time() }
    }

    pub(super) fn time(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn cpu(&self) -> Duration {
        cpu_time().saturating_sub(self.cpu)
    }
}

/// Returns the start of a run, common to both ends. A sender says that its data is there, a receiver starts
/// its clock and says Go, and the sender waits for that. Without the first word the making of the data
/// would be timed with its transfer.
pub(super) fn barrier(
    link: &mut Link,
    sends: bool,
    receives: bool,
    stall_timeout: Duration,
) -> impl FnOnce() -> Result<Clock, Failure> {
    move || {
        let deadline = Instant::now() + stall_timeout;
        if sends {
            link.say(Kind::Filled, &Filled::default(), deadline)?;
        }
        if receives {
            link.hear::<Filled>(Kind::Filled, deadline)?;
        }
        let clock = Clock::start();
        if receives {
            link.say(Kind::Go, &Go::default(), deadline)?;
        }
        if sends {
            link.hear::<Go>(Kind::Go, deadline)?;
        }
        Ok(clock)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_has_a_time_for_each_message_or_for_none() {
        let begin = Begin { work: Work::Transfer, bytes: 10, iteration: 5, rounds: 3 };
        let sent = Sent { bytes: 30, chunks: 3, cpu_ns: 0, tcp: None };
        let received = |times: usize| Received {
            time_ns: 1,
            landed: 30,
            unpacked: 30,
            chunks: 3,
            cpu_ns: 0,
            verified: Some(true),
            mismatch: None,
            message_times_ns: vec![1; times],
        };
        let reconciled = |times| reconcile((&begin, &burst::name(&begin)), &sent, &received(times));
        assert_eq!((reconciled(0), reconciled(3)), (Ok(()), Ok(())));
        for times in [1, 2, 4, 1000] {
            assert_eq!(
                reconciled(times).unwrap_err().to_string(),
                format!("the burst of messages 5 to 7 has 3 messages, and its receiver timed {times}")
            );
        }
    }

    #[test]
    fn long_messages_are_made_and_looked_at_in_pieces() {
        let (bytes, pattern) = ((64 << 20) + 4099, Pattern { seed: 1, iteration: 2 });
        let (buffer, interrupt) = (Buffer::host(bytes).unwrap(), Interrupt::new().unwrap());
        fill(&buffer, pattern, 0, bytes, &interrupt).unwrap();
        assert_eq!(buffer.verify(pattern, 0, bytes), Ok(Ok(())));
        assert_eq!(verify(&buffer, pattern, 0, bytes, &interrupt), Ok(Ok(())));
        for at in [70, bytes - 1] {
            let mut byte = [0];
            buffer.read(at, 1).unwrap().copy_to(0, &mut byte);
            buffer.write(at, 1).unwrap().copy_from(0, &[!byte[0]]);
        }
        let mismatch = verify(&buffer, pattern, 0, bytes, &interrupt).unwrap().unwrap_err();
        assert_eq!((mismatch.offset, mismatch.wrong_bytes), (70, 2));
        interrupt.fire();
        assert_eq!(fill(&buffer, pattern, 0, bytes, &interrupt), Err(Failure::Interrupted));
        assert_eq!(verify(&buffer, pattern, 0, bytes, &interrupt), Err(Failure::Interrupted));
    }
}
