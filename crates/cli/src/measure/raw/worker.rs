//! One socket, one blocking thread. Host memory is sent and received in place, a device's through the
//! thread's pipeline.

use std::{
    io,
    os::fd::AsFd as _,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use gputcp_gpu::{MemoryKind, ReadClaim, WriteClaim};
use rustix::{io::Errno, net::RecvFlags};
use socket2::Socket;

use super::{
    blocking::{Broken, again, some},
    pipeline::Pipeline,
    recorders::{Recorders, Times, first_byte, now},
};
use crate::{failure::Failure, settings::Settings};

/// A share of a message, or a piece of one.
pub(super) enum Job {
    /// Send so many bytes: all of this, again and again if it is less.
    Send(ReadClaim, Length),
    /// Receive so many bytes, likewise.
    Receive(WriteClaim, Length),
}

/// How many bytes are moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Length {
    pub(super) bytes: u64,
    /// Those of a message: no call moves more. So short messages have their calls in a burst too.
    pub(super) message_bytes: u64,
}

/// The time at which a job was done.
pub(super) type Finished = Result<Instant, Broken>;

/// A socket and its thread.
pub(super) struct Worker {
    socket: Arc<Socket>,
    jobs: Option<mpsc::Sender<(Job, u64)>>,
    recorders: Arc<Mutex<Recorders>>,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    pub(super) fn start(
        socket: Socket,
        settings: &Settings,
        pipeline: Option<Pipeline>,
        done: mpsc::Sender<Finished>,
    ) -> Result<Self, Failure> {
        let failed = |error: io::Error| Failure::Run(format!("could not set up a raw socket: {error}"));
        let timeout = Some(settings.timeout());
        socket.set_nonblocking(false).map_err(failed)?;
        socket.set_read_timeout(timeout).map_err(failed)?;
        socket.set_write_timeout(timeout).map_err(failed)?;
        let socket = Arc::new(socket);
        let (jobs, todo) = mpsc::channel();
        let recorders = Arc::new(Mutex::new(Recorders::of(&socket)));
        let thread = {
            let (socket, recorders) = (socket.clone(), recorders.clone());
            thread::Builder::new()
                .name("raw".into())
                .spawn(move || work(&socket, pipeline, &recorders, &todo, &done))
                .map_err(failed)?
        };
        Ok(Self { socket, jobs: Some(jobs), recorders, thread: Some(thread) })
    }

    pub(super) const fn socket(&self) -> &Arc<Socket> {
        &self.socket
    }

    /// Calls with the recorders of the socket.
    pub(super) fn record(&self, record: impl FnOnce(&mut Recorders)) {
        record(&mut self.recorders.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn give(&self, job: Job) -> Result<(), Failure> {
        let posted = now();
        let given = self.jobs.as_ref().is_some_and(|jobs| jobs.send((job, posted)).is_ok());
        if given { Ok(()) } else { Err(Failure::Run("a raw socket's thread ended".into())) }
    }
}

impl Drop for Worker {
    /// The socket is shut down before the worker is dropped, so the thread waits for nothing but jobs.
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Performs the thread's jobs until they end.
fn work(
    socket: &Socket,
    mut pipeline: Option<Pipeline>,
    recorders: &Mutex<Recorders>,
    todo: &mpsc::Receiver<(Job, u64)>,
    done: &mpsc::Sender<Finished>,
) {
    let _told = Told(done);
    if let Some(pipeline) = &pipeline {
        pipeline.set_numa_affinity();
    }
    while let Ok((job, posted)) = todo.recv() {
        let first = match &job {
            Job::Send(..) => now(),
            Job::Receive(_, length) => first_byte(socket, length.bytes),
        };
        let result = carry(socket, pipeline.as_mut(), &job);
        let (ended, times) = (Instant::now(), Times { posted, first, last: now() });
        let mut recorders = recorders.lock().unwrap_or_else(PoisonError::into_inner);
        match &job {
            Job::Send(_, length) => recorders.sent(length.bytes, times),
            Job::Receive(_, length) => recorders.received(length.bytes, times),
        }
        drop(recorders);
        if result.is_err() {
            // Half a message is in its ring.
            pipeline = None;
        }
        // The claim ends before its end is told: the next run may take it at once.
        drop(job);
        if done.send(result.map(|()| ended)).is_err() {
            return;
        }
    }
}

/// Reports a thread that panics: the thread that waits for its job would wait for ever.
struct Told<'a>(&'a mpsc::Sender<Finished>);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let _ = self.0.send(Err(Broken::Panicked));
        }
    }
}

fn carry(socket: &Socket, pipeline: Option<&mut Pipeline>, job: &Job) -> Result<(), Broken> {
    match (job, pipeline) {
        (Job::Send(claim, length), _) if claim.kind() == MemoryKind::Host => {
            Ok(send(socket, claim, 0, *length)?)
        }
        (Job::Receive(claim, length), _) if claim.kind() == MemoryKind::Host => {
            Ok(receive(socket, claim, 0, *length)?)
        }
        (Job::Send(claim, _), Some(pipeline)) => pipeline.send(socket, claim),
        (Job::Receive(claim, _), Some(pipeline)) => pipeline.receive(socket, claim),
        (_, None) => Err(Broken::Device(gputcp_gpu::Error::LaneLost)),
    }
}

/// Sends so many bytes from `at` on, and from the start again at the end.
pub(super) fn send(socket: &Socket, claim: &ReadClaim, mut at: u64, length: Length) -> io::Result<()> {
    let Length { mut bytes, message_bytes } = length;
    while bytes > 0 {
        at %= claim.bytes();
        let call = bytes.min(CALL_BYTES).min(message_bytes).min(claim.bytes() - at);
        let sent = again(|| claim.send(socket.as_fd(), &[], at, call))? as u64;
        (at, bytes) = (at + sent, bytes - sent);
    }
    Ok(())
}

/// Receives so many bytes from `at` on, and from the start again at the end.
pub(super) fn receive(socket: &Socket, claim: &WriteClaim, mut at: u64, length: Length) -> io::Result<()> {
    let Length { mut bytes, message_bytes } = length;
    while bytes > 0 {
        at %= claim.bytes();
        let call = bytes.min(CALL_BYTES).min(message_bytes).min(claim.bytes() - at);
        let read = some(again(|| claim.recv(socket.as_fd(), at, call))?)?;
        (at, bytes) = (at + read, bytes - read);
    }
    Ok(())
}

/// Waits a moment for the first byte without giving up the core, as the engine does for short messages. Two
/// ping-pongs can only be compared if both wait alike.
pub(super) fn spin(socket: &Socket) {
    let began = Instant::now();
    while began.elapsed() < SPIN {
        match rustix::net::recv(socket, &mut [0], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
            Err(Errno::AGAIN) => thread::yield_now(),
            _ => return,
        }
    }
}

/// The time for which the library's waiters spin for a short message.
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
        for message_bytes in [3, 9] {
            let length = Length { bytes: 9, message_bytes };
            send(&one, &source.read(0, 4).unwrap(), 2, length).unwrap();
            receive(&other, &destination.write(0, 5).unwrap(), 0, length).unwrap();
        }
        // "cdabcdabc": its first five bytes, and the other four over them.
        let mut bytes = [0; 5];
        destination.read(0, 5).unwrap().copy_to(0, &mut bytes);
        assert_eq!(&bytes, b"dabcc");
    }
}
