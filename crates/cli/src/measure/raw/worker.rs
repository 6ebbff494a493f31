//! One socket, one blocking thread.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Arc, mpsc},
    thread::{self, JoinHandle},
    time::Instant,
};

use gputcp_gpu::{ReadClaim, WriteClaim};
use socket2::Socket;

use crate::{failure::Failure, settings::Settings};

/// A share of a message.
pub(super) enum Job {
    /// Send all of this.
    Send(ReadClaim),
    /// Fill all of this.
    Receive(WriteClaim),
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
            Job::Send(claim) => send(socket, claim, 0, claim.bytes()),
            Job::Receive(claim) => receive(socket, claim, 0, claim.bytes()),
        };
        let now = Instant::now();
        // The claim ends before its end is told: the next run may take it at once.
        drop(job);
        if done.send(result.map(|()| now)).is_err() {
            return;
        }
    }
}

pub(super) fn send(socket: &Socket, claim: &ReadClaim, mut at: u64, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        match claim.send(socket.as_fd(), &[], at, bytes.min(CALL_BYTES)) {
            Ok(sent) => (at, bytes) = (at + sent as u64, bytes - sent as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed(error)),
        }
    }
    Ok(())
}

pub(super) fn receive(socket: &Socket, claim: &WriteClaim, mut at: u64, mut bytes: u64) -> io::Result<()> {
    while bytes > 0 {
        match claim.recv(socket.as_fd(), at, bytes.min(CALL_BYTES)) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => (at, bytes) = (at + read as u64, bytes - read as u64),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(timed(error)),
        }
    }
    Ok(())
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

/// One call's bytes: 256 KiB to 1 MiB measured alike.
const CALL_BYTES: u64 = 1 << 20;
