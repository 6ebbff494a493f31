//! Peers made of bare sockets that say anything to live ends of connections, at every state of them. They say
//! valid frames, frames that are off by one, extreme or changed, and noise; or they are silent, or reset a
//! socket.
//!
//! No thread panics, no wait outlasts its bound, and no byte is reported as received that the peer did not
//! send there. `gputcp_fuzz` has the variables for the duration and for repeating a case.

#[path = "../common/mod.rs"]
mod common;
mod joins;
mod plan;
mod receiver;
mod sender;

use std::{
    io::Write as _,
    net::{Shutdown, TcpStream},
    time::{Duration, Instant},
};

use gputcp::Error;
use gputcp_fuzz::{Counts, Rng, panics};

/// Holds what a case does against what no case may do.
fn bounded(case: impl FnOnce()) {
    let (before, began) = (panics(), Instant::now());
    case();
    assert_eq!(panics(), before, "a thread of a connection panicked");
    assert!(began.elapsed() < BOUND, "it took {:?}", began.elapsed());
}

/// Returns how a connection ended, for the counts. This side is never at fault, but where a user posts a
/// receive too short.
fn kind(error: &Error) -> &'static str {
    match error {
        Error::PeerMisbehaved { .. } => "violations",
        Error::PeerGone { .. } | Error::PeerClosed { .. } | Error::PeerAborted { .. } => "peers gone",
        Error::Timeout { .. } | Error::NoPeer { .. } => "timeouts",
        Error::Usage(what) if what.contains("post a receive that is long enough") => "messages too long",
        other => panic!("a peer cannot make this side fail so: {other:?}"),
    }
}

/// A bare peer's sockets: control, then data. A failed write is no matter: the other end may have had enough.
struct Sockets {
    control: TcpStream,
    data: Vec<TcpStream>,
}

impl Sockets {
    fn new(control: TcpStream, data: Vec<TcpStream>) -> Self {
        for socket in data.iter().chain([&control]) {
            socket.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
            socket.set_nodelay(true).unwrap();
        }
        Self { control, data }
    }

    fn say(&mut self, counts: &mut Counts, bytes: &[u8]) {
        counts.one("frames");
        let _ = self.control.write_all(bytes);
    }

    fn send(&mut self, counts: &mut Counts, stream: usize, bytes: &[u8]) {
        counts.one("frames");
        let _ = self.data[stream].write_all(bytes);
    }

    /// Breaks something off.
    fn break_off(&mut self, random: &mut Rng) {
        let socket = match random.usize(..=self.data.len()) {
            0 => &self.control,
            stream => &self.data[stream - 1],
        };
        match random.u8(0..4) {
            0 => drop(socket.shutdown(Shutdown::Write)),
            1 => drop(socket.shutdown(Shutdown::Both)),
            2 => {
                // A reset, as of a process that ends with something unread.
                let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
            }
            _ => drop(socket.shutdown(Shutdown::Read)),
        }
    }
}

/// Far above what any case takes: all waits are bounded by fractions of a second.
const BOUND: Duration = Duration::from_secs(20);
/// How long a request may be waited for here. At its end the connection fails.
const MOMENT: Duration = Duration::from_millis(5);
