//! An end of a connection, in the view of a driver that serves both: the control socket, goodbyes, and
//! whether the peer does its duty.

use std::time::Duration;

use super::{Effects, Failure, Inbox, SocketError, departure::Departure, life::Life, outbox::NextWrite};
use crate::{
    Violation,
    bounce::Completion,
    frame::Control,
    liveness::{Look, Next},
};

/// The next thing to do with the control socket, without the lock.
#[derive(Debug)]
pub enum Write<D> {
    /// Write so many bytes of the buffer, and report the result by [`End::wrote`] and its like.
    Frames(usize),
    /// Do the departure's [work](Departure::work), and give it back by [`End::wrote_message`].
    Message(Departure<D>),
    /// Wait until the lane has come this far, and ask again.
    Lane(D),
    /// Write an abort and the failure's text if there is room, then call [`End::wrote`] with 0.
    Abort,
    /// Shut the control socket down.
    Shut,
    /// Nothing: all is written, another thread writes, or there is no room.
    Nothing,
}

/// The outcome of a write of a part of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrote {
    /// The socket took some bytes, or work that needs no socket was done.
    Some,
    /// The socket has no room.
    NoRoom,
    /// The socket failed.
    Failed(SocketError),
}

/// An end of a connection, in the view of a driver that serves both.
pub trait End {
    /// The completion of a lane's work.
    type Done: Completion + Clone;

    /// Whether this end sends.
    const SENDS: bool;

    /// Returns the common part.
    fn life(&self) -> &Life;

    /// Returns the common part.
    fn life_mut(&mut self) -> &mut Life;

    /// Takes a frame that is for this end alone.
    fn take(&mut self, frame: Control, inbox: &mut Inbox<Self::Done>);

    /// Takes the peer's goodbye.
    fn take_goodbye(&mut self) {}

    /// Counts the work of lanes that is finished.
    ///
    /// # Errors
    /// If a lane is lost: the connection has failed then.
    fn count_finished(&mut self) -> Result<(), <Self::Done as Completion>::Error> {
        Ok(())
    }

    /// Returns whether requests are in flight that the peer owes something for.
    fn is_waiting(&self) -> bool;

    /// Returns the number of requests in flight.
    fn in_flight(&self) -> usize;

    /// Returns whether a message has begun and is not over: the peer goes on with it unasked.
    fn is_amid(&self) -> bool;

    /// Returns the payload bytes at their destination, as far as this end knows.
    fn placed_bytes(&self) -> u64 {
        0
    }

    /// Returns the messages that came and have no receive.
    fn unreceived(&self) -> usize {
        0
    }

    /// Returns whether a part of a message is written on the control socket, and the rest not yet.
    fn is_amid_write(&self) -> bool {
        false
    }

    /// Returns whether a message is to be written on the control socket.
    fn has_message(&self) -> bool {
        false
    }

    /// Hands out the message to write next.
    ///
    /// # Errors
    /// If the lane is lost.
    fn next_message(&mut self) -> Result<Write<Self::Done>, <Self::Done as Completion>::Error> {
        Ok(Write::Nothing)
    }

    /// Takes a message back, after a part of its work.
    fn wrote_message(&mut self, message: Departure<Self::Done>, wrote: Wrote) {
        drop((message, wrote));
    }

    /// Returns the effects of all that has happened since the last call.
    fn effects(&mut self) -> Effects {
        let has_message = self.has_message();
        let life = self.life_mut();
        let has_frames = life.outbox.is_waiting() || life.owes_ping || has_message;
        let has_frames = life.outbox.is_free() && has_frames;
        life.effects.write = !life.has_failed && has_frames || life.outbox.has_last_words();
        std::mem::take(&mut life.effects)
    }

    /// Takes a frame that was read off the control socket.
    fn heard(&mut self, frame: Control, inbox: &mut Inbox<Self::Done>) {
        let life = self.life_mut();
        if life.has_failed {
            return;
        }
        life.frames_heard += 1;
        life.owes_ping = false;
        match frame {
            // A peer that repeats it would keep the reading thread from everything else.
            Control::Goodbye if life.peer_said_goodbye => {
                life.misbehaved(Violation::Field { frame: "goodbye", field: "count", value: 2 });
            }
            Control::Goodbye => {
                life.peer_said_goodbye = true;
                life.effects.all = true;
                if life.goodbye_is_out() {
                    // The peer may have closed the socket, and waits for no sign of life.
                    life.owes_ping = false;
                    life.outbox.clear();
                }
                self.take_goodbye();
            }
            Control::Ping => _ = life.put_if_idle(Control::Pong),
            Control::Pong => {}
            Control::Abort { bytes } => {
                let reason = inbox.text(bytes);
                life.fail(Failure::Aborted(reason));
            }
            frame => self.take(frame, inbox),
        }
    }

    /// Takes the end of the control socket, and its error if it has one.
    fn control_closed(&mut self, error: Option<SocketError>) {
        let life = self.life_mut();
        // Bytes from before the goodbye was heard may have met a socket that is closed. A receiver's
        // announcements mean nothing to a sender that has said goodbye, which has sent all.
        let in_order = match error {
            None => !Self::SENDS || life.broken.is_none(),
            Some(error) => !Self::SENDS && error == SocketError::Closed,
        };
        if life.peer_said_goodbye && in_order {
            life.control_ended = true;
            return;
        }
        let cause = error.or(life.broken);
        life.fail(cause.map_or(Failure::ControlClosed, Failure::Socket));
    }

    /// Returns the next thing to do with the control socket.
    ///
    /// One thread at a time writes. It calls this again until there is nothing to do.
    ///
    /// # Errors
    /// If the lane of the control socket is lost.
    fn next_write(
        &mut self,
        buffer: &mut [u8],
    ) -> Result<Write<Self::Done>, <Self::Done as Completion>::Error> {
        let is_amid = self.is_amid_write();
        let life = self.life_mut();
        if life.effects.failure.is_some() {
            // The driver is to know the reason before it says the last words.
            return Ok(Write::Nothing);
        }
        if life.owes_ping && !is_amid {
            life.owes_ping = !life.put_if_idle(Control::Ping);
        }
        Ok(match life.outbox.next(is_amid, buffer) {
            NextWrite::Frames(bytes) => Write::Frames(bytes),
            NextWrite::Abort => Write::Abort,
            NextWrite::Shut => Write::Shut,
            NextWrite::Message => self.next_message()?,
            NextWrite::Nothing => Write::Nothing,
        })
    }

    /// Counts bytes of frames that the control socket has taken.
    fn wrote(&mut self, bytes: usize) {
        self.life_mut().outbox.took(bytes);
    }

    /// Notes that the control socket had no room for frames.
    fn no_room(&mut self) {
        let life = self.life_mut();
        life.outbox.no_room();
        life.effects.want_room = true;
    }

    /// Notes that the control socket may have room again.
    fn room(&mut self) {
        self.life_mut().outbox.room();
    }

    /// Notes that no more can be written on the control socket.
    fn write_failed(&mut self, error: SocketError) {
        self.life_mut().write_failed(error);
    }

    /// Says goodbye: all requests are finished, and nothing more is posted.
    ///
    /// # Errors
    /// The number of requests in flight, if there are any. Then nothing is said.
    fn close(&mut self) -> Result<(), usize> {
        match self.in_flight() {
            0 => {}
            open => return Err(open),
        }
        let life = self.life_mut();
        life.is_closing = true;
        life.effects.all = true;
        life.put(&Control::Goodbye.encode());
        life.goodbye_end = Some(life.outbox.put_in());
        Ok(())
    }

    /// Returns whether a look needs the kernel's counters too: a message is under way, and no segment of it
    /// has moved since the last look.
    fn wants_count(&self, carried: u64) -> bool {
        self.is_amid() && self.life().carried == carried.wrapping_add(self.placed_bytes())
    }

    /// Checks whether the peer does its duty, `since` after the last look, and fails the connection if not.
    ///
    /// `carried` counts the payload bytes that sockets have taken or given. `moved` is a number that changes
    /// with each byte in the kernel, where [`End::wants_count`] asks for it.
    ///
    /// # Errors
    /// If a lane is lost: the connection has failed then.
    fn look(
        &mut self,
        since: Duration,
        carried: u64,
        moved: Option<u64>,
    ) -> Result<(), <Self::Done as Completion>::Error> {
        // Not by the caller alone: it may pause for any time, and its peer owes nothing for what has come.
        self.count_finished()?;
        let (is_waiting, is_amid) = (self.is_waiting(), self.is_amid());
        let carried = carried.wrapping_add(self.placed_bytes());
        let life = self.life_mut();
        if life.has_failed {
            return Ok(());
        }
        if std::mem::replace(&mut life.carried, carried) != carried {
            life.moved = life.moved.wrapping_add(1);
        } else if let Some(moved) = moved {
            // The counters of whole segments stand still; the kernel counts each byte.
            life.moved = moved;
        }
        // A sender's written bytes are in its kernel: they tell nothing of the peer's process.
        let heard = life.frames_heard.wrapping_add(if Self::SENDS { 0 } else { carried });
        match life.liveness.look(since, Look { is_waiting, is_amid, heard, moved: life.moved }) {
            Next::Nothing => {}
            // Frames that wait already do not stand for it: the peer need not answer them.
            Next::Ask => life.owes_ping = true,
            Next::Silent => life.fail(Failure::Silent),
            Next::Stalled => life.fail(Failure::Stalled),
        }
        Ok(())
    }
}
