//! One socket, one blocking thread.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp_gpu::{ReadClaim, WriteClaim};
use rustix::{io::Errno, net::RecvFlags};
use socket2::Socket;

use crate::{failure::Failure, settings::Settings};

/// A share of a message.
pub(super) enum Job {
    /// Send so many bytes: all of this, again and again if it is less.
    Send(ReadClaim, u64),
    /// Receive so many bytes, likewise.
    Receive(WriteClaim, u64),
}

/// A socket and its thread.
pub(super) struct Worker {
    socket: Arc<Socket>,
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(
        socket: Socket,
        settings: &Settings,
        done: mpsc::Sender<io::Result<Instant>>,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Run(format!("could not set up a raw socket: {error}"));
        let timeout = Some(settings.timeout());
        socket.set_nonblocking(false).map_err(failed)?;
        socket.set_read_timeout(timeout).map_err(failed)?;
        socket.set_write_timeout(timeout).map_err(failed)?;
        let socket = Arc::new(socket);
        let (jobs, todo) = mpsc::channel();
        let thread = {
            let socket = socket.clone();
            thread::Builder::new()
                .name("raw".into())
                .spawn(move || work(&socket, &todo, &done))
                .map_err(failed)?
        };
        Ok(Self { socket, jobs: Some(jobs), thread: Some(thread) })
    }

    pub(super) const fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    pub(super) fn give(&self, job: Job) -> Result<(), Failure> {
        let given = self.jobs.as_ref().is_some_and(|jobs| jobs.send(job).is_ok());
        if given { Ok(()) } else { Err(Failure::Run("a raw socket's thread ended".into())) }
    }
}

impl Drop for Worker {
    /// Whoever drops it has shut the socket down, so the thread waits for nothing but jobs.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn work(socket: &Socket, todo: &mpsc::Receiver<Job>, done: &mpsc::Sender<io::Result<Instant>>) {
    while let Ok(job) = todo.recv() {
        let result = match &job {
            Job::Send(claim, bytes) => send(socket, claim, 0, *bytes),
            Job::Receive(claim, bytes) => receive(socket, claim, 0, *bytes),
        };
        let now = Instant::now();
        // The claim ends before its end is told: the next run may take it at once.
        drop(job);
        if done.send(result.map(|()| now)).is_err() {
            return;
        }
    }
}

/// Sends so many bytes from `at` on, and from the start again at the end.
pub(super) fn send(socket: &Socket, claim: &ReadClaim, mut at: u64, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        at %= claim.bytes();
        match claim.send(socket.as_fd(), &[], at, bytes.min(CALL_BYTES).min(claim.bytes() - at)) {
            Ok(sent) => (at, bytes) = (at + sent as u64, bytes - sent as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed(error)),
        }
    }
    Ok(())
}

/// Receives so many bytes from `at` on, and from the start again at the end.
pub(super) fn receive(socket: &Socket, claim: &WriteClaim, mut at: u64, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        at %= claim.bytes();
        match claim.recv(socket.as_fd(), at, bytes.min(CALL_BYTES).min(claim.bytes() - at)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => (at, bytes) = (at + read as u64, bytes - read as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed(error)),
        }
    }
    Ok(())
}

/// Waits a moment for the first byte without giving up the core, as the engine does for short messages: two ping-pongs
/// can only be compared if both wait alike.
pub(super) fn spin(socket: &Socket) {
    let began = Instant::now();
    while began.elapsed() < SPIN {
        match rustix::net::recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => thread::yield_now(),
            _ => return,
        }
    }
}

/// A blocking socket with a timeout says "would block" when that is over.
fn timed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "no progress (the bound is --timeout)")
        }
        _ => error,
    }
}

/// How long the library's waiters spin for a short message.
const SPIN: Duration = Duration::from_micros(60);
/// One call's bytes: 256 KiB to 1 MiB measured alike.
const CALL_BYTES: u64 = 1 << 20;

#[cfg(test)]
mod tests {
    use gputcp_gpu::Buffer;
    use socket2::{Domain, Type};

    use super::*;

    #[test]
    fn memory_shorter_than_the_message_is_walked_again() {
        let (one, other) = Socket::pair(Domain::UNIX, Type::STREAM, None).unwrap();
        let (source, destination) = (Buffer::host(4).unwrap(), Buffer::host(5).unwrap());
        source.write(0, 4).unwrap().copy_from(0, b"abcd");
        send(&one, &source.read(0, 4).unwrap(), 2, 9).unwrap();
        receive(&other, &destination.write(0, 5).unwrap(), 0, 9).unwrap();
        // "cdabcdabc": its first five bytes, and the other four over them.
        let mut bytes = [0; 5];
        destination.read(0, 5).unwrap().copy_to(0, &mut bytes);
        assert_eq!(&bytes, b"dabcc");
    }
}
