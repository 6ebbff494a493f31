//! The settings that a measurement may change and a program need not.

use gputcp_proto::frame::{EAGER_PLACES_MAX, INLINE_BYTES_MAX, SEGMENT_BYTES, SLOTS_MAX};

use crate::{CongestionControl, Error, Result};

/// Settings of a connection whose defaults measured best. [`Options::tuned`](crate::Options::tuned) changes
/// them.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Tuning {
    /// Requests that this side may have in flight, at most 32.
    pub slots: u16,
    /// The length of the longest segments in bytes; the connector's holds. The listener's rings take streams
    /// × slabs × segments. With a device it refuses a connector whose rings exceed both 1 GiB and those of
    /// its own settings.
    pub segment_bytes: u32,
    /// The unit of segments in bytes; the connector's holds. The first and the last segments of a message are
    /// as short as this, so that all streams begin and end together. The unit is fitted to the segment. It
    /// grows somewhat where the segment is no multiple of it, and is the whole segment where that is shorter.
    pub piece_bytes: u32,
    /// The longest message, in bytes, that may travel inside a control frame; the smaller of both ends'
    /// holds. It travels so if it is alone, or of host memory and no longer than 16 KiB. Several messages
    /// fare better on several sockets.
    pub inline_bytes: u32,
    /// Messages that may come before their receives are posted, at most 8; the smaller of both ends' holds.
    /// Each has up to 256 KiB, and no more than `inline_bytes`. Each takes as much address space at the
    /// receiver, and memory once it is used. With eager places, a sender does not wait for a receive to be
    /// posted. A message that was sent and never received is then found when the receiver closes. With 0, the
    /// default, its sender finds it.
    pub eager_places: u16,
    /// Bounce or staging slabs per data socket, each of one segment, at most [`SLABS_MAX`]. Small rings stay
    /// in the CPU's cache.
    pub slabs: u16,
    /// The congestion control to ask for, by the kernel's name; `None` leaves the system's.
    pub congestion: Option<CongestionControl>,
    /// A fixed send buffer in bytes; `None` leaves the kernel's autotuning, which measured better.
    pub send_buffer_bytes: Option<u32>,
    /// A fixed receive buffer in bytes; `None` leaves the kernel's autotuning.
    pub recv_buffer_bytes: Option<u32>,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            slots: SLOTS_MAX,
            segment_bytes: 512 << 10,
            piece_bytes: 512 << 10,
            inline_bytes: 64 << 10,
            eager_places: 0,
            slabs: 4,
            congestion: None,
            send_buffer_bytes: None,
            recv_buffer_bytes: None,
        }
    }
}

impl Tuning {
    /// Checks every number against what the protocol can say.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: String| Err(Error::usage(what));
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
        if !(1..=SLABS_MAX).contains(&self.slabs) {
            return bad(format!("{} slabs were asked for; a stream has 1 to {SLABS_MAX}", self.slabs));
        }
        Ok(())
    }
}

/// The most slabs in a stream's bounce or staging ring.
pub const SLABS_MAX: u16 = 16;
