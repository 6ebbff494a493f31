//! How a connection is made. Both ends need the same `unpack` and `device` only where they differ in memory; what must
//! agree on the wire is exchanged at connect.

use std::{net::IpAddr, time::Duration};

use gputcp_gpu::{Device, UnpackMode};
use gputcp_proto::{
    frame::{EAGER_PLACES_MAX, INLINE_BYTES_MAX, RECEIVES_MAX, SEGMENT_BYTES, SLOTS_MAX, STREAMS_MAX},
    key::Key,
};

use crate::{CongestionControl, Error, IoPool, Result};

/// Settings of a connection, for either end.
#[derive(Debug, Clone)]
pub struct Options {
    /// Data sockets per connection; the connector's number holds. A thread serves each, on both sides, unless there is a pool.
    pub streams: u16,
    /// Requests that this side may have in flight, at most 32.
    pub slots: u16,
    /// The length of the longest segments in bytes; the connector's holds. The listener's rings take streams
    /// × slabs × segments. With a device it refuses a connector whose rings exceed both 1 GiB and those of
    /// its own settings.
    pub segment_bytes: u32,
    /// What segments are multiples of, in bytes: the first and the last ones of a message are as short as this, so that
    /// all streams begin and end together. It is fitted to the segment: somewhat more where that is no multiple of it, the
    /// whole segment where that is shorter. The connector's holds.
    pub piece_bytes: u32,
    /// The longest message, in bytes, that may travel inside a control frame; the smaller of both ends' holds. It does so
    /// if it is alone, or of host memory and no longer than 16 KiB: several fare better on several sockets.
    pub inline_bytes: u32,
    /// Messages of up to 256 KiB, and no longer than `inline_bytes`, that may come before their receives are posted, at most 8; the
    /// smaller of both ends' holds. Each takes as much address space at the receiver, and memory once it is used. A sender then does not wait for a receive to be posted, and a message can be lost that was sent
    /// and never received: 0, the default, where that must not be.
    pub eager_places: u16,
    /// Receives that one request may group, at most 8; the smaller of both ends' holds. With more than 1 messages are matched by
    /// tags ([`RecvComm::irecv_group`](crate::RecvComm::irecv_group)), a send is posted only when its receive is announced, there
    /// are no eager places, and each of the `slots` has room for a whole group. With 1, the default, nobody looks at tags.
    pub max_receives: u16,
    /// Bounce or staging slabs per data socket, each of one segment. Small rings stay in the CPU's cache.
    pub slabs: u16,
    /// The congestion control to ask for, by the kernel's name; `None` leaves the system's.
    pub congestion: Option<CongestionControl>,
    /// A fixed send buffer; `None` leaves the kernel's autotuning, which measured better.
    pub send_buffer_bytes: Option<u32>,
    /// A fixed receive buffer, likewise.
    pub recv_buffer_bytes: Option<u32>,
    /// The local addresses that the connector's data sockets use in turn, the control socket the first; none leaves them to the
    /// system. With several, and several at the listener, data socket i goes from the i-th to the i-th, each modulo their
    /// number: interface to interface of the same place where both ends have as many.
    pub bind: Vec<IpAddr>,
    /// A key that both ends must have. Each proves to the other that it does: a connector without it is a stray to the
    /// listener, a listener without it is an error to the connector.
    pub key: Option<Key>,
    /// The device whose memory will be sent or received. Its lanes are made at connect (invariant I4); without one only
    /// plain host memory can be used.
    pub device: Option<Device>,
    /// How bounced bytes reach device memory; and whether kernels or copies stage what is sent from there.
    pub unpack: UnpackMode,
    /// The threads that do the connection's work, shared with other connections; without a pool it has threads of its own.
    pub pool: Option<IoPool>,
    /// How long the peer may be silent when it owes an answer, and how long unacknowledged data may stay in flight.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        Self {
            // Streams = cores up to 8: more threads than cores are slower, and 8 reached the ceiling on 16 and 32 cores.
            streams: cores.clamp(1, 8) as u16,
            slots: SLOTS_MAX,
            segment_bytes: 512 << 10,
            piece_bytes: 512 << 10,
            inline_bytes: 64 << 10,
            eager_places: 0,
            max_receives: 1,
            slabs: 4,
            congestion: None,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
            bind: Vec::new(),
            key: None,
            device: None,
            unpack: UnpackMode::Kernel,
            pool: None,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Options {
    /// Checks every number against what the protocol can say.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::usage(what));
        if !(1..=STREAMS_MAX).contains(&self.streams) {
            return bad(format!(
                "{} streams were asked for; a connection has 1 to {STREAMS_MAX}",
                self.streams
            ));
        }
        if !(1..=SLOTS_MAX).contains(&self.slots) {
            return bad(format!("{} slots were asked for; a connection has 1 to {SLOTS_MAX}", self.slots));
        }
        if !SEGMENT_BYTES.contains(&self.segment_bytes) {
            let (from, to) = (SEGMENT_BYTES.start(), SEGMENT_BYTES.end());
            return bad(format!(
                "a segment of {} bytes was asked for; it has {from} to {to}",
                self.segment_bytes
            ));
        }
        if self.piece_bytes < *SEGMENT_BYTES.start() {
            let (piece, least) = (self.piece_bytes, SEGMENT_BYTES.start());
            return bad(format!("a piece of {piece} bytes was asked for; it has at least {least}"));
        }
        if self.inline_bytes > INLINE_BYTES_MAX {
            return bad(format!(
                "{} bytes were asked for inline; at most {INLINE_BYTES_MAX} fit",
                self.inline_bytes
            ));
        }
        if self.eager_places > EAGER_PLACES_MAX {
            return bad(format!(
                "{} eager places were asked for; a connection has at most {EAGER_PLACES_MAX}",
                self.eager_places
            ));
        }
        if !(1..=RECEIVES_MAX).contains(&self.max_receives) {
            return bad(format!(
                "{} receives of one group were asked for; a group has 1 to {RECEIVES_MAX}",
                self.max_receives
            ));
        }
        if !(1..=SLABS_MAX).contains(&self.slabs) {
            return bad(format!("{} slabs were asked for; a stream has 1 to {SLABS_MAX}", self.slabs));
        }
        if self.timeout.is_zero() {
            return bad("a timeout of zero was asked for; give the peer at least a moment".into());
        }
        Ok(())
    }
}

/// The most slabs in a stream's bounce or staging ring.
pub const SLABS_MAX: u16 = 16;
