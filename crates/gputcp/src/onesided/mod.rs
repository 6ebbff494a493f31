//! One-sided transfers: reads and writes of a peer's memory, in which the peer's program takes no part.
//!
//! An [`Endpoint`] listens once per process, and serves any number of peers. Its [`Address`] is a short byte
//! string that may travel any way. A [`Region`] is memory that transfers may touch; its [`RemoteKey`] is the
//! byte string by which a peer names it. [`Endpoint::connect`] gives a [`Peer`], whose [`Peer::read`] and
//! [`Peer::write`] take a list of [`Block`]s and give a [`Transfer`].
//!
//! A transfer is done when every byte is where it belongs: here for a read, at the peer for a write. Then a
//! note reaches the peer's program, if one was given. Transfers have no order among each other. The rules are
//! [`gputcp_proto::onesided`]'s.
//!
//! ```no_run
//! # fn main() -> gputcp::Result<()> {
//! use std::time::Duration;
//! use gputcp::{Buffer, Options, onesided::{Block, Endpoint, Rights}};
//!
//! // One process. The address and the key reach the other in any way.
//! let endpoint = Endpoint::bind("127.0.0.1:0", Options::default())?;
//! let cache = endpoint.register(&Buffer::host(1 << 30)?, Rights::Read)?;
//! let (address, key) = (endpoint.address(), cache.key());
//!
//! // Another.
//! let endpoint = Endpoint::bind("127.0.0.1:0", Options::default())?;
//! let local = endpoint.register(&Buffer::host(1 << 20)?, Rights::ReadWrite)?;
//! let peer = endpoint.connect(&address)?;
//! let blocks = (0..16).map(|at| Block {
//!     local: &local,
//!     local_offset: at << 16,
//!     remote: &key,
//!     remote_offset: 3 * at << 16,
//!     bytes: 1 << 16,
//! });
//! peer.read(blocks)?.wait(Duration::from_secs(10))?;
//! # Ok(())
//! # }
//! ```

mod address;
mod commands;
mod counters;
mod engine;
mod greeting;
mod job;
mod link;
mod region;
mod serve;
mod state;
mod transfer;
mod watch;

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp_gpu::Buffer;
use gputcp_proto::onesided::command::NOTE_BYTES_MAX;
pub use gputcp_proto::onesided::{
    key::{Key as RemoteKey, Operation, Rights},
    regions::Refusal,
};

pub use self::{
    address::Address,
    counters::Counters,
    region::Region,
    transfer::{Block, Transfer},
    watch::Watch,
};
use self::{engine::Engine, job::PeerId, state::Shared};
use crate::{Error, IoPool, Listener, Options, Result};

/// A process's end of one-sided transfers. It has a thread of its own, and a pool of I/O threads that its
/// connections share ([`Options::pool`], or one that it makes).
///
/// Dropped, it leaves all peers; their transfers with it fail.
#[derive(Debug)]
pub struct Endpoint {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    address: Address,
}

/// A peer of an endpoint.
#[derive(Debug, Clone)]
pub struct Peer {
    shared: Arc<Shared>,
    asked: Arc<Asked>,
}

/// A user's interest in a peer, which its handles and transfers share.
#[derive(Debug)]
struct Asked {
    shared: Arc<Shared>,
    id: PeerId,
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.shared.let_go(self.id);
    }
}

/// Some bytes that a peer's program has sent to this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// The peer's address.
    pub from: Address,
    /// The bytes.
    pub bytes: Vec<u8>,
}

impl Endpoint {
    /// Listens on `address`, such as `10.0.0.1:0`; port 0 lets the system choose. Peers must be able to reach
    /// it, so it is no unspecified address.
    ///
    /// The options are those of each connection. [`Options::device`] is the device of the regions that are
    /// not host memory. With [`Options::key`], only peers that have it can connect.
    ///
    /// # Errors
    /// If the options are out of range, the address is none of this machine's, or the port is in use.
    pub fn bind(address: &str, options: Options) -> Result<Self> {
        let bad = |why: String| not_listening(&address.escape_debug(), &why);
        let mut found = address.to_socket_addrs().map_err(|error| bad(error.to_string()))?;
        let first = found.next().ok_or_else(|| bad("the name has no address".into()))?;
        Self::bind_all(&[first], options)
    }

    /// Listens on several addresses of one family, such as one of each of several interfaces. A peer's data
    /// sockets are spread over them.
    ///
    /// Without [`Options::key`], a peer is connected to at those of its addresses that its own sockets come
    /// from.
    ///
    /// # Errors
    /// As [`Endpoint::bind`]; or if there is no address, more than [`Handle::ADDRESSES_MAX`](crate::Handle),
    /// or one of another family.
    pub fn bind_all(addresses: &[SocketAddr], options: Options) -> Result<Self> {
        if let Some(open) = addresses.iter().find(|address| address.ip().is_unspecified()) {
            let why = "peers need an address that they can reach: give one of this machine's";
            return Err(not_listening(open, why));
        }
        let mut options = options;
        if options.pool.is_none() {
            options.pool = Some(IoPool::new(usize::from(options.streams).clamp(1, IoPool::THREADS_MAX))?);
        }
        let shared = Arc::new(Shared::new(&options)?);
        options.bell = Some(shared.bell.clone());
        // Commands come before their receives are posted; the connectors of data ask for no such places.
        let of_commands = link::command_options(&options).tuning;
        let accepting = link::data_options(&options).tuned(|tuning| {
            tuning.eager_places = of_commands.eager_places;
            tuning.inline_bytes = of_commands.inline_bytes;
        });
        let listener = Listener::bind_all(addresses, accepting)?;
        let address = Address::of(listener.handle());
        let engine = Engine::new(shared.clone(), listener, options, address);
        let thread = thread::Builder::new().name("gputcp-onesided".into()).spawn(move || engine.run());
        let thread = thread.map_err(|error| Error::system("start the endpoint's thread", error))?;
        Ok(Self { shared, thread: Some(thread), address })
    }

    /// Returns the address by which peers connect.
    #[must_use]
    pub const fn address(&self) -> Address {
        self.address
    }

    /// Registers a buffer: transfers may touch it, those of this program and, by its key, those of peers.
    ///
    /// The buffer is the endpoint's while it is registered: no other transfer can claim it. Two transfers may
    /// touch the same bytes; which bytes are found then is not defined.
    ///
    /// # Errors
    /// If a part of the buffer is claimed, or it is memory of a device that is not the endpoint's.
    pub fn register(&self, buffer: &Buffer, rights: Rights) -> Result<Region> {
        Region::register(&self.shared, buffer, rights)
    }

    /// Returns a peer, and begins to connect to it. Transfers may be posted at once; they wait for it.
    ///
    /// A peer that is connected already is the same; one that has failed is connected to again.
    ///
    /// # Errors
    /// If the endpoint has failed.
    pub fn connect(&self, address: &Address) -> Result<Peer> {
        let id = self.shared.connect(address)?;
        let shared = self.shared.clone();
        Ok(Peer { shared: shared.clone(), asked: Arc::new(Asked { shared, id }) })
    }

    /// Returns the notes that have come since the last call.
    #[must_use]
    pub fn notes(&self) -> Vec<Note> {
        self.shared.take_notes()
    }

    /// Waits until a note has come, at most for `timeout`, and returns the notes since the last call.
    #[must_use]
    pub fn wait_notes(&self, timeout: Duration) -> Vec<Note> {
        self.shared.wait_notes(Instant::now() + timeout)
    }

    /// Returns a descriptor for an event loop, which tells of ended transfers and of notes.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub fn watch(&self) -> Result<Watch> {
        self.shared.watches.add()
    }

    /// Returns how many requests of peers were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.shared.lock().refused
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has reported it on stderr.
            let _ = thread.join();
        }
    }
}

impl Peer {
    /// Begins to read the remote side of the blocks into the local side.
    ///
    /// # Errors
    /// If a block is not within its regions or their rights, a region is no longer registered, or the peer
    /// has failed.
    pub fn read<'a>(&self, blocks: impl IntoIterator<Item = Block<'a>>) -> Result<Transfer> {
        self.begin(Operation::Read, blocks)
    }

    /// Begins to write the local side of the blocks to the remote side.
    ///
    /// # Errors
    /// As [`Peer::read`].
    pub fn write<'a>(&self, blocks: impl IntoIterator<Item = Block<'a>>) -> Result<Transfer> {
        self.begin(Operation::Write, blocks)
    }

    /// Prepares a transfer, which [`Transfer::post`] begins, any number of times one after the other.
    ///
    /// # Errors
    /// As [`Peer::read`].
    pub fn prepare<'a>(
        &self,
        operation: Operation,
        blocks: impl IntoIterator<Item = Block<'a>>,
    ) -> Result<Transfer> {
        Transfer::prepare(&self.asked, operation, blocks)
    }

    fn begin<'a>(
        &self,
        operation: Operation,
        blocks: impl IntoIterator<Item = Block<'a>>,
    ) -> Result<Transfer> {
        let mut transfer = self.prepare(operation, blocks)?;
        transfer.post(None)?;
        Ok(transfer)
    }

    /// Sends a note to the peer's program, in no order with transfers.
    ///
    /// # Errors
    /// If it is longer than [`Peer::NOTE_BYTES_MAX`], or the peer has failed.
    pub fn notify(&self, bytes: &[u8]) -> Result<()> {
        self.shared.notify(self.asked.id, check_note(bytes)?)
    }

    /// The longest note.
    pub const NOTE_BYTES_MAX: usize = NOTE_BYTES_MAX;

    /// Returns the reason for which the peer has failed, if it has.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.failure_of(self.asked.id)
    }
}

fn not_listening(address: &impl std::fmt::Display, why: &str) -> Error {
    Error::usage(format!("could not listen on {address}: {why}"))
}

fn check_note(bytes: &[u8]) -> Result<Vec<u8>> {
    let (found, most) = (bytes.len(), NOTE_BYTES_MAX);
    if found > most {
        return Err(Error::usage(format!("a note of {found} bytes was given; it has at most {most}")));
    }
    Ok(bytes.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_that_has_failed_is_forgotten_with_its_last_handle() {
        let options = || Options::default().with_streams(1).with_timeout(Duration::from_secs(2));
        let endpoint = Endpoint::bind("127.0.0.1:0", options()).unwrap();
        let gone = Endpoint::bind("127.0.0.1:0", options()).unwrap().address();
        for _ in 0..3 {
            let peer = endpoint.connect(&gone).unwrap();
            let (again, deadline) = (peer.clone(), Instant::now() + Duration::from_secs(20));
            while peer.failure().is_none() {
                assert!(Instant::now() < deadline);
                thread::sleep(Duration::from_millis(1));
            }
            drop(peer);
            assert!(again.failure().is_some(), "a handle is left");
            drop(again);
            assert!(endpoint.shared.lock().peers.is_empty());
        }
    }
}
