//! The client's way to a server: names to addresses, and time for a server that is not up yet, or busy.

use std::{
    io,
    net::{SocketAddr, TcpStream, ToSocketAddrs as _},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use crate::session::{Kind, Role};
use gputcp::Key;
use rustix::{event::PollFlags, io::Errno};
use socket2::{Domain, Socket, Type};

use super::{
    key::{self, Challenge},
    link::Link,
    message::{Hello, Proof},
};
use crate::{
    failure::Failure,
    host::bind::{Bind, Family},
    interrupt::Interrupt,
    output::Talk,
    printable::printable,
};

/// The server's place, and the local address to call from.
#[derive(Debug, Clone)]
pub struct Destination {
    /// Its name or address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The local address to use.
    pub bind: Option<Bind>,
    /// IPv4 or IPv6.
    pub family: Family,
    /// The bound on one attempt to connect, and on the greeting.
    pub timeout: Duration,
    /// The key that the server must have, and that this side proves to have.
    pub key: Option<Key>,
    /// The way to tell the user about a long wait.
    pub talk: Talk,
}

impl Destination {
    /// Connects and greets. A server that is not there yet is asked again for three seconds, a busy one
    /// until the timeout.
    ///
    /// # Errors
    /// [`Failure::Peer`] saying what to check; [`Failure::Usage`] if the local address makes no sense.
    pub fn greet(&self, hello: &Hello, interrupt: &Interrupt) -> Result<(Link, Hello), Failure> {
        let local = self.bind.as_ref().map(|bind| bind.resolve(self.family)).transpose()?;
        let deadline = Instant::now() + self.timeout;
        let mut attempt = 1;
        let mut tell_at = Some(Instant::now() + SHORT);
        loop {
            let outcome = self.attempt(local, attempt, deadline, hello, interrupt);
            match outcome {
                Err(Trouble::Passing(Failure::Busy(why))) if Instant::now() < deadline => {
                    // Between two clients a server is busy for a moment that is not worth a word.
                    if tell_at.is_some_and(|at| Instant::now() >= at) {
                        self.talk.note(&format!("waiting up to {:?}: {why}", self.timeout));
                        tell_at = None;
                    }
                }
                Err(Trouble::Passing(_)) if attempt < ATTEMPTS && Instant::now() < deadline => attempt += 1,
                Err(Trouble::Passing(failure) | Trouble::Lasting(failure)) => return Err(failure),
                Ok(greeted) => return Ok(greeted),
            }
            interrupt.sleep_until(Instant::now() + PAUSE)?;
        }
    }

    fn attempt(
        &self,
        local: Option<SocketAddr>,
        attempt: u32,
        deadline: Instant,
        hello: &Hello,
        interrupt: &Interrupt,
    ) -> Result<(Link, Hello), Trouble> {
        let addresses = self.resolve(local)?;
        let stream = self.connect(&addresses, local, attempt, deadline, interrupt)?;
        let address = stream.peer_addr().map_or_else(|_| self.host.clone(), |address| address.to_string());
        let mut link =
            Link::new(stream, Role::Client, interrupt.clone(), format!("the server at {address}"))?;
        let deadline = Instant::now() + self.timeout;
        let challenge = self.key.as_ref().map(|_| Challenge::draw()).transpose()?;
        let hello = Hello { challenge: challenge.as_ref().map(Challenge::text), ..hello.clone() };
        link.say(Kind::Hello, &hello, deadline)?;
        let theirs: Hello = link.hear(Kind::Hello, deadline)?;
        if let (Some(key), Some(challenge)) = (&self.key, challenge) {
            prove(&mut link, key, challenge, &theirs, deadline).inspect_err(|failure| link.abort(failure))?;
        }
        Ok((link, theirs))
    }

    fn resolve(&self, local: Option<SocketAddr>) -> Result<Vec<SocketAddr>, Failure> {
        let resolved = (self.host.as_str(), self.port).to_socket_addrs().map_err(|error| {
            Failure::Peer(format!(
                "could not find the host {}: {error}; check its name",
                printable(&self.host)
            ))
        })?;
        let fits = |address: &SocketAddr| {
            self.family.admits(address.ip()) && local.is_none_or(|local| local.is_ipv4() == address.is_ipv4())
        };
        let addresses: Vec<SocketAddr> = resolved.filter(fits).collect();
        if addresses.is_empty() {
            return Err(Failure::Peer(format!(
                "the host {} has no address of the IP version asked for: check -4, -6 and --bind",
                printable(&self.host)
            )));
        }
        Ok(addresses)
    }

    /// Connects to the first address that answers.
    fn connect(
        &self,
        addresses: &[SocketAddr],
        local: Option<SocketAddr>,
        attempt: u32,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> Result<TcpStream, Trouble> {
        let mut last = None;
        for &address in addresses {
            match connect_one(address, local, deadline, interrupt)? {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some((address, error)),
            }
        }
        let (address, error) = last.expect("there is at least one address");
        tracing::debug!(%address, %error, attempt, "no connection yet");
        if matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::PermissionDenied) {
            let sentence =
                format!("could not connect to {address}: {error}; check the host, --bind and --port");
            return Err(Trouble::Lasting(Failure::Peer(sentence)));
        }
        let tries = if attempt == 1 { String::new() } else { format!(", tried {attempt} times") };
        Err(Trouble::Passing(Failure::Peer(format!(
            "could not connect to {} port {} ({}{tries}): {error}; check that `gputcp server` runs there and that no \
             firewall is in the way",
            printable(&self.host),
            self.port,
            address.ip(),
        ))))
    }
}

/// Proves that this side has the key, and has the server do so.
fn prove(
    link: &mut Link,
    key: &Key,
    mine: Challenge,
    theirs: &Hello,
    deadline: Instant,
) -> Result<(), Failure> {
    let peer = link.peer().to_owned();
    let Some(their_challenge) = theirs.challenge.as_deref().and_then(Challenge::parse) else {
        return Err(Failure::Peer(format!(
            "{peer} has no key: start it with the same --key-file, or drop this one"
        )));
    };
    let mac = key::proof(key, Role::Client, mine, their_challenge);
    link.say(Kind::Proof, &Proof { mac }, deadline)?;
    let Proof { mac } = link.hear(Kind::Proof, deadline)?;
    if key::admits(key, &mac, Role::Server, mine, their_challenge) {
        return Ok(());
    }
    Err(Failure::Peer(format!(
        "{peer} could not prove that it has the key: it is not the server that was meant"
    )))
}

/// The reason why an attempt failed.
enum Trouble {
    /// A trouble that may go away by itself: a server that is not up yet, or busy.
    Passing(Failure),
    /// A trouble that stays.
    Lasting(Failure),
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Busy(_) => Self::Passing(failure),
            _ => Self::Lasting(failure),
        }
    }
}

/// Connects to one address. The outer error ends everything, the inner one is this address's.
fn connect_one(
    address: SocketAddr,
    local: Option<SocketAddr>,
    deadline: Instant,
    interrupt: &Interrupt,
) -> Result<io::Result<TcpStream>, Failure> {
    let (socket, connected) = match begin_connect(address, local, |_| Ok(())) {
        Ok(begun) => begun,
        Err(error) => return Ok(Err(error)),
    };
    if !connected && !interrupt.wait_one(socket.as_fd(), PollFlags::OUT, deadline)? {
        return Ok(Err(io::Error::new(
            io::ErrorKind::TimedOut,
            "no answer in time (the bound is --timeout)",
        )));
    }
    Ok(match socket.take_error() {
        Ok(None) => Ok(socket.into()),
        Ok(Some(error)) | Err(error) => Err(error),
    })
}

/// Starts to connect from a local address, and never waits. Returns true if the socket is connected at once.
pub(crate) fn begin_connect(
    address: SocketAddr,
    local: Option<SocketAddr>,
    tune: impl FnOnce(&Socket) -> io::Result<()>,
) -> io::Result<(Socket, bool)> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    tune(&socket)?;
    if let Some(local) = local {
        socket.bind(&local.into())?;
    }
    match socket.connect(&address.into()) {
        Ok(()) => Ok((socket, true)),
        Err(error) if error.raw_os_error() == Some(Errno::INPROGRESS.raw_os_error()) => Ok((socket, false)),
        Err(error) => Err(error),
    }
}

/// The stall timeout of the program that is re-created: 30 × 100 ms.
const ATTEMPTS: u32 = 30;
const PAUSE: Duration = Duration::from_millis(100);
/// A wait that is too short to be worth telling.
const SHORT: Duration = Duration::from_millis(500);
