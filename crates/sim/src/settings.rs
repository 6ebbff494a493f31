//! The meaning of a seed: the connection, its messages, all speeds, and the mishaps.

mod draw;

use std::time::Duration;

use gputcp_proto::connection;

use crate::faults::{Fault, Flaw, Party, Tamper};

/// The settings of a run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The seed of every choice made while running.
    pub seed: u64,
    /// The settings of the sender; the receiver's differ in the depths alone.
    pub connection: connection::Settings,
    /// The messages, in the order of posting.
    pub sends: Vec<Item>,
    /// The receives, in the order of posting: groups, of one receive each where they are not grouped.
    pub receives: Vec<Vec<Item>>,
    /// The two users: the sender's and the receiver's.
    pub users: [Plan; 2],
    /// The time that a byte of each data socket takes, in nanoseconds.
    pub ns_per_byte: Vec<u64>,
    /// The time that a byte of the control socket takes, in nanoseconds.
    pub control_ns_per_byte: u64,
    /// The latency that every byte has besides, in nanoseconds.
    pub latency_ns: u64,
    /// The number of bytes that a wire holds before its writer must wait.
    pub socket_buffer_bytes: usize,
    /// Whether sockets take and give less than they could.
    pub short_io: bool,
    /// The longest delay of one piece of work on a lane, in nanoseconds.
    pub lane_ns_max: u64,
    /// The longest time that a write of the control socket takes, in nanoseconds.
    pub write_ns_max: u64,
    /// Whether wakes reach tasks that wait for a socket or a lane, as those of a pool.
    pub is_pool: bool,
    /// The mishaps.
    pub faults: Vec<Fault>,
    /// The adversary at one wire.
    pub tamper: Option<Tamper>,
    /// The defect of a driver or a device.
    pub flaw: Option<Flaw>,
}

/// A send or a receive.
#[derive(Debug, Clone, Copy)]
pub struct Item {
    /// The message's length, or the receive's.
    pub bytes: u64,
    /// Whether its memory is a device's.
    pub on_device: bool,
    /// The tag, which counts in groups.
    pub tag: i32,
    /// Whether a short message goes on the control socket although others are under way.
    pub is_prompt: bool,
}

/// The plan of a user.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The number of requests to post; a group is one.
    pub posts: usize,
    /// The step behind the last of them.
    pub ending: Ending,
    /// Whether the user finishes its requests in any order.
    pub any_order: bool,
    /// Whether the user asks again and again, or sleeps until it is woken.
    pub polls: bool,
    /// The longest time between two steps, in nanoseconds.
    pub think_ns_max: u64,
    /// A pause before this post, in nanoseconds: a peer's program may take any time.
    pub pause: Option<(usize, u64)>,
}

/// The end of a user's plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// All requests are finished, and the connection is closed.
    InOrder,
    /// The connection is closed with requests in flight.
    Open,
    /// The connection is dropped.
    Drop,
}

impl Settings {
    /// Returns the settings that the seed stands for.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        draw::settings(seed)
    }

    /// Returns a quiet connection with nothing random but the order of actors, for tests that change one
    /// thing.
    #[must_use]
    pub fn plain(seed: u64, streams: usize, messages: &[u64]) -> Self {
        let item = |&bytes: &u64| Item { bytes, on_device: true, tag: 0, is_prompt: false };
        let plan = Plan {
            posts: messages.len(),
            ending: Ending::InOrder,
            any_order: false,
            polls: false,
            think_ns_max: 10,
            pause: None,
        };
        Self {
            seed,
            connection: connection::Settings {
                depth: 16,
                peer_depth: 16,
                streams,
                segment_bytes: 4096,
                piece_bytes: 4096,
                inline_bytes: 0,
                eager_places: 0,
                eager_bytes: 0,
                max_receives: 1,
                buffers: Some(4),
                timeout: TIMEOUT,
            },
            sends: messages.iter().map(item).collect(),
            receives: messages.iter().map(|bytes| vec![item(bytes)]).collect(),
            users: [plan.clone(), plan],
            ns_per_byte: vec![1; streams],
            control_ns_per_byte: 1,
            latency_ns: 10_000,
            socket_buffer_bytes: 65536,
            short_io: false,
            lane_ns_max: 5_000,
            write_ns_max: 0,
            is_pool: false,
            faults: vec![],
            tamper: None,
            flaw: None,
        }
    }

    /// Returns the connection's settings of one end.
    #[must_use]
    pub fn of(&self, party: Party) -> connection::Settings {
        let connection::Settings { depth, peer_depth, .. } = self.connection;
        match party {
            Party::Sender => self.connection.clone(),
            Party::Receiver => {
                connection::Settings { depth: peer_depth, peer_depth: depth, ..self.connection.clone() }
            }
        }
    }

    /// Returns the number of data sockets.
    #[must_use]
    pub const fn streams(&self) -> usize {
        self.connection.streams
    }

    /// Returns the message that each receive gets, if both ends go on: of each tag, the first message meets
    /// the first receive, and so on.
    #[must_use]
    pub fn matches(&self) -> Vec<Option<usize>> {
        let mut is_taken = vec![false; self.sends.len()];
        let grouped = self.connection.max_receives > 1;
        let mut meet = |receive: &Item| {
            let fits = |at: &usize| !is_taken[*at] && (!grouped || self.sends[*at].tag == receive.tag);
            let met = (0..self.sends.len()).find(fits);
            met.inspect(|at| is_taken[*at] = true)
        };
        self.receives.iter().flatten().map(&mut meet).collect()
    }

    /// Returns whether both users do all that is to be done, each with the same messages.
    #[must_use]
    pub fn users_agree(&self) -> bool {
        let [sender, receiver] = &self.users;
        sender.posts == self.sends.len()
            && receiver.posts == self.receives.len()
            && self.users.iter().all(|user| user.ending == Ending::InOrder)
            && !self.has_too_long()
    }

    /// Returns whether a message is longer than its receive.
    #[must_use]
    pub fn has_too_long(&self) -> bool {
        let receives = self.receives.iter().flatten();
        receives
            .zip(self.matches())
            .any(|(receive, met)| met.is_some_and(|at| self.sends[at].bytes > receive.bytes))
    }
}

/// The stall timeout. A delay of a quiet network is much shorter.
pub const TIMEOUT: Duration = Duration::from_secs(1);
