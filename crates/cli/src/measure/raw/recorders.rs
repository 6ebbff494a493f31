//! The life of the ceiling's messages in a trace, beside those of the engine.

use std::net::SocketAddr;

use gputcp::Recorder;
use rustix::net::RecvFlags;
use socket2::Socket;

use crate::host::trace;

/// The recorders of one socket, one for each way. Without a trace it has none.
#[derive(Debug, Default)]
pub(super) struct Recorders {
    /// This end of the socket, and the other.
    ends: Option<(SocketAddr, SocketAddr)>,
    send: Option<Recorder>,
    receive: Option<Recorder>,
}

/// The times of a share of a message, on the trace's clock.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) posted: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

impl Recorders {
    pub(super) fn of(socket: &Socket) -> Self {
        let ends = trace::of_process().and_then(|_| {
            let canonical =
                |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
            let here = socket.local_addr().ok()?.as_socket()?;
            let there = socket.peer_addr().ok()?.as_socket()?;
            Some((canonical(here), canonical(there)))
        });
        Self { ends, send: None, receive: None }
    }

    pub(super) fn sent(&mut self, bytes: u64, times: Times) {
        let Some((here, there)) = self.ends else { return };
        record(&mut self.send, &format!("raw {here} to {there}"), true, bytes, times);
    }

    pub(super) fn received(&mut self, bytes: u64, times: Times) {
        let Some((here, there)) = self.ends else { return };
        record(&mut self.receive, &format!("raw {there} to {here}"), false, bytes, times);
    }
}

/// Returns the trace's time, or 0 without a trace.
pub(super) fn now() -> u64 {
    if trace::of_process().is_some() { Recorder::now() } else { 0 }
}

/// Waits for the first of some bytes, and returns its time. Without a trace it does not wait.
pub(super) fn first_byte(socket: &Socket, bytes: u64) -> u64 {
    if trace::of_process().is_some() && bytes > 0 {
        // A failure is found again by the read behind this.
        let _ = rustix::net::recv(socket, &mut [0], RecvFlags::PEEK);
    }
    now()
}

fn record(recorder: &mut Option<Recorder>, name: &str, is_sender: bool, bytes: u64, times: Times) {
    let Some(trace) = trace::of_process() else { return };
    let Times { posted, first, last } = times;
    let recorder = recorder.get_or_insert_with(|| trace.recorder(name, is_sender));
    recorder.message(bytes, posted, first, last);
}
