//! Carries frames both ways on the control socket.
//!
//! The thread that waits or polls reads it, and otherwise the background reader. The thread whose event has
//! something to write writes it, unless another does.

use std::{
    io::IoSlice,
    net::Shutdown,
    sync::{MutexGuard, atomic::Ordering},
    time::Instant,
};

use gputcp_gpu::Done;
use gputcp_proto::{
    connection::{Effects, End, Failure, Inbox, Input, Write, sender::Wrote},
    frame::{ABORT_BYTES_MAX, Control},
};
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendFlags};

use super::{Shared, Side, attempt, fail::socket_error};
use crate::{
    Error,
    sockets::{
        control::{Alone, Attention},
        task::LANE_LOOK,
    },
};

impl<S: Side> Shared<S> {
    /// Handles the control frames that are there, up to the reader's share. Returns false when no more can
    /// come.
    pub(crate) fn pump(&self, inbox: &mut Inbox<Done>) -> bool {
        let is_over = {
            let end = self.end();
            end.life().control_has_ended() || end.life().has_failed()
        };
        inbox.begin_share();
        let mut goes_on = !is_over;
        let mut read_at = 0;
        while goes_on {
            match inbox.input() {
                Input::Read(room) => {
                    let read =
                        || Ok(rustix::net::recv(self.control.socket(), &mut *room, RecvFlags::empty())?.0);
                    match attempt(read) {
                        Ok(Some(got)) => {
                            inbox.got(got);
                            read_at = self.trace_time();
                        }
                        Ok(None) => {
                            if let Some(trace) = &self.trace {
                                trace.found_nothing();
                            }
                            return true;
                        }
                        Err(error) => inbox.failed(socket_error(&error)),
                    }
                }
                Input::Frame(frame) => {
                    let began = self.trace_time();
                    goes_on = self.act(|end| {
                        end.heard(frame, inbox);
                        !end.life().has_failed()
                    });
                    if let Some(trace) = &self.trace {
                        trace.heard(&frame, began, read_at);
                    }
                }
                Input::Message => match S::take_message(self, inbox) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(error) => {
                        self.fail(error);
                        return false;
                    }
                },
                Input::Wrong(violation) => {
                    self.act(|end| end.life_mut().fail(Failure::Violation(violation)));
                    return false;
                }
                Input::Closed(error) => {
                    self.act(|end| end.control_closed(error));
                    return false;
                }
                Input::Pause => return true,
            }
        }
        false
    }

    /// Writes all that there is to write on the control socket, unless another thread does. `effects` are
    /// those of the last event.
    pub(super) fn write<'a>(
        &'a self,
        mut end: MutexGuard<'a, S::End>,
        mut effects: Effects,
        mut local: Option<&Error>,
    ) {
        let mut frames = [0; WRITE_BYTES];
        loop {
            let next = end.next_write(&mut frames).map_err(Error::from);
            self.perform(end, effects, local.take());
            match next {
                Ok(Write::Nothing) => return,
                Ok(Write::Frames(bytes)) => {
                    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
                    let began = self.trace_time();
                    let wrote =
                        attempt(|| Ok(rustix::net::send(self.control.socket(), &frames[..bytes], flags)?));
                    if let (Some(trace), Ok(Some(taken))) = (&self.trace, &wrote) {
                        trace.sent(began, &frames[..bytes], *taken);
                    }
                    end = self.end();
                    match wrote {
                        Ok(Some(taken)) => end.wrote(taken),
                        Ok(None) => end.no_room(),
                        Err(error) => end.write_failed(socket_error(&error)),
                    }
                }
                Ok(Write::Message(mut message)) => {
                    let wrote = S::write_message(self, &mut message);
                    end = self.end();
                    match wrote {
                        Ok(wrote) => end.wrote_message(message, wrote),
                        Err(error) => {
                            end.wrote_message(message, Wrote::Some);
                            drop(end);
                            self.fail(error);
                            end = self.end();
                        }
                    }
                }
                Ok(Write::Lane(copying)) => {
                    if let Err(error) = copying.wait(Instant::now() + LANE_LOOK) {
                        self.fail(error.into());
                    }
                    end = self.end();
                }
                Ok(Write::Abort) => {
                    self.write_abort();
                    end = self.end();
                    end.wrote(0);
                }
                Ok(Write::Shut) => {
                    let _ = self.control.socket().shutdown(Shutdown::Both);
                    end = self.end();
                }
                Err(error) => return self.fail(error),
            }
            effects = end.effects();
        }
    }

    /// Sends the peer the reason for which this side fails, if there is room for that now: the connection is
    /// lost anyway.
    fn write_abort(&self) {
        let reason = self.check().err().map(|error| error.to_string()).unwrap_or_default();
        let mut bytes = reason.len().min(ABORT_BYTES_MAX as usize);
        while !reason.is_char_boundary(bytes) {
            bytes -= 1;
        }
        let header = Control::Abort { bytes: bytes as u32 }.encode();
        let parts = [IoSlice::new(&header), IoSlice::new(&reason.as_bytes()[..bytes])];
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ =
            rustix::net::sendmsg(self.control.socket(), &parts, &mut SendAncillaryBuffer::default(), flags);
    }

    /// Handles the frames that the control socket has, unless another thread reads it.
    pub(crate) fn look(&self) {
        self.control.look(|inbox| {
            self.pump(inbox);
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
        let began = self.trace_time();
        let attention = self.attend_to_control();
        if let Some(trace) = &self.trace {
            trace.attended(began);
        }
        attention
    }

    fn attend_to_control(&self) -> Attention {
        let away = self.polls.go_on();
        self.control.leave_to_polls(away);
        self.control.tries();
        let has_failed = self.act(|end| {
            end.room();
            end.life().has_failed()
        });
        self.away.store(away && !has_failed, Ordering::Relaxed);
        if away && !has_failed {
            return Attention::Away;
        }
        let read = self.control.stand_in().map(|mut inbox| self.pump(&mut inbox));
        let armed = if read == Some(true) { self.control.arm() } else { Ok(()) };
        match armed {
            Ok(()) if has_failed || read == Some(false) => Attention::Over,
            Ok(()) => Attention::Armed,
            Err(error) => {
                self.fail(Error::system("watch the control socket", error));
                Attention::Over
            }
        }
    }

    /// Runs the background reader's thread.
    pub(crate) fn read_in_background(&self, alone: &Alone) {
        let life = self.control.arm().and_then(|()| {
            alone.read_in_background(|| self.attend(), || self.watch(), self.watch_interval())
        });
        if let Err(error) = life {
            self.fail(Error::system("watch the control socket", error));
        }
    }
}

/// The frames that go out in one call: four announcements at a time are the rule.
const WRITE_BYTES: usize = 16 * Control::BYTES;
