//! The sending end. Sends meet announced receives in posted order. A message is cut into segments, and each
//! goes to the data socket whose thread is free next. A thread per socket writes them, with or without calls
//! of `test`.
//!
//! Each segment wakes a thread. Otherwise one thread could take more than its share, which its socket's
//! buffers would hold. With 8 sockets on two cores each carried 0.93 to 1.09 GB of 8.

use std::{
    collections::VecDeque,
    net::Shutdown,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::{self, JoinHandle},
    time::Instant,
};

use gputcp_nccl_net::ResultCode;
use socket2::Socket;

use super::{Age, Done, LEAK_FROM, Tested, lock, shut};
use crate::{
    gpu::Staging,
    knobs::{Knobs, PARTS_MAX},
    memory::Lent,
    wire::{Announcement, Header, recv_array, send_all},
};

/// The sending end of a connection.
pub(crate) struct SendComm {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when there are segments to write, and at the connection's end.
    work: Condvar,
    /// The control socket, then the data sockets.
    sockets: Vec<Socket>,
    knobs: &'static Knobs,
}

struct State {
    requests: Vec<SendRequest>,
    /// Slots of sends that no receive has met.
    posted: VecDeque<usize>,
    /// Receives that not all sends have met.
    receives: VecDeque<Receive>,
    /// Messages with segments that no socket has taken: at most one job per slot.
    jobs: VecDeque<Job>,
    /// With manual progress, the announcements that were not looked at; `permits` is the number of segments
    /// that may go.
    heard: VecDeque<Announcement>,
    permits: usize,
    next_number: u64,
    refused: u32,
    failed: Option<ResultCode>,
    /// Whether the other side has left: it takes only segments for receives that it had announced.
    left: bool,
    closing: bool,
}

#[derive(Debug, Clone, Copy)]
struct SendRequest {
    stage: Stage,
    age: Age,
    data: Lent,
    bytes: usize,
    tag: i32,
    /// The receive that the send met, and its part there.
    receive: u64,
    part: usize,
    fits: bool,
    segments_left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Posted,
    Sending,
    Sent,
    /// `test` said done before it was sent.
    Lied,
    /// Done, and never free again.
    Leaked,
}

struct Receive {
    said: Announcement,
    met: [bool; PARTS_MAX],
}

/// The rest of a message, from segment `next` on.
#[derive(Debug, Clone, Copy)]
struct Job {
    slot: usize,
    next: usize,
    end: usize,
}

impl SendComm {
    pub(crate) fn start(
        sockets: Vec<Socket>,
        slots: usize,
        knobs: &'static Knobs,
    ) -> Result<Self, ResultCode> {
        let streams = sockets.len() - 1;
        let free = SendRequest {
            stage: Stage::Free,
            age: Age::new(0),
            data: Lent { start: std::ptr::null_mut(), kind: crate::memory::Kind::Host },
            bytes: 0,
            tag: 0,
            receive: 0,
            part: 0,
            fits: true,
            segments_left: 0,
        };
        let state = State {
            requests: vec![free; slots],
            posted: VecDeque::with_capacity(slots),
            receives: VecDeque::with_capacity(64),
            jobs: VecDeque::with_capacity(slots),
            heard: VecDeque::with_capacity(64),
            permits: 0,
            next_number: 0,
            refused: 0,
            failed: None,
            left: false,
            closing: false,
        };
        let shared = Arc::new(Shared { state: Mutex::new(state), work: Condvar::new(), sockets, knobs });
        let mut comm = Self { shared: shared.clone(), threads: Vec::with_capacity(streams + 1) };
        let mut spawn = |name: String, run: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = shared.clone();
            let thread = thread::Builder::new().name(name).spawn(move || run(&shared));
            thread.map(|thread| comm.threads.push(thread)).map_err(|_| ResultCode::System)
        };
        spawn("announced".into(), Box::new(Shared::listen_to_announcements))?;
        for stream in 0..streams {
            let staging = Staging::new(knobs)?;
            spawn(format!("send {stream}"), Box::new(move |shared| shared.write(stream, staging)))?;
        }
        Ok(comm)
    }

    /// Posts a send, and returns its slot; `None` if none is free.
    pub(crate) fn isend(&self, data: Lent, bytes: usize, tag: i32) -> Result<Option<usize>, ResultCode> {
        let shared = &*self.shared;
        let mut state = lock(&shared.state);
        if let Some(code) = state.failed.or_else(|| state.left.then_some(ResultCode::Remote)) {
            return Err(code);
        }
        if state.refused < shared.knobs.not_yet {
            state.refused += 1;
            return Ok(None);
        }
        if shared.knobs.manual {
            shared.look(&mut state);
            if state.receives.is_empty() {
                return Ok(None);
            }
        }
        if shared.knobs.violates("full-is-null-not-error/sends") && state.in_flight() >= FEW_SENDS {
            return Err(ResultCode::Internal);
        }
        let Some(slot) = state.requests.iter().position(|request| request.stage == Stage::Free) else {
            return if shared.knobs.violates("full-is-null-not-error") {
                Err(ResultCode::Internal)
            } else {
                Ok(None)
            };
        };
        state.refused = 0;
        let age = Age::new(state.next_number);
        state.next_number += 1;
        let stage = Stage::Posted;
        state.requests[slot] =
            SendRequest { stage, age, data, bytes, tag, receive: 0, part: 0, fits: true, segments_left: 0 };
        state.posted.push_back(slot);
        shared.meet(&mut state);
        Ok(Some(slot))
    }

    pub(crate) fn test(&self, slot: usize) -> Tested {
        let shared = &*self.shared;
        let mut state = lock(&shared.state);
        if shared.knobs.manual {
            shared.look(&mut state);
            state.permits = shared.sockets.len() - 1;
            shared.work.notify_all();
        }
        let (failed, left) = (state.failed, state.left);
        let oldest = || {
            let open =
                state.requests.iter().filter(|other| !matches!(other.stage, Stage::Free | Stage::Lied));
            open.map(|other| other.age.number).min()
        };
        if shared.knobs.fifo && oldest() != Some(state.requests[slot].age.number) {
            return Err(ResultCode::System);
        }
        let request = &mut state.requests[slot];
        if matches!(request.stage, Stage::Free | Stage::Lied | Stage::Leaked) {
            return Err(ResultCode::InvalidArgument);
        }
        request.age.asked = request.age.asked.saturating_add(1);
        let lies = request.stage == Stage::Sending
            && request.fits
            && shared.knobs.violates("close-after-done-loses-nothing");
        if request.stage != Stage::Sent && !lies {
            let lost = (left && request.stage == Stage::Posted).then_some(ResultCode::Remote);
            return failed.or(lost).map_or(Ok(None), Err);
        }
        if !request.fits {
            return Err(ResultCode::InvalidUsage);
        }
        if request.age.asked <= shared.knobs.not_yet
            || request.age.ready_at.is_some_and(|at| Instant::now() < at)
        {
            return Ok(None);
        }
        let leaks = shared.knobs.violates("slot-reuse") && request.age.number >= LEAK_FROM;
        request.stage = match (lies, leaks) {
            (true, _) => Stage::Lied,
            (_, true) => Stage::Leaked,
            _ => Stage::Free,
        };
        let mut done = Done { parts: 1, bytes: [0; PARTS_MAX], capacities: [0; PARTS_MAX] };
        done.bytes[0] = request.bytes;
        done.capacities[0] = request.bytes;
        Ok(Some(done))
    }

    /// Returns whether the other side has gone, or the connection has failed.
    pub(crate) fn is_dead(&self) -> bool {
        let state = lock(&self.shared.state);
        state.failed.is_some() || state.left
    }

    /// Returns whether any request is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        lock(&self.shared.state).in_flight() > 0
    }

    /// Makes the connection's requests fail.
    pub(crate) fn cut(&self) {
        self.shared.fail(ResultCode::Internal);
    }
}

impl Drop for SendComm {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closing = true;
        drop(state);
        // Written bytes still reach the other side; only then the stream ends.
        shut(&self.shared.sockets[1..], Shutdown::Write);
        shut(&self.shared.sockets[..1], Shutdown::Both);
        self.shared.work.notify_all();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    /// Returns the number of sends that the host knows to be in flight.
    fn in_flight(&self) -> usize {
        let open =
            |request: &&SendRequest| !matches!(request.stage, Stage::Free | Stage::Lied | Stage::Leaked);
        self.requests.iter().filter(open).count()
    }

    /// Takes the next segment to write: its slot and its number.
    fn next_segment(&mut self) -> Option<(usize, usize)> {
        let job = self.jobs.front_mut()?;
        let found = (job.slot, job.next);
        job.next += 1;
        if job.next == job.end {
            self.jobs.pop_front();
        }
        Some(found)
    }
}

impl Shared {
    fn listen_to_announcements(&self) {
        while let Ok(Some(bytes)) = recv_array(&self.sockets[0]) {
            let Some(said) = Announcement::decode(&bytes) else { break };
            let mut state = lock(&self.state);
            state.heard.push_back(said);
            if !self.knobs.manual {
                self.look(&mut state);
            }
        }
        lock(&self.state).left = true;
    }

    /// Looks at the announcements that have come.
    fn look(&self, state: &mut State) {
        while let Some(said) = state.heard.pop_front() {
            state.receives.push_back(Receive { said, met: [false; PARTS_MAX] });
        }
        self.meet(state);
    }

    /// Matches sends with receives, as far as there are both.
    fn meet(&self, state: &mut State) {
        while let Some(receive) = state.receives.front_mut() {
            let parts = receive.said.parts;
            let wanted = |slot: usize| {
                let tagged = parts > 1 && !self.knobs.violates("grouped-tags");
                let tag = state.requests[slot].tag;
                (0..parts).find(|&part| !receive.met[part] && (!tagged || receive.said.tags[part] == tag))
            };
            let found = if self.knobs.violates("posted-order") && state.posted.len() > 1 {
                state.posted.len() - 1
            } else {
                0
            };
            let found = (found..state.posted.len()).find_map(|at| Some((at, wanted(state.posted[at])?)));
            let Some((at, part)) = found else { return };
            receive.met[part] = true;
            let (number, capacity) = (receive.said.receive, receive.said.capacities[part] as usize);
            if receive.met[..parts].iter().all(|&met| met) {
                state.receives.pop_front();
            }
            let Some(slot) = state.posted.remove(at) else { return };
            let request = &mut state.requests[slot];
            if self.knobs.violates("send-larger-than-receive") {
                request.bytes = request.bytes.min(capacity);
            }
            (request.stage, request.receive, request.part) = (Stage::Sending, number, part);
            request.fits =
                request.bytes <= capacity || self.knobs.violates("send-larger-than-receive/overwrites");
            request.segments_left = if request.fits { self.segments(request.bytes) } else { 1 };
            self.deal(state, slot);
        }
    }

    /// Lets the data sockets' threads take the segments of a message.
    fn deal(&self, state: &mut State, slot: usize) {
        let end = state.requests[slot].segments_left;
        state.jobs.push_back(Job { slot, next: 0, end });
        // Linux mostly wakes the thread that has waited longest, so threads take turns; nothing relies on it.
        (0..end.min(self.sockets.len() - 1)).for_each(|_| self.work.notify_one());
    }

    fn segments(&self, bytes: usize) -> usize {
        bytes.div_ceil(self.knobs.segment_bytes).max(1)
    }

    /// Runs the thread of a data socket.
    fn write(&self, stream: usize, mut staging: Staging) {
        let mut state = lock(&self.state);
        loop {
            if state.closing || state.failed.is_some() {
                return;
            }
            let permitted = !self.knobs.manual || state.permits > 0;
            let next = if permitted { state.next_segment() } else { None };
            let Some((slot, segment)) = next else {
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            state.permits = state.permits.saturating_sub(1);
            let request = state.requests[slot];
            drop(state);
            if let Err(code) = self.write_segment(stream, segment, &request, &mut staging) {
                return self.fail(code);
            }
            state = lock(&self.state);
            let request = &mut state.requests[slot];
            request.segments_left -= 1;
            if request.segments_left == 0 {
                request.stage = if request.stage == Stage::Lied { Stage::Free } else { Stage::Sent };
                let delay = self.knobs.delay;
                request.age.ready_at = (!delay.is_zero()).then(|| Instant::now() + delay);
            }
        }
    }

    fn write_segment(
        &self,
        stream: usize,
        segment: usize,
        request: &SendRequest,
        staging: &mut Staging,
    ) -> Result<(), ResultCode> {
        let offset = segment * self.knobs.segment_bytes;
        let bytes = if request.fits { (request.bytes - offset).min(self.knobs.segment_bytes) } else { 0 };
        let header = Header {
            receive: request.receive,
            part: request.part as u32,
            bytes: bytes as u32,
            offset: offset as u64,
            total: request.bytes as u64,
        };
        // SAFETY: the host lends `request.bytes` bytes until it is told that the request is done, or the
        // connection is closed. The former needs this very segment, the latter waits for this thread.
        let body = unsafe { staging.read(request.data, offset, bytes)? };
        send_all(&self.sockets[stream + 1], &header.encode(), body).map_err(|_| ResultCode::Remote)
    }

    fn fail(&self, code: ResultCode) {
        lock(&self.state).failed.get_or_insert(code);
        self.work.notify_all();
    }
}

/// The number of sends after which a plugin that violates `full-is-null-not-error/sends` fails.
const FEW_SENDS: usize = 64;
