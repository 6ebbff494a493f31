//! Either transport's connections, as one: the built-in sockets' and a plugin's.

use std::time::{Duration, Instant};

use gputcp::{
    Canceller, Received, Result, Sent, TcpInfo,
    contract::{RecvEnd, SendEnd},
};
use gputcp_gpu::Buffer;
use gputcp_nccl_drive::transport as plugin;

/// Something that either transport has.
#[derive(Debug)]
pub enum Either<S, P> {
    /// The built-in transport's.
    Sockets(S),
    /// A plugin's.
    Plugin(P),
}

/// A connection that this side sends with.
pub type Outbound = Either<gputcp::SendComm, plugin::SendComm>;

/// A connection that this side receives with.
pub type Inbound = Either<gputcp::RecvComm, plugin::RecvComm>;

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

impl<S: SendEnd, P: SendEnd> SendEnd for Either<S, P> {
    type Request = Either<S::Request, P::Request>;

    fn batch(&self) -> usize {
        match self {
            Self::Sockets(comm) => comm.batch(),
            Self::Plugin(comm) => comm.batch(),
        }
    }

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>> {
        Ok(match self {
            Self::Sockets(comm) => comm.isend(source, offset, bytes)?.map(Either::Sockets),
            Self::Plugin(comm) => comm.isend(source, offset, bytes)?.map(Either::Plugin),
        })
    }

    fn wait(&mut self, request: Self::Request, timeout: Duration) -> Result<Sent> {
        match (self, request) {
            (Self::Sockets(comm), Either::Sockets(request)) => comm.wait(request, timeout),
            (Self::Plugin(comm), Either::Plugin(request)) => comm.wait(request, timeout),
            _ => unreachable!("a request is waited for where it was posted"),
        }
    }
}

impl<S: RecvEnd, P: RecvEnd> RecvEnd for Either<S, P> {
    type Request = Either<S::Request, P::Request>;

    fn batch(&self) -> usize {
        match self {
            Self::Sockets(comm) => comm.batch(),
            Self::Plugin(comm) => comm.batch(),
        }
    }

    fn irecv(&mut self, destination: &Buffer, offset: u64, bytes: u64) -> Result<Option<Self::Request>> {
        Ok(match self {
            Self::Sockets(comm) => comm.irecv(destination, offset, bytes)?.map(Either::Sockets),
            Self::Plugin(comm) => comm.irecv(destination, offset, bytes)?.map(Either::Plugin),
        })
    }

    fn wait(&mut self, request: Self::Request, timeout: Duration) -> Result<Received> {
        match (self, request) {
            (Self::Sockets(comm), Either::Sockets(request)) => comm.wait(request, timeout),
            (Self::Plugin(comm), Either::Plugin(request)) => comm.wait(request, timeout),
            _ => unreachable!("a request is waited for where it was posted"),
        }
    }
}
