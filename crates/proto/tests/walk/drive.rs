//! Takes a model's steps through the real types, and checks their promises by other means.
//!
//! Those are the bytes, and the buffers that the lane is reading.

use gputcp_proto::{
    bounce::Filling,
    frame::{Control, SegmentHeader},
    recv::{InPlace, Placed},
    send::Carrier,
};

use crate::{
    lane::Lane,
    model::{BUFFERS, CAPACITY, Flaw, Model, Reading, SEGMENT, SLOTS, Step, Writing},
};

/// Returns byte `offset` of message `message`; never 0, which is the value of an untouched destination.
const fn pattern(message: usize, offset: usize) -> u8 {
    (1 + message * CAPACITY + offset) as u8
}

impl<const RING: usize> Model<RING> {
    /// Takes one step.
    ///
    /// # Errors
    /// A failed check, in words.
    pub(crate) fn take(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::PostSend => self.post_send(),
            Step::PostReceive => self.post_receive(),
            Step::HearAnnouncement => {
                let announce = self.announcements.pop_front().expect("one is on its way");
                self.send.announced(&announce).map_err(|violation| violation.to_string())
            }
            Step::DealInline => self.deal_inline(),
            Step::ReadInline => self.read_inline(),
            Step::Deal(socket) => self.deal(socket),
            Step::Write(socket) => self.write(socket),
            Step::Begin(socket) => self.begin(socket),
            Step::ReadByte(socket) => self.read_byte(socket),
            Step::Launch(socket) => self.launch(socket),
            Step::LaneFinishes => {
                self.poll_the_running()?;
                self.memory.borrow_mut().finish_oldest();
                Ok(())
            }
            Step::Poll(at) => self.poll(at),
        }
    }

    /// Checks the end state, when every message has been received.
    ///
    /// # Errors
    /// The condition that does not hold.
    pub(crate) fn reconcile(&self) -> Result<(), String> {
        let asked: u64 = self.sizes.iter().sum();
        check((self.sent, self.received) == (asked, asked), "sent = received = asked for")?;
        check(self.send.in_flight() == 0 && self.recv.in_flight() == 0, "both windows are empty")?;
        check(self.ring.in_flight() == 0, "the bounce ring is empty")?;
        check(self.memory.borrow().unpacks.is_empty(), "the lane is idle")?;
        check(self.wires.iter().all(|wire| wire.is_empty()) && self.control.is_empty(), "the wire is empty")
    }

    fn post_send(&mut self) -> Result<(), String> {
        let bytes = self.sizes[self.posted];
        let slot = self.send.post(bytes, false).ok_or("a free slot was refused")?;
        check(slot.index() == self.posted % SLOTS, "a send takes the free place")?;
        for (offset, byte) in self.sources[slot.index()].iter_mut().enumerate() {
            *byte = pattern(self.posted, offset);
        }
        self.posted += 1;
        let index = slot.index();
        self.sends[index] = Some(slot);
        Ok(())
    }

    fn post_receive(&mut self) -> Result<(), String> {
        let (slot, announce) = self.recv.post(CAPACITY as u64, false).ok_or("a free slot was refused")?;
        check(self.recv.in_flight() <= SLOTS, "no more receives than slots")?;
        self.memory.borrow_mut().destinations[slot.index()] = [0; CAPACITY];
        self.announcements.push_back(announce);
        self.asked += 1;
        let index = slot.index();
        check(self.receives[index].replace(slot).is_none(), "one receive per place")
    }

    fn deal_inline(&mut self) -> Result<(), String> {
        let segment = self.send.deal(Carrier::Control).unwrap().ok_or("an empty message was not dealt")?;
        check((segment.seq(), segment.bytes()) == (self.cursor.0 as u64, 0), "dealt in order")?;
        self.cursor = (self.cursor.0 + 1, 0);
        self.control.extend(Control::Inline { seq: segment.seq(), bytes: 0 }.encode());
        let index = segment.slot_index();
        check(self.send.written(segment), "an empty message is written at once")?;
        self.finish_send(index)
    }

    fn read_inline(&mut self) -> Result<(), String> {
        let frame: Vec<u8> = self.control.drain(..Control::BYTES).collect();
        let frame =
            Control::decode(frame[..].try_into().unwrap()).map_err(|violation| violation.to_string())?;
        let Control::Inline { seq, bytes } = frame else { return Err(format!("{frame:?}")) };
        let landing =
            self.recv.begin_inline(seq, u64::from(bytes)).map_err(|violation| violation.to_string())?;
        let placed = InPlace::new(landing).advance(0).map_err(|_| "an empty message has bytes")?;
        self.place(placed)
    }

    fn deal(&mut self, socket: usize) -> Result<(), String> {
        let segment = self.send.deal(Carrier::Any).unwrap().ok_or("a segment was not dealt")?;
        let (message, offset) = self.cursor;
        check((segment.seq(), segment.offset()) == (message as u64, offset), "dealt in order")?;
        self.cursor = (message, offset + segment.bytes());
        if self.cursor.1 == self.sizes[message] {
            self.cursor = (message + 1, 0);
        }
        let (header, source) = (segment.header(), segment.slot_index());
        let mut writing = Writing { segment: Some(segment), header, source };
        if self.flaw == Flaw::WrittenTooEarly {
            self.written(&mut writing)?;
        }
        self.writing[socket] = Some(writing);
        Ok(())
    }

    fn write(&mut self, socket: usize) -> Result<(), String> {
        let mut writing = self.writing[socket].take().expect("a segment is dealt to it");
        let (offset, bytes) = (writing.header.offset as usize, writing.header.bytes as usize);
        self.wires[socket].extend(writing.header.encode());
        self.wires[socket].extend(&self.sources[writing.source][offset..offset + bytes]);
        self.written(&mut writing)
    }

    fn written(&mut self, writing: &mut Writing) -> Result<(), String> {
        let is_last = writing.segment.take().is_some_and(|segment| self.send.written(segment));
        if is_last { self.finish_send(writing.source) } else { Ok(()) }
    }

    fn finish_send(&mut self, index: usize) -> Result<(), String> {
        let slot = self.sends[index].take().ok_or("a send that was not posted is finished")?;
        self.sent += self.send.finish(slot).map_err(|slot| format!("not finished: {slot:?}"))?.bytes;
        Ok(())
    }

    fn begin(&mut self, socket: usize) -> Result<(), String> {
        let slot = self.ring.issue().ok_or("a free bounce buffer was refused")?;
        let header: Vec<u8> = self.wires[socket].drain(..SegmentHeader::BYTES).collect();
        let landing = SegmentHeader::decode(header[..].try_into().unwrap())
            .and_then(|header| self.recv.begin(&header))
            .map_err(|violation| violation.to_string())?;
        self.reading[socket] = Reading::Filling(Filling::new(slot, landing));
        Ok(())
    }

    fn read_byte(&mut self, socket: usize) -> Result<(), String> {
        let Reading::Filling(filling) = std::mem::replace(&mut self.reading[socket], Reading::Idle) else {
            unreachable!("offered only while filling")
        };
        let (buffer, at) = (filling.index() % BUFFERS, filling.have() as usize);
        let mut memory = self.memory.borrow_mut();
        let is_read = memory.unpacks.iter().any(|job| job.buffer == buffer);
        check(!is_read, "no bounce buffer is written while an unpack reads it")?;
        check(at < SEGMENT, "a segment fits its buffer")?;
        memory.bounce[buffer][at] = self.wires[socket].pop_front().expect("segments are written whole");
        self.reading[socket] = match filling.advance(1) {
            Ok(filled) => Reading::Filled(filled),
            Err(filling) => Reading::Filling(filling),
        };
        Ok(())
    }

    fn launch(&mut self, socket: usize) -> Result<(), String> {
        let Reading::Filled(filled) = std::mem::replace(&mut self.reading[socket], Reading::Idle) else {
            unreachable!("offered only when filled")
        };
        self.unpacking.push(filled.unpack(&mut Lane(self.memory.clone()))?);
        Ok(())
    }

    fn poll(&mut self, at: usize) -> Result<(), String> {
        let (slot, placed) =
            self.unpacking.remove(at).poll()?.map_err(|_| "a finished unpack is finished")?;
        if self.flaw != Flaw::BufferDropped {
            self.ring.release(slot);
        }
        self.place(placed)
    }

    /// Polls every unpack that still runs: it must still be unfinished.
    fn poll_the_running(&mut self) -> Result<(), String> {
        for unpacking in std::mem::take(&mut self.unpacking) {
            if unpacking.completion().is_set() {
                self.unpacking.push(unpacking);
            } else {
                let running = unpacking.poll()?.err().ok_or("a running unpack gave its buffer back")?;
                self.unpacking.push(running);
            }
        }
        Ok(())
    }

    fn place(&mut self, placed: Placed) -> Result<(), String> {
        let index = placed.landing().slot_index();
        if !self.recv.place(placed) {
            return Ok(());
        }
        let slot = self.receives[index].take().ok_or("a receive that was not posted is finished")?;
        let message = slot.seq().wire() as usize;
        let received = self.recv.finish(slot).map_err(|slot| format!("not finished: {slot:?}"))?;
        check(received.bytes == self.sizes[message], "a message keeps its length")?;
        for offset in 0..CAPACITY {
            let expected = if offset < received.bytes as usize { pattern(message, offset) } else { 0 };
            let found = self.memory.borrow().destinations[index][offset];
            check(found == expected, "a slot is free only when its bytes are where they belong")?;
        }
        self.received += received.bytes;
        self.finished += 1;
        Ok(())
    }
}

fn check(holds: bool, what: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(format!("does not hold: {what}")) }
}
