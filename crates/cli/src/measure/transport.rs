//! Either transport's connections, as one: the built-in sockets' and a plugin's.

use std::time::{Duration, Instant};

use gputcp::{
    Canceller, Received, Result, Sent, TcpInfo,
    contract::{RecvEnd, SendEnd},
};
use gputcp_gpu::Buffer;
use gputcp_nccl_drive::transport as plugin;

/// A connection that this side sends with.
#[derive(Debug)]
pub enum Outbound {
    /// The built-in transport.
    Sockets(gputcp::SendComm),
    /// A plugin.
    Plugin(Box<plugin::SendComm>),
}

/// A connection that this side receives with.
#[derive(Debug)]
pub enum Inbound {
    /// The built-in transport.
    Sockets(gputcp::RecvComm),
    /// A plugin.
    Plugin(Box<plugin::RecvComm>),
}

/// A send in flight.
#[derive(Debug)]
pub enum Sending {
    /// On sockets.
    Sockets(gputcp::SendRequest),
    /// A plugin's request.
    Plugin(plugin::SendRequest),
}

/// A receive in flight.
#[derive(Debug)]
pub enum Receiving {
    /// On sockets.
    Sockets(gputcp::RecvRequest),
    /// A plugin's request.
    Plugin(plugin::RecvRequest),
}

impl Outbound {
    /// Prepares to send from this memory.
    ///
    /// # Errors
    /// If a plugin does not take it.
    pub fn register(&mut self, buffer: &Buffer) -> Result<()> {
        match self {
            Self::Sockets(_) => Ok(()),
            Self::Plugin(comm) => comm.register(buffer),
        }
    }

    /// Ends every wait on it from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self {
            Self::Sockets(comm) => comm.canceller(),
            Self::Plugin(comm) => comm.canceller(),
        }
    }

    /// Returns the congestion control in force, where that is known.
    #[must_use]
    pub fn congestion(&self) -> Option<String> {
        match self {
            Self::Sockets(comm) => comm.congestion(),
            Self::Plugin(_) => None,
        }
    }

    /// Returns the kernel's counters of each data socket, where these are known.
    #[must_use]
    pub fn tcp_info(&self) -> Vec<TcpInfo> {
        match self {
            Self::Sockets(comm) => comm.tcp_info(),
            Self::Plugin(_) => Vec::new(),
        }
    }

    /// Ends it in good order. The other side has everything by now.
    ///
    /// # Errors
    /// If the other side does not do the same in time, or a plugin fails.
    pub fn close(self, deadline: Instant) -> Result<()> {
        match self {
            Self::Sockets(comm) => comm.close(deadline),
            Self::Plugin(comm) => comm.close(),
        }
    }
}

impl Inbound {
    /// Prepares to receive into this memory.
    ///
    /// # Errors
    /// If a plugin does not take it.
    pub fn register(&mut self, buffer: &Buffer) -> Result<()> {
        match self {
            Self::Sockets(_) => Ok(()),
            Self::Plugin(comm) => comm.register(buffer),
        }
    }

    /// Ends every wait on it from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        match self {
            Self::Sockets(comm) => comm.canceller(),
            Self::Plugin(comm) => comm.canceller(),
        }
    }

    /// Returns the number of payload bytes that have arrived.
    #[must_use]
    pub fn bytes_landed(&self) -> u64 {
        match self {
            Self::Sockets(comm) => comm.bytes_landed(),
            Self::Plugin(comm) => comm.bytes_landed(),
        }
    }

    /// Returns the number of payload bytes that are at their destination.
    #[must_use]
    pub fn bytes_placed(&self) -> u64 {
        match self {
            Self::Sockets(comm) => comm.bytes_placed(),
            Self::Plugin(comm) => comm.bytes_placed(),
        }
    }

    /// Ends it in good order. The other side has nothing more to send by now.
    ///
    /// # Errors
    /// If the other side does not do the same in time, or a plugin fails.
    pub fn close(self, deadline: Instant) -> Result<()> {
        match self {
            Self::Sockets(comm) => comm.close(deadline),
            Self::Plugin(comm) => comm.close(),
        }
    }
}

impl SendEnd for Outbound {
    type Request = Sending;

    fn batch(&self) -> usize {
        match self {
            Self::Sockets(comm) => comm.batch(),
            Self::Plugin(comm) => comm.batch(),
        }
    }

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<Sending>> {
        Ok(match self {
            Self::Sockets(comm) => comm.isend(source, offset, bytes)?.map(Sending::Sockets),
            Self::Plugin(comm) => comm.isend(source, offset, bytes)?.map(Sending::Plugin),
        })
    }

    fn wait(&mut self, request: Sending, timeout: Duration) -> Result<Sent> {
        match (self, request) {
            (Self::Sockets(comm), Sending::Sockets(request)) => comm.wait(request, timeout),
            (Self::Plugin(comm), Sending::Plugin(request)) => comm.wait(request, timeout),
            _ => unreachable!("a request is waited for where it was posted"),
        }
    }
}

impl RecvEnd for Inbound {
    type Request = Receiving;

    fn batch(&self) -> usize {
        match self {
            Self::Sockets(comm) => comm.batch(),
            Self::Plugin(comm) => comm.batch(),
        }
    }

    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<Receiving>> {
        Ok(match self {
            Self::Sockets(comm) => comm.irecv(destination, offset, bytes)?.map(Receiving::Sockets),
            Self::Plugin(comm) => comm.irecv(destination, offset, bytes)?.map(Receiving::Plugin),
        })
    }

    fn wait(&mut self, request: Receiving, timeout: Duration) -> Result<Received> {
        match (self, request) {
            (Self::Sockets(comm), Receiving::Sockets(request)) => comm.wait(request, timeout),
            (Self::Plugin(comm), Receiving::Plugin(request)) => comm.wait(request, timeout),
            _ => unreachable!("a request is waited for where it was posted"),
        }
    }
}
