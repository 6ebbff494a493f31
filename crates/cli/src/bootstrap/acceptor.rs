//! The server's acceptor: admits clients, one at a time.
//!
//! A thread of its own keeps it, so that strangers disturb neither a running session nor an honest client
//! behind them. The thread reads from all strangers side by side. Each must send a whole hello within
//! [`HELLO_DEADLINE`]. A connection that sends garbage, half a hello or nothing is a stray: dropped and
//! counted. An honest client is let in if the server waits for one. Otherwise it is told that the server is
//! busy, and asks again until its timeout.
//! Invariant: at most `ROOM` strangers are held, each with one small buffer.

use std::{
    collections::VecDeque,
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::{AsFd as _, OwnedFd},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp::Key;
use gputcp_proto::{Violation, frame::VERSION};

use crate::session::{Direction, Header, Kind, Role};
use rustix::{
    event::{EventfdFlags, PollFd, PollFlags, eventfd},
    io::Errno,
    net::{RecvFlags, SendFlags},
};

use super::{
    key::{self, Challenge},
    link::{Link, frame},
    listen::listen,
    message::{Hello, Proof, Refuse},
};
use crate::{
    failure::Failure,
    host::bind::{Bind, Family},
    interrupt::{Interrupt, poll_until},
    printable::Reason,
};

/// The acceptor of a listening server. Dropping it closes its socket.
pub struct Acceptor {
    address: SocketAddr,
    shared: Arc<Shared>,
    keeper: Option<JoinHandle<()>>,
    /// The key that a client must have.
    key: Option<Key>,
}

struct Shared {
    /// Whether a client is wanted, and the one that came.
    wanted: Mutex<Wanted>,
    /// Wakes the server when a client came in.
    came: OwnedFd,
    /// Wakes the keeper to leave.
    leave: OwnedFd,
    leaving: AtomicBool,
    strays: AtomicU64,
}

enum Wanted {
    No,
    Yes,
    Here(TcpStream, SocketAddr, Hello),
}

/// A connection that has not sent a whole hello yet.
struct Unauthenticated {
    stream: TcpStream,
    address: SocketAddr,
    heard: Vec<u8>,
    deadline: Instant,
}

enum Admission {
    /// A hello without fault, but not yet complete.
    Wait,
    Hello(Hello),
    /// Tell it why not, and drop it.
    Refuse(String),
    Drop,
}

impl Acceptor {
    /// Starts to accept; clients must have the key if there is one. Port 0 lets the system choose.
    ///
    /// # Errors
    /// [`Failure::Run`] if the server cannot listen there; [`Failure::Usage`] if the address to bind to
    /// makes no sense.
    pub fn open(bind: Option<&Bind>, family: Family, port: u16, key: Option<Key>) -> Result<Self, Failure> {
        let listener = listen(bind, family, port)?;
        let failed = |error: io::Error| Failure::Run(format!("could not start to accept clients: {error}"));
        let address = listener.local_addr().map_err(failed)?;
        let event = || {
            eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(|error| failed(error.into()))
        };
        let shared = Arc::new(Shared {
            wanted: Mutex::new(Wanted::No),
            came: event()?,
            leave: event()?,
            leaving: AtomicBool::new(false),
            strays: AtomicU64::new(0),
        });
        let keeper = {
            let shared = shared.clone();
            thread::Builder::new()
                .name("acceptor".into())
                .spawn(move || keep(&listener, &shared))
                .map_err(failed)?
        };
        Ok(Self { address, shared, keeper: Some(keeper), key })
    }

    /// Returns the address that it listens at.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the number of connections that were no clients.
    #[must_use]
    pub fn strays(&self) -> u64 {
        self.shared.strays.load(Ordering::Relaxed)
    }

    /// Waits for the next client, until `deadline` if there is one. The client was greeted by `hello`, and
    /// has proved that it has the key; a client that cannot is a stray.
    ///
    /// # Errors
    /// [`Failure::Interrupted`], or [`Failure::Peer`] if no client came in time or the client left at once.
    pub fn next(
        &self,
        hello: &Hello,
        interrupt: &Interrupt,
        deadline: Option<Instant>,
    ) -> Result<(Link, Hello), Failure> {
        loop {
            let (stream, address, theirs) = self.wait(interrupt, deadline)?;
            let name = format!("the client at {address}");
            let mut link = Link::new(stream, Role::Server, interrupt.clone(), name)?;
            link.already(Direction::Recv, Kind::Hello)?;
            let until = Instant::now() + HELLO_DEADLINE;
            let Some(key) = &self.key else {
                link.say(Kind::Hello, hello, until)?;
                return Ok((link, theirs));
            };
            match challenge(&mut link, key, hello, &theirs, until) {
                Ok(()) => return Ok((link, theirs)),
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(why) => self.shared.stray(address, &why.to_string()),
            }
        }
    }

    /// Waits for a client that says hello.
    fn wait(
        &self,
        interrupt: &Interrupt,
        deadline: Option<Instant>,
    ) -> Result<(TcpStream, SocketAddr, Hello), Failure> {
        *self.shared.wanted() = Wanted::Yes;
        loop {
            let mut fds = vec![PollFd::new(&self.shared.came, PollFlags::IN)];
            let came = interrupt.wait(&mut fds, deadline);
            drain(&self.shared.came);
            let mut wanted = self.shared.wanted();
            match std::mem::replace(&mut *wanted, Wanted::No) {
                Wanted::Here(stream, address, hello) => return Ok((stream, address, hello)),
                Wanted::No | Wanted::Yes if came.as_ref().is_ok_and(|&came| came) => *wanted = Wanted::Yes,
                Wanted::No | Wanted::Yes => {
                    came?;
                    return Err(Failure::Peer("no client came in time (the bound is --timeout)".into()));
                }
            }
        }
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        self.shared.leaving.store(true, Ordering::SeqCst);
        let _ = rustix::io::write(&self.shared.leave, &1u64.to_ne_bytes());
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

impl Shared {
    fn wanted(&self) -> MutexGuard<'_, Wanted> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn stray(&self, address: SocketAddr, why: &str) {
        self.strays.fetch_add(1, Ordering::Relaxed);
        tracing::info!(%address, why, "dropped a stray connection");
    }

    /// Lets an honest client in, or sends it away.
    fn admit(&self, stream: TcpStream, address: SocketAddr, hello: Hello) {
        let mut wanted = self.wanted();
        if matches!(*wanted, Wanted::Yes) {
            *wanted = Wanted::Here(stream, address, hello);
            let _ = rustix::io::write(&self.came, &1u64.to_ne_bytes());
        } else {
            drop(wanted);
            refuse(&stream, "it is serving another client; try again when that is done", true);
        }
    }
}

impl Unauthenticated {
    /// Reads what is there, never waiting.
    fn hear(&mut self) -> Admission {
        loop {
            let mut bytes = [0; 1024];
            match rustix::net::recv(&self.stream, &mut bytes[..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Admission::Drop,
                Ok((_, read)) => self.heard.extend_from_slice(&bytes[..read]),
                Err(Errno::AGAIN) => return Admission::Wait,
                Err(Errno::INTR) => continue,
                Err(_) => return Admission::Drop,
            }
            match self.judge() {
                Admission::Wait => {}
                verdict => return verdict,
            }
        }
    }

    fn judge(&self) -> Admission {
        let Some(header) = self.heard.first_chunk() else { return Admission::Wait };
        let header = match Header::decode(header) {
            Ok(header) if header.kind == Kind::Hello => header,
            Err(Violation::Version { theirs, .. }) => {
                return Admission::Refuse(format!(
                    "it speaks protocol version {VERSION} and you speak {theirs}: run the same gputcp on both ends"
                ));
            }
            Ok(_) | Err(_) => return Admission::Drop,
        };
        let payload = &self.heard[Header::BYTES..];
        match payload.len().cmp(&(header.bytes as usize)) {
            std::cmp::Ordering::Less => Admission::Wait,
            // A client waits for the answer to its hello before it says more.
            std::cmp::Ordering::Greater => Admission::Drop,
            std::cmp::Ordering::Equal => {
                serde_json::from_slice(payload).map_or(Admission::Drop, Admission::Hello)
            }
        }
    }
}

/// Has a client prove that it has the key, and does so in turn. A client that cannot is told why it is
/// refused.
fn challenge(
    link: &mut Link,
    key: &Key,
    hello: &Hello,
    theirs: &Hello,
    until: Instant,
) -> Result<(), Failure> {
    let refuse = |link: &mut Link, reason: &str| {
        link.say(Kind::Refuse, &Refuse { reason: Reason::new(reason), busy: false }, until)?;
        Err(Failure::Peer(reason.into()))
    };
    let Some(their_challenge) = theirs.challenge.as_deref().and_then(Challenge::parse) else {
        return refuse(link, "it asks for a key: give --key-file, with the key that the server has");
    };
    let mine = Challenge::draw()?;
    link.say(Kind::Hello, &Hello { challenge: Some(mine.text()), ..hello.clone() }, until)?;
    let Proof { mac } = link.hear(Kind::Proof, until)?;
    if !key::admits(key, &mac, Role::Client, their_challenge, mine) {
        return refuse(link, "the key is another: give --key-file, with the key that the server has");
    }
    let mac = key::proof(key, Role::Server, their_challenge, mine);
    link.say(Kind::Proof, &Proof { mac }, until)
}

/// Runs the keeper's loop.
fn keep(listener: &TcpListener, shared: &Shared) {
    let mut strangers: VecDeque<Unauthenticated> = VecDeque::with_capacity(ROOM);
    // After a failed accept (no descriptors left) the listener rests, lest the loop spin.
    let mut resting_until = Instant::now();
    while !shared.leaving.load(Ordering::SeqCst) {
        let resting = Instant::now() < resting_until;
        let ready = {
            let mut fds = vec![
                PollFd::new(&shared.leave, PollFlags::IN),
                PollFd::new(listener, if resting { PollFlags::empty() } else { PollFlags::IN }),
            ];
            fds.extend(strangers.iter().map(|stranger| PollFd::new(&stranger.stream, PollFlags::IN)));
            let rest = resting.then_some(resting_until);
            let deadline = strangers.iter().map(|stranger| stranger.deadline).chain(rest).min();
            if poll_until(&mut fds, deadline).is_err() {
                return;
            }
            fds.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<bool>>()
        };
        let mut speaking = ready[2..].iter();
        let now = Instant::now();
        strangers = strangers
            .into_iter()
            .filter_map(|stranger| {
                let spoke = *speaking.next().expect("one flag for each stranger");
                attend(stranger, spoke, now, shared)
            })
            .collect();
        if ready[1] && !resting {
            match accept(listener) {
                Ok(Some((stream, address))) => {
                    if strangers.len() == ROOM
                        && let Some(oldest) = strangers.pop_front()
                    {
                        shared.stray(oldest.address, "said no hello while many more came");
                    }
                    let deadline = now + HELLO_DEADLINE;
                    strangers.push_back(Unauthenticated { stream, address, heard: Vec::new(), deadline });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(%error, "could not accept a connection");
                    resting_until = now + REST;
                }
            }
        }
    }
}

/// Hears a stranger that spoke; gives it back if it needs more time and has some left.
fn attend(
    mut stranger: Unauthenticated,
    spoke: bool,
    now: Instant,
    shared: &Shared,
) -> Option<Unauthenticated> {
    let address = stranger.address;
    match if spoke { stranger.hear() } else { Admission::Wait } {
        Admission::Wait if now < stranger.deadline => return Some(stranger),
        Admission::Wait => shared.stray(address, "said no hello in time"),
        Admission::Hello(hello) => shared.admit(stranger.stream, address, hello),
        Admission::Refuse(reason) => {
            refuse(&stranger.stream, &reason, false);
            shared.stray(address, "speaks another version");
        }
        Admission::Drop => shared.stray(address, "said no hello"),
    }
    None
}

/// Says no, as far as the connection takes it at once.
fn refuse(stream: &TcpStream, reason: &str, busy: bool) {
    let Ok(bytes) = frame(Kind::Refuse, &Refuse { reason: Reason::new(reason), busy }) else { return };
    let _ = rustix::net::send(stream, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}

fn accept(listener: &TcpListener) -> io::Result<Option<(TcpStream, SocketAddr)>> {
    match listener.accept() {
        Ok((stream, address)) => {
            stream.set_nonblocking(true)?;
            // An IPv4 client of a socket that serves both is shown as what it is.
            Ok(Some((stream, SocketAddr::new(address.ip().to_canonical(), address.port()))))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {
                Ok(None)
            }
            _ => Err(error),
        },
    }
}

fn drain(event: &OwnedFd) {
    let _ = rustix::io::read(event.as_fd(), &mut [0u8; 8][..]);
}

/// A hello is one short frame of a program that has nothing else to do.
pub const HELLO_DEADLINE: Duration = Duration::from_secs(2);
/// Strangers heard side by side; the oldest makes room for the next.
const ROOM: usize = 32;
const REST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests;
