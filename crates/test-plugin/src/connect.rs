//! Connecting: one control socket and the data sockets. On one machine a connection is made once the
//! listener's queue has it, before `accept` is called. So `connect` does not wait for the other side.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    time::Duration,
};

use gputcp_nccl_net::ResultCode;
use socket2::Socket;

use crate::{
    handle::Handle,
    knobs::Knobs,
    listen::draw,
    wire::{Hello, send_all, tune},
};

/// Connects, and returns the sockets, the control socket first.
pub(crate) fn connect(handle: Handle, knobs: &Knobs) -> Result<Vec<Socket>, ResultCode> {
    let (connection, count) = (draw(), knobs.streams as u32 + 1);
    let open = |index| -> io::Result<Socket> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, handle.port));
        let socket = Socket::from(TcpStream::connect_timeout(&address, TIMEOUT)?);
        tune(&socket, &knobs.congestion)?;
        let hello = Hello { listener: handle.listener, connection, index, sockets: count };
        send_all(&socket, &hello.encode(), &[])?;
        Ok(socket)
    };
    (0..count).map(open).collect::<io::Result<_>>().map_err(|_| ResultCode::Remote)
}

/// The time after which a listener with a full queue counts as stuck.
const TIMEOUT: Duration = Duration::from_secs(2);
