//! The part that both ends of a connection share: frames on their way out, goodbyes and failures.

use std::time::Duration;

use super::{Effects, Failure, Settings, SocketEnd, SocketError, Step, VERDICT, outbox::Outbox};
use crate::{Violation, frame::Control, liveness::Liveness};

/// The common part of an end.
#[derive(Debug)]
pub struct Life {
    pub(super) sends: bool,
    pub(super) is_closing: bool,
    pub(super) peer_said_goodbye: bool,
    /// The end of this side's goodbye among the bytes of the outbox, once it was said.
    pub(super) goodbye_end: Option<u64>,
    /// No more can come on the control socket, behind the peer's goodbye.
    pub(super) control_ended: bool,
    pub(super) has_failed: bool,
    /// The error after which no more can be written on the control socket.
    pub(super) broken: Option<SocketError>,
    pub(super) frames_heard: u64,
    pub(super) liveness: Liveness,
    /// The peer is to be asked for an answer, behind all that is being written.
    pub(super) owes_ping: bool,
    /// The counts of the last look.
    pub(super) carried: u64,
    pub(super) moved: u64,
    pub(super) outbox: Outbox,
    pub(super) effects: Effects,
}

impl Life {
    pub(super) fn new(sends: bool, settings: &Settings) -> Self {
        Self {
            sends,
            is_closing: false,
            peer_said_goodbye: false,
            goodbye_end: None,
            control_ended: false,
            has_failed: false,
            broken: None,
            frames_heard: 0,
            liveness: Liveness::new(settings.timeout),
            owes_ping: false,
            carried: 0,
            moved: 0,
            outbox: Outbox::new(settings.depth),
            effects: Effects::default(),
        }
    }

    /// Fails the connection. The first failure counts.
    pub fn fail(&mut self, failure: Failure) {
        if std::mem::replace(&mut self.has_failed, true) {
            return;
        }
        let can_say = self.broken.is_none() && !self.control_ended;
        self.outbox.fail(can_say && failure.is_news(self.sends, self.is_closing));
        self.effects.all = true;
        self.effects.failure = Some(failure);
    }

    /// Returns whether the connection has failed.
    #[must_use]
    pub const fn has_failed(&self) -> bool {
        self.has_failed
    }

    /// Returns whether this side has said goodbye, or is about to.
    #[must_use]
    pub const fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Returns whether the socket has taken this side's goodbye, and so all of weight.
    pub(super) fn goodbye_is_out(&self) -> bool {
        self.goodbye_end.is_some_and(|end| self.outbox.taken() >= end)
    }

    /// Returns whether the peer has said goodbye.
    #[must_use]
    pub const fn peer_has_said_goodbye(&self) -> bool {
        self.peer_said_goodbye
    }

    /// Returns whether no more can come on the control socket, behind the peer's goodbye.
    #[must_use]
    pub const fn control_has_ended(&self) -> bool {
        self.control_ended
    }

    /// Returns whether frames are left to write.
    #[must_use]
    pub const fn has_frames(&self) -> bool {
        self.outbox.is_waiting() && !self.outbox.is_broken()
    }

    /// Returns the time between two looks.
    #[must_use]
    pub const fn look_interval(&self) -> Duration {
        self.liveness.interval()
    }

    pub(super) fn misbehaved(&mut self, violation: Violation) {
        self.fail(Failure::Violation(violation));
    }

    /// Adds whole frames to those on their way out.
    pub(super) fn put(&mut self, frames: &[u8]) {
        if !self.outbox.put(frames) {
            self.fail(Failure::Unread);
        }
    }

    /// Adds a frame, unless others are written or wait. Returns whether it did. An answer may be left out
    /// then: they tell the peer as much.
    pub(super) fn put_if_idle(&mut self, frame: Control) -> bool {
        let is_idle = self.outbox.is_free() && !self.outbox.is_waiting();
        if is_idle {
            self.put(&frame.encode());
        }
        is_idle
    }

    /// Notes that no more can be written on the control socket. Where the peer has closed or reset it, its
    /// earlier frames are still there to be read, and tell why. A sender that said goodbye is no loss.
    pub(super) fn write_failed(&mut self, error: SocketError) {
        self.outbox.broke();
        let is_closed = error == SocketError::Closed;
        if is_closed && self.goodbye_is_out() {
            // A sign of life was lost; the peer may have closed in good order.
            self.effects.look = true;
        } else if is_closed && !self.peer_said_goodbye {
            self.broken.get_or_insert(error);
            self.effects.look = true;
        } else if !is_closed || self.sends {
            self.fail(Failure::Socket(error));
        }
    }

    /// Judges the end of a data socket, by what the control socket has told until `now`. It usually knows the
    /// cause (an abort, a goodbye), and gets a moment to tell it.
    pub(super) fn judge<D>(&mut self, end: &mut SocketEnd, now: Duration) -> Step<D> {
        let until = *end.until.get_or_insert(now + VERDICT);
        let in_order = end.error.is_none() && self.peer_said_goodbye;
        if in_order || self.is_closing || self.has_failed {
            return Step::Over;
        }
        if now < until {
            return Step::Until(until);
        }
        self.fail(end.error.map_or(Failure::StreamClosed, Failure::Socket));
        Step::Over
    }
}
