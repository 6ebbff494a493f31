//! The endpoint's thread: takes in peers, and serves all links in turn.

use std::{
    os::fd::AsFd,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp_gpu::Buffer;
use rustix::event::{PollFd, PollFlags};

use super::{
    Address,
    greeting::Greeting,
    job::PeerId,
    link::Link,
    state::{Order, Shared},
};
use crate::{
    Error, Listener, Options, Progress, RecvComm, RecvRequest, Result,
    sockets::{poll_until, random_token},
};

#[derive(Debug)]
pub(super) struct Engine {
    shared: Arc<Shared>,
    listener: Listener,
    options: Options,
    address: Address,
    links: Vec<Link>,
    /// Connections whose greeting has not come.
    strangers: Vec<Stranger>,
}

#[derive(Debug)]
struct Stranger {
    comm: RecvComm,
    buffer: Buffer,
    request: Option<RecvRequest>,
    since: Instant,
}

impl Engine {
    pub(super) const fn new(
        shared: Arc<Shared>,
        listener: Listener,
        options: Options,
        address: Address,
    ) -> Self {
        Self { shared, listener, options, address, links: Vec::new(), strangers: Vec::new() }
    }

    /// Runs the thread.
    pub(super) fn run(mut self) {
        let bell = self.shared.bell.clone();
        while !self.shared.lock().is_stopped {
            if self.round() {
                continue;
            }
            bell.listen(None);
            // Once more, for an event from before the bell was heard.
            if !self.round() && !self.shared.lock().is_stopped {
                self.sleep();
            }
            bell.silence();
        }
        self.say_last_notes();
        let error = Error::Cancelled { reason: "the endpoint was dropped".into() };
        for link in std::mem::take(&mut self.links) {
            self.end(link, &error);
        }
        let mut state = self.shared.lock();
        // The caller of an order that waits for an answer waits no longer.
        state.orders.clear();
        let peers: Vec<PeerId> = state.peers.keys().copied().collect();
        peers.into_iter().for_each(|peer| state.fail_peer(peer, &error));
        drop(state);
        self.shared.tell();
    }

    /// Sends the notes that users have given before they dropped the endpoint, in a bounded time.
    fn say_last_notes(&mut self) {
        let until = Instant::now() + LAST_NOTES.min(self.options.timeout);
        self.round();
        while self.links.iter().any(|link| !link.is_silent()) && Instant::now() < until {
            if !self.round() {
                thread::sleep(Duration::from_micros(100));
            }
        }
    }

    /// Does all that can be done now. Returns true if something moved.
    fn round(&mut self) -> bool {
        let mut moved = self.take_orders();
        moved |= self.accept();
        let timeout = self.options.timeout;
        let mut at = 0;
        while at < self.links.len() {
            let link = &mut self.links[at];
            let result = link.connect_on(timeout).and_then(|connected| {
                if link.is_up() { Ok(connected | link.round(&self.shared)?) } else { Ok(connected) }
            });
            match result {
                Ok(has_moved) => {
                    moved |= has_moved;
                    at += 1;
                }
                Err(error) => {
                    let link = self.links.remove(at);
                    self.end(link, &error);
                    moved = true;
                }
            }
        }
        moved
    }

    fn take_orders(&mut self) -> bool {
        let mut moved = false;
        while let Some(order) = { self.shared.lock().orders.pop_front() } {
            moved = true;
            match order {
                Order::Connect(peer, address) => {
                    let link = random_token().and_then(|token| {
                        let handle = address.handle()?;
                        Link::begin(peer, token, address, &handle, self.address, &self.options)
                    });
                    match link {
                        Ok(link) => self.links.push(link),
                        Err(error) => self.lose(peer, &error),
                    }
                }
                Order::Begin(peer, transfer) => {
                    let begun = {
                        let state = self.shared.lock();
                        let flight = state.flights.get(&transfer);
                        flight.map(|flight| (flight.job.operation, flight.left))
                    };
                    let Some((operation, chunks)) = begun else { continue };
                    match self.links.iter_mut().find(|link| link.peer == peer) {
                        Some(link) => {
                            link.rules.post(operation, transfer, chunks);
                            link.count(transfer, 0, &self.shared);
                        }
                        None => self.shared.lock().fail_flight(transfer, &gone(peer)),
                    }
                }
                Order::Cancel(peer, transfer) => {
                    let cancelled = Error::Cancelled { reason: "the transfer was cancelled".into() };
                    if let Some(flight) = self.shared.lock().flights.get_mut(&transfer)
                        && !flight.is_over
                    {
                        flight.failure.get_or_insert(cancelled);
                    }
                    if let Some(link) = self.links.iter_mut().find(|link| link.peer == peer) {
                        link.give_up(transfer, &self.shared);
                    }
                }
                Order::Count(peer, answer) => {
                    // Without a link the answer is dropped, which its caller sees.
                    if let Some(link) = self.links.iter().find(|link| link.peer == peer) {
                        let _ = answer.try_send(link.counters());
                    }
                }
                Order::Notify(peer, bytes) => {
                    if let Some(link) = self.links.iter_mut().find(|link| link.peer == peer) {
                        link.say_note(&bytes);
                    }
                }
            }
        }
        moved
    }

    /// Takes in connections, and reads their greetings.
    fn accept(&mut self) -> bool {
        let mut moved = false;
        loop {
            match self.listener.poll() {
                Ok(Some(comm)) => match Stranger::new(comm) {
                    Ok(stranger) => {
                        if self.strangers.len() == STRANGERS_MAX {
                            // The oldest has had the most time to say its greeting.
                            drop(self.strangers.remove(0));
                        }
                        self.strangers.push(stranger);
                    }
                    Err(error) => tracing::debug!(%error, "could not take in a connection"),
                },
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    break;
                }
            }
            moved = true;
        }
        let mut at = 0;
        while at < self.strangers.len() {
            match self.strangers[at].greeting() {
                Ok(None) if self.strangers[at].since.elapsed() < self.options.timeout => at += 1,
                Ok(None) => drop(self.strangers.remove(at)),
                Ok(Some(greeting)) => {
                    let stranger = self.strangers.remove(at);
                    moved = true;
                    if let Err(error) = self.meet(&greeting, stranger.comm) {
                        tracing::debug!(%error, "a connection belongs to no link");
                    }
                }
                Err(error) => {
                    drop(self.strangers.remove(at));
                    tracing::debug!(%error, "a connection has no greeting");
                }
            }
        }
        moved
    }

    /// Gives a connection to its link, which is made if it is new.
    fn meet(&mut self, greeting: &Greeting, comm: RecvComm) -> Result<()> {
        let Greeting { purpose, token, from, .. } = *greeting;
        if let Some(link) = self.links.iter_mut().find(|link| link.token == token) {
            return link.attach(purpose, comm);
        }
        // A stranger has this side connect nowhere else than to where its sockets are from. A peer with the
        // key may have other ways.
        let known = comm.peer_addresses();
        let handle = if self.options.key.is_some() { from.handle().ok() } else { from.at(&known) };
        let Some(handle) = handle else {
            return Err(Error::usage(format!("a peer at {known:?} asks to be connected to at {from:?}")));
        };
        let peer = self.shared.lock().add_peer(from, 0);
        let link = Link::begin(peer, token, from, &handle, self.address, &self.options);
        let mut link = link.inspect_err(|error| self.lose(peer, error))?;
        link.attach(purpose, comm)?;
        self.links.push(link);
        Ok(())
    }

    /// Ends a link, and fails its transfers.
    fn end(&self, link: Link, error: &Error) {
        let peer = link.peer;
        let grants = link.end(self.options.timeout);
        let mut state = self.shared.lock();
        grants.into_iter().for_each(|grant| state.give_back(grant));
        state.fail_peer(peer, error);
        drop(state);
        self.shared.tell();
    }

    fn lose(&self, peer: PeerId, error: &Error) {
        self.shared.lock().fail_peer(peer, error);
        self.shared.tell();
    }

    /// Sleeps until there may be something to do.
    fn sleep(&self) {
        if let Some(unpacking) = self.links.iter().find_map(Link::newest_unpack) {
            // A lost lane shows at the next look.
            let _ = unpacking.wait(Instant::now() + LANE_LOOK);
            return;
        }
        let is_meeting = !self.strangers.is_empty() || self.links.iter().any(Link::is_connecting);
        let until = Instant::now() + if is_meeting { MEETING_LOOK } else { LOOK };
        let bell = self.shared.bell.descriptor();
        let listener = self.listener.as_fd();
        let mut watched = [PollFd::new(&bell, PollFlags::IN), PollFd::new(&listener, PollFlags::IN)];
        // All is looked at next, whether it reports an event or not.
        let _ = poll_until(&mut watched, Some(until));
    }
}

impl Stranger {
    fn new(mut comm: RecvComm) -> Result<Self> {
        let buffer = Buffer::host(Greeting::BYTES as u64)?;
        let request = comm.irecv(&buffer, 0, Greeting::BYTES as u64)?;
        Ok(Self { comm, buffer, request, since: Instant::now() })
    }

    /// Returns the greeting, if it has come.
    fn greeting(&mut self) -> Result<Option<Greeting>> {
        let Some(request) = self.request.take() else { return Ok(None) };
        match self.comm.look_at(request)? {
            Progress::NotYet(request) => {
                self.request = Some(request);
                Ok(None)
            }
            Progress::Done(received) => {
                let mut bytes = vec![0; received.bytes as usize];
                self.buffer.copy_to_host(0, &mut bytes)?;
                let peer = self.comm.peer().into();
                Greeting::decode(&bytes)
                    .map(Some)
                    .map_err(|violation| Error::PeerMisbehaved { peer, violation })
            }
        }
    }
}

fn gone(peer: PeerId) -> Error {
    Error::PeerGone { peer: format!("number {peer}").into(), detail: "its link has ended".into() }
}

/// Connections without a greeting at a time; those of a new link are two.
const STRANGERS_MAX: usize = 64;
/// The time that the last notes of a dropped endpoint have to be sent.
const LAST_NOTES: Duration = Duration::from_secs(1);
/// The longest sleep while a lane works.
const LANE_LOOK: Duration = Duration::from_micros(200);
/// The longest sleep while a link is being made: its connectors are asked again.
const MEETING_LOOK: Duration = Duration::from_millis(1);
/// The longest sleep.
const LOOK: Duration = Duration::from_millis(100);
