//! The way bare sockets find each other: each says a token and its number first. A socket that does not is
//! dropped.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags},
    io::Errno,
    net::RecvFlags,
    net::sockopt,
    rand::GetRandomFlags,
};
use socket2::{Domain, Socket, Type};

use super::{super::connections::with_port, pipeline::PipelineSpec, sockets::RawSockets};
use crate::{
    bootstrap::{
        connect::begin_connect,
        link::Link,
        message::{RawHandle, from_hex, to_hex},
    },
    failure::{Failure, advice},
    settings::Settings,
};

/// Waits for bare sockets.
pub struct RawListener {
    socket: Socket,
    token: [u8; TOKEN_BYTES],
    port: u16,
}

struct Pending {
    socket: Socket,
    said: Vec<u8>,
    deadline: Instant,
}

impl RawListener {
    /// Listens at this address.
    ///
    /// # Errors
    /// If the system refuses.
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        let open = || -> io::Result<Self> {
            let socket =
                Socket::new(Domain::for_address(address), Type::STREAM.cloexec().nonblocking(), None)?;
            socket.bind(&address.into())?;
            socket.listen(1024)?;
            let local = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
            let mut token = [0; TOKEN_BYTES];
            rustix::rand::getrandom(&mut token, GetRandomFlags::empty())?;
            Ok(Self { socket, token, port: local.port() })
        };
        open().map_err(|error| {
            let advice = advice(&error);
            Failure::Run(format!("could not listen at {address} for raw sockets: {error}{advice}"))
        })
    }

    /// Returns the address and the token that the other side needs to connect.
    #[must_use]
    pub fn handle(&self, local: SocketAddr) -> RawHandle {
        RawHandle { address: with_port(local, self.port), token: to_hex(&self.token) }
    }

    /// Accepts `count` sockets, with a pipeline each if there is a spec to make them from.
    ///
    /// # Errors
    /// If they are not all here by the deadline, or the other side is gone before.
    pub fn accept(
        self,
        link: &mut Link,
        count: usize,
        settings: &Settings,
        spec: Option<&PipelineSpec>,
        deadline: Instant,
    ) -> Result<RawSockets, Failure> {
        let failed = |error: io::Error| {
            Failure::Run(format!("could not accept a raw socket: {error}{}", advice(&error)))
        };
        let mut here: Vec<Option<Socket>> = (0..count).map(|_| None).collect();
        let mut pending: Vec<Pending> = Vec::new();
        while here.iter().any(Option::is_none) {
            // The bound of a round: a crowd keeps neither the waiting connections nor the deadline from
            // being looked at.
            for _ in 0..ACCEPTS {
                match self.socket.accept() {
                    Ok((socket, _)) => {
                        socket.set_nonblocking(true).map_err(failed)?;
                        if pending.len() == PENDING_MAX {
                            // The oldest was looked at in the last round.
                            pending.remove(0);
                        }
                        let deadline = Instant::now() + SAY;
                        pending.push(Pending { socket, said: Vec::with_capacity(SAID_BYTES), deadline });
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // A stranger that is gone already is no error of ours (accept(2), "Error handling").
                    Err(error)
                        if matches!(
                            error.kind(),
                            io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted
                        ) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            let mut still = Vec::with_capacity(pending.len());
            for mut stranger in pending {
                match stranger.index(&self.token) {
                    Some(Ok(index)) if here.get(index).is_some_and(Option::is_none) => {
                        tune(&stranger.socket, settings).map_err(failed)?;
                        here[index] = Some(stranger.socket);
                    }
                    None if Instant::now() < stranger.deadline => still.push(stranger),
                    // Garbage, a wrong token, a number twice, or silence: not ours.
                    Some(_) | None => tracing::info!("dropped a stray raw connection"),
                }
            }
            pending = still;
            if Instant::now() >= deadline {
                return Err(Failure::Peer(format!(
                    "{} did not connect its raw sockets in time: a firewall may block ports between the two",
                    link.peer()
                )));
            }
            link.watch(&[], Instant::now() + POLL)?;
        }
        RawSockets::start(here.into_iter().flatten().collect(), settings, spec)
    }
}

impl Pending {
    /// Returns its number once it has said it, an error if the socket is not ours.
    fn index(&mut self, token: &[u8; TOKEN_BYTES]) -> Option<Result<usize, ()>> {
        let mut bytes = [0; SAID_BYTES];
        let missing = SAID_BYTES - self.said.len();
        match rustix::net::recv(&self.socket, &mut bytes[..missing], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Some(Err(())),
            Ok((_, read)) => self.said.extend_from_slice(&bytes[..read]),
            Err(Errno::AGAIN | Errno::INTR) => return None,
            Err(_) => return Some(Err(())),
        }
        let (said, number) = self.said.split_first_chunk::<TOKEN_BYTES>()?;
        let number = number.first_chunk()?;
        Some(if said == token { Ok(usize::from(u16::from_le_bytes(*number))) } else { Err(()) })
    }
}

/// Connects `count` sockets to the other side's listener, with a pipeline each if there is a spec to make
/// them from.
///
/// # Errors
/// If one cannot be connected, or the other side is gone before.
pub fn connect(
    link: &mut Link,
    handle: &RawHandle,
    count: usize,
    settings: &Settings,
    spec: Option<&PipelineSpec>,
    local: SocketAddr,
) -> Result<RawSockets, Failure> {
    let token = from_hex::<TOKEN_BYTES>(&handle.token).ok_or_else(|| {
        Failure::Peer(format!("{} sent a token for raw sockets that is no 16 bytes", link.peer()))
    })?;
    let local = with_port(local, 0);
    let sockets = (0..count).map(|index| {
        let failed = |error: io::Error, link: &Link| {
            if !advice(&error).is_empty() {
                return Failure::Run(format!("could not open a raw socket: {error}{}", advice(&error)));
            }
            Failure::Peer(format!(
                "could not connect a raw socket to {} at {}: {error}; a firewall may be in the way",
                link.peer(),
                handle.address
            ))
        };
        let begun = begin_connect(handle.address, Some(local), |socket| tune(socket, settings));
        let (socket, connected) = begun.map_err(|error| failed(error, link))?;
        let deadline = Instant::now() + settings.timeout();
        if !connected && !link.watch(&[PollFd::new(&socket, PollFlags::OUT)], deadline)? {
            return Err(failed(io::ErrorKind::TimedOut.into(), link));
        }
        let said = [token.as_slice(), &(index as u16).to_le_bytes()].concat();
        introduce(&socket, &said).map_err(|error| failed(error, link))?;
        Ok(socket)
    });
    RawSockets::start(sockets.collect::<Result<_, _>>()?, settings, spec)
}

/// Introduces the socket by a few bytes, which a fresh connection takes at once.
fn introduce(socket: &Socket, said: &[u8]) -> io::Result<()> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    let sent = socket.send(said)?;
    if sent == said.len() { Ok(()) } else { Err(io::ErrorKind::WriteZero.into()) }
}

/// Sets the options that the engine's data sockets have too.
fn tune(socket: &Socket, settings: &Settings) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = settings.sockets.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = settings.sockets.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(name) = settings.sockets.congestion_control() {
        sockopt::set_tcp_congestion(socket, name.as_str())?;
    }
    socket.set_tcp_user_timeout(Some(settings.timeout()))
}

const TOKEN_BYTES: usize = 16;
const SAID_BYTES: usize = TOKEN_BYTES + 2;
/// The time within which a connection must introduce itself.
const SAY: Duration = Duration::from_secs(2);
/// Twice the most sockets of a session: strays make room for those that come later.
const PENDING_MAX: usize = 512;
/// All of a session's sockets. Below [`PENDING_MAX`], so that each is looked at before it can be pushed out.
const ACCEPTS: usize = 256;
const POLL: Duration = Duration::from_micros(200);
