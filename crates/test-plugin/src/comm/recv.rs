//! The receiving end. Receives are numbered and announced when posted. A thread per data socket brings
//! segments to their places, with or without calls of `test`.

use std::{
    collections::VecDeque,
    net::Shutdown,
    sync::{
        Arc, Condvar, Mutex, PoisonError,
        atomic::{Ordering, fence},
    },
    thread::{self, JoinHandle},
    time::Instant,
};

use gputcp_nccl_net::{ResultCode, layout::unpack::QUEUE_DEPTH};
use socket2::Socket;

use super::{Age, Done, LEAK_FROM, Tested, lock, shut};
use crate::{
    gpu::Staging,
    knobs::{Gpu, Knobs, PARTS_MAX},
    memory::{Kind, Lent},
    unpack::Queue,
    wire::{Announcement, Header, recv_array, send_all},
};

/// The receiving end of a connection.
pub(crate) struct RecvComm {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

/// A receive as it is posted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Posting {
    pub(crate) parts: usize,
    pub(crate) memory: [Lent; PARTS_MAX],
    pub(crate) capacities: [usize; PARTS_MAX],
    pub(crate) tags: [i32; PARTS_MAX],
}

struct Shared {
    state: Mutex<State>,
    /// Signalled when the host calls `test`, and at the connection's end.
    asked: Condvar,
    /// The control socket, then the data sockets.
    sockets: Vec<Socket>,
    /// The queue in which bytes for GPU memory wait for the unpack.
    queue: Option<Queue>,
    /// Whether a slot is kept until `irecvConsumed`.
    keep: bool,
    knobs: &'static Knobs,
}

struct State {
    requests: Vec<RecvRequest>,
    next_number: u64,
    refused: u32,
    /// Whether the host has ever called `test`.
    asked: bool,
    /// Whether a segment has ever come.
    begun: bool,
    /// With manual progress, the receives that are not announced; `permits` is the number of segments that
    /// may come.
    unsaid: VecDeque<Announcement>,
    permits: usize,
    streams: usize,
    failed: Option<ResultCode>,
    closing: bool,
}

#[derive(Debug, Clone, Copy)]
struct RecvRequest {
    stage: Stage,
    age: Age,
    posting: Posting,
    landed: [usize; PARTS_MAX],
    totals: [Option<usize>; PARTS_MAX],
    /// The number of parts that are not complete.
    left: usize,
    /// The number of fragments in the unpack queue's row.
    fragments: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Free,
    Posted,
    Landed,
    /// Done, but the slot is kept.
    Kept,
    /// Done, and never free again.
    Leaked,
}

/// The destination of a segment.
enum Target {
    Memory(Lent),
    /// The row of the unpack queue, and the first of the fragments.
    Row(usize, usize),
}

impl RecvComm {
    pub(crate) fn start(
        sockets: Vec<Socket>,
        queue: Option<Queue>,
        keep: bool,
        slots: usize,
        knobs: &'static Knobs,
    ) -> Result<Self, ResultCode> {
        let streams = sockets.len() - 1;
        let nowhere = Lent { start: std::ptr::null_mut(), kind: Kind::Host };
        let posting = Posting {
            parts: 0,
            memory: [nowhere; PARTS_MAX],
            capacities: [0; PARTS_MAX],
            tags: [0; PARTS_MAX],
        };
        let free = RecvRequest::new(Stage::Free, 0, posting);
        let requests = vec![free; slots];
        let state = State {
            requests,
            next_number: 0,
            refused: 0,
            asked: false,
            begun: false,
            unsaid: VecDeque::with_capacity(slots),
            permits: 0,
            streams,
            failed: None,
            closing: false,
        };
        let state = Mutex::new(state);
        let shared = Arc::new(Shared { state, asked: Condvar::new(), sockets, queue, keep, knobs });
        let mut comm = Self { shared: shared.clone(), threads: Vec::with_capacity(streams) };
        for stream in 0..streams {
            let (shared, staging) = (shared.clone(), Staging::new(knobs)?);
            let name = format!("recv {stream}");
            let thread = thread::Builder::new().name(name).spawn(move || shared.read(stream, staging));
            comm.threads.push(thread.map_err(|_| ResultCode::System)?);
        }
        Ok(comm)
    }

    /// Posts a receive, and returns its slot; `None` if none is free.
    pub(crate) fn irecv(&self, posting: Posting) -> Result<Option<usize>, ResultCode> {
        let shared = &*self.shared;
        let mut state = lock(&shared.state);
        if let Some(code) = state.failure() {
            return Err(code);
        }
        if state.refused < shared.knobs.not_yet {
            state.refused += 1;
            return Ok(None);
        }
        let number = state.next_number;
        let free = |request: &RecvRequest| request.stage == Stage::Free;
        // With an unpack queue a slot is a row, and receives take the rows in turn.
        let slot = match shared.queue {
            Some(_) => Some(number as usize % QUEUE_DEPTH).filter(|&row| free(&state.requests[row])),
            None => state.requests.iter().position(free),
        };
        let Some(slot) = slot else {
            let violated = shared.knobs.violates("full-is-null-not-error");
            return if violated { Err(ResultCode::Internal) } else { Ok(None) };
        };
        state.refused = 0;
        state.next_number += 1;
        state.requests[slot] = RecvRequest::new(Stage::Posted, number, posting);
        let capacities = posting.capacities.map(|bytes| bytes as u64);
        let said = Announcement { receive: number, parts: posting.parts, tags: posting.tags, capacities };
        if shared.knobs.manual {
            state.unsaid.push_back(said);
            return Ok(Some(slot));
        }
        drop(state);
        // If the other side is gone, the data sockets' threads notice.
        let _ = send_all(&shared.sockets[0], &said.encode(), &[]);
        Ok(Some(slot))
    }

    pub(crate) fn test(&self, slot: usize) -> Tested {
        let shared = &*self.shared;
        let knobs = shared.knobs;
        if knobs.manual {
            shared.move_on();
        }
        let mut state = lock(&shared.state);
        let failure = state.failure();
        let open = state.requests.iter().filter(|other| matches!(other.stage, Stage::Posted | Stage::Landed));
        if knobs.fifo && open.map(|other| other.age.number).min() != Some(state.requests[slot].age.number) {
            return Err(ResultCode::System);
        }
        state.asked = true;
        let begun = state.begun;
        let request = &mut state.requests[slot];
        request.age.asked = request.age.asked.saturating_add(1);
        shared.asked.notify_all();
        match request.stage {
            Stage::Posted => match failure {
                Some(ResultCode::Remote) if lies(begun, knobs) => {
                    request.landed = request.posting.capacities;
                }
                Some(code) => return Err(code),
                None => return Ok(None),
            },
            Stage::Landed => {}
            Stage::Free | Stage::Kept | Stage::Leaked => return Err(ResultCode::InvalidArgument),
        }
        let early = request.age.ready_at.is_some_and(|at| Instant::now() < at);
        if request.age.asked <= knobs.not_yet || early {
            return Ok(None);
        }
        if let Some(queue) = &shared.queue {
            queue.publish(slot, request.fragments, knobs);
            fence(Ordering::SeqCst);
        }
        let leaks = knobs.violates("slot-reuse") && request.age.number >= LEAK_FROM;
        let keep = shared.keep && !knobs.violates("slot-reuse/unconsumed");
        request.stage = match (leaks, keep) {
            (true, _) => Stage::Leaked,
            (_, true) => Stage::Kept,
            _ => Stage::Free,
        };
        Ok(Some(Done {
            parts: request.posting.parts,
            bytes: request.landed,
            capacities: request.posting.capacities,
        }))
    }

    /// Frees a slot that was kept for the GPU.
    pub(crate) fn consumed(&self, slot: usize) -> Result<(), ResultCode> {
        let mut state = lock(&self.shared.state);
        let request = &mut state.requests[slot];
        match request.stage {
            Stage::Kept => request.stage = Stage::Free,
            Stage::Leaked => {}
            _ if self.shared.knobs.violates("slot-reuse/unconsumed") => {}
            _ => return Err(ResultCode::InvalidUsage),
        }
        if let Some(queue) = &self.shared.queue {
            queue.release(slot);
        }
        Ok(())
    }

    /// Returns whether any receive is in flight.
    pub(crate) fn is_busy(&self) -> bool {
        let state = lock(&self.shared.state);
        state.requests.iter().any(|request| matches!(request.stage, Stage::Posted | Stage::Landed))
    }

    /// Returns the memory of the newest receive in flight.
    pub(crate) fn newest(&self) -> Option<Lent> {
        let state = lock(&self.shared.state);
        let posted = state.requests.iter().filter(|request| request.stage == Stage::Posted);
        posted.max_by_key(|request| request.age.number).map(|request| request.posting.memory[0])
    }

    /// Makes the connection's requests fail.
    pub(crate) fn cut(&self) {
        lock(&self.shared.state).failed.get_or_insert(ResultCode::Internal);
    }

    /// Returns whether the other side has gone, or the connection has failed.
    pub(crate) fn is_dead(&self) -> bool {
        lock(&self.shared.state).failure().is_some()
    }
}

impl Drop for RecvComm {
    fn drop(&mut self) {
        lock(&self.shared.state).closing = true;
        self.shared.asked.notify_all();
        shut(&self.shared.sockets, Shutdown::Both);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

impl State {
    /// Returns the reason why no more receives can be completed.
    fn failure(&self) -> Option<ResultCode> {
        self.failed.or_else(|| (self.streams == 0).then_some(ResultCode::Remote))
    }
}

impl RecvRequest {
    fn new(stage: Stage, number: u64, posting: Posting) -> Self {
        Self {
            stage,
            age: Age::new(number),
            posting,
            landed: [0; PARTS_MAX],
            totals: [None; PARTS_MAX],
            left: posting.parts,
            fragments: 0,
        }
    }
}

/// Returns whether `test` falsely says done when the peer dies; `begun` if a segment has come before.
fn lies(begun: bool, knobs: &Knobs) -> bool {
    knobs.violates("close-with-dead-peer-does-not-hang/done")
        || !begun && knobs.violates("close-with-dead-peer-does-not-hang/done-unsent")
}

impl Shared {
    /// Makes one step of manual progress.
    fn move_on(&self) {
        let mut state = lock(&self.state);
        let unsaid = std::mem::take(&mut state.unsaid);
        state.permits = state.streams;
        drop(state);
        for said in unsaid {
            let _ = send_all(&self.sockets[0], &said.encode(), &[]);
        }
        self.asked.notify_all();
    }

    /// Returns whether the next segment may come now.
    fn may_come(&self, state: &mut State) -> bool {
        if self.knobs.violates("progress-without-test") && !state.asked {
            return false;
        }
        if self.knobs.manual {
            let Some(left) = state.permits.checked_sub(1) else { return false };
            state.permits = left;
        }
        true
    }

    /// Runs the thread of a data socket.
    fn read(&self, stream: usize, mut staging: Staging) {
        let socket = &self.sockets[stream + 1];
        loop {
            let header = match recv_array(socket) {
                Ok(Some(bytes)) => Header::decode(&bytes),
                Ok(None) => break,
                Err(_) => return self.fail(ResultCode::Remote),
            };
            let received = self.begin(&header).and_then(|(slot, target)| {
                self.receive(&header, target, socket, &mut staging)?;
                self.finish(slot, &header);
                Ok(())
            });
            if let Err(code) = received {
                return self.fail(code);
            }
        }
        lock(&self.state).streams -= 1;
    }

    /// Checks a header against the receive that it names.
    fn begin(&self, header: &Header) -> Result<(usize, Target), ResultCode> {
        let mut state = lock(&self.state);
        loop {
            if state.closing {
                return Err(ResultCode::Remote);
            }
            let named = |request: &RecvRequest| {
                request.stage == Stage::Posted && request.age.number == header.receive
            };
            let slot = state.requests.iter().position(named).ok_or(ResultCode::Internal)?;
            if !self.may_come(&mut state) {
                state = self.asked.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            state.begun = true;
            let request = &mut state.requests[slot];
            let (part, total) = (header.part as usize, header.total as usize);
            if part >= request.posting.parts || request.totals[part].is_some_and(|said| said != total) {
                return Err(ResultCode::Internal);
            }
            let overwrites = self.knobs.violates("send-larger-than-receive/overwrites");
            if total > request.posting.capacities[part] && !overwrites {
                return Err(ResultCode::InvalidUsage);
            }
            let end = header.offset.checked_add(u64::from(header.bytes));
            if end.is_none_or(|end| end > header.total) {
                return Err(ResultCode::Internal);
            }
            request.totals[part] = Some(total);
            let memory = request.posting.memory[part];
            let target = match &self.queue {
                Some(queue) if memory.kind == Kind::Gpu => {
                    let first = request.fragments;
                    request.fragments += queue.fragments(header.bytes as usize);
                    queue.check(request.fragments)?;
                    Target::Row(slot, first)
                }
                _ => Target::Memory(memory),
            };
            return Ok((slot, target));
        }
    }

    fn receive(
        &self,
        header: &Header,
        target: Target,
        socket: &Socket,
        staging: &mut Staging,
    ) -> Result<(), ResultCode> {
        let (offset, bytes) = (header.offset as usize, header.bytes as usize);
        match (target, &self.queue) {
            (Target::Row(row, first), Some(queue)) => {
                queue.receive(row, first, offset, bytes, socket, staging.page())
            }
            // SAFETY: the host lends the memory until it is told that the request is done, or the connection
            // is closed. The former needs this very segment, the latter waits for this thread. `begin` has
            // seen that the segment is within the capacity. No other segment has these bytes: a sender that
            // repeats them harms only its own receiver's data.
            (Target::Memory(memory), _) => unsafe { staging.write(memory, offset, bytes, socket) },
            (Target::Row(..), None) => Err(ResultCode::Internal),
        }
    }

    fn finish(&self, slot: usize, header: &Header) {
        let mut state = lock(&self.state);
        let request = &mut state.requests[slot];
        let part = header.part as usize;
        request.landed[part] += header.bytes as usize;
        if request.landed[part] < header.total as usize {
            return;
        }
        let memory = request.posting.memory[part];
        let spoil = match memory.kind {
            Kind::Host => {
                self.knobs.violates("data-integrity") && header.total > 4096 && header.total % 2 == 1
            }
            // A real GPU's memory cannot be spoiled from here.
            Kind::Gpu => {
                self.knobs.violates("gpu-data-at-done") && self.knobs.gpu == Gpu::Soft && header.total > 0
            }
        };
        if spoil {
            // SAFETY: as in `receive`: the request is not done.
            unsafe { *memory.start.add(header.total as usize - 1) ^= 1 };
        }
        request.left -= 1;
        if request.left == 0 {
            request.stage = Stage::Landed;
            let delay = self.knobs.delay;
            request.age.ready_at = (!delay.is_zero()).then(|| Instant::now() + delay);
        }
    }

    fn fail(&self, code: ResultCode) {
        let mut state = lock(&self.state);
        state.failed.get_or_insert(code);
        state.streams -= 1;
        drop(state);
        // The other sockets' threads wait for bytes that no longer count.
        shut(&self.sockets, Shutdown::Both);
    }
}
