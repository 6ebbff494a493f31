//! The server's listening socket.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener},
};

use rustix::io::Errno;
use socket2::{Domain, Socket, Type};

use crate::{
    failure::Failure,
    host::bind::{Bind, Family},
};

/// Returns a listening socket, by default one that takes both IPv4 and IPv6. Port 0 lets the system choose.
///
/// # Errors
/// [`Failure::Run`] with advice if the system refuses the port; [`Failure::Usage`] if the address to bind
/// to makes no sense.
pub(super) fn listen(bind: Option<&Bind>, family: Family, port: u16) -> Result<TcpListener, Failure> {
    let mut address = match (bind, family) {
        (Some(bind), family) => bind.resolve(family)?,
        (None, Family::V4) => SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0),
        (None, Family::Any | Family::V6) => SocketAddr::new(Ipv6Addr::UNSPECIFIED.into(), 0),
    };
    address.set_port(port);
    let both = bind.is_none() && family == Family::Any;
    let listener = listen_at(address, !both).or_else(|error| {
        // A kernel without IPv6 still has IPv4.
        if both && error.raw_os_error() == Some(Errno::AFNOSUPPORT.raw_os_error()) {
            address = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port);
            return listen_at(address, false);
        }
        Err(error)
    });
    listener.map_err(|error| {
        let advice = match error.kind() {
            io::ErrorKind::AddrInUse => "; another server may run there: choose another --port",
            io::ErrorKind::PermissionDenied => "; ports below 1024 need privileges: choose another --port",
            io::ErrorKind::AddrNotAvailable => "; this machine has no such address: check --bind",
            _ => "",
        };
        Failure::Run(format!("could not listen at {address}: {error}{advice}"))
    })
}

fn listen_at(address: SocketAddr, only_v6: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking().cloexec(), None)?;
    // Connections of an earlier server that linger in TIME_WAIT do not keep the port.
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(only_v6)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Connections that the kernel holds until the acceptor's thread takes them.
const BACKLOG: i32 = 128;
