//! A socket that has not named its connection yet.

use std::{net::SocketAddr, os::fd::AsFd, time::Instant};

use gputcp_proto::{
    Violation,
    frame::{Ask, Join, JoinVerdict, Welcome},
};
use rustix::net::{RecvFlags, SendFlags};

use crate::sockets::Socket;

/// A socket whose connection is unknown, and the bytes that have come of its [`Join`].
#[derive(Debug)]
pub(super) struct Unknown {
    pub(super) socket: Socket,
    pub(super) peer: SocketAddr,
    join: [u8; Join::BYTES],
    have: usize,
    /// Whether the listener's descriptor covers it.
    pub(super) is_watched: bool,
    pub(super) since: Instant,
}

/// The outcome of a look at an unknown socket.
pub(super) enum Known {
    NotYet,
    Stray,
    Join(Join),
    /// The peer asks for the handle.
    Ask,
}

impl Unknown {
    pub(super) fn new(socket: Socket, peer: SocketAddr) -> Self {
        Self { socket, peer, join: [0; Join::BYTES], have: 0, is_watched: false, since: Instant::now() }
    }

    /// Reads the bytes that have come, without waiting. `tells` says whether the listener answers peers that
    /// ask for its handle.
    pub(super) fn read(&mut self, tells: bool) -> Known {
        while self.have < self.join.len() {
            match rustix::net::recv(self.socket.as_fd(), &mut self.join[self.have..], RecvFlags::empty()) {
                Ok((0, _)) => return Known::Stray,
                Ok((got, _)) => {
                    self.have += got;
                    if tells
                        && let Some(start) = self.join[..self.have].first_chunk()
                        && Ask::is_meant(start)
                    {
                        return match Ask::decode(start) {
                            Ok(Ask) => Known::Ask,
                            Err(violation) => self.stray(&violation),
                        };
                    }
                    if let Some(Err(violation)) = self.join[..self.have].first_chunk().map(Join::check_start)
                    {
                        return self.stray(&violation);
                    }
                }
                Err(rustix::io::Errno::AGAIN) => return Known::NotYet,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Known::Stray,
            }
        }
        match Join::decode(&self.join) {
            Ok(join) => Known::Join(join),
            Err(violation) => self.stray(&violation),
        }
    }

    fn stray(&self, violation: &Violation) -> Known {
        match violation {
            Violation::Version { .. } => refuse(&self.socket, JoinVerdict::WrongVersion),
            Violation::Field { .. } => refuse(&self.socket, JoinVerdict::BadSettings),
            // A peer of another protocol gets no answer.
            _ => {}
        }
        tracing::debug!(peer = %self.peer, %violation, "dropped a stray connection");
        Known::Stray
    }
}

/// Sends the refusal to a peer of this protocol.
pub(super) fn refuse(socket: &Socket, verdict: JoinVerdict) {
    let answer = Welcome::refusal(verdict).encode();
    let _ = rustix::net::send(socket, &answer, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
}
