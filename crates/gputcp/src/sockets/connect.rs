//! Makes connections, the sender's side: opens the control socket and all data sockets at once, and names the
//! connection on each.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Instant,
};

use gputcp_proto::{
    frame::{Join, JoinVerdict, Welcome},
    handle::Handle,
    key::Proof,
    plan::fitting_piece,
};
use rustix::{
    event::{PollFd, PollFlags},
    net::{RecvFlags, SendFlags},
};

use super::{
    Socket,
    agreed::{Agreed, groups_or_eager},
    control::poll_until,
    listen::{name, random_token},
    send::SendComm,
    socket, tuning,
};
use crate::{Error, Options, Result};

/// A connection in the making. [`Connector::poll`] returns it once it is complete.
#[derive(Debug)]
pub struct Connector {
    peer: Arc<str>,
    options: Options,
    join: Join,
    /// The control socket, then the data sockets.
    sockets: Vec<Joining>,
    welcome: [u8; Welcome::BYTES],
    welcome_have: usize,
}

#[derive(Debug)]
pub(super) struct Joining {
    pub(super) socket: Socket,
    pub(super) is_connected: bool,
    pub(super) sent: usize,
}

impl Connector {
    /// Starts to connect to the listener that made the handle. Never waits.
    ///
    /// # Errors
    /// If the options are out of range, or the system refuses a socket.
    pub fn new(handle: &Handle, options: Options) -> Result<Self> {
        options.check()?;
        let peer = name(handle.address);
        let join = Join {
            listen_token: handle.token,
            comm_token: random_token()?,
            index: 0,
            streams: options.streams,
            slots: options.tuning.slots,
            segment_bytes: options.tuning.segment_bytes,
            // No longer than the segment, so it fits.
            piece_bytes: fitting_piece(options.tuning.segment_bytes.into(), options.tuning.piece_bytes.into())
                as u32,
            inline_bytes: options.tuning.inline_bytes,
            eager_places: options.tuning.eager_places,
            max_receives: options.max_receives,
            proof: Proof::NONE,
        };
        let sockets = ways(&options.bind, handle)
            .take(usize::from(options.streams) + 1)
            .map(|(from, to)| open(from, to, &peer, &options))
            .collect::<Result<_>>()?;
        Ok(Self { peer, options, join, sockets, welcome: [0; Welcome::BYTES], welcome_have: 0 })
    }

    /// Returns the connection once all its sockets are connected and the listener has welcomed it; until then
    /// `None`. Never waits.
    ///
    /// # Errors
    /// If no listener is at the address, or the listener refuses.
    pub fn poll(&mut self) -> Result<Option<SendComm>> {
        let mut joined = true;
        for (index, joining) in self.sockets.iter_mut().enumerate() {
            if joining.sent < Join::BYTES {
                let join = Join { index: index as u16, ..self.join }.proved(self.options.key.as_ref());
                joined &= joining.advance(&join.encode(), &self.peer)?;
            }
        }
        // A refusal can come before all sockets are up.
        let Some(welcome) = self.read_welcome()? else { return Ok(None) };
        if welcome.verdict != JoinVerdict::Accepted {
            return Err(Error::refused(&self.peer, welcome.verdict));
        }
        let key = self.options.key.as_ref();
        if !welcome.is_proved(&self.join.proved(key), key) {
            let why =
                "it could not prove that it has the key: it is not the listener that was meant, or has none";
            return Err(Error::Refused { peer: self.peer.clone(), why: why.into() });
        }
        if !joined {
            return Ok(None);
        }
        let mut sockets = std::mem::take(&mut self.sockets).into_iter().map(|joining| joining.socket);
        let Some(control) = sockets.next() else { return Ok(None) };
        let (max_receives, eager_places) = groups_or_eager(
            [self.join.max_receives, welcome.max_receives],
            [self.join.eager_places, welcome.eager_places],
        );
        let agreed = Agreed {
            peer: self.peer.clone(),
            token: self.join.comm_token,
            control,
            data: sockets.collect(),
            segment_bytes: self.join.segment_bytes,
            piece_bytes: self.join.piece_bytes,
            inline_bytes: welcome.inline_bytes.min(self.join.inline_bytes),
            eager_places,
            max_receives,
            peer_slots: welcome.slots,
        };
        SendComm::start(agreed, &self.options).map(Some)
    }

    /// Waits for the connection.
    ///
    /// # Errors
    /// If it is not there by the deadline, or as [`Connector::poll`].
    pub fn connect(mut self, deadline: Instant) -> Result<SendComm> {
        let began = Instant::now();
        loop {
            if let Some(comm) = self.poll()? {
                return Ok(comm);
            }
            let mut watched: Vec<_> = self.sockets.iter().enumerate().filter_map(Joining::watch).collect();
            let ready = poll_until(&mut watched, Some(deadline));
            if !ready.map_err(|error| Error::system("wait for a connection", error))? {
                let after = deadline.saturating_duration_since(began);
                return Err(Error::Timeout { what: "connecting", peer: self.peer, after });
            }
        }
    }

    fn read_welcome(&mut self) -> Result<Option<Welcome>> {
        let Some(Joining { socket, is_connected: true, .. }) = self.sockets.first() else { return Ok(None) };
        while self.welcome_have < self.welcome.len() {
            match rustix::net::recv(socket, &mut self.welcome[self.welcome_have..], RecvFlags::empty()) {
                Ok((0, _)) | Err(rustix::io::Errno::CONNRESET) => {
                    let why = "it closed the connection before a welcome: is a gputcp of this version listening there?";
                    return Err(Error::Refused { peer: self.peer.clone(), why: why.into() });
                }
                Ok((got, _)) => self.welcome_have += got,
                Err(rustix::io::Errno::AGAIN) => return Ok(None),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(failed(&self.peer, &error.into())),
            }
        }
        let welcome = Welcome::decode(&self.welcome);
        welcome.map(Some).map_err(|violation| Error::PeerMisbehaved { peer: self.peer.clone(), violation })
    }
}

/// Returns the local and the remote address of each socket. The control socket connects the first addresses,
/// the data sockets all in turn. Where both ends have as many interfaces, sockets of the i-th meet the i-th,
/// as networks may have no other way. With different numbers, each address still has its even share.
fn ways<'a>(
    local: &'a [IpAddr],
    handle: &'a Handle,
) -> impl Iterator<Item = (Option<IpAddr>, SocketAddr)> + 'a {
    let local = move |index: usize| local.get(index % local.len().max(1)).copied();
    let remote: Vec<SocketAddr> = handle.addresses().collect();
    let way = move |index: usize| (local(index), remote[index % remote.len()]);
    std::iter::once(way(0)).chain((0..).map(way))
}

/// Opens a socket and starts to connect it.
pub(super) fn open(
    from: Option<IpAddr>,
    address: SocketAddr,
    peer: &Arc<str>,
    options: &Options,
) -> Result<Joining> {
    let system = |doing: &'static str| move |error: io::Error| Error::system(doing, error);
    let socket = socket::open(address).map_err(system("open a socket"))?;
    socket.set_nonblocking(true).map_err(system("make a socket non-blocking"))?;
    tuning::tune(&socket, options)?;
    if let Some(ip) = from {
        let ip = match (address, ip) {
            // A socket of IPv6 names addresses of IPv4 in mapped form.
            (SocketAddr::V6(_), IpAddr::V4(v4)) => v4.to_ipv6_mapped().into(),
            _ => ip,
        };
        let doing = format!("bind to {ip} (is it an address of this machine?)");
        socket.bind(&SocketAddr::new(ip, 0).into()).map_err(|error| Error::system(doing, error))?;
    }
    let is_connected = match socket.connect(&address.into()) {
        Ok(()) => true,
        Err(error) if error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => false,
        Err(error) => return Err(failed(peer, &error)),
    };
    Ok(Joining { socket, is_connected, sent: 0 })
}

impl Joining {
    /// Connects and sends as far as it can. Returns true once the first frame's bytes are sent.
    pub(super) fn advance(&mut self, bytes: &[u8], peer: &Arc<str>) -> Result<bool> {
        if !self.is_connected {
            let mut watched = [PollFd::new(&self.socket, PollFlags::OUT)];
            let ready = poll_until(&mut watched, Some(Instant::now()));
            if !ready.map_err(|error| Error::system("wait for a connection", error))? {
                return Ok(false);
            }
            if let Some(error) = tuning::pending_error(&self.socket) {
                return Err(failed(peer, &error));
            }
            self.is_connected = true;
        }
        while self.sent < bytes.len() {
            match rustix::net::send(&self.socket, &bytes[self.sent..], SendFlags::NOSIGNAL) {
                Ok(taken) => self.sent += taken,
                Err(rustix::io::Errno::AGAIN) => return Ok(false),
                Err(rustix::io::Errno::INTR) => {}
                // The listener closed at once: its welcome, if any, has the reason.
                Err(rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET) => return Ok(false),
                Err(error) => return Err(failed(peer, &error.into())),
            }
        }
        Ok(true)
    }

    /// Returns the events to poll a socket for: its connection, the room for its join, and on the control
    /// socket the welcome.
    fn watch((index, joining): (usize, &Self)) -> Option<PollFd<'_>> {
        if joining.sent < Join::BYTES {
            return Some(PollFd::new(&joining.socket, PollFlags::OUT));
        }
        (index == 0).then(|| PollFd::new(&joining.socket, PollFlags::IN))
    }
}

/// Returns the error of a failed connect, with the remedy.
pub(super) fn failed(peer: &Arc<str>, error: &io::Error) -> Error {
    use io::ErrorKind::{ConnectionRefused, HostUnreachable, NetworkUnreachable, TimedOut};
    let why: Arc<str> = match error.kind() {
        ConnectionRefused => "connection refused: nobody listens there, start the receiver first".into(),
        HostUnreachable | NetworkUnreachable => {
            format!("{error}: check the address, the route and the interface").into()
        }
        TimedOut => "no answer: check the address and the firewall between".into(),
        _ => error.to_string().into(),
    };
    Error::Refused { peer: peer.clone(), why }
}
