//! A peer that breaks the protocol: it drives a real end, and changes one frame on its way out.
//!
//! A [`Tamper`] sits at the writer's side of one wire and follows its frames: those of the control socket, or
//! the headers of segments. So it changes whole frames, whatever pieces they are written in.

use std::collections::VecDeque;

use gputcp_proto::frame::{Announce, Control, SegmentHeader};

use crate::{
    clock::Clock,
    faults::{Act, GOODBYE, Tamper, WireName},
};

/// A tamper at work.
pub(crate) struct Tamperer {
    tamper: Tamper,
    /// The bytes of the frame that have come.
    head: Vec<u8>,
    /// The bytes of payload to come, and the frame with its payload so far if it is to be kept.
    payload: u64,
    kept: Vec<u8>,
    frames: u32,
    mode: Mode,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Pass,
    Drop,
    /// Keep a copy, and send it again behind the frame.
    Copy,
    /// Keep it back behind the next frame.
    Hold,
}

impl Tamperer {
    pub(crate) const fn new(tamper: Tamper) -> Self {
        Self { tamper, head: vec![], payload: 0, kept: vec![], frames: 0, mode: Mode::Pass }
    }

    /// Passes bytes on, changed or not.
    pub(crate) fn pass(&mut self, clock: &mut Clock, mut bytes: &[u8], out: &mut VecDeque<u8>) {
        while !bytes.is_empty() {
            if self.payload > 0 {
                let (payload, rest) = bytes.split_at(bytes.len().min(self.payload as usize));
                self.payload -= payload.len() as u64;
                bytes = rest;
                self.put(payload, out);
            } else {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD - self.head.len()));
                self.head.extend(head);
                bytes = rest;
                if self.head.len() == HEAD {
                    self.begin(clock, out);
                }
            }
            if self.payload == 0 && self.head.is_empty() && self.mode == Mode::Copy {
                self.mode = Mode::Pass;
                out.extend(self.kept.drain(..));
            }
        }
    }

    /// Judges the frame that is whole.
    fn begin(&mut self, clock: &mut Clock, out: &mut VecDeque<u8>) {
        let mut head = [0; HEAD];
        head.copy_from_slice(&self.head);
        self.head.clear();
        let is_behind_held = self.mode == Mode::Hold;
        let number = self.frames;
        self.frames += 1;
        self.payload = payload_of(self.tamper.wire, &head);
        self.mode = Mode::Pass;
        let is_goodbye = self.tamper.frame == GOODBYE && Control::decode(&head) == Ok(Control::Goodbye);
        let mut behind = vec![];
        if number == self.tamper.frame || is_goodbye {
            let Tamper { wire, act, .. } = self.tamper;
            clock.hits.tampered = true;
            clock.log_fault(|| format!("{act:?} of frame {number} on {wire:?}: {}", text_of(wire, &head)));
            match act {
                Act::Drop => self.mode = Mode::Drop,
                Act::Behead => return,
                Act::Duplicate => self.mode = Mode::Copy,
                Act::Swap => self.mode = Mode::Hold,
                Act::Mutate(at, mask) => head[at] ^= mask,
                Act::Shift(at, by) => shift(&mut head, at, by),
                Act::Inject(kind, false) => out.extend(invented(clock, wire, kind, &head)),
                Act::Inject(kind, true) if self.payload == 0 => behind = invented(clock, wire, kind, &head),
                Act::Inject(..) => {}
                Act::Flood => flood(&head, out),
            }
        }
        self.put(&head, out);
        out.extend(behind);
        if is_behind_held {
            // Behind the next frame, and before its payload: whole frames change places only where they have
            // none.
            self.mode = if self.payload > 0 { Mode::Copy } else { Mode::Pass };
            if self.payload == 0 {
                out.extend(self.kept.drain(..));
            }
        }
    }

    fn put(&mut self, bytes: &[u8], out: &mut VecDeque<u8>) {
        match self.mode {
            Mode::Pass => out.extend(bytes),
            Mode::Drop => {}
            // A held frame waits in the same place: the frame behind it is not kept.
            Mode::Copy if self.tamper.act == Act::Swap => out.extend(bytes),
            Mode::Copy => {
                out.extend(bytes);
                self.kept.extend(bytes);
            }
            Mode::Hold => self.kept.extend(bytes),
        }
    }
}

/// Returns the length of the payload behind a frame.
fn payload_of(wire: WireName, head: &[u8; HEAD]) -> u64 {
    match wire {
        WireName::Data(_) => SegmentHeader::decode(head).map_or(0, |header| header.bytes.into()),
        _ => match Control::decode(head) {
            Ok(Control::Inline { bytes, .. } | Control::Abort { bytes }) => bytes.into(),
            _ => 0,
        },
    }
}

fn text_of(wire: WireName, head: &[u8; HEAD]) -> String {
    match wire {
        WireName::Data(_) => format!("{:?}", SegmentHeader::decode(head)),
        _ => format!("{:?}", Control::decode(head)),
    }
}

fn shift(head: &mut [u8; HEAD], at: usize, by: i8) {
    let by = i64::from(by) as u64;
    if at == 4 {
        let number = u32::from_le_bytes(head[4..8].try_into().unwrap_or_default());
        head[4..8].copy_from_slice(&number.wrapping_add(by as u32).to_le_bytes());
    } else {
        let number = u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
        head[at..at + 8].copy_from_slice(&number.wrapping_add(by).to_le_bytes());
    }
}

/// Returns a frame that might be right.
fn invented(clock: &mut Clock, wire: WireName, kind: u8, head: &[u8; HEAD]) -> Vec<u8> {
    let rng = &mut clock.rng;
    let seq = u64::from_le_bytes(head[8..16].try_into().unwrap_or_default()) + rng.u64(0..3);
    if let WireName::Data(_) = wire {
        let bytes = rng.u32(0..3) * 4096;
        let header = SegmentHeader { seq, offset: rng.u64(0..3) * 4096, total: rng.u64(0..3) * 4096, bytes };
        return [&header.encode()[..], &vec![0; bytes as usize]].concat();
    }
    let frame = match kind % 10 {
        0 => Control::Ping,
        1 => Control::Pong,
        2 => Control::Goodbye,
        3 => Control::Abort { bytes: rng.u32(0..600) },
        4 => Control::Want { seq },
        6 => {
            let capacity = 1 << rng.u32(0..63);
            Control::Announce(Announce { seq, capacity, inline_bytes: 0, done: seq / 2, mark: None })
        }
        7 => return rng.u128(..).to_le_bytes().repeat(2),
        // Often a short message, for a place that may be in use.
        _ => {
            let (seq, bytes) = (seq + [0, 1, 3, 8][rng.usize(0..4)], rng.u32(0..64));
            return [&Control::Inline { seq, bytes }.encode()[..], &vec![0; bytes as usize]].concat();
        }
    };
    frame.encode().to_vec()
}

/// Puts announcements ahead of this one, each in order and none of a finished receive.
fn flood(head: &[u8; HEAD], out: &mut VecDeque<u8>) {
    let Ok(Control::Announce(first)) = Control::decode(head) else { return };
    for more in 0..300 {
        let announce = Announce { seq: first.seq + more, ..first };
        out.extend(Control::Announce(announce).encode());
    }
}

/// The length of all frames.
const HEAD: usize = Control::BYTES;
const _: () = assert!(HEAD == SegmentHeader::BYTES);
