//! Hears the control socket: the thread that waits or polls reads it, and otherwise the background reader.
//! The reading thread handles each frame.

use std::sync::atomic::Ordering;

use gputcp_proto::{Violation, frame::Control};

use super::{Shared, Side, fail::is_closed};
use crate::{
    Error,
    sockets::control::{Alone, Attention, Incoming, Reader},
};

impl<S: Side> Shared<S> {
    /// Handles the control frames that are there, up to the reader's share. Returns false when no more can
    /// come.
    pub(crate) fn pump(&self, reader: &mut Reader) -> bool {
        if self.control_ended.load(Ordering::Acquire) || self.failure.get().is_some() {
            return false;
        }
        reader.begin_share();
        loop {
            if reader.amid {
                match S::take_rest(self, reader) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(error) => {
                        self.fail(error);
                        return false;
                    }
                }
            }
            let handled = match reader.next(&self.control) {
                Ok(Ok(Incoming::Nothing)) => return true,
                // A peer that repeats it would keep the reading thread from everything else.
                Ok(Ok(Incoming::Frame(Control::Goodbye))) if self.peer_has_said_goodbye() => {
                    Err(self.misbehaved(Violation::Field { frame: "goodbye", field: "count", value: 2 }))
                }
                Ok(Ok(Incoming::Frame(Control::Goodbye))) => {
                    S::goodbye(self);
                    self.peer_said_goodbye.store(true, Ordering::Release);
                    self.wake_all();
                    self.doorbell.ring_all();
                    Ok(())
                }
                Ok(Ok(Incoming::Frame(Control::Ping))) => {
                    let answered = self.control.write_if_idle(&Control::Pong.encode());
                    answered.or_else(|error| self.control_failed(error))
                }
                Ok(Ok(Incoming::Frame(Control::Pong))) => Ok(()),
                Ok(Ok(Incoming::Frame(Control::Abort { bytes }))) => {
                    let reason = reader.text(bytes as usize).into();
                    Err(Error::PeerAborted { peer: self.peer.clone(), reason })
                }
                Ok(Ok(Incoming::Frame(frame))) => S::dispatch(self, frame, reader),
                Ok(Ok(Incoming::End))
                    if self.peer_has_said_goodbye() && (!S::SENDS || self.control.broken().is_none()) =>
                {
                    self.control_ended.store(true, Ordering::Release);
                    return false;
                }
                // An announcement from before the goodbye was heard may have met a socket that is closed.
                Err(error) if self.peer_has_said_goodbye() && !S::SENDS && is_closed(&error) => {
                    self.control_ended.store(true, Ordering::Release);
                    return false;
                }
                Ok(Ok(Incoming::End)) => Err(match self.control.broken() {
                    Some(error) => self.socket_failed(error),
                    None => self.gone("its connection closed without a goodbye"),
                }),
                Ok(Err(violation)) => Err(self.misbehaved(violation)),
                Err(error) => Err(self.socket_failed(&error)),
            };
            if let Err(error) = handled {
                self.fail(error);
                return false;
            }
            self.frames_heard.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Handles the frames that the control socket has, unless another thread reads it.
    pub(crate) fn look(&self) {
        self.control.look(|reader| {
            self.pump(reader);
        });
    }

    /// Does the same for a caller that polls again and again. The background reader stays away meanwhile, as
    /// each frame would wake it in vain.
    pub(crate) fn poll(&self) {
        self.polls.poll();
        self.look();
    }

    /// Notes that a request is posted and none was in flight: there was no request to poll for.
    pub(crate) fn resume(&self) {
        self.polls.resume();
    }

    /// Returns whether the background reader relies on polls. Each poll then has to look, whichever request
    /// it is for.
    pub(crate) fn is_left_to_polls(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Handles the events of the control socket, unless a caller polls it.
    pub(crate) fn attend(&self) -> Attention {
        let away = self.polls.go_on();
        self.control.leave_to_polls(away);
        let written = self.control.write_on().or_else(|error| self.control_failed(error));
        let written = written.and_then(|()| S::write_on(self));
        self.away.store(away && written.is_ok(), Ordering::Relaxed);
        if away && written.is_ok() {
            return Attention::Away;
        }
        let read = self.control.stand_in().map(|mut reader| self.pump(&mut reader));
        let more = read.unwrap_or(true);
        let armed = if read == Some(true) { self.control.arm() } else { Ok(()) };
        let armed = armed.map_err(|error| Error::system("watch the control socket", error));
        match written.and(armed) {
            Ok(()) if more => Attention::Armed,
            Ok(()) => Attention::Over,
            Err(error) => {
                self.fail(error);
                Attention::Over
            }
        }
    }

    /// Runs the background reader's thread.
    pub(crate) fn read_in_background(&self, alone: &Alone) {
        let life = self.control.arm().and_then(|()| {
            alone.read_in_background(|| self.attend(), (|| self.watch(), self.watch_interval()))
        });
        if let Err(error) = life {
            self.fail(Error::system("watch the control socket", error));
        }
    }
}
