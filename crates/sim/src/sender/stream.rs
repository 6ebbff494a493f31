//! The sender's thread of one data socket: deals, stages and writes.

use std::{collections::VecDeque, convert::Infallible};

use gputcp_proto::{
    frame::Join,
    send::{Carrier, Segment},
    stage::{Stage, Staged, Staging},
    window::Window,
};

use super::Sender;
use crate::{
    end::{Failure, Outbox},
    lane::{Lane, Ticket},
    settings::{Flaw, Settings},
    wire::Wires,
    world::{Actor, World},
};

/// The number of staging buffers per data socket.
const STAGING: usize = 4;

/// A data socket's thread.
#[derive(Debug)]
pub(super) struct Stream {
    ring: Window<STAGING>,
    memory: Vec<Vec<u8>>,
    lane: Lane<Copy>,
    staging: VecDeque<Staging<Ticket>>,
    header: Outbox,
    writing: Option<Writing>,
    segments: u64,
}

/// A segment whose bytes are being written: from its staging buffer, or straight from the source.
#[derive(Debug)]
enum Writing {
    Staged(Staged),
    Direct(Segment, u64),
}

/// A copy from a source to a staging buffer.
#[derive(Debug)]
struct Copy {
    source: usize,
    offset: usize,
    bytes: usize,
    buffer: usize,
}

struct Copier<'a> {
    lane: &'a mut Lane<Copy>,
    world: &'a mut World,
}

impl Stage for Copier<'_> {
    type Done = Ticket;
    type Error = Infallible;

    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Ticket, Infallible> {
        let (offset, bytes) = (segment.offset() as usize, segment.bytes() as usize);
        let copy = Copy { source: segment.slot_index(), offset, bytes, buffer: index };
        Ok(self.lane.launch(self.world, copy))
    }
}

impl Stream {
    pub(super) fn new(settings: &Settings, at: usize, join: &Join) -> Self {
        let mut header = Outbox::default();
        header.push(&join.encode());
        Self {
            ring: Window::new(),
            memory: vec![vec![0; settings.segment_bytes as usize]; STAGING],
            lane: Lane::new(settings, Actor::SenderStream(at)),
            staging: VecDeque::new(),
            header,
            writing: None,
            segments: 0,
        }
    }

    pub(super) const fn segments(&self) -> u64 {
        self.segments
    }

    pub(super) fn is_idle(&self) -> bool {
        self.ring.in_flight() == 0 && self.lane.running().next().is_none()
    }
}

impl<const N: usize> Sender<'_, N> {
    /// Finishes copies, writes, and deals while there are buffers.
    pub(super) fn carry(&mut self, at: usize, world: &mut World, wires: &mut Wires) -> Result<(), Failure> {
        let stream = &mut self.streams[at];
        while let Some(Copy { source, offset, bytes, buffer }) = stream.lane.next_finished(world) {
            // A source that was given back too early may be shorter by now; the copy then takes the bytes
            // that exist.
            let from = self.sources[source].get(offset..offset + bytes);
            from.into_iter().for_each(|from| stream.memory[buffer][..bytes].copy_from_slice(from));
            self.last_progress = world.now();
        }
        loop {
            let dealt = self.stage_ahead(at, world)?;
            let written = self.write(at, world, wires)?;
            self.moved(dealt || written, world);
            if !dealt && !written {
                return Ok(());
            }
        }
    }

    /// Deals segments to this socket until its staging buffers are in use; without staging, one to write
    /// next.
    fn stage_ahead(&mut self, at: usize, world: &mut World) -> Result<bool, Failure> {
        let mut any = false;
        loop {
            if !self.settings.source_on_device && self.streams[at].writing.is_some() {
                return Ok(any);
            }
            let Some(buffer) = self.streams[at].ring.issue() else { return Ok(any) };
            let segment = self.deal(Carrier::Any)?;
            self.want(world);
            let stream = &mut self.streams[at];
            match segment {
                Some(segment) if segment.is_inline() => {
                    stream.ring.release(buffer);
                    self.write_inline(segment, world);
                }
                Some(segment) if self.settings.source_on_device => {
                    if self.settings.flaw == Flaw::SourceReusedEarly {
                        self.sources[segment.slot_index()].fill(0);
                    }
                    let in_use = stream.lane.running().any(|copy| copy.buffer == buffer.index());
                    self.overwritten += u64::from(in_use);
                    let mut copier = Copier { lane: &mut stream.lane, world };
                    let Ok(staging) = Staging::start(buffer, segment, &mut copier);
                    stream.staging.push_back(staging);
                }
                Some(segment) => {
                    stream.ring.release(buffer);
                    stream.header.push(&segment.header().encode());
                    stream.writing = Some(Writing::Direct(segment, 0));
                }
                None => {
                    stream.ring.release(buffer);
                    return Ok(any);
                }
            }
            any = true;
        }
    }

    fn write(&mut self, at: usize, world: &mut World, wires: &mut Wires) -> Result<bool, Failure> {
        let stream = &mut self.streams[at];
        let wire = &mut wires.data[at];
        if stream.writing.is_none()
            && let Some(staging) = stream.staging.pop_front()
        {
            match staging.poll() {
                Ok(Ok(staged)) => {
                    stream.header.push(&staged.segment().header().encode());
                    stream.writing = Some(Writing::Staged(staged));
                }
                Ok(Err(staging)) => stream.staging.push_front(staging),
            }
        }
        let header = stream.header.flush(world, wire)?;
        if !stream.header.is_empty() {
            return Ok(header > 0);
        }
        let (taken, segment) = match stream.writing.take() {
            None => return Ok(header > 0),
            Some(Writing::Staged(staged)) => {
                let from = staged.have_written() as usize..staged.segment().bytes() as usize;
                let taken = wire.write(world, &stream.memory[staged.index()][from])?;
                match staged.written(taken as u64) {
                    Ok((buffer, segment)) => {
                        stream.ring.release(buffer);
                        (taken, Some(segment))
                    }
                    Err(staged) => {
                        stream.writing = Some(Writing::Staged(staged));
                        (taken, None)
                    }
                }
            }
            Some(Writing::Direct(segment, done)) => {
                let start = segment.offset();
                let from = (start + done) as usize..(start + segment.bytes()) as usize;
                let taken = wire.write(world, &self.sources[segment.slot_index()][from])?;
                if done + taken as u64 == segment.bytes() {
                    (taken, Some(segment))
                } else {
                    stream.writing = Some(Writing::Direct(segment, done + taken as u64));
                    (taken, None)
                }
            }
        };
        if let Some(segment) = segment {
            stream.segments += 1;
            self.count(segment, world);
        }
        Ok(header + taken > 0)
    }
}
