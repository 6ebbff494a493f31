//! One side's bare sockets: shares of a message for the threads behind them, and round trips over the first.

use std::{
    net::Shutdown,
    sync::{Arc, mpsc},
    time::Instant,
};

use crate::session::Role;
use socket2::Socket;

use super::{
    area::{Area, Part, cut},
    blocking::Broken,
    pipeline::{Pipeline, PipelineSpec},
    recorders::{Times, first_byte, now},
    worker::{Finished, Job, Length, Worker, receive, send, spin},
};
use crate::{bootstrap::message::Begin, failure::Failure, settings::Settings};

/// One side's bare sockets, with a thread each.
pub struct RawSockets {
    workers: Vec<Worker>,
    results: mpsc::Receiver<Finished>,
    /// Jobs that have not come back.
    open: usize,
    /// The longest piece of a share that a pipeline takes at a time; none without pipelines.
    longest_bytes: Option<u64>,
    /// The other end, for messages.
    peer: String,
}

/// Ends every wait on the sockets.
pub struct Canceller(Vec<Arc<Socket>>);

impl RawSockets {
    pub(super) fn start(
        sockets: Vec<Socket>,
        settings: &Settings,
        spec: Option<&PipelineSpec>,
    ) -> Result<Self, Failure> {
        let (done, results) = mpsc::channel();
        let peer = sockets.first().and_then(|socket| socket.peer_addr().ok()?.as_socket());
        let peer = peer.map_or_else(|| "unknown".to_owned(), |address| address.to_string());
        let workers = sockets.into_iter().map(|socket| {
            let pipeline = spec.map(Pipeline::new).transpose()?;
            Worker::start(socket, settings, pipeline, done.clone())
        });
        let workers = workers.collect::<Result<_, Failure>>()?;
        Ok(Self { workers, results, open: 0, longest_bytes: spec.map(PipelineSpec::longest_bytes), peer })
    }

    /// Starts the receiving threads on this memory: they wait in `recv` when this returns, or soon after.
    ///
    /// # Errors
    /// If the memory is in use.
    pub fn start_receiving(&mut self, area: &mut Area, begin: &Begin) -> Result<(), Failure> {
        let part = area.next(begin.all_bytes());
        self.deal(part, begin, |part, length| Ok(Job::Receive(area.write(part)?, length)))
    }

    /// Starts the sending threads on this memory.
    ///
    /// # Errors
    /// If the memory is in use.
    pub fn start_sending(&mut self, area: &mut Area, begin: &Begin) -> Result<(), Failure> {
        let part = area.next(begin.all_bytes());
        self.deal(part, begin, |part, length| Ok(Job::Send(area.read(part)?, length)))
    }

    /// Waits for all threads, and returns the time of the last one. The received data is at its destination
    /// then.
    ///
    /// # Errors
    /// If a socket or the GPU failed, or made no progress within the timeout.
    pub fn finish(&mut self) -> Result<Instant, Failure> {
        let mut last = None;
        while self.open > 0 {
            let result =
                self.results.recv().map_err(|_| Failure::Run("a raw socket's thread ended".into()))?;
            self.open -= 1;
            last = last.max(Some(result.map_err(|error| self.failed(&error))?));
        }
        Ok(last.unwrap_or_else(Instant::now))
    }

    /// Plays ping-pong over one socket, on the calling thread, which waits as the engine does: it spins
    /// before it blocks. Each round has its own place in both areas. `each` is called after every round.
    ///
    /// # Errors
    /// If the socket failed, or made no progress within the timeout.
    pub fn ping_pong(
        &self,
        role: Role,
        begin: &Begin,
        source: &mut Area,
        destination: &mut Area,
        mut each: impl FnMut(),
    ) -> Result<(), Failure> {
        let Begin { bytes, rounds, .. } = *begin;
        let length = Length { bytes, message_bytes: bytes };
        let socket = self.workers[0].socket();
        let claimed = |error: gputcp_gpu::ClaimError| Failure::Run(error.to_string());
        let failed = |error: std::io::Error| self.failed(&error.into());
        let (from, to) = (source.next(bytes * rounds), destination.next(bytes * rounds));
        let (ping, pong) = (source.read(from).map_err(claimed)?, destination.write(to).map_err(claimed)?);
        let worker = &self.workers[0];
        let answer = |at| {
            let posted = now();
            send(socket, &ping, at, length).map_err(failed)?;
            let times = Times { posted, first: posted, last: now() };
            worker.record(|recorders| recorders.sent(bytes, times));
            Ok::<_, Failure>(())
        };
        for round in 0..rounds {
            let at = round * bytes;
            if role == Role::Client {
                answer(at)?;
            }
            let posted = now();
            spin(socket);
            let first = first_byte(socket, bytes);
            receive(socket, &pong, at, length).map_err(failed)?;
            let times = Times { posted, first, last: now() };
            worker.record(|recorders| recorders.received(bytes, times));
            if role == Role::Server {
                answer(at)?;
            }
            each();
        }
        Ok(())
    }

    /// Ends every wait from another thread.
    #[must_use]
    pub fn canceller(&self) -> Canceller {
        Canceller(self.workers.iter().map(|worker| worker.socket().clone()).collect())
    }

    fn failed(&self, broken: &Broken) -> Failure {
        let error = match broken {
            Broken::Socket(error) => error,
            Broken::Device(error) => return Failure::from(error.clone()),
            Broken::Panicked => {
                let bug = "a raw socket's thread panicked, which is a bug in gputcp: please report it";
                return Failure::Run(bug.into());
            }
        };
        Failure::Peer(format!(
            "the peer at {} is gone (a raw socket of the ceiling failed: {error}): it was killed, is stuck, or the network \
             was cut; look at its log",
            self.peer
        ))
    }

    /// Cuts the message or the burst, and its memory, into one share for each socket. None is below
    /// [`SHARE_BYTES`]: a small one is not worth a thread's waking up.
    fn deal(
        &mut self,
        part: Part,
        begin: &Begin,
        job: impl Fn(Part, Length) -> Result<Job, gputcp_gpu::ClaimError>,
    ) -> Result<(), Failure> {
        let (bytes, message_bytes) = (begin.all_bytes(), begin.bytes);
        let job = |part, bytes| {
            let length = Length { bytes, message_bytes };
            job(part, length).map_err(|error| Failure::Run(error.to_string()))
        };
        let shares = bytes.div_ceil(SHARE_BYTES).clamp(1, self.workers.len() as u64);
        for (index, worker) in (0..shares).zip(&self.workers) {
            let (from, to) = cut(bytes, index, shares);
            let share = part.share(index, shares);
            match self.longest_bytes {
                None => {
                    worker.give(job(share, to - from)?)?;
                    self.open += 1;
                }
                Some(most) => {
                    for piece in share.pieces(most) {
                        worker.give(job(piece, piece.extent())?)?;
                        self.open += 1;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Canceller {
    /// Ends every wait.
    pub fn cancel(&self) {
        for socket in &self.0 {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for RawSockets {
    fn drop(&mut self) {
        self.canceller().cancel();
        // A worker is joined when it is dropped.
    }
}

const SHARE_BYTES: u64 = 256 << 10;

#[cfg(test)]
mod tests;
