//! The handshake of a connection: a socket's join, which names its connection, and the listener's answer.
//!
//! With a key, both frames carry the proof that their sender has it. Each side draws its token. The
//! listener's is one for all connections to it. The connector's is for this connection, and a listener with a
//! key takes it only once.

use super::{
    EAGER_PLACES_MAX, INLINE_BYTES_MAX, RECEIVES_MAX, SEGMENT_BYTES, SLOTS_MAX, STREAMS_MAX, Token, VERSION,
    array_at, check_magic, check_version, check_zero, put, u16_at, u32_at,
};
use crate::{
    Violation,
    key::{Key, Proof},
};

/// The first frame on every socket of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Join {
    /// The listener's token, from its handle.
    pub listen_token: Token,
    /// The connection's token, drawn by the connector: sockets that carry the same one belong together.
    pub comm_token: Token,
    /// 0 for the control socket, `1..=streams` for the data sockets.
    pub index: u16,
    /// The number of data sockets of the connection.
    pub streams: u16,
    /// The most sends that the connector may have in flight.
    pub slots: u16,
    /// The longest segment.
    pub segment_bytes: u32,
    /// The piece length, of which segment lengths are multiples.
    pub piece_bytes: u32,
    /// The longest message that the connector would send inside a control frame.
    pub inline_bytes: u32,
    /// The most messages that the connector would send to eager places.
    pub eager_places: u16,
    /// The most receives of one group that the connector can tell apart by their tags; 1 if it ignores tags.
    pub max_receives: u16,
    /// The proof that the connector has the key; [`Proof::NONE`] without one.
    pub proof: Proof,
}

/// The listener's answer on the control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Welcome {
    /// The decision on the connection.
    pub verdict: JoinVerdict,
    /// The most receives that the listener may have open.
    pub slots: u16,
    /// The longest message that the listener takes inside a control frame.
    pub inline_bytes: u32,
    /// The number of eager places that the listener has; no more than the connector would use.
    pub eager_places: u16,
    /// The most receives that the listener may group; no more than the connector can tell apart.
    pub max_receives: u16,
    /// The proof that the listener has the key; [`Proof::NONE`] without one.
    pub proof: Proof,
}

/// A listener's verdict on a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum JoinVerdict {
    /// The connection is accepted.
    Accepted = 0,
    /// The token is not this listener's: the handle is stale, or meant for another process.
    WrongToken = 1,
    /// The connector's settings are outside the limits of the listener.
    BadSettings = 2,
    /// The listener has no room for another half-made connection.
    Busy = 3,
    /// The connector speaks another version.
    WrongVersion = 4,
    /// The ends do not have the same key, or only one end has a key.
    WrongKey = 5,
}

impl Join {
    /// The frame's length on the wire.
    pub const BYTES: usize = 96;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTJN");
    const PROOF_AT: usize = Self::BYTES - Proof::BYTES;

    /// Returns the frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 6, &self.index.to_le_bytes());
        put(&mut out, 8, &self.listen_token.0);
        put(&mut out, 24, &self.comm_token.0);
        put(&mut out, 40, &self.streams.to_le_bytes());
        put(&mut out, 42, &self.slots.to_le_bytes());
        put(&mut out, 44, &self.segment_bytes.to_le_bytes());
        put(&mut out, 48, &self.inline_bytes.to_le_bytes());
        put(&mut out, 52, &self.piece_bytes.to_le_bytes());
        put(&mut out, 56, &self.eager_places.to_le_bytes());
        put(&mut out, 58, &self.max_receives.to_le_bytes());
        put(&mut out, Self::PROOF_AT, &self.proof.0);
        out
    }

    /// Reads the frame in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or a field is out of range.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        let join = Self {
            index: u16_at(bytes, 6),
            listen_token: Token(array_at(bytes, 8)),
            comm_token: Token(array_at(bytes, 24)),
            streams: u16_at(bytes, 40),
            slots: u16_at(bytes, 42),
            segment_bytes: u32_at(bytes, 44),
            inline_bytes: u32_at(bytes, 48),
            piece_bytes: u32_at(bytes, 52),
            eager_places: u16_at(bytes, 56),
            max_receives: u16_at(bytes, 58),
            proof: Proof(array_at(bytes, Self::PROOF_AT)),
        };
        let field = |field, value| Err(Violation::Field { frame: "join", field, value });
        if !(1..=STREAMS_MAX).contains(&join.streams) {
            return field("number of streams", u64::from(join.streams));
        }
        if join.index > join.streams {
            return field("socket index", u64::from(join.index));
        }
        if !(1..=SLOTS_MAX).contains(&join.slots) {
            return field("number of slots", u64::from(join.slots));
        }
        if !SEGMENT_BYTES.contains(&join.segment_bytes) {
            return field("segment length", u64::from(join.segment_bytes));
        }
        if !(*SEGMENT_BYTES.start()..=join.segment_bytes).contains(&join.piece_bytes) {
            return field("piece length", u64::from(join.piece_bytes));
        }
        if join.inline_bytes > INLINE_BYTES_MAX {
            return field("inline length", u64::from(join.inline_bytes));
        }
        if join.eager_places > EAGER_PLACES_MAX {
            return field("number of eager places", u64::from(join.eager_places));
        }
        if !(1..=RECEIVES_MAX).contains(&join.max_receives) {
            return field("number of grouped receives", u64::from(join.max_receives));
        }
        check_zero("join", &bytes[60..Self::PROOF_AT])?;
        Ok(join)
    }

    /// Checks that bytes that arrive can become a join.
    ///
    /// The first eight tell a peer of another protocol, or of another version of this one.
    ///
    /// # Errors
    /// A [`Violation`] if not.
    pub fn check_start(bytes: &[u8; 8]) -> Result<(), Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))
    }

    /// Returns the same frame with the proof that goes with this key.
    #[must_use]
    pub fn proved(self, key: Option<&Key>) -> Self {
        let bytes = self.encode();
        let prove = |key: &Key| key.prove(CONNECTOR, &[&bytes[..Self::PROOF_AT]]);
        Self { proof: key.map_or(Proof::NONE, prove), ..self }
    }

    /// Returns whether the connector has this key; without one, whether it shows no proof.
    #[must_use]
    pub fn is_proved(&self, key: Option<&Key>) -> bool {
        let bytes = self.encode();
        key.map_or(self.proof == Proof::NONE, |key| {
            key.admits(&self.proof, CONNECTOR, &[&bytes[..Self::PROOF_AT]])
        })
    }

    /// Returns whether both frames describe the same connection, whatever sockets they came on.
    #[must_use]
    pub fn agrees_with(&self, other: &Self) -> bool {
        let any = |join: &Self| Self { index: 0, proof: Proof::NONE, ..*join };
        any(self) == any(other)
    }
}

impl Welcome {
    /// The frame's length on the wire.
    pub const BYTES: usize = 48;
    const MAGIC: u32 = u32::from_le_bytes(*b"GTWL");
    const PROOF_AT: usize = Self::BYTES - Proof::BYTES;

    /// Returns the frame's bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::BYTES] {
        let mut out = [0; Self::BYTES];
        put(&mut out, 0, &Self::MAGIC.to_le_bytes());
        put(&mut out, 4, &VERSION.to_le_bytes());
        put(&mut out, 6, &(self.verdict as u16).to_le_bytes());
        put(&mut out, 8, &self.slots.to_le_bytes());
        // Both are small.
        put(&mut out, 10, &[self.eager_places as u8, self.max_receives as u8]);
        put(&mut out, 12, &self.inline_bytes.to_le_bytes());
        put(&mut out, Self::PROOF_AT, &self.proof.0);
        out
    }

    /// Reads the frame in these bytes.
    ///
    /// # Errors
    /// A [`Violation`] if it is none, is of another version, or a field is out of range.
    pub fn decode(bytes: &[u8; Self::BYTES]) -> Result<Self, Violation> {
        check_magic(Self::MAGIC, bytes)?;
        check_version(u16_at(bytes, 4))?;
        let field = |field, value| Err(Violation::Field { frame: "welcome", field, value });
        let verdict = match u16_at(bytes, 6) {
            0 => JoinVerdict::Accepted,
            1 => JoinVerdict::WrongToken,
            2 => JoinVerdict::BadSettings,
            3 => JoinVerdict::Busy,
            4 => JoinVerdict::WrongVersion,
            5 => JoinVerdict::WrongKey,
            other => return field("verdict", u64::from(other)),
        };
        let slots = u16_at(bytes, 8);
        if verdict == JoinVerdict::Accepted && !(1..=SLOTS_MAX).contains(&slots) {
            return field("number of slots", u64::from(slots));
        }
        let inline_bytes = u32_at(bytes, 12);
        if inline_bytes > INLINE_BYTES_MAX {
            return field("inline length", u64::from(inline_bytes));
        }
        let (eager_places, max_receives) = (u16::from(bytes[10]), u16::from(bytes[11]));
        if eager_places > EAGER_PLACES_MAX {
            return field("number of eager places", u64::from(eager_places));
        }
        if verdict == JoinVerdict::Accepted && !(1..=RECEIVES_MAX).contains(&max_receives) {
            return field("number of grouped receives", u64::from(max_receives));
        }
        let proof = Proof(array_at(bytes, Self::PROOF_AT));
        Ok(Self { verdict, slots, inline_bytes, eager_places, max_receives, proof })
    }

    /// Returns a listener's refusal.
    #[must_use]
    pub const fn refusal(verdict: JoinVerdict) -> Self {
        Self { verdict, slots: 0, inline_bytes: 0, eager_places: 0, max_receives: 0, proof: Proof::NONE }
    }

    /// Returns the same frame with the proof that goes with this key, as the answer to the control socket's
    /// join.
    #[must_use]
    pub fn proved(self, to: &Join, key: Option<&Key>) -> Self {
        let (join, welcome) = (to.encode(), self.encode());
        let prove = |key: &Key| key.prove(LISTENER, &[&join, &welcome[..Self::PROOF_AT]]);
        Self { proof: key.map_or(Proof::NONE, prove), ..self }
    }

    /// Returns whether the listener has this key; without one, whether it shows no proof.
    #[must_use]
    pub fn is_proved(&self, to: &Join, key: Option<&Key>) -> bool {
        let (join, welcome) = (to.encode(), self.encode());
        key.map_or(self.proof == Proof::NONE, |key| {
            key.admits(&self.proof, LISTENER, &[&join, &welcome[..Self::PROOF_AT]])
        })
    }
}

/// The side that proves that it has the key: neither side's proof is valid for the other.
const CONNECTOR: &[u8] = b"gputcp connection, the connector\0";
const LISTENER: &[u8] = b"gputcp connection, the listener\0";
