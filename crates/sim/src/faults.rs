//! What goes wrong with a wire, and where. At most one fault per run: it is known what must follow.

/// A fault of one wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// Which wire.
    pub wire: WireName,
    /// Behind how many bytes of that wire it happens.
    pub at: u64,
    /// What happens.
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

/// What can happen to a wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FaultKind {
    /// The connection is reset: what is on its way is lost, and both ends learn it.
    Reset,
    /// The stream ends early, as if the writer had closed it; what it writes later is refused.
    Eof,
    /// Nothing arrives any more, and nobody is told.
    Stall,
    /// A byte changes on its way: it is XORed with this.
    Flip(u8),
}

impl Fault {
    /// A fault somewhere in a run over so many data sockets which carry about so many bytes in all.
    pub fn random(rng: &mut fastrand::Rng, streams: usize, bytes: u64) -> Self {
        let wire = match rng.u8(0..10) {
            0..2 => WireName::ControlUp,
            2..4 => WireName::ControlDown,
            _ => WireName::Data(rng.usize(0..streams)),
        };
        // Frames are hit as often as payload is: half the faults come early, where the frames of the connect are.
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
