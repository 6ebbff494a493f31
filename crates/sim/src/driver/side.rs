//! An end, in the view of the driver: the steps that differ between the sending and the receiving end.

use gputcp_proto::connection::{self, End, Failure, Inbox, Step};

use super::request::Request;
use crate::{
    faults::{Party, WireName},
    lane::{Lost, Ticket},
    memory::Memory,
    referee::Referee,
    settings::Settings,
    world::World,
};

/// An end, in the view of the driver.
pub(crate) trait Side: End<Done = Ticket> + Sized {
    const PARTY: Party;
    /// The wire that the control socket writes.
    const OUT: WireName;
    /// The wire that the control socket reads.
    const IN: WireName;
    type Stream;

    fn new(agreed: &connection::Settings) -> Self;

    fn stream(number: usize, buffers: Option<usize>) -> Self::Stream;

    /// Does the stream's work, without the lock.
    fn work(stream: &mut Self::Stream, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Did;

    /// Takes the stream's step, under the lock.
    fn step(
        &mut self,
        stream: &mut Self::Stream,
        number: usize,
        desk: &mut Desk<'_>,
        world: &mut World,
    ) -> Result<Step<Ticket>, Lost>;

    fn segments(stream: &Self::Stream) -> u64;

    /// Takes the bytes that have come of the message that has begun on the control socket.
    fn take_message(&mut self, inbox: &mut Inbox<Ticket>, desk: &mut Desk<'_>, world: &mut World) -> Taken;

    /// Posts a request, if there is room.
    fn post(&mut self, number: usize, desk: &mut Desk<'_>, world: &mut World) -> Option<Request>;

    /// Goes on with messages that came before their receive.
    fn deliver(&mut self, request: &mut Request, desk: &mut Desk<'_>, world: &mut World) -> Taken {
        let _ = (request, desk, world);
        Taken::All
    }

    /// Ends a request, if it is finished.
    fn finish(&mut self, request: Request, desk: &mut Desk<'_>, world: &mut World) -> Result<Finish, Lost>;

    fn newest_unpack(&self) -> Option<Ticket> {
        None
    }

    fn is_over(&self) -> bool {
        false
    }

    fn is_idle(&self, streams: &mut dyn Iterator<Item = &Self::Stream>) -> bool;
}

/// The outcome of a part of a stream's work.
pub(crate) enum Did {
    Some,
    /// The socket is not ready.
    Blocked,
    /// The connection is next.
    Connection,
    /// The control socket is to be heard, then the connection.
    Hear,
    /// A lane is lost.
    Lost,
}

/// The outcome of taking a short message.
pub(crate) enum Taken {
    All,
    Blocked,
    Lane(Ticket),
    Failed(Failure),
}

/// The outcome of asking for a request's end.
pub(crate) enum Finish {
    /// The request's items, each with its length; or the item whose data is wrong.
    Done(Result<u64, usize>),
    NotYet(Request),
    /// It never ends: the peer has closed.
    Never(Request),
}

/// The things of an end that are outside the connection's lock.
pub(crate) struct Desk<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) agreed: connection::Settings,
    pub(crate) memory: Memory,
    pub(crate) referee: Referee,
    /// Payload bytes that sockets took or gave.
    pub(crate) carried: u64,
    /// The headers that are being read, by stream.
    pub(crate) heads: Vec<Vec<u8>>,
    /// The number of the last short message whose frame came.
    pub(crate) short: u64,
    /// The time at which anything but a ping moved last, or the user did something.
    pub(crate) moved_at: u64,
    /// The time at which anything came from the peer last.
    pub(crate) heard_at: u64,
    /// The messages that each receive gets, by the plan.
    pub(crate) matches: Vec<Option<usize>>,
}
