//! Finds a listener by a host and a port. The connector asks for the listener's handle, on the port that the
//! connection's own sockets use afterwards. These sockets prove the key, as on any other connection: an
//! answer that names a wrong listener ends there.

use std::{
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp_proto::{
    frame::{Ask, Welcome},
    handle::Handle,
};
use rustix::{
    event::{PollFd, PollFlags},
    net::RecvFlags,
};

use super::{
    Connector, Listener, SendComm,
    connect::{Joining, failed, open},
    control::poll_until,
};
use crate::{Error, Options, Result};

/// Listens at a host and port, such as `0.0.0.0:9000`, for peers that [`connect`] to it. One listener takes
/// any number of connections, of any number of peers.
///
/// Without [`Options::key`], every process that reaches the port can connect.
///
/// # Errors
/// If the options are out of range, the text names no address of this machine, or the port is in use.
pub fn listen(address: &str, options: Options) -> Result<Listener> {
    let addresses = resolve(address)
        .map_err(|why| Error::usage(format!("could not listen on {}: {why}", address.escape_debug())))?;
    Ok(Listener::bind(addresses[0], options)?.telling())
}

/// Connects to the [`listen`]er at a host and port, such as `10.0.0.1:9000`, and returns the sending end. The
/// listener accepts the receiving end.
///
/// A listener that is not up yet is asked again, until the timeout of the options. After its answer the
/// connection has that long to be made. The name's resolution has the bound of the system's resolver.
///
/// # Errors
/// If the options are out of range, the host is unknown, no listener answers in time, or it refuses.
pub fn connect(address: &str, options: Options) -> Result<SendComm> {
    options.check()?;
    let peer: Arc<str> = address.escape_debug().to_string().into();
    let fits = |found: &SocketAddr| options.bind.iter().all(|local| local.is_ipv4() == found.is_ipv4());
    let mut addresses = resolve(address).map_err(|why| Error::Refused { peer: peer.clone(), why })?;
    addresses.retain(fits);
    if addresses.is_empty() {
        let why = "it has no address of the family of the local addresses to use".into();
        return Err(Error::Refused { peer, why });
    }
    let deadline = Instant::now() + options.timeout;
    let mut passing = None;
    loop {
        let began = Instant::now();
        match ask_any(&addresses, &peer, &options, deadline) {
            Ok(handle) => {
                return Connector::new(&handle, options.clone())?.connect(Instant::now() + options.timeout);
            }
            Err(Trouble::Passing(error)) if Instant::now() + PAUSE < deadline => {
                thread::sleep(PAUSE);
                passing = Some(error);
            }
            // The last attempt had little time: the error of the one before it tells more.
            Err(Trouble::Lasting(error @ Error::Timeout { .. })) if began.elapsed() < options.timeout / 2 => {
                return Err(passing.unwrap_or(error));
            }
            Err(Trouble::Passing(error) | Trouble::Lasting(error)) => return Err(error),
        }
    }
}

/// The reason why there is no handle.
enum Trouble {
    /// The listener may not be up yet.
    Passing(Error),
    /// Asking again will not help.
    Lasting(Error),
}

impl From<Error> for Trouble {
    fn from(error: Error) -> Self {
        match error {
            Error::Refused { .. } => Self::Passing(error),
            _ => Self::Lasting(error),
        }
    }
}

/// Returns the addresses that a text names, at least one.
fn resolve(address: &str) -> Result<Vec<SocketAddr>, Arc<str>> {
    let found = address.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
    match found {
        Ok(found) if found.is_empty() => Err("the name has no address".into()),
        Ok(found) => Ok(found),
        Err(error) => Err(format!("{error}; give a host and a port, as in 10.0.0.1:9000").into()),
    }
}

/// Asks one address after the other, each with its share of the time that is left.
fn ask_any(
    addresses: &[SocketAddr],
    peer: &Arc<str>,
    options: &Options,
    deadline: Instant,
) -> Result<Handle, Trouble> {
    let mut last = None;
    for (at, &address) in addresses.iter().enumerate() {
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let share = left / (addresses.len() - at) as u32;
        match ask(address, peer, options, now + share) {
            Ok(handle) => return Ok(handle),
            // Another address may answer.
            Err(Trouble::Lasting(error @ Error::Timeout { .. }) | Trouble::Passing(error)) => {
                last = Some(Trouble::from(error));
            }
            Err(lasting) => return Err(lasting),
        }
    }
    Err(last.unwrap_or_else(|| Trouble::Lasting(Error::usage("no address was asked"))))
}

/// Asks a listener for its handle. A listener with one address is reached where it was asked, whatever
/// address its handle has.
fn ask(
    address: SocketAddr,
    peer: &Arc<str>,
    options: &Options,
    deadline: Instant,
) -> Result<Handle, Trouble> {
    let began = Instant::now();
    let local: Option<IpAddr> = options.bind.first().copied();
    let mut asking = open(local, address, peer, options)?;
    let mut answer = Answer { bytes: [0; Handle::BYTES], have: 0 };
    loop {
        let is_sent = asking.advance(&Ask.encode(), peer)?;
        if asking.is_connected
            && let Some(handle) = answer.read(&asking, peer)?
        {
            let has_others = handle.others.iter().any(Option::is_some);
            return Ok(if has_others { handle } else { Handle { address, ..handle } });
        }
        let wanted = if is_sent { PollFlags::IN } else { PollFlags::OUT };
        let ready = poll_until(&mut [PollFd::new(&asking.socket, wanted)], Some(deadline));
        if !ready.map_err(|error| Error::system("wait for a listener's answer", error))? {
            let after = deadline.saturating_duration_since(began);
            let what = "asking for a connection";
            return Err(Trouble::Lasting(Error::Timeout { what, peer: peer.clone(), after }));
        }
    }
}

/// The bytes of a listener's answer that have come: of its handle, or of a refusal.
struct Answer {
    bytes: [u8; Handle::BYTES],
    have: usize,
}

impl Answer {
    /// Returns the handle once it is complete.
    fn read(&mut self, asking: &Joining, peer: &Arc<str>) -> Result<Option<Handle>, Trouble> {
        while self.have < Handle::BYTES {
            match rustix::net::recv(&asking.socket, &mut self.bytes[self.have..], RecvFlags::empty()) {
                Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => return Err(self.ended(peer)),
                Ok((got, _)) => self.have += got,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(peer, &error.into()).into()),
            }
        }
        let handle = Handle::decode(&self.bytes);
        let misbehaved = |violation| Error::PeerMisbehaved { peer: peer.clone(), violation };
        handle.map(Some).map_err(|violation| Trouble::Lasting(misbehaved(violation)))
    }

    /// Returns the reason for which a listener closed before it told a handle.
    fn ended(&self, peer: &Arc<str>) -> Trouble {
        let refusal = self.bytes[..self.have].first_chunk::<{ Welcome::BYTES }>().map(Welcome::decode);
        if let Some(Ok(welcome)) = refusal {
            return Trouble::Lasting(Error::refused(peer, welcome.verdict));
        }
        let why = "it closed the connection without an answer: does a gputcp listener of this version run there, and \
                   answer those that ask?";
        Trouble::Passing(Error::Refused { peer: peer.clone(), why: why.into() })
    }
}

/// The pause before a listener that is not up yet is asked again.
const PAUSE: Duration = Duration::from_millis(100);
