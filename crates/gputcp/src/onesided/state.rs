//! The state that an endpoint's thread shares with its users.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
        mpsc::SyncSender,
    },
    time::Instant,
};

use gputcp_gpu::MemoryKind;
use gputcp_proto::onesided::{
    key::Key,
    link::TransferId,
    regions::{Grant, Regions},
};

use super::{
    Address, Counters, Note,
    job::{Job, Memory, PeerId},
    watch::Watches,
};
use crate::{
    Error, Options, Result,
    sockets::{Doorbell, lock},
};

#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Notified when a transfer is over, or a region is used less.
    changed: Condvar,
    /// The descriptors that become readable then.
    pub(super) watches: Watches,
    /// Wakes the endpoint's thread.
    pub(super) bell: Arc<Doorbell>,
    pub(super) device_kind: Option<MemoryKind>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) regions: Regions,
    /// The memory of the regions, by their place.
    memory: Vec<Option<Arc<Memory>>>,
    pub(super) peers: HashMap<PeerId, PeerState>,
    next_peer: PeerId,
    pub(super) flights: HashMap<TransferId, Flight>,
    next_transfer: TransferId,
    /// Orders of the users that the thread has not taken.
    pub(super) orders: VecDeque<Order>,
    pub(super) notes: VecDeque<Note>,
    pub(super) refused: u64,
    /// The users have let go of the endpoint.
    pub(super) is_stopped: bool,
}

#[derive(Debug)]
pub(super) struct PeerState {
    pub(super) address: Address,
    pub(super) failure: Option<Error>,
    /// The users' handles of it. One without any is forgotten with its link.
    asked: usize,
}

/// A user's order to the endpoint's thread.
#[derive(Debug)]
pub(super) enum Order {
    Connect(PeerId, Address),
    Begin(PeerId, TransferId),
    Cancel(PeerId, TransferId),
    Notify(PeerId, Vec<u8>),
    Count(PeerId, SyncSender<Counters>),
}

/// A transfer that was posted.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) job: Arc<Job>,
    /// The memory of the local regions.
    pub(super) locals: Vec<Arc<Memory>>,
    /// Chunks that are not over.
    pub(super) left: u32,
    pub(super) failure: Option<Error>,
    pub(super) note: Option<Vec<u8>>,
    /// The uses of the local regions.
    pub(super) grants: Vec<Grant>,
    pub(super) is_over: bool,
    /// Set with it, for a user that asks often.
    over: Arc<AtomicBool>,
}

impl Shared {
    pub(super) fn new(options: &Options) -> Result<Self> {
        let bell = Doorbell::new().map_err(|error| Error::system("set up the endpoint", error))?;
        Ok(Self {
            state: Mutex::default(),
            changed: Condvar::new(),
            watches: Watches::default(),
            bell: Arc::new(bell),
            device_kind: options.device.as_ref().map(gputcp_gpu::Device::kind),
        })
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// Waits until something has changed, or the deadline.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, deadline: Instant) -> MutexGuard<'a, State> {
        let left = deadline.saturating_duration_since(Instant::now());
        self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Wakes the users that wait.
    pub(super) fn tell(&self) {
        self.changed.notify_all();
        self.watches.ring();
    }

    /// Gives the endpoint's thread an order.
    fn order(&self, mut state: MutexGuard<'_, State>, order: Order) {
        state.orders.push_back(order);
        drop(state);
        self.bell.ring_all();
    }

    pub(super) fn connect(&self, address: &Address) -> Result<PeerId> {
        address.handle()?;
        let mut state = self.lock();
        state.check()?;
        let is_it = |peer: &PeerState| peer.address == *address && peer.failure.is_none();
        if let Some((id, peer)) = state.peers.iter_mut().find(|(_, peer)| is_it(peer)) {
            peer.asked += 1;
            return Ok(*id);
        }
        let id = state.add_peer(*address, 1);
        self.order(state, Order::Connect(id, *address));
        Ok(id)
    }

    /// Takes the end of a user's interest in a peer. One that has failed is forgotten with the last.
    pub(super) fn let_go(&self, id: PeerId) {
        let mut state = self.lock();
        let Some(peer) = state.peers.get_mut(&id) else { return };
        peer.asked = peer.asked.saturating_sub(1);
        if peer.asked == 0 && peer.failure.is_some() {
            state.peers.remove(&id);
        }
    }

    /// Begins a transfer, whose job is prepared.
    ///
    /// Returns its number, and the flag that is set when it is over.
    pub(super) fn begin(
        &self,
        job: &Arc<Job>,
        note: Option<Vec<u8>>,
    ) -> Result<(TransferId, Arc<AtomicBool>)> {
        let mut state = self.lock();
        state.check()?;
        let peer = job.peer;
        if let Some(error) = state.peers.get(&peer).and_then(|peer| peer.failure.clone()) {
            return Err(error);
        }
        let mut grants = Vec::with_capacity(job.locals.len());
        let mut locals = Vec::with_capacity(job.locals.len());
        for memory in &job.locals {
            let memory = memory.upgrade();
            let grant = memory.as_ref().and_then(|memory| state.regions.grant_own(&memory.key));
            grants.extend(grant);
            locals.extend(memory);
        }
        if grants.len() < job.locals.len() {
            grants.into_iter().for_each(|grant| state.give_back(grant));
            return Err(Error::usage("a transfer was posted whose region is deregistered"));
        }
        let id = state.next_transfer;
        state.next_transfer += 1;
        let left = job.plan.chunks() as u32;
        let over = Arc::new(AtomicBool::new(false));
        let flight = Flight {
            job: job.clone(),
            locals,
            left,
            failure: None,
            note,
            grants,
            is_over: false,
            over: over.clone(),
        };
        state.flights.insert(id, flight);
        self.order(state, Order::Begin(peer, id));
        Ok((id, over))
    }

    pub(super) fn cancel(&self, peer: PeerId, transfer: TransferId) {
        self.order(self.lock(), Order::Cancel(peer, transfer));
    }

    pub(super) fn notify(&self, peer: PeerId, bytes: Vec<u8>) -> Result<()> {
        let state = self.lock();
        state.check()?;
        if let Some(error) = state.peers.get(&peer).and_then(|peer| peer.failure.clone()) {
            return Err(error);
        }
        self.order(state, Order::Notify(peer, bytes));
        Ok(())
    }

    pub(super) fn ask_for_counters(&self, peer: PeerId, answer: SyncSender<Counters>) -> Result<()> {
        let state = self.lock();
        state.check()?;
        if let Some(error) = state.peers.get(&peer).and_then(|peer| peer.failure.clone()) {
            return Err(error);
        }
        self.order(state, Order::Count(peer, answer));
        Ok(())
    }

    pub(super) fn failure_of(&self, peer: PeerId) -> Option<Error> {
        self.lock().peers.get(&peer).and_then(|peer| peer.failure.clone())
    }

    pub(super) fn take_notes(&self) -> Vec<Note> {
        let notes: Vec<_> = self.lock().notes.drain(..).collect();
        // The thread takes no more while there are too many.
        if notes.len() >= NOTES_MAX {
            self.bell.ring_all();
        }
        notes
    }

    /// Waits until there is a note, or the deadline, and takes what has come.
    pub(super) fn wait_notes(&self, deadline: Instant) -> Vec<Note> {
        let mut state = self.lock();
        while state.notes.is_empty() && Instant::now() < deadline {
            state = self.wait(state, deadline);
        }
        drop(state);
        self.take_notes()
    }

    pub(super) fn stop(&self) {
        self.lock().is_stopped = true;
        self.bell.ring_all();
    }
}

impl State {
    fn check(&self) -> Result<()> {
        if self.is_stopped { Err(Error::usage("the endpoint was dropped")) } else { Ok(()) }
    }

    pub(super) fn add_peer(&mut self, address: Address, asked: usize) -> PeerId {
        let id = self.next_peer;
        self.next_peer += 1;
        self.peers.insert(id, PeerState { address, failure: None, asked });
        id
    }

    /// Keeps the memory of a region that was just registered.
    pub(super) fn keep(&mut self, memory: &Arc<Memory>) {
        let place = memory.key.place();
        if place >= self.memory.len() {
            self.memory.resize(place + 1, None);
        }
        self.memory[place] = Some(memory.clone());
    }

    /// Forgets a region that is revoked and not in use. Returns false while it is in use.
    pub(super) fn forget(&mut self, key: &Key) -> bool {
        let is_forgotten = self.regions.forget(key);
        if is_forgotten
            && let Some(place) = self.memory.get_mut(key.place())
            && place.as_ref().is_some_and(|memory| memory.key == *key)
        {
            *place = None;
        }
        is_forgotten
    }

    /// Returns the memory of a granted region.
    pub(super) fn memory(&self, grant: &Grant) -> Option<Arc<Memory>> {
        self.memory.get(Regions::place(grant)).cloned().flatten()
    }

    /// Ends a transfer: its uses of local regions are over.
    pub(super) fn end(&mut self, transfer: TransferId) {
        let Some(flight) = self.flights.get_mut(&transfer) else { return };
        flight.is_over = true;
        flight.over.store(true, Ordering::Release);
        let grants = std::mem::take(&mut flight.grants);
        flight.locals.clear();
        // The user has let go of it, and will not ask.
        let is_dropped = Arc::strong_count(&flight.job) == 1;
        grants.into_iter().for_each(|grant| self.give_back(grant));
        if is_dropped {
            self.flights.remove(&transfer);
        }
    }

    /// Fails a transfer.
    pub(super) fn fail_flight(&mut self, transfer: TransferId, error: &Error) {
        if let Some(flight) = self.flights.get_mut(&transfer)
            && !flight.is_over
        {
            flight.failure.get_or_insert_with(|| error.clone());
            self.end(transfer);
        }
    }

    /// Fails a peer, and all transfers with it.
    pub(super) fn fail_peer(&mut self, peer: PeerId, error: &Error) {
        if let Some(peer) = self.peers.get_mut(&peer) {
            peer.failure.get_or_insert_with(|| error.clone());
        }
        self.peers.retain(|_, peer| peer.asked > 0 || peer.failure.is_none());
        let of_peer = self.flights.iter().filter(|(_, flight)| flight.job.peer == peer && !flight.is_over);
        let transfers: Vec<_> = of_peer.map(|(id, _)| *id).collect();
        transfers.into_iter().for_each(|transfer| self.fail_flight(transfer, error));
    }

    /// Ends the use of a region.
    pub(super) fn give_back(&mut self, grant: Grant) {
        let memory = self.memory(&grant);
        self.regions.give_back(grant);
        if let Some(memory) = memory {
            // Nothing happens unless the region was dropped meanwhile.
            self.forget(&memory.key);
        }
    }
}

/// The notes that wait for the user at most; the peers' requests wait behind them.
pub(super) const NOTES_MAX: usize = 1 << 16;
