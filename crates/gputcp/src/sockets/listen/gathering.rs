//! The sockets of connections that are not complete yet: each socket names its connection.

use std::{
    collections::HashSet,
    net::SocketAddr,
    time::{Duration, Instant},
};

use gputcp_proto::{
    frame::{Join, JoinVerdict, Token},
    key::Key,
};

use crate::sockets::Socket;

/// Connections of which some sockets are here.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    partial: Vec<Partial>,
    /// With a key, the tokens of the connections so far, so that a replayed join is refused.
    known: HashSet<Token>,
}

/// A connection, some of whose sockets are here; the control socket is the first.
#[derive(Debug)]
pub(super) struct Partial {
    pub(super) join: Join,
    pub(super) peer: SocketAddr,
    pub(super) sockets: Vec<Option<Socket>>,
    since: Instant,
}

impl Gathering {
    /// Adds a socket to the others of its connection. Returns the connection when the socket is its last.
    ///
    /// # Errors
    /// The socket and the verdict on it, if it does not belong here: the caller sends the refusal.
    pub(super) fn add(
        &mut self,
        join: Join,
        socket: Socket,
        peer: SocketAddr,
        token: Token,
        key: Option<&Key>,
    ) -> Result<Option<Partial>, (Socket, JoinVerdict)> {
        if join.listen_token != token {
            return Err((socket, JoinVerdict::WrongToken));
        }
        if !join.is_proved(key) {
            return Err((socket, JoinVerdict::WrongKey));
        }
        let known = self.partial.iter().position(|partial| partial.join.comm_token == join.comm_token);
        let at = match known {
            Some(at) => at,
            None if self.partial.len() == PARTIAL_MAX => return Err((socket, JoinVerdict::Busy)),
            None if self.known.contains(&join.comm_token) => {
                return Err((socket, JoinVerdict::WrongToken));
            }
            None if self.known.len() == KNOWN_MAX => return Err((socket, JoinVerdict::Busy)),
            None => {
                if key.is_some() {
                    self.known.insert(join.comm_token);
                }
                let sockets = (0..=join.streams).map(|_| None).collect();
                self.partial.push(Partial { join, peer, sockets, since: Instant::now() });
                self.partial.len() - 1
            }
        };
        let partial = &mut self.partial[at];
        let index = usize::from(join.index);
        if !join.agrees_with(&partial.join) || partial.sockets[index].is_some() {
            return Err((socket, JoinVerdict::BadSettings));
        }
        partial.sockets[index] = Some(socket);
        Ok(partial.sockets.iter().all(Option::is_some).then(|| self.partial.swap_remove(at)))
    }

    /// Drops the connections whose first socket came longer ago than that. Returns how many they are.
    pub(super) fn drop_the_late(&mut self, timeout: Duration) -> usize {
        let before = self.partial.len();
        self.partial.retain(|partial| partial.since.elapsed() < timeout);
        before - self.partial.len()
    }
}

/// Connections that may be incomplete at a time: a process makes dozens at start, one per channel and peer.
const PARTIAL_MAX: usize = 128;
/// Connections that a listener with a key makes in its life; each leaves 16 bytes.
const KNOWN_MAX: usize = 1 << 16;
