//! How bare sockets find each other: each says a token and its number first. Whoever does not is dropped.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use rustix::{net::RecvFlags, net::sockopt, rand::GetRandomFlags};
use socket2::{Domain, Socket, Type};

use super::RawSockets;
use crate::{
    bootstrap::message::{RawHandle, from_hex, to_hex},
    failure::Failure,
    interrupt::Interrupt,
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
        open()
            .map_err(|error| Failure::Run(format!("could not listen at {address} for raw sockets: {error}")))
    }

    /// What the other side needs to connect.
    #[must_use]
    pub fn handle(&self, local: SocketAddr) -> RawHandle {
        let mut address = local;
        address.set_port(self.port);
        RawHandle { address, token: to_hex(&self.token) }
    }

    /// Takes in `count` sockets.
    ///
    /// # Errors
    /// If they are not all here by the deadline.
    pub fn accept(
        self,
        count: usize,
        settings: &Settings,
        deadline: Instant,
        interrupt: &Interrupt,
    ) -> Result<RawSockets, Failure> {
        let failed = |error: io::Error| Failure::Run(format!("could not accept a raw socket: {error}"));
        let mut here: Vec<Option<Socket>> = (0..count).map(|_| None).collect();
        let mut pending: Vec<Pending> = Vec::new();
        while here.iter().any(Option::is_none) {
            match self.socket.accept() {
                Ok((socket, _)) => {
                    socket.set_nonblocking(true).map_err(failed)?;
                    if pending.len() == PENDING_MAX {
                        pending.remove(0);
                    }
                    let deadline = Instant::now() + SAY;
                    pending.push(Pending { socket, said: Vec::with_capacity(SAID_BYTES), deadline });
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(failed(error)),
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
                return Err(Failure::Peer("the other side's raw sockets did not come in time".into()));
            }
            interrupt.sleep_until(Instant::now() + POLL)?;
        }
        RawSockets::start(here.into_iter().flatten().collect(), settings)
    }
}

impl Pending {
    /// Its number once it has said it, an error if it is not ours.
    fn index(&mut self, token: &[u8; TOKEN_BYTES]) -> Option<Result<usize, ()>> {
        let mut bytes = [0; SAID_BYTES];
        let missing = SAID_BYTES - self.said.len();
        match rustix::net::recv(&self.socket, &mut bytes[..missing], RecvFlags::DONTWAIT) {
            Ok((_, 0)) => return Some(Err(())),
            Ok((_, read)) => self.said.extend_from_slice(&bytes[..read]),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return None,
            Err(_) => return Some(Err(())),
        }
        let (said, number) = self.said.split_first_chunk::<TOKEN_BYTES>()?;
        let number = number.first_chunk()?;
        Some(if said == token { Ok(usize::from(u16::from_le_bytes(*number))) } else { Err(()) })
    }
}

/// Connects `count` sockets to the other side's listener.
///
/// # Errors
/// If one cannot be connected.
pub fn connect(
    handle: &RawHandle,
    count: usize,
    settings: &Settings,
    local: SocketAddr,
) -> Result<RawSockets, Failure> {
    let token = from_hex::<TOKEN_BYTES>(&handle.token)
        .ok_or_else(|| Failure::Peer("the other side's token for raw sockets is no 16 bytes".into()))?;
    let connect = |index: usize| -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(handle.address), Type::STREAM.cloexec(), None)?;
        tune(&socket, settings)?;
        let mut from = local;
        from.set_port(0);
        socket.bind(&from.into())?;
        socket.connect_timeout(&handle.address.into(), settings.timeout())?;
        let said = [token.as_slice(), &(index as u16).to_le_bytes()].concat();
        let sent = socket.send(&said)?;
        if sent == said.len() { Ok(socket) } else { Err(io::ErrorKind::WriteZero.into()) }
    };
    let sockets: io::Result<Vec<Socket>> = (0..count).map(connect).collect();
    let failed = |error| {
        Failure::Peer(format!(
            "could not connect a raw socket to {}: {error}; a firewall may be in the way",
            handle.address
        ))
    };
    RawSockets::start(sockets.map_err(failed)?, settings)
}

/// The options that the engine's data sockets have too.
fn tune(socket: &Socket, settings: &Settings) -> io::Result<()> {
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = settings.send_buffer_bytes {
        socket.set_send_buffer_size(bytes as usize)?;
    }
    if let Some(bytes) = settings.recv_buffer_bytes {
        socket.set_recv_buffer_size(bytes as usize)?;
    }
    if let Some(name) = &settings.congestion {
        sockopt::set_tcp_congestion(socket, name)?;
    }
    socket.set_tcp_user_timeout(Some(settings.timeout()))
}

const TOKEN_BYTES: usize = 16;
const SAID_BYTES: usize = TOKEN_BYTES + 2;
/// How long a connection may take to say who it is.
const SAY: Duration = Duration::from_secs(2);
/// Twice the most sockets of a session: strays make room for those that come later.
const PENDING_MAX: usize = 512;
const POLL: Duration = Duration::from_micros(200);
