//! One-sided transfers: the client reads or writes the server's memory, and the server's program takes no
//! part. `places` has the places of the blocks and their data, `run` moves them once, on either end.
//!
//! The client owns the clock, and counts a byte as invariant I6 demands: once it is at its destination. Only
//! the end that began a write knows when that is.

mod places;
pub(super) mod run;

use std::{
    net::SocketAddr,
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use gputcp::onesided::{Address, Counters, Endpoint, Peer, Watch};
use gputcp_gpu::Device;
use gputcp_proto::frame::SLOTS_MAX;
use rustix::event::{PollFd, PollFlags};

use self::places::Places;
use super::connections::with_port;
use crate::{
    bootstrap::{
        link::Link,
        message::{Handles, from_hex, to_hex},
    },
    failure::Failure,
    session::Role,
    settings::{OneSided, Settings},
};

/// An endpoint that listens, and has met no peer.
pub(super) struct Listening {
    endpoint: Endpoint,
    /// Readable when a note has come, or the peer has failed.
    watch: Watch,
    places: Places,
}

/// One end of one-sided transfers, connected to the other.
pub struct Connected {
    endpoint: Endpoint,
    watch: Watch,
    places: Places,
    address: Address,
    peer: Peer,
}

impl Listening {
    /// Has an endpoint listen at the session's address. `device` is that of this end's memory.
    ///
    /// # Errors
    /// If the system refuses.
    pub(super) fn open(
        one_sided: OneSided,
        settings: &Settings,
        device: Option<&Device>,
        local: SocketAddr,
    ) -> Result<Self, Failure> {
        let options = settings.options(device, SLOTS_MAX, local.ip());
        let endpoint = Endpoint::bind(&with_port(local, 0).to_string(), options)?;
        let watch = endpoint.watch()?;
        Ok(Self { endpoint, watch, places: Places::new(one_sided, settings.seed) })
    }

    /// Returns the address by which the other side connects, in hexadecimal digits.
    pub(super) fn address(&self) -> String {
        to_hex(&self.endpoint.address().to_bytes())
    }

    /// Connects to the other side's endpoint. The client begins, and each end sends the other a note, which
    /// is heard once all connections are there.
    ///
    /// # Errors
    /// If the other side offers no endpoint, or it is not connected by the deadline.
    pub(super) fn meet(
        self,
        link: &mut Link,
        role: Role,
        theirs: &Handles,
        deadline: Instant,
    ) -> Result<Connected, Failure> {
        let Self { endpoint, watch, places } = self;
        let (address, since) = (address_of(theirs, link.peer())?, Instant::now());
        let heard = |link: &mut Link, peer: Option<&Peer>| {
            if hear_note(&endpoint, &watch, (&address, peer), MEETING, link, deadline)? {
                return Ok(());
            }
            Err(Failure::Peer(format!(
                "{} made no one-sided connection within {:.1} s: a firewall may block ports between the two",
                link.peer(),
                since.elapsed().as_secs_f64()
            )))
        };
        let peer = match role {
            Role::Client => {
                let peer = endpoint.connect(&address)?;
                peer.notify(MEETING)?;
                heard(link, Some(&peer))?;
                peer
            }
            Role::Server => {
                heard(link, None)?;
                // It is connected by now: this makes no other connection.
                let peer = endpoint.connect(&address)?;
                peer.notify(MEETING)?;
                peer
            }
        };
        Ok(Connected { endpoint, watch, places, address, peer })
    }
}

impl Connected {
    /// Returns the counters of the endpoint's data sockets; `None` once the peer has failed.
    pub(super) fn counters(&self) -> Option<Counters> {
        self.peer.counters().ok()
    }

    /// Waits for the peer's note of these bytes. Returns false if it has not come by the deadline.
    fn hear(&self, note: &[u8], link: &mut Link, deadline: Instant) -> Result<bool, Failure> {
        let Self { endpoint, watch, address, peer, .. } = self;
        hear_note(endpoint, watch, (address, Some(peer)), note, link, deadline)
    }
}

fn hear_note(
    endpoint: &Endpoint,
    watch: &Watch,
    (address, peer): (&Address, Option<&Peer>),
    expected: &[u8],
    link: &mut Link,
    deadline: Instant,
) -> Result<bool, Failure> {
    loop {
        // In this order no note is missed.
        watch.clear();
        if endpoint.notes().iter().any(|note| note.from == *address && note.bytes == expected) {
            return Ok(true);
        }
        if let Some(error) = peer.and_then(Peer::failure) {
            return Err(error.into());
        }
        let now = Instant::now();
        if now >= deadline {
            return Ok(false);
        }
        link.watch(&[PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)], deadline.min(now + LOOK))?;
    }
}

/// Returns the address of the other side's endpoint.
fn address_of(theirs: &Handles, peer: &str) -> Result<Address, Failure> {
    let text = theirs.endpoint.as_deref().ok_or_else(|| {
        Failure::Peer(format!("{peer} offers no endpoint where one-sided transfers were agreed on"))
    })?;
    from_hex::<{ Address::BYTES }>(text)
        .and_then(|bytes| Address::from_bytes(&bytes).ok())
        .ok_or_else(|| Failure::Peer(format!("{peer} offers an endpoint whose address is none")))
}

/// The note by which the ends meet.
const MEETING: &[u8] = b"gputcp";
/// The longest time between two looks at the other side.
const LOOK: Duration = Duration::from_millis(50);
