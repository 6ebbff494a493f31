//! One data socket at the receiver: headers, and the segments behind them.

use super::{Work, arrival::Arrival};
use crate::{
    bounce::Unpacking,
    connection::{SocketEnd, SocketError},
    frame::SegmentHeader,
};

/// The receiver's part of one data socket, until the peer closes the stream or the connection fails.
#[derive(Debug)]
pub struct Stream<D> {
    pub(super) number: usize,
    pub(super) header: [u8; SegmentHeader::BYTES],
    /// The bytes that have come of the next header.
    pub(super) have: usize,
    pub(super) at: At<D>,
    /// The number of segments that have begun.
    pub(super) segments: u64,
}

/// The reader's place in its stream.
#[derive(Debug)]
pub(super) enum At<D> {
    /// In a header, or before one.
    Header,
    /// In a segment.
    Segment(Arrival<D>),
    /// The peer has ended the stream, and the connection does not know yet.
    Closed,
    /// The stream has ended, or has failed.
    Ended(SocketEnd),
}

impl<D> Stream<D> {
    /// Returns the reader of this data socket.
    #[must_use]
    pub const fn new(number: usize) -> Self {
        Self { number, header: [0; SegmentHeader::BYTES], have: 0, at: At::Header, segments: 0 }
    }

    /// Returns the next thing to do.
    pub fn work(&mut self) -> Work<'_> {
        match &mut self.at {
            At::Header if self.have < SegmentHeader::BYTES => Work::Header(&mut self.header[self.have..]),
            At::Header | At::Closed => Work::Connection,
            At::Ended(_) => Work::Hear,
            At::Segment(arrival) => arrival.work(),
        }
    }

    /// Counts bytes that the socket gave; 0 is the end of the stream.
    pub fn got(&mut self, bytes: usize) {
        match &mut self.at {
            At::Header if bytes == 0 && self.have == 0 => self.at = At::Closed,
            At::Header if bytes == 0 => self.failed(SocketError::Ended),
            At::Header => self.have += bytes,
            At::Segment(arrival) => {
                if let Err(error) = arrival.got(bytes as u64) {
                    self.failed(error);
                }
            }
            At::Closed | At::Ended(_) => {}
        }
    }

    /// Takes the unpack that was launched.
    pub fn launched(&mut self, unpacking: Unpacking<D>) {
        if let At::Segment(arrival) = &mut self.at {
            arrival.launched(unpacking);
        }
    }

    /// Takes the failure of the socket: the current segment is lost.
    pub fn failed(&mut self, error: SocketError) {
        self.at = At::Ended(SocketEnd::new(Some(error)));
    }

    /// Returns the number of segments that have begun.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.segments
    }
}
