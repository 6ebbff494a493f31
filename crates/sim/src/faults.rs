//! The faults of a wire: kind and place.
//!
//! A run has at most one fault, so that its consequence is known.

/// A fault of one wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// The wire.
    pub wire: WireName,
    /// The number of bytes of that wire before the fault.
    pub at: u64,
    /// The kind of fault.
    pub kind: FaultKind,
}

/// A wire of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WireName {
    /// The control socket, sender → receiver.
    ControlUp,
    /// The control socket, receiver → sender.
    ControlDown,
    /// A data socket.
    Data(usize),
}

/// The kinds of faults of a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The connection is reset: bytes on their way are lost, and both ends learn of it.
    Reset,
    /// The stream ends early, as if the writer had closed it; its later writes are refused.
    Eof,
    /// Nothing arrives any more, and neither end is told.
    Stall,
    /// A byte is XORed with this value on its way.
    Flip(u8),
}

impl Fault {
    /// Returns a random fault in a run over `streams` data sockets that carry about `bytes` bytes in all.
    pub fn random(rng: &mut fastrand::Rng, streams: usize, bytes: u64) -> Self {
        let wire = match rng.u8(0..10) {
            0..2 => WireName::ControlUp,
            2..4 => WireName::ControlDown,
            _ => WireName::Data(rng.usize(0..streams)),
        };
        // Frames are hit as often as payload: half the faults fall early, where the frames of the connect
        // are.
        let reach = if rng.bool() { 300 } else { bytes / streams as u64 + 300 };
        let kind = match rng.u8(0..7) {
            0 => FaultKind::Reset,
            1 => FaultKind::Eof,
            2 => FaultKind::Stall,
            _ => FaultKind::Flip(1 << rng.u8(0..8)),
        };
        Self { wire, at: rng.u64(0..reach), kind }
    }
}
