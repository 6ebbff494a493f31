//! The ways in which a peer breaks the protocol.
//!
//! Invariant I3: a wrong sequence number ends the connection with a clear error.

/// The peer broke the protocol. Every variant is the peer's fault, or that of a third party that tampered
/// with the wire.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The bytes are no frame of ours.
    #[error("sent bytes that are no gputcp frame (magic {found:#010x}, expected {expected:#010x})")]
    Magic {
        /// The magic that the frame starts with.
        expected: u32,
        /// The magic in the bytes.
        found: u32,
    },
    /// The peer speaks another version of the protocol.
    #[error("speaks protocol version {theirs}, this side speaks {ours}: run the same gputcp on both ends")]
    Version {
        /// This side's version.
        ours: u16,
        /// The peer's version.
        theirs: u16,
    },
    /// A frame of an unknown or unexpected kind.
    #[error("sent a frame of unknown kind {0}")]
    Kind(u16),
    /// A field holds an illegal value.
    #[error("sent a {frame} whose {field} is {value}")]
    Field {
        /// The frame's name.
        frame: &'static str,
        /// The field's name.
        field: &'static str,
        /// The value in the field.
        value: u64,
    },
    /// A sequence number that is not in flight.
    #[error("named sequence number {seq}, which is not in flight")]
    Sequence {
        /// The number on the wire.
        seq: u64,
    },
    /// A receive was announced out of order.
    #[error("announced receive {found} where {expected} was due")]
    AnnouncedOutOfOrder {
        /// The number that was due.
        expected: u64,
        /// The number on the wire.
        found: u64,
    },
    /// More receives were announced than there are slots.
    #[error("announced receive {seq} while {slots} are still unmatched")]
    TooManyAnnounced {
        /// The number on the wire.
        seq: u64,
        /// The most that may be open.
        slots: u64,
    },
    /// A segment does not lie where the plan puts it.
    #[error(
        "sent a segment of request {seq} at offset {offset} with {bytes} bytes, which is no piece of {total} bytes"
    )]
    Segment {
        /// The request's sequence number.
        seq: u64,
        /// The segment's offset in the request.
        offset: u64,
        /// The segment's length.
        bytes: u64,
        /// The request's length.
        total: u64,
    },
    /// A segment came twice.
    #[error("sent the segment at offset {offset} of request {seq} twice")]
    Twice {
        /// The request's sequence number.
        seq: u64,
        /// The segment's offset.
        offset: u64,
    },
    /// A message is longer than the receive it was matched with.
    #[error("sent {total} bytes into receive {seq} of {capacity} bytes")]
    Overflow {
        /// The request's sequence number.
        seq: u64,
        /// The message's length.
        total: u64,
        /// The receive's length.
        capacity: u64,
    },
    /// Two segments of one message disagree on its length.
    #[error("gave request {seq} two lengths, {first} and {second} bytes")]
    Length {
        /// The request's sequence number.
        seq: u64,
        /// The length named first.
        first: u64,
        /// The length named later.
        second: u64,
    },
    /// A frame behind the one that says that nothing more comes.
    #[error("sent a {frame} after its goodbye")]
    AfterGoodbye {
        /// The frame's name.
        frame: &'static str,
    },
}
