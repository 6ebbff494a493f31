//! The result of a run, and its checks.

use gputcp_proto::connection::{Failure, SocketError};

use crate::{
    clock::Hits,
    faults::{Act, Fault, Party},
    settings::Settings,
};

/// The outcome of one end, as its user saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All that was posted is finished, and both goodbyes were said.
    Complete,
    /// The connection failed.
    Failed(Failure),
    /// A receive got other bytes than those sent.
    WrongData {
        /// The receive.
        item: usize,
    },
    /// The peer has closed before all was done.
    PeerClosed,
}

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash over all events, in their order.
    pub trace: u64,
    /// The number of events.
    pub events: u64,
    /// The duration of the run, in virtual time.
    pub virtual_ns: u64,
    /// The first demand that was broken while running.
    pub broken: Option<String>,
    /// The sender's side.
    pub sender: EndReport,
    /// The receiver's side.
    pub receiver: EndReport,
    /// Whether at the end nothing was on its way to the receiver.
    pub wires_empty: bool,
    /// Messages that came before their receives.
    pub arrived_early: u64,
    /// Those that have none.
    pub unreceived: usize,
    /// Whether a byte was flipped.
    pub flipped: bool,
    /// Whether a wire was cut, ended or stalled.
    pub wire_hit: bool,
    /// Whether a wire stalled.
    pub stalled: bool,
    /// Whether the adversary has acted.
    pub tampered: bool,
    /// Whether an actor slept for long.
    pub slept: bool,
}

/// One end's part of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndReport {
    /// The outcome; `None` if the end waits for ever.
    pub outcome: Option<Outcome>,
    /// The connection's failure.
    pub failure: Option<Failure>,
    /// The time of the connection's failure.
    pub failed_at: u64,
    /// The time at which anything moved last here.
    pub moved_at: u64,
    /// The number of requests that were posted.
    pub posted: usize,
    /// The requests that were finished.
    pub finished: Vec<usize>,
    /// The requests that the user was told never end.
    pub never: Vec<usize>,
    /// The bytes of all that was finished.
    pub bytes: u64,
    /// The payload bytes that sockets took or gave.
    pub carried: u64,
    /// Whether the user has closed.
    pub is_closing: bool,
    /// Whether no slot, buffer or lane is in use.
    pub is_idle: bool,
    /// Whether requests were in flight at the end.
    pub is_waiting: bool,
    /// Whether all sockets are shut.
    pub is_shut: bool,
    /// The segments of each data socket.
    pub segments: Vec<u64>,
}

impl Report {
    /// Checks that all is as it must be after a run of these settings.
    ///
    /// # Errors
    /// A sentence about the first thing that is not.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        let ends = [(Party::Sender, &self.sender), (Party::Receiver, &self.receiver)];
        for (party, end) in ends {
            let Some(outcome) = &end.outcome else { return Err(format!("{party:?} waits for ever")) };
            if !end.is_shut {
                return Err(format!("{party:?} has ended with {outcome:?}, and sockets are open"));
            }
            let other = if party == Party::Sender { &self.receiver } else { &self.sender };
            self.check_blame(settings, party, end, other)?;
        }
        self.check_bounds()?;
        self.check_losses(settings)?;
        if settings.users_agree() && !self.has_cause(settings) {
            let is_complete = |end: &EndReport| end.outcome == Some(Outcome::Complete);
            if !ends.iter().all(|(_, end)| is_complete(end)) {
                return Err("it did not complete, and nothing had happened".to_owned());
            }
        }
        self.reconcile(settings)
    }

    /// Returns whether anything has happened that may fail a connection.
    fn has_cause(&self, settings: &Settings) -> bool {
        let by_itself = |fault: &Fault| matches!(fault, Fault::Lane { .. } | Fault::Cancel { .. });
        self.flipped || self.wire_hit || self.tampered || self.slept || settings.faults.iter().any(by_itself)
    }

    /// Checks that an end's reason has a cause: an honest peer on a good wire is not blamed.
    fn check_blame(
        &self,
        settings: &Settings,
        party: Party,
        end: &EndReport,
        other: &EndReport,
    ) -> Result<(), String> {
        let is_forged = self.flipped || self.tampered;
        let other_failed = other.failure.is_some();
        let is_right = match (&end.outcome, &end.failure) {
            (Some(Outcome::WrongData { .. }), _) => {
                self.flipped || (self.tampered && settings.tamper.is_some_and(|tamper| tamper.may_mislead()))
            }
            (_, Some(Failure::Violation(_))) => is_forged,
            (_, Some(Failure::TooLong(_))) => settings.has_too_long() || is_forged,
            (_, Some(Failure::Socket(error))) => {
                let is_told = *error == SocketError::Closed && (other_failed || other.outcome.is_some());
                let is_short = *error == SocketError::Ended && other_failed;
                self.wire_hit || is_forged || is_told || is_short
            }
            (_, Some(Failure::ControlClosed | Failure::StreamClosed)) => {
                self.wire_hit || is_forged || other_failed
            }
            (_, Some(Failure::Aborted(text))) => {
                let told = format!("{:?}", other.failure);
                is_forged || (other_failed && told.starts_with(text.as_str()))
            }
            (_, Some(Failure::Unread | Failure::Silent | Failure::Stalled | Failure::TimedOut)) => {
                self.stalled || self.slept || is_forged
            }
            (_, Some(Failure::Local) | None) => true,
        };
        if is_right { Ok(()) } else { Err(format!("{party:?} ends without cause: {:?}", end.failure)) }
    }

    /// Checks that the failure of one end ends the other, and in time.
    fn check_bounds(&self) -> Result<(), String> {
        let ends = [&self.sender, &self.receiver];
        for (end, other) in [(ends[0], ends[1]), (ends[1], ends[0])] {
            if other.failure.is_none() || end.failure.is_none() || self.slept || self.tampered {
                continue;
            }
            // The other had said goodbye, and all was done: its failure since then is no news.
            let is_own = end.failure == Some(Failure::Local);
            if is_own && other.is_closing && other.is_idle && self.wires_empty {
                continue;
            }
            let from = other.failed_at.max(end.moved_at);
            if end.failed_at > from + BOUND_NS && (end.is_waiting || !self.stalled) {
                let late = end.failed_at - from;
                return Err(format!("an end goes on for {late} ns after its peer: {:?}", end.failure));
            }
        }
        Ok(())
    }

    /// Checks that no request is called lost that the peer had posted, and that a tampered frame is noticed.
    fn check_losses(&self, settings: &Settings) -> Result<(), String> {
        let Self { sender, receiver, .. } = self;
        if !self.flipped && !self.tampered {
            let matches = settings.matches();
            for &number in &receiver.never {
                let first: usize = settings.receives[..number].iter().map(Vec::len).sum();
                let items = first..first + settings.receives[number].len();
                let is_sent = |item: usize| matches[item].is_some_and(|message| message < sender.posted);
                if items.into_iter().all(is_sent) {
                    return Err(format!("receive {number} was sent, and is called lost"));
                }
            }
            let is_single = settings.connection.max_receives == 1;
            let mut lost = sender.never.iter().filter(|number| is_single && **number < receiver.posted);
            if let Some(number) = lost.next() {
                return Err(format!("send {number} has a receive, and is called lost"));
            }
            if sender.outcome == Some(Outcome::Complete) && !receiver.is_closing {
                return Err("the sender is complete, and the receiver has not closed".to_owned());
            }
        }
        let is_doubled = settings.tamper.is_some_and(|tamper| {
            tamper.act == Act::Duplicate && matches!(tamper.wire, crate::faults::WireName::Data(_))
        });
        if self.tampered && is_doubled && receiver.outcome == Some(Outcome::Complete) && !self.wire_hit {
            return Err("a segment came twice, and the receiver is content".to_owned());
        }
        Ok(())
    }

    /// Checks that sent = landed = unpacked = verified, and that nothing is left anywhere.
    fn reconcile(&self, settings: &Settings) -> Result<(), String> {
        let Self { sender, receiver, .. } = self;
        let complete = Some(Outcome::Complete);
        if sender.outcome != complete || receiver.outcome != complete || self.tampered || self.flipped {
            return Ok(());
        }
        for (party, end) in [(Party::Sender, sender), (Party::Receiver, receiver)] {
            if end.finished.len() != end.posted {
                return Err(format!("{party:?}: {} of {} are finished", end.finished.len(), end.posted));
            }
            if !end.is_idle {
                return Err(format!("{party:?}: a slot, a buffer or a lane is still in use"));
            }
        }
        let items: usize = settings.receives[..receiver.posted].iter().map(Vec::len).sum();
        if items + self.unreceived != sender.posted {
            let sent = sender.posted;
            return Err(format!("{sent} were sent, {items} received and {} left", self.unreceived));
        }
        if sender.carried != sender.bytes || receiver.carried != sender.carried {
            let (sent, carried, came) = (sender.bytes, sender.carried, receiver.carried);
            return Err(format!("{sent} bytes were sent, {carried} carried, {came} came"));
        }
        if self.unreceived == 0 && sender.bytes != receiver.bytes {
            return Err(format!("{} bytes were sent, {} received", sender.bytes, receiver.bytes));
        }
        if sender.segments != receiver.segments {
            return Err("segments were lost or made up".to_owned());
        }
        if !self.wires_empty {
            return Err("bytes are left on a wire".to_owned());
        }
        Ok(())
    }
}

impl From<Hits> for [bool; 5] {
    fn from(hits: Hits) -> Self {
        [hits.flip, hits.cut || hits.eof || hits.stall, hits.stall, hits.tampered, hits.slept]
    }
}

/// The time that an end may go on after its peer has failed: the timeout, the wait for an explanation, and
/// some looks.
const BOUND_NS: u64 = 1_000_000_000 + 300_000_000 + 500_000_000;
