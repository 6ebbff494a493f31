//! A run's data on its way: its messages through the engine, or as many bytes over bare sockets. The clock
//! starts at the barrier, and stops once the last byte is at its destination.

use std::{
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use gputcp::transfer::Moved;

use super::{
    burst::{Times, burst},
    run::Clock,
    side::{Bare, Incoming, Outgoing},
};
use crate::{bootstrap::message::Begin, failure::Failure};

/// The data moved here, and the time it took.
pub(super) struct Flown {
    pub(super) sent: Option<Moved>,
    pub(super) received: Option<Moved>,
    pub(super) time: Duration,
    pub(super) cpu: Duration,
    pub(super) message_times_ns: Vec<u64>,
}

impl Flown {
    fn of(clock: &Clock, sent: Option<Moved>, received: Option<Moved>, end: Instant) -> Self {
        let time = end.saturating_duration_since(clock.began);
        Self { sent, received, time, cpu: clock.cpu(), message_times_ns: Vec::new() }
    }
}

/// Moves the messages through the engine.
pub(super) fn fly(
    outgoing: Option<&mut Outgoing>,
    incoming: Option<&mut Incoming>,
    (begin, depth): (&Begin, u16),
    barrier: impl FnOnce() -> Result<Clock, Failure>,
) -> Result<Flown, Failure> {
    let Some(Incoming { buffer, comms, receiver, .. }) = incoming else {
        let Some(outgoing) = outgoing else {
            return Err(Failure::Run("this side neither sends nor receives".into()));
        };
        let clock = barrier()?;
        let sent = outgoing.send_burst(begin, depth)?;
        return Ok(Flown::of(&clock, Some(sent), None, Instant::now()));
    };
    let mut times = Times::of(begin);
    let receiving = receiver.post(comms, burst(buffer, begin, depth))?;
    let Some(outgoing) = outgoing else {
        let clock = barrier()?;
        times.start(clock.began);
        let received = receiver.finish_with(comms, receiving, |step| times.note(step))?;
        let flown = Flown::of(&clock, None, Some(received), Instant::now());
        return Ok(Flown { message_times_ns: times.into_ns(), ..flown });
    };
    thread::scope(|scope| {
        // The sending thread is there before the clock starts.
        let (go, gone) = mpsc::channel::<()>();
        let sending = scope.spawn(move || gone.recv().ok().map(|()| outgoing.send_burst(begin, depth)));
        let clock = barrier()?;
        times.start(clock.began);
        let _ = go.send(());
        let received = receiver.finish_with(comms, receiving, |step| times.note(step));
        let end = Instant::now();
        let sent = sending.join().map_err(|_| Failure::Run("the sending thread panicked".into()))?;
        let flown = Flown::of(&clock, sent.transpose()?, Some(received?), end);
        Ok(Flown { message_times_ns: times.into_ns(), ..flown })
    })
}

/// Moves as many bytes over raw sockets: each moves its share without a pause, those of a burst as well.
pub(super) fn slice(
    mut outgoing: Option<&mut Outgoing>,
    mut incoming: Option<&mut Incoming>,
    begin: &Begin,
    barrier: impl FnOnce() -> Result<Clock, Failure>,
) -> Result<Flown, Failure> {
    let missing = || Failure::Peer("the client asks for raw sockets that were not agreed on".into());
    if let Some(incoming) = incoming.as_deref_mut() {
        let Bare { sockets, area } = incoming.raw.as_mut().ok_or_else(missing)?;
        sockets.start_receiving(area, begin)?;
    }
    let clock = barrier()?;
    if let Some(outgoing) = outgoing.as_deref_mut() {
        let Bare { sockets, area } = outgoing.raw.as_mut().ok_or_else(missing)?;
        sockets.start_sending(area, begin)?;
    }
    let whole = Moved { chunks: 1, bytes: begin.all_bytes() };
    let receiving = incoming.and_then(|incoming| incoming.raw.as_mut());
    let sending = outgoing.and_then(|outgoing| outgoing.raw.as_mut());
    let (received, sent) = (receiving.is_some().then_some(whole), sending.is_some().then_some(whole));
    let end = receiving.map(|bare| bare.sockets.finish()).transpose()?;
    sending.map(|bare| bare.sockets.finish()).transpose()?;
    Ok(Flown::of(&clock, sent, received, end.unwrap_or_else(Instant::now)))
}
