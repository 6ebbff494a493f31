//! A TCP socket of the transport, which belongs to this process alone. Children that `exec` do not keep it
//! (`CLOEXEC`), nor do children that only `fork`.

use std::{io, net::SocketAddr};

use gputcp_socket::CloseOnFork;
use socket2::{Domain, Protocol, Type};

pub(crate) type Socket = CloseOnFork<socket2::Socket>;

/// Makes a socket of the address's family.
pub(super) fn open(address: SocketAddr) -> io::Result<Socket> {
    let kind = Type::STREAM.cloexec();
    CloseOnFork::make(|| socket2::Socket::new(Domain::for_address(address), kind, Some(Protocol::TCP)))
}

/// Accepts the next connection of a listener, and returns it with its peer's address.
pub(super) fn accept(listener: &Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let mut peer = None;
    let socket = CloseOnFork::make(|| {
        let (socket, address) = listener.accept()?;
        peer = address.as_socket();
        Ok(socket)
    })?;
    Ok((socket, peer))
}
