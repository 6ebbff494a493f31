//! The counters of a peer's data connections. The endpoint's thread owns the sockets: it is asked, and reads
//! them between two rounds. A transfer takes no lock for it.

use std::{
    sync::mpsc,
    time::{Duration, Instant},
};

use super::Peer;
use crate::{Error, Result, TcpInfo};

/// A reading of the data connections with a peer: one carries what this end sends, one what the peer sends.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// The kernel's counters of the sockets that this end sends with: its writes, and what the peer reads.
    /// Empty until they are connected.
    pub sending: Vec<TcpInfo>,
    /// The kernel's counters of the sockets that this end receives with. Empty until they are connected.
    pub receiving: Vec<TcpInfo>,
    /// The congestion control in force on the sending sockets.
    pub congestion: Option<String>,
    /// Payload bytes that the sending sockets have taken. A thread may count them a moment after the peer has
    /// them. Writes of a few bytes travel with the commands, and are not among them.
    pub bytes_sent: u64,
    /// Payload bytes that came off the receiving sockets, likewise.
    pub bytes_received: u64,
}

impl Peer {
    /// Returns the counters of the data connections with the peer, over their whole life.
    ///
    /// # Errors
    /// If the peer has failed, or the endpoint was dropped.
    pub fn counters(&self) -> Result<Counters> {
        let (answer, answered) = mpsc::sync_channel(1);
        self.shared.ask_for_counters(self.asked.id, answer)?;
        let began = Instant::now();
        answered.recv_timeout(ANSWER).map_err(|error| match error {
            mpsc::RecvTimeoutError::Disconnected => self.failure().unwrap_or_else(|| {
                Error::usage("the counters of a peer were asked for whose connections have ended")
            }),
            mpsc::RecvTimeoutError::Timeout => Error::Timeout {
                what: "asking the endpoint's thread for its counters",
                peer: "this endpoint".into(),
                after: began.elapsed(),
            },
        })
    }
}

/// The longest wait for the endpoint's thread, which never waits for a peer.
const ANSWER: Duration = Duration::from_secs(10);
