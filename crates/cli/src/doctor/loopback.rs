//! The speed of bare sockets between two threads of this machine: a short run, with the system's congestion
//! control and with cubic. Buffers are walked through as a transfer does, so they are not all in the CPU's
//! caches. The data is not verified: only the machine is measured.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt;

use super::{Finding, counted};

/// The speeds that were measured.
#[derive(Debug, Clone)]
pub struct Loopback {
    /// Socket pairs at a time.
    pub streams: usize,
    /// The rate in GB/s with the system's congestion control, or the reason why there is none.
    pub usual: Result<f64, String>,
    /// The same with cubic.
    pub cubic: Result<f64, String>,
}

impl Loopback {
    /// Measures, for about a second.
    #[must_use]
    pub fn measure(cores: usize) -> Self {
        let streams = cores.clamp(1, STREAMS_MAX);
        let run = |congestion| gb_per_s(streams, congestion).map_err(|error| error.to_string());
        Self { streams, usual: run(None), cubic: run(Some("cubic")) }
    }

    /// Returns the findings about the speeds.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        const TOPIC: &str = "loopback";
        let streams = counted(self.streams, "bare socket");
        let usual = match &self.usual {
            Ok(rate) => *rate,
            Err(why) => {
                let seen = format!("{streams} over 127.0.0.1 failed: {why}");
                return vec![Finding::problem(TOPIC, seen).by("sudo ip link set dev lo up")];
            }
        };
        let seen = format!("{usual:.1} GB/s over {streams}");
        let cubic = match &self.cubic {
            Ok(cubic) => format!(", {cubic:.1} GB/s with cubic, in runs of {LASTS:?}"),
            Err(why) => format!("; cubic cannot be used ({why})"),
        };
        let finding = if usual < SLOW_GB_PER_S { Finding::better } else { Finding::ok };
        vec![finding(TOPIC, seen + &cubic)]
    }
}

/// Runs all pairs at once. The receivers count, from the first byte of the first to the last of the last.
fn gb_per_s(streams: usize, congestion: Option<&str>) -> io::Result<f64> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    let mut pairs = Vec::new();
    for _ in 0..streams {
        let near = TcpStream::connect(address)?;
        // Only this thread's own connection counts: any process could connect in between.
        let far = loop {
            let (far, peer) = listener.accept()?;
            if peer == near.local_addr()? {
                break far;
            }
        };
        if let Some(name) = congestion {
            sockopt::set_tcp_congestion(&near, name)?;
        }
        for end in [&near, &far] {
            end.set_nodelay(true)?;
            end.set_read_timeout(Some(TIMEOUT))?;
            end.set_write_timeout(Some(TIMEOUT))?;
        }
        // Filled before the clock starts: the kernel's zeroing of it is no part of the rate.
        pairs.push(((near, vec![0x5a; WALK_BYTES]), (far, vec![0x5a; WALK_BYTES])));
    }
    let began = Instant::now();
    let ends: io::Result<Vec<(u64, Instant)>> = thread::scope(|scope| {
        let threads: Vec<_> = pairs
            .into_iter()
            .map(|(near, far)| {
                (scope.spawn(move || send(near, began + LASTS)), scope.spawn(move || receive(far)))
            })
            .collect();
        let gone = || io::Error::other("a thread of the measurement ended");
        let all = threads.into_iter().map(|(sent, received)| {
            sent.join().map_err(|_| gone())??;
            received.join().map_err(|_| gone())?
        });
        all.collect()
    });
    let ends = ends?;
    let (bytes, last) =
        (ends.iter().map(|(bytes, _)| bytes).sum::<u64>(), ends.iter().map(|end| end.1).max());
    let took = last.map_or(Duration::ZERO, |last| last.duration_since(began)).as_secs_f64();
    Ok(if took > 0.0 { bytes as f64 / took / 1e9 } else { 0.0 })
}

fn send((mut socket, source): (TcpStream, Vec<u8>), until: Instant) -> io::Result<()> {
    let mut pieces = source.chunks(PIECE_BYTES).cycle();
    while Instant::now() < until {
        socket.write_all(pieces.next().unwrap_or_default())?;
    }
    socket.shutdown(std::net::Shutdown::Write)
}

fn receive((mut socket, mut destination): (TcpStream, Vec<u8>)) -> io::Result<(u64, Instant)> {
    let (mut bytes, mut at) = (0, 0);
    loop {
        let end = (at + PIECE_BYTES).min(WALK_BYTES);
        match socket.read(&mut destination[at..end]) {
            Ok(0) => return Ok((bytes, Instant::now())),
            Ok(got) => {
                bytes += got as u64;
                at = if end == WALK_BYTES { 0 } else { at + got };
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The length of each run.
const LASTS: Duration = Duration::from_millis(400);
/// The longest that one read or write may take.
const TIMEOUT: Duration = Duration::from_secs(3);
const PIECE_BYTES: usize = 512 << 10;
/// More than a core's caches hold.
const WALK_BYTES: usize = 16 << 20;
/// The most streams that the command chooses by itself.
const STREAMS_MAX: usize = 8;
/// Two threads of any recent machine reach this.
const SLOW_GB_PER_S: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn two_threads_move_something() {
        let measured = Loopback::measure(1);
        // Something, and not how much: that is the machine's, and what else it does.
        assert!(*measured.usual.as_ref().unwrap() > 0.0, "{measured:?}");
        assert!(measured.judge()[0].seen.contains("GB/s over 1 bare socket"), "{measured:?}");
    }

    #[test]
    fn what_cannot_be_measured_is_a_problem() {
        let failed = Loopback { streams: 2, usual: Err("no".into()), cubic: Err("no".into()) };
        assert_eq!(failed.judge()[0].verdict, Severity::Problem);
        let slow = Loopback { usual: Ok(0.5), ..failed };
        assert_eq!(slow.judge()[0].verdict, Severity::CouldBeBetter);
        assert!(slow.judge()[0].seen.ends_with("cubic cannot be used (no)"));
    }
}
