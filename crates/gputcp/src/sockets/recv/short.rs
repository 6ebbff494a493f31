//! Short messages: whole, inside a frame of the control socket, taken by the thread that reads it. Host
//! destinations are received in place, device memory by the control socket's own bounce buffers. A message
//! whose receive is not posted goes to an eager place; the post takes it from there.

use std::{sync::atomic::Ordering, time::Instant};

use gputcp_gpu::Done;
use gputcp_proto::connection::{
    End, Failure, Inbox, Step,
    receiver::{Short, Work},
};
use rustix::net::RecvFlags;

use super::{RecvMemory, range_of};
use crate::{
    Result,
    sockets::{
        locks::lock,
        shared::{Shared, attempt, socket_error},
        task::LANE_LOOK,
    },
};

/// The outcome of a part of the work for a short message.
enum Carried {
    /// So many of the bytes that were here are used.
    Used(usize),
    /// The socket has no more bytes now.
    Nothing,
    /// The message is done.
    Over,
}

impl Shared<RecvMemory> {
    /// Goes on with the message that the reader is amid. Returns false if more of it is to come.
    pub(super) fn take_message(&self, inbox: &mut Inbox<Done>) -> Result<bool> {
        while let Some((short, here)) = inbox.message() {
            match self.carry(short, here)? {
                Carried::Used(bytes) => inbox.used(bytes),
                Carried::Nothing => return Ok(false),
                Carried::Over => inbox.end_message(),
            }
        }
        Ok(true)
    }

    /// Takes a message, which came before its receive, from its eager place.
    pub(super) fn deliver(&self, mut early: Short<Done>) -> Result<()> {
        loop {
            match self.carry(&mut early, &[]) {
                Ok(Carried::Used(_)) => {}
                Ok(Carried::Nothing | Carried::Over) => return Ok(()),
                Err(error) => {
                    self.fail(error.clone());
                    return Err(error);
                }
            }
        }
    }

    /// Does a part of the work for a short message. `here` are its bytes that were read with its frame.
    fn carry(&self, short: &mut Short<Done>, here: &[u8]) -> Result<Carried> {
        let socket = self.control.descriptor();
        let place = short.source().map(|place| lock(&self.memory.places[place]));
        // The bytes that need no call of the socket: all from an eager place, or those that are here.
        let at_hand = |have: u64, missing: u64| match &place {
            Some(place) => &place[have as usize..(have + missing) as usize],
            None => &here[..here.len().min(missing as usize)],
        };
        let (copied, left_bytes);
        let (from_place, began) = (place.is_some(), self.trace_time());
        let got = match short.work() {
            Work::InPlace(segment) => {
                let destination = self.memory.destination(segment.landing().slot_index());
                let bytes = at_hand(segment.have(), segment.missing());
                (copied, left_bytes) = (bytes.len(), segment.missing());
                if copied == 0 {
                    attempt(|| destination.recv(socket, segment.have(), segment.missing()))
                } else {
                    destination.copy_from(segment.have(), bytes);
                    Ok(Some(copied))
                }
            }
            Work::Bounce(filling) => {
                let mut lane = lock(self.memory.short_lane());
                let bytes = at_hand(filling.have(), filling.missing());
                (copied, left_bytes) = (bytes.len(), filling.missing());
                if copied == 0 {
                    attempt(|| lane.recv(filling, socket))
                } else {
                    lane.put(filling, bytes);
                    Ok(Some(copied))
                }
            }
            Work::Early { place, have, missing } => {
                let mut place = lock(&self.memory.places[place]);
                let room = &mut place[have as usize..(have + missing) as usize];
                let bytes = at_hand(have, missing);
                (copied, left_bytes) = (bytes.len(), missing);
                if copied == 0 {
                    attempt(|| Ok(rustix::net::recv(socket, &mut *room, RecvFlags::empty())?.0))
                } else {
                    room[..copied].copy_from_slice(bytes);
                    Ok(Some(copied))
                }
            }
            Work::Unpack(filled) => {
                let range = range_of(filled.landing());
                let destination = self.memory.destination(filled.landing().slot_index());
                let mut lane = lock(self.memory.short_lane());
                let unpacking = destination.unpack(filled, &mut lane, self.memory.mode)?;
                drop((lane, destination));
                short.launched(unpacking);
                if let Some(trace) = &self.trace {
                    trace.unpack_short(began, range, from_place);
                }
                return Ok(Carried::Used(0));
            }
            Work::Connection | Work::Hear | Work::Header(_) => {
                return match self.act_on_lane(|end| end.step_short(short))? {
                    Step::Over => Ok(Carried::Over),
                    Step::Lane(oldest) => {
                        oldest.wait(Instant::now() + LANE_LOOK)?;
                        Ok(Carried::Used(0))
                    }
                    _ => Ok(Carried::Used(0)),
                };
            }
        };
        let lost = |error| self.act(|end| end.life_mut().fail(Failure::Socket(error)));
        if let (Some(trace), Ok(got), false) = (&self.trace, &got, from_place) {
            trace.short_in(|pen| pen.tried(*got, left_bytes));
        }
        let counted = match got.map_err(|error| socket_error(&error)) {
            Ok(None) => return Ok(Carried::Nothing),
            Ok(Some(got)) => short.got(got as u64).map(|()| got),
            Err(error) => Err(error),
        };
        match counted {
            Ok(_) if place.is_some() => Ok(Carried::Used(0)),
            Ok(got) => {
                self.carried.fetch_add(got as u64, Ordering::Relaxed);
                Ok(Carried::Used(copied))
            }
            Err(error) => {
                lost(error);
                self.check().map(|()| Carried::Over)
            }
        }
    }
}
