//! The settings with which a connection is made. Both ends need the same `unpack` and `device` only where
//! they differ in memory. The settings that must agree on the wire are exchanged at connect.

use std::{net::IpAddr, sync::Arc, time::Duration};

use gputcp_gpu::{Device, UnpackMode};
use gputcp_proto::{
    frame::{RECEIVES_MAX, STREAMS_MAX},
    key::Key,
};

use crate::{Error, IoPool, Result, Trace, Tuning, sockets::Doorbell};

/// Settings of a connection, for either end.
///
/// ```
/// # use std::time::Duration;
/// # use gputcp::{Device, Options, SoftOptions};
/// let options = Options::default()
///     .with_streams(4)
///     .with_timeout(Duration::from_secs(5))
///     .with_device(Device::soft(SoftOptions::default()))
///     .tuned(|tuning| tuning.slabs = 8);
/// assert_eq!((options.streams, options.tuning.slabs), (4, 8));
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// Data sockets per connection, by default the cores, at most 8; the connector's number holds. A thread
    /// serves each, on both sides, unless there is a pool.
    pub streams: u16,
    /// Receives that one request may group, at most 8; the smaller of both ends' holds. With more than 1,
    /// messages are matched by tags ([`RecvComm::irecv_group`](crate::RecvComm::irecv_group)). A send is then
    /// posted only when its receive is announced, and there are no eager places. Each of the slots then has
    /// room for a whole group. With 1, the default, tags mean nothing.
    pub max_receives: u16,
    /// The local addresses that the connector's data sockets use in turn, the control socket the first. An
    /// empty list leaves them to the system. With several, and several at the listener, data socket i goes
    /// from the i-th to the i-th, each modulo their number. Where both ends have as many, each interface
    /// meets the one of the same place.
    pub bind: Vec<IpAddr>,
    /// A key that both ends must have. Each end proves to the other that it has the key. A connector without
    /// it is a stray to the listener. A listener without it is an error to the connector.
    pub key: Option<Key>,
    /// The device whose memory will be sent or received. Its rings and streams are made at connect;
    /// without one, the default, only plain host memory can be used.
    pub device: Option<Device>,
    /// How bounced bytes reach device memory, by default with a kernel; and whether kernels or copies stage
    /// what is sent from there.
    pub unpack: UnpackMode,
    /// The threads that do the connection's work, shared with other connections; without a pool it has
    /// threads of its own.
    pub pool: Option<IoPool>,
    /// The stall timeout, 30 s by default. It bounds the silence of a peer that owes an answer, and how long
    /// unacknowledged data stays in flight.
    ///
    /// A posted send is owed a receive: the receiver posts within the sender's timeout. [`connect`] asks a
    /// listener that is not up yet for as long.
    ///
    /// [`connect`]: crate::connect()
    pub timeout: Duration,
    /// The file that the life of each message is written to; none by default, at no cost.
    pub trace: Option<Trace>,
    /// The settings that a measurement may change and a program need not.
    pub tuning: Tuning,
    /// The bell that the connection rings, where several share a sleeper.
    pub(crate) bell: Option<Arc<Doorbell>>,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            // Streams = cores up to 8: more threads than cores are slower, and 8 reached the ceiling on 16
            // and 32 cores.
            streams: cores.clamp(1, 8) as u16,
            max_receives: 1,
            bind: Vec::new(),
            key: None,
            device: None,
            unpack: UnpackMode::Kernel,
            pool: None,
            timeout: Duration::from_secs(30),
            trace: None,
            tuning: Tuning::default(),
            bell: None,
        }
    }
}

impl Options {
    /// Sets the number of data sockets, 1 to 64.
    #[must_use]
    pub fn with_streams(self, streams: u16) -> Self {
        Self { streams, ..self }
    }

    /// Sets how many receives one request may group, 1 to 8.
    #[must_use]
    pub fn with_max_receives(self, max_receives: u16) -> Self {
        Self { max_receives, ..self }
    }

    /// Sets the local addresses that the connector's data sockets use in turn.
    #[must_use]
    pub fn with_bind(self, bind: impl Into<Vec<IpAddr>>) -> Self {
        Self { bind: bind.into(), ..self }
    }

    /// Sets the key that both ends must have.
    #[must_use]
    pub fn with_key(self, key: impl Into<Option<Key>>) -> Self {
        Self { key: key.into(), ..self }
    }

    /// Sets the device whose memory will be sent or received.
    #[must_use]
    pub fn with_device(self, device: impl Into<Option<Device>>) -> Self {
        Self { device: device.into(), ..self }
    }

    /// Sets how bytes reach device memory.
    #[must_use]
    pub fn with_unpack(self, unpack: UnpackMode) -> Self {
        Self { unpack, ..self }
    }

    /// Sets the pool whose threads do the connection's work.
    #[must_use]
    pub fn with_pool(self, pool: impl Into<Option<IoPool>>) -> Self {
        Self { pool: pool.into(), ..self }
    }

    /// Sets the stall timeout.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Sets the file that the life of each message is written to.
    #[must_use]
    pub fn with_trace(self, trace: impl Into<Option<Trace>>) -> Self {
        Self { trace: trace.into(), ..self }
    }

    /// Changes some of the tuning.
    #[must_use]
    pub fn tuned(mut self, change: impl FnOnce(&mut Tuning)) -> Self {
        change(&mut self.tuning);
        self
    }

    /// Checks every number against what the protocol can say.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::usage(what));
        if !(1..=STREAMS_MAX).contains(&self.streams) {
            return bad(format!(
                "{} streams were asked for; a connection has 1 to {STREAMS_MAX}",
                self.streams
            ));
        }
        if !(1..=RECEIVES_MAX).contains(&self.max_receives) {
            return bad(format!(
                "{} receives of one group were asked for; a group has 1 to {RECEIVES_MAX}",
                self.max_receives
            ));
        }
        if self.timeout.is_zero() {
            return bad("a timeout of zero was asked for; give the peer at least a moment".into());
        }
        self.tuning.check()
    }
}
