//! A run's messages: one alone, or a burst of them without a pause. Each has a place and data of its own, so
//! that all of them can be verified afterwards. The receiver times each.

use std::time::Instant;

use gputcp::transfer::{Burst, Message, Step};
use gputcp_gpu::Buffer;

use super::{
    damage::Damage,
    run::{fill, patterns, verify},
};
use crate::{
    bootstrap::message::{Begin, Work},
    failure::Failure,
    interrupt::Interrupt,
    session::Role,
    settings::Settings,
};

/// Returns the messages of a run in this buffer, as the engine moves them.
pub(super) const fn burst<'a>(buffer: &'a Buffer, begin: &Begin, depth: u16) -> Burst<'a> {
    let first = Message { buffer, offset: 0, bytes: begin.bytes };
    Burst { first, messages: begin.rounds, depth: depth as u64 }
}

/// Makes the data of all messages at their source, and damages the one that is to be.
///
/// # Errors
/// [`Failure::Interrupted`] as soon as the user asks for it.
pub(super) fn make(
    buffer: &Buffer,
    begin: &Begin,
    (settings, role, damage): (&Settings, Role, Damage),
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    for (offset, message) in begin.messages() {
        let (pattern, _) = patterns(seed(settings, begin.work), message.iteration, role);
        fill(buffer, pattern, offset, begin.bytes, interrupt)?;
        damage.apply(buffer, offset + begin.bytes / 2, &message)?;
    }
    Ok(())
}

/// Compares all messages at their destination. Returns the first difference in words, if there is one.
///
/// # Errors
/// [`Failure::Interrupted`] as soon as the user asks for it, with no verdict.
pub(super) fn check(
    buffer: &Buffer,
    begin: &Begin,
    (settings, role): (&Settings, Role),
    interrupt: &Interrupt,
) -> Result<Option<String>, Failure> {
    for (offset, message) in begin.messages() {
        let (_, pattern) = patterns(seed(settings, begin.work), message.iteration, role);
        if let Err(mismatch) = verify(buffer, pattern, offset, begin.bytes, interrupt)? {
            return Ok(Some(self::mismatch(begin, &message, mismatch.to_string())));
        }
    }
    Ok(None)
}

/// Returns a message's first difference in words, which name the message if there are several.
pub(super) fn mismatch(begin: &Begin, message: &Begin, mismatch: String) -> String {
    if begin.rounds > 1 { format!("in message {} {mismatch}", message.iteration) } else { mismatch }
}

/// Returns the name of a run's messages.
pub(super) fn name(begin: &Begin) -> String {
    let Begin { iteration: first, rounds, .. } = *begin;
    match begin.work {
        Work::Transfer if rounds > 1 => format!("the burst of messages {first} to {}", first + rounds - 1),
        Work::Transfer => format!("message {first}"),
        Work::Raw => format!("the ceiling's run after message {first}"),
    }
}

/// The ceiling's data is its own: what a message left at the destination cannot pass for it.
const fn seed(settings: &Settings, work: Work) -> u64 {
    match work {
        Work::Transfer => settings.seed,
        Work::Raw => !settings.seed,
    }
}

/// The receiver's times of a burst's messages, each from the post of its first receive. Receives that were
/// posted before the clock started begin with the clock.
pub(super) struct Times {
    begun: Vec<Instant>,
    ns: Vec<u64>,
}

impl Times {
    /// Makes room for a run's messages; one alone takes as long as its run, and has no time of its own.
    pub(super) fn of(begin: &Begin) -> Self {
        let messages = if begin.rounds > 1 { begin.rounds as usize } else { 0 };
        Self { begun: vec![Instant::now(); messages], ns: vec![0; messages] }
    }

    /// Starts the clock.
    pub(super) fn start(&mut self, now: Instant) {
        self.begun.fill(now);
    }

    /// Takes note of a step.
    pub(super) fn note(&mut self, step: Step) {
        let now = Instant::now();
        match step {
            Step::Begun(message) => self.begun.get_mut(message as usize).into_iter().for_each(|at| *at = now),
            Step::Over(message) => {
                if let (Some(begun), Some(ns)) =
                    (self.begun.get(message as usize), self.ns.get_mut(message as usize))
                {
                    *ns = now.saturating_duration_since(*begun).as_nanos() as u64;
                }
            }
        }
    }

    pub(super) fn into_ns(self) -> Vec<u64> {
        self.ns
    }
}
