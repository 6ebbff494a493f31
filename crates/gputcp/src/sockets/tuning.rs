//! Socket options, as measured: autotuned buffers, no Nagle delay, the congestion control asked for. The
//! kernel's own dead-peer detection ends both sides within the timeout when a link is cut, without a
//! heartbeat of gputcp (invariant I7).

use std::{io, time::Duration};

use rustix::net::sockopt;
use socket2::{SockRef, Socket, TcpKeepalive};

use crate::{Error, Options, Result};

/// Sets the options of one socket of a connection, on either side.
pub(crate) fn tune(socket: &Socket, options: &Options) -> Result<()> {
    let set = |doing: &'static str, done: io::Result<()>| done.map_err(|error| Error::system(doing, error));
    set("switch off Nagle's delay", socket.set_tcp_nodelay(true))?;
    if let Some(bytes) = options.tuning.send_buffer_bytes {
        set("set the send buffer", socket.set_send_buffer_size(bytes as usize))?;
    }
    if let Some(bytes) = options.tuning.recv_buffer_bytes {
        set("set the receive buffer", socket.set_recv_buffer_size(bytes as usize))?;
    }
    if let Some(name) = &options.tuning.congestion {
        sockopt::set_tcp_congestion(socket, name.as_str()).map_err(|errno| {
            let doing =
                format!("use congestion control {name} (see net.ipv4.tcp_allowed_congestion_control)");
            Error::system(doing, errno)
        })?;
    }
    // Sent but unacknowledged data: the kernel gives up after the timeout (tcp(7), TCP_USER_TIMEOUT).
    set("bound unacknowledged data", socket.set_tcp_user_timeout(Some(options.timeout)))?;
    // With no data in flight, probes find a peer that vanished without a word. Idle + retries × interval ≤
    // timeout.
    let step = (options.timeout / 4).max(Duration::from_secs(1));
    let keepalive = TcpKeepalive::new().with_time(step).with_interval(step).with_retries(3);
    set("switch on keep-alive", socket.set_tcp_keepalive(&keepalive))
}

/// Returns the congestion control in force on a socket.
pub(crate) fn congestion(socket: &Socket) -> io::Result<String> {
    Ok(sockopt::tcp_congestion(socket)?)
}

/// Returns the socket's pending error, such as a refused connection.
pub(crate) fn pending_error(socket: &Socket) -> Option<io::Error> {
    SockRef::from(socket).take_error().unwrap_or_else(Some)
}
