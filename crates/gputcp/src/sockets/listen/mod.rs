//! Makes connections, the receiver's side: accepts sockets, reads their joins, and gathers those of one
//! connection.
//!
//! Any process can connect to a port: scanners, half-open clients, the wrong program. Such strays are dropped
//! without disturbing the others: never waited for, bounded in number, counted.

mod gathering;
mod ready;
mod unknown;

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, AsRawFd as _, BorrowedFd},
    sync::Arc,
    time::{Duration, Instant},
};

use gputcp_proto::{
    frame::{Join, JoinVerdict, Token, Welcome},
    handle::Handle,
    key::Proof,
};
use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::SendFlags,
    process::{Resource, getrlimit},
};

use self::{
    gathering::{Gathering, Partial},
    ready::ReadySet,
    unknown::{Known, Unknown, refuse},
};
use super::{
    Socket,
    agreed::{Agreed, groups_or_eager},
    control::poll_until,
    recv::RecvComm,
    socket, tuning,
};
use crate::{Error, Options, Result};

/// Waits for senders. Its [`Handle`] holds the address, and the token that proves that a sender has the
/// handle.
#[derive(Debug)]
pub struct Listener {
    /// One for each address.
    sockets: Vec<Socket>,
    /// The socket that is asked next: none can keep the others waiting.
    next: usize,
    options: Options,
    handle: Handle,
    /// Readable when one of the sockets is, or one of the unknown.
    ready: ReadySet,
    /// Sockets that have not named their connection, the oldest first.
    unknown: VecDeque<Unknown>,
    /// Connections whose sockets are not all here.
    gathering: Gathering,
    strays: u64,
    /// Whether a peer that asks for the handle gets it.
    tells: bool,
    /// When the system first had no descriptor for another socket.
    starved: Option<Instant>,
}

impl Listener {
    /// Listens on `address`; port 0 lets the system choose. The address must be one that senders can reach.
    ///
    /// # Errors
    /// If the options are out of range or the system refuses (port in use, no such address).
    pub fn bind(address: SocketAddr, options: Options) -> Result<Self> {
        Self::bind_all(&[address], options)
    }

    /// Listens on several addresses of one family at once, such as one of each of several interfaces. A
    /// connection's data sockets are spread over them.
    ///
    /// # Errors
    /// As [`Listener::bind`]; or if there is no address, more than [`Handle::ADDRESSES_MAX`], or one of
    /// another family.
    pub fn bind_all(addresses: &[SocketAddr], options: Options) -> Result<Self> {
        options.check()?;
        let most = Handle::ADDRESSES_MAX;
        let (Some(first), 1..=Handle::ADDRESSES_MAX) = (addresses.first(), addresses.len()) else {
            let count = addresses.len();
            return Err(Error::usage(format!("a listener was given {count} addresses; it has 1 to {most}")));
        };
        if let Some(other) = addresses.iter().find(|other| other.is_ipv4() != first.is_ipv4()) {
            return Err(Error::usage(format!(
                "a listener was given {first} and {other}; its addresses are all of IPv4 or all of IPv6"
            )));
        }
        let watching = |error: io::Error| Error::system("watch a listener's sockets", error);
        let ready = ReadySet::new().map_err(watching)?;
        let mut sockets = Vec::with_capacity(addresses.len());
        let mut handle = Handle::at(*first, random_token()?);
        for (index, &address) in addresses.iter().enumerate() {
            let fail = |error: io::Error| Error::system(format!("listen on {address}"), with_remedy(error));
            let socket = listen(address).map_err(fail)?;
            let local = socket.local_addr().map_err(fail)?.as_socket();
            let local = local.ok_or_else(|| fail(io::ErrorKind::AddrNotAvailable.into()))?;
            match index.checked_sub(1) {
                None => handle.address = local,
                Some(index) => handle.others[index] = Some(local),
            }
            ready.add(&socket).map_err(watching)?;
            sockets.push(socket);
        }
        let (unknown, gathering) = (VecDeque::new(), Gathering::default());
        let (strays, tells, starved) = (0, false, None);
        Ok(Self { sockets, next: 0, options, handle, ready, unknown, gathering, strays, tells, starved })
    }

    /// Returns the handle, with which a sender connects.
    #[must_use]
    pub const fn handle(&self) -> Handle {
        self.handle
    }

    /// Returns the handle as seen from a network where this machine has address `ip`: for a listener on an
    /// unspecified address.
    #[must_use]
    pub const fn handle_at(&self, ip: IpAddr) -> Handle {
        Handle::at(SocketAddr::new(ip, self.handle.address.port()), self.handle.token)
    }

    /// Has the listener tell its handle to peers that ask for it.
    pub(crate) const fn telling(mut self) -> Self {
        self.tells = true;
        self
    }

    /// Sends a socket the handle, as seen from its network. A new socket has room for it.
    fn tell(&self, asking: &Unknown) {
        let local = asking.socket.local_addr().ok().and_then(|address| address.as_socket());
        let handle = match local {
            Some(local) if self.handle.address.ip().is_unspecified() => {
                self.handle_at(local.ip().to_canonical())
            }
            _ => self.handle,
        };
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if let Err(error) = rustix::net::send(&asking.socket, &handle.encode(), flags) {
            tracing::debug!(peer = %asking.peer, %error, "could not tell the handle");
        }
    }

    /// Returns how many sockets were dropped because they belong to no connection of this listener.
    #[must_use]
    pub const fn strays(&self) -> u64 {
        self.strays
    }

    /// Returns the next connection whose sockets are all here, or `None`: ask again. Never waits.
    ///
    /// # Errors
    /// If the system refuses to accept or to set a connection up; strays are no error.
    pub fn poll(&mut self) -> Result<Option<RecvComm>> {
        self.drop_the_late();
        // A crowd of strays must not keep the others from being looked at.
        for _ in 0..ACCEPTS {
            let Some(unknown) = self.accept_socket()? else { break };
            if let Some(comm) = self.look_at(unknown)? {
                return Ok(Some(comm));
            }
        }
        for _ in 0..self.unknown.len() {
            let Some(unknown) = self.unknown.pop_front() else { break };
            if let Some(comm) = self.look_at(unknown)? {
                return Ok(Some(comm));
            }
        }
        Ok(None)
    }

    /// Reads the join of a socket. Returns its connection if the socket was the last of it.
    fn look_at(&mut self, mut unknown: Unknown) -> Result<Option<RecvComm>> {
        match unknown.read(self.tells) {
            Known::NotYet => {
                if self.unknown.len() == UNKNOWN_MAX {
                    // The oldest has had the most time to send its join; it was looked at in this round or
                    // the last.
                    self.unknown.pop_front();
                    self.strays += 1;
                }
                if !unknown.is_watched && self.ready.add(&unknown.socket).is_err() {
                    // The system watches no more sockets: this one goes, and the listener stays.
                    self.strays += 1;
                    return Ok(None);
                }
                unknown.is_watched = true;
                self.unknown.push_back(unknown);
                Ok(None)
            }
            Known::Stray => {
                self.strays += 1;
                Ok(None)
            }
            Known::Ask => {
                self.tell(&unknown);
                Ok(None)
            }
            Known::Join(join) => {
                let token = self.handle.token;
                let Unknown { socket, peer, is_watched, .. } = unknown;
                if is_watched {
                    self.ready.remove(&socket);
                }
                let added = if self.has_room_for(&join) {
                    self.gathering.add(join, socket, peer, token, self.options.key.as_ref())
                } else {
                    Err((socket, JoinVerdict::BadSettings))
                };
                match added {
                    Ok(Some(whole)) => self.welcome(whole),
                    Ok(None) => Ok(None),
                    Err((socket, verdict)) => {
                        refuse(&socket, verdict);
                        self.strays += 1;
                        Ok(None)
                    }
                }
            }
        }
    }

    /// Returns whether this side takes the bounce rings that a connector asks for: those of its own settings,
    /// or [`RING_BYTES_MAX`] bytes.
    fn has_room_for(&self, join: &Join) -> bool {
        let ring_bytes = |streams: u16, segment_bytes: u32| {
            u64::from(streams) * u64::from(self.options.tuning.slabs) * u64::from(segment_bytes)
        };
        let own = ring_bytes(self.options.streams, self.options.tuning.segment_bytes);
        let has_rings = self.options.device.is_some();
        !has_rings || ring_bytes(join.streams, join.segment_bytes) <= own.max(RING_BYTES_MAX)
    }

    /// Waits for the next connection.
    ///
    /// # Errors
    /// If none is complete by the deadline, or as [`Listener::poll`].
    pub fn accept(&mut self, deadline: Instant) -> Result<RecvComm> {
        let began = Instant::now();
        loop {
            if let Some(comm) = self.poll()? {
                return Ok(comm);
            }
            if Instant::now() >= deadline {
                if self.starved.is_some() {
                    let none_left = io::Error::from_raw_os_error(Errno::MFILE.raw_os_error());
                    return Err(Error::system("accept a connection in time", none_left));
                }
                let address = self.handle.address.to_string().into();
                return Err(Error::NoPeer { address, after: deadline.saturating_duration_since(began) });
            }
            let next = deadline.min(Instant::now() + LOOK);
            // Without a descriptor for another socket, the listening sockets stay ready.
            let watched = if self.starved.is_some() { 0 } else { 1 };
            poll_until(&mut [PollFd::new(&self.ready, PollFlags::IN)][..watched], Some(next))
                .map_err(|error| Error::system("wait for a connection", error))?;
        }
    }

    /// Returns the next socket in one of the kernel's queues, each in turn.
    fn accept_socket(&mut self) -> Result<Option<Unknown>> {
        let mut empty = 0;
        while empty < self.sockets.len() {
            self.next = (self.next + 1) % self.sockets.len();
            let (socket, peer) = match socket::accept(&self.sockets[self.next]) {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    empty += 1;
                    continue;
                }
                // The peer was gone before its socket was accepted (accept(2), "Error handling").
                Err(error) if is_transient(&error) => continue,
                Err(error) if is_short_of_descriptors(&error) && self.may_make_room() => return Ok(None),
                Err(error) => return Err(Error::system("accept a connection", error)),
            };
            self.starved = None;
            if is_nearly_the_last(&socket) {
                self.drop_half_of_the_unknown();
            }
            let Some(peer) = peer else { continue };
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            return Ok(Some(Unknown::new(socket, peer)));
        }
        Ok(None)
    }

    /// Drops half of the unknown sockets, as the process has no descriptor left. Where there are none, other
    /// parts of the process may free some, and strays of other listeners will be gone before long. Returns
    /// false once that has taken too long.
    fn may_make_room(&mut self) -> bool {
        self.drop_half_of_the_unknown();
        let since = *self.starved.get_or_insert_with(Instant::now);
        since.elapsed() < self.options.timeout
    }

    /// Drops the older half of the unknown sockets, which have had the most time to send their joins.
    fn drop_half_of_the_unknown(&mut self) {
        let crowd = self.unknown.len().div_ceil(2);
        self.unknown.drain(..crowd);
        self.strays += crowd as u64;
    }

    fn drop_the_late(&mut self) {
        let before = self.unknown.len();
        self.unknown.retain(|unknown| unknown.since.elapsed() < HELLO);
        let late = before - self.unknown.len() + self.gathering.drop_the_late(self.options.timeout);
        self.strays += late as u64;
    }

    /// Answers a complete connection and starts it. Returns `None` if its peer has gone meanwhile.
    fn welcome(&mut self, whole: Partial) -> Result<Option<RecvComm>> {
        let Partial { join, peer, sockets, .. } = whole;
        let key = self.options.key.as_ref();
        let asked = Join { index: 0, ..join }.proved(key);
        let mut sockets = sockets.into_iter().flatten();
        let Some(control) = sockets.next() else { return Ok(None) };
        let data: Vec<Socket> = sockets.collect();
        for socket in data.iter().chain([&control]) {
            tuning::tune(socket, &self.options)?;
        }
        let inline_bytes = join.inline_bytes.min(self.options.tuning.inline_bytes);
        let (verdict, slots) = (JoinVerdict::Accepted, self.options.tuning.slots);
        let ours = &self.options;
        let (max_receives, eager_places) = groups_or_eager(
            [join.max_receives, ours.max_receives],
            [join.eager_places, ours.tuning.eager_places],
        );
        let proof = Proof::NONE;
        let welcome = Welcome { verdict, slots, inline_bytes, eager_places, max_receives, proof };
        let welcome = welcome.proved(&asked, key);
        if rustix::net::send(&control, &welcome.encode(), SendFlags::NOSIGNAL) != Ok(Welcome::BYTES) {
            self.strays += 1;
            return Ok(None);
        }
        let agreed = Agreed {
            peer: name(peer),
            token: join.comm_token,
            control,
            data,
            segment_bytes: join.segment_bytes,
            piece_bytes: join.piece_bytes,
            inline_bytes,
            eager_places,
            max_receives,
            peer_slots: join.slots,
        };
        RecvComm::start(agreed, &self.options).map(Some)
    }
}

impl AsFd for Listener {
    /// Returns a descriptor for an event loop (`poll`, `epoll`, tokio's `AsyncFd`). It is readable when
    /// [`Listener::poll`] has something to do. That also drops sockets that are late: call it every
    /// few seconds in any case.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ready.as_fd()
    }
}

fn listen(address: SocketAddr) -> io::Result<Socket> {
    let socket = socket::open(address)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn is_transient(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted, NetworkDown, NetworkUnreachable};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted | NetworkDown | NetworkUnreachable
    )
}

/// Returns whether the process, or the system, has as many open files as it may (accept(2)).
fn is_short_of_descriptors(error: &io::Error) -> bool {
    error
        .raw_os_error()
        .map(Errno::from_raw_os_error)
        .is_some_and(|errno| matches!(errno, Errno::MFILE | Errno::NFILE))
}

/// Returns whether a descriptor is near the limit. A connection needs some more than its sockets, and may
/// then find none. The system gives the lowest number that is free.
fn is_nearly_the_last(socket: &Socket) -> bool {
    let limit = getrlimit(Resource::Nofile).current;
    limit.is_some_and(|limit| socket.as_raw_fd() as u64 + SPARE >= limit)
}

/// Draws 128 bits that no peer can guess.
pub(crate) fn random_token() -> Result<Token> {
    let mut bits = [0; 16];
    getrandom::fill(&mut bits)
        .map_err(|error| Error::system("draw a random token", io::Error::other(error)))?;
    Ok(Token(bits))
}

/// Connections that the kernel completes before they are accepted: one connection brings up to 65 at once.
const BACKLOG: i32 = 1024;
/// Sockets accepted in one round: an honest connection's 65, and some.
const ACCEPTS: usize = 128;
/// Returns the error with the caller's remedy, where there is one.
fn with_remedy(error: io::Error) -> io::Error {
    let remedy = match error.kind() {
        io::ErrorKind::AddrInUse => "another socket listens there, choose another port",
        io::ErrorKind::AddrNotAvailable => "this machine has no such address, listen on one of its own",
        _ => return error,
    };
    io::Error::new(error.kind(), remedy)
}

/// Sockets that may be silent at a time: an honest connection's 65, twice over, beside a crowd of strays.
const UNKNOWN_MAX: usize = 512;
/// Descriptors that a connection's set-up may take.
const SPARE: u64 = 16;
/// The memory that a connector may make the listener allocate for rings: 64 streams × 4 slabs × 4 MiB. The
/// most that a join can say is 64 streams × 16 slabs × 64 MiB = 64 GiB.
const RING_BYTES_MAX: u64 = 1 << 30;
/// The time that a socket may take to send its join.
const HELLO: Duration = Duration::from_secs(5);
/// The interval of looks for late sockets while waiting.
const LOOK: Duration = Duration::from_millis(200);

const _: () = assert!(UNKNOWN_MAX >= 2 * (gputcp_proto::frame::STREAMS_MAX as usize + 1));

/// Returns the peer's name, for messages.
pub(super) fn name(address: SocketAddr) -> Arc<str> {
    address.to_string().into()
}
