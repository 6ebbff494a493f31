//! What all threads of one connection share: its sockets, its state under one lock, and how it fails.
//!
//! Any failure poisons the connection (invariant I7): the first one is kept, every socket is shut down, so every blocked
//! thread returns, and every request in flight ends with that same error.

use std::{
    io,
    net::Shutdown,
    sync::{
        Arc, Condvar, Mutex, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use gputcp_gpu::Done;
use gputcp_proto::{Violation, frame::Control};
use gputcp_socket::TcpInfo;
use rustix::event::{PollFd, PollFlags};
use socket2::Socket;

use super::{
    bound::Bound,
    control::{Alone, Attention, ControlSocket, Incoming, Reader, Watch, poll_until},
    doorbell::Doorbell,
    locks::lock,
    task::{Step, Waker},
};
use crate::{Error, Result};

/// One end of a connection. `S` is the sender's or the receiver's state.
#[derive(Debug)]
pub(crate) struct Shared<S> {
    pub(crate) peer: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) control: ControlSocket,
    pub(crate) data: Vec<Socket>,
    pub(crate) state: Mutex<S>,
    /// Tells each data socket's task that there is something for it to carry, or that the connection ends.
    pub(crate) work: Box<[Waker]>,
    pub(crate) doorbell: Doorbell,
    pub(crate) counters: Counters,
    begun: (Mutex<usize>, Condvar),
    failure: OnceLock<Error>,
    peer_said_goodbye: AtomicBool,
    control_ended: AtomicBool,
    closing: AtomicBool,
    /// When somebody last polled the control socket, in microseconds since the connection began.
    polled: AtomicU64,
    /// Standby leaves the control socket to whoever polls it.
    away: AtomicBool,
    began: Instant,
}

/// Bytes that passed, counted where they pass.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// Payload bytes that a socket took, or gave.
    pub(crate) carried: AtomicU64,
    /// Payload bytes that are at their destination. The receiver's.
    pub(crate) placed: AtomicU64,
}

/// A side's own answer to control frames.
pub(crate) trait Side: Sized {
    /// Handles an announcement, or begins with an inline message: the reader is then amid it.
    fn dispatch(shared: &Shared<Self>, frame: Control, reader: &mut Reader) -> Result<()>;

    /// Reads on in the message that the reader is amid. False if more of it is to come.
    fn take_rest(_: &Shared<Self>, _: &mut Reader) -> Result<bool> {
        Ok(true)
    }

    /// Writes the messages that the control socket had no room for.
    fn write_on(_: &Shared<Self>) -> Result<()> {
        Ok(())
    }
}

/// What a waiter's question came to.
pub(crate) enum Ready<T> {
    /// The answer.
    Yes(T),
    /// Ask again when something happens.
    No,
    /// Ask again when the lane has come this far.
    AfterLane(Done),
}

/// A data socket's end, about which the control socket is heard.
#[derive(Debug)]
pub(crate) struct Verdict {
    error: Option<io::Error>,
    until: Instant,
}

impl<S: Side> Shared<S> {
    pub(crate) fn new(
        peer: Arc<str>,
        timeout: Duration,
        (control, watch, depth): (Socket, &Watch, usize),
        data: Vec<Socket>,
        state: S,
    ) -> Result<Self> {
        let doing = "set up the connection's descriptors";
        Ok(Self {
            peer,
            timeout,
            control: ControlSocket::new(control, watch, depth)
                .map_err(|error| Error::system(doing, error))?,
            work: data.iter().map(|_| Waker::default()).collect(),
            data,
            state: Mutex::new(state),
            doorbell: Doorbell::new().map_err(|error| Error::system(doing, error))?,
            counters: Counters::default(),
            begun: (Mutex::new(0), Condvar::new()),
            failure: OnceLock::new(),
            peer_said_goodbye: AtomicBool::new(false),
            control_ended: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            polled: AtomicU64::new(0),
            away: AtomicBool::new(false),
            began: Instant::now(),
        })
    }

    /// One of the connection's threads is there: what a thread allocates when it starts is behind it.
    pub(crate) fn thread_begins(&self) {
        *lock(&self.begun.0) += 1;
        self.begun.1.notify_all();
    }

    /// Waits for the connection's threads, so that nothing of their start falls after connect (invariant I4).
    pub(crate) fn wait_for_threads(&self, count: usize) {
        let begun = lock(&self.begun.0);
        drop(self.begun.1.wait_while(begun, |begun| *begun < count));
    }

    /// Waits for an answer, reading the control socket meanwhile. `slot` is whose completion may change the answer; none
    /// if anything may. `spin` tries for a moment before it sleeps: for messages that travel on the control socket, where
    /// a wake-up costs more than the message.
    pub(crate) fn wait_for<T>(
        &self,
        what: &'static str,
        mut bound: Bound,
        slot: Option<usize>,
        spin: bool,
        mut ask: impl FnMut() -> Result<Ready<T>>,
    ) -> Result<T> {
        if let Ready::Yes(answer) = ask()? {
            return Ok(answer);
        }
        let began = Instant::now();
        let mut lead =
            self.control.lead().map_err(|error| Error::system("watch the control socket", error))?;
        loop {
            self.pump(&mut lead.reader);
            let mut in_time = Ok(true);
            match ask()? {
                Ready::Yes(answer) => return Ok(answer),
                Ready::AfterLane(done) => {
                    self.check()?;
                    done.wait(bound.next_look().min(Instant::now() + LANE_SLICE))?;
                    in_time = Ok(Instant::now() < bound.next_look());
                }
                Ready::No => {
                    self.check()?;
                    if spin && began.elapsed() < SPIN {
                        std::thread::yield_now();
                        continue;
                    }
                    self.doorbell.listen(slot);
                    // Once more, for what happened before the bell was heard.
                    let asked = ask();
                    if matches!(asked, Ok(Ready::No)) && !self.has_failed() {
                        in_time = self.sleep(bound.next_look());
                    }
                    self.doorbell.silence();
                    if let Ready::Yes(answer) = asked? {
                        return Ok(answer);
                    }
                }
            }
            let in_time = in_time.map_err(|error| Error::system("wait for the peer", error))?;
            if !in_time && !bound.goes_on(|| self.moved()) {
                let after = bound.length(began);
                self.fail(Error::Timeout { what, peer: self.peer.clone(), after });
            }
            self.check()?;
        }
    }

    /// Bytes that have moved between the two kernels, both ways. Changes as long as anything does.
    fn moved(&self) -> u64 {
        let sockets = self.data.iter().chain([self.control.socket()]);
        let infos = sockets.filter_map(|socket| TcpInfo::read(socket).ok());
        infos.map(|info| info.bytes_acked.wrapping_add(info.bytes_received)).fold(0, u64::wrapping_add)
    }

    fn sleep(&self, deadline: Instant) -> io::Result<bool> {
        let bell = self.doorbell.descriptor();
        let control = self.control.descriptor();
        let mut watched = [PollFd::new(&bell, PollFlags::IN), PollFd::new(&control, PollFlags::IN)];
        let count = if self.control_ended.load(Ordering::Acquire) { 1 } else { 2 };
        poll_until(&mut watched[..count], Some(deadline))
    }

    /// Handles every control frame that is there. False when no more can come.
    pub(crate) fn pump(&self, reader: &mut Reader) -> bool {
        if self.control_ended.load(Ordering::Acquire) || self.failure.get().is_some() {
            return false;
        }
        loop {
            if reader.amid {
                match S::take_rest(self, reader) {
                    Ok(true) => {}
                    Ok(false) => return true,
                    Err(error) => {
                        self.fail(error);
                        return false;
                    }
                }
            }
            let handled = match reader.next(&self.control) {
                Ok(Ok(Incoming::Nothing)) => return true,
                // Said again and again, it would keep whoever reads from everything else.
                Ok(Ok(Incoming::Frame(Control::Goodbye))) if self.peer_has_said_goodbye() => {
                    Err(self.misbehaved(Violation::Field { frame: "goodbye", field: "count", value: 2 }))
                }
                Ok(Ok(Incoming::Frame(Control::Goodbye))) => {
                    self.peer_said_goodbye.store(true, Ordering::Release);
                    self.wake_all();
                    self.doorbell.ring_all();
                    Ok(())
                }
                Ok(Ok(Incoming::Frame(Control::Abort { bytes }))) => {
                    let reason = reader.text(bytes as usize).into();
                    Err(Error::PeerAborted { peer: self.peer.clone(), reason })
                }
                Ok(Ok(Incoming::Frame(frame))) => S::dispatch(self, frame, reader),
                Ok(Ok(Incoming::End)) if self.peer_has_said_goodbye() && self.control.broken().is_none() => {
                    self.control_ended.store(true, Ordering::Release);
                    return false;
                }
                Ok(Ok(Incoming::End)) => Err(match self.control.broken() {
                    Some(error) => self.socket_failed(error),
                    None => self.gone("its connection closed without a goodbye"),
                }),
                Ok(Err(violation)) => Err(self.misbehaved(violation)),
                Err(error) => Err(self.socket_failed(&error)),
            };
            if let Err(error) = handled {
                self.fail(error);
                return false;
            }
        }
    }

    /// Handles what the control socket has, if nobody else does.
    pub(crate) fn look(&self) {
        self.control.look(|reader| {
            self.pump(reader);
        });
    }

    /// The same for somebody who will do so again and again: standby stays away meanwhile, as what comes would wake it in vain.
    pub(crate) fn poll(&self) {
        self.polled.store(self.began.elapsed().as_micros() as u64, Ordering::Relaxed);
        self.look();
    }

    /// Whether standby relies on polls: each has to look then, whatever it waits for.
    pub(crate) fn is_left_to_polls(&self) -> bool {
        self.away.load(Ordering::Relaxed)
    }

    /// Does what the control socket is ready for, unless somebody polls it.
    pub(crate) fn attend(&self) -> Attention {
        let polled = self.polled.load(Ordering::Relaxed);
        let away = polled > 0 && self.began.elapsed().as_micros() as u64 <= polled + POLLED_US;
        self.control.leave_to_polls(away);
        let written = self.control.write_on().or_else(|error| self.control_failed(error));
        let written = written.and_then(|()| S::write_on(self));
        self.away.store(away && written.is_ok(), Ordering::Relaxed);
        if away && written.is_ok() {
            return Attention::Away;
        }
        let read = self.control.stand_in().map(|mut reader| self.pump(&mut reader));
        let more = read.unwrap_or(true);
        let armed = if read == Some(true) { self.control.arm() } else { Ok(()) };
        let armed = armed.map_err(|error| Error::system("watch the control socket", error));
        match written.and(armed) {
            Ok(()) if more => Attention::Armed,
            Ok(()) => Attention::Over,
            Err(error) => {
                self.fail(error);
                Attention::Over
            }
        }
    }

    /// The standby thread's life.
    pub(crate) fn stand_by(&self, alone: &Alone) {
        let life = self.control.arm().and_then(|()| alone.stand_by(|| self.attend()));
        if let Err(error) = life {
            self.fail(Error::system("watch the control socket", error));
        }
    }

    /// Nothing more can be written on the control socket. Where the peer has closed or reset it, what it has said before is still
    /// there to be read, and tells why; whoever reads it fails the connection then.
    ///
    /// # Errors
    /// If the connection has failed by then.
    pub(crate) fn control_failed(&self, error: io::Error) -> Result<()> {
        let closed = matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset);
        if closed && !self.peer_has_said_goodbye() {
            self.control.broke(error);
            self.look();
        } else {
            self.fail(self.socket_failed(&error));
        }
        self.check()
    }

    /// Poisons the connection. The first failure counts. Must not be called with the state locked.
    pub(crate) fn fail(&self, error: Error) {
        let is_news = !matches!(error, Error::PeerGone { .. } | Error::PeerAborted { .. });
        let reason = error.to_string();
        // First of all, so that what the peer does when it is told is not taken for the cause.
        if self.failure.set(error).is_err() {
            return;
        }
        if is_news {
            self.control.write_abort(&reason);
        }
        for socket in self.data.iter().chain([self.control.socket()]) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.wake_all();
        self.doorbell.ring_all();
    }

    /// Hears the control socket about a data socket that failed or ended early: it usually knows better why (an abort, a
    /// goodbye), and gets a moment to say so. What to wait for, or the end.
    pub(crate) fn hear(&self, verdict: &Verdict) -> Step {
        let in_order = verdict.error.is_none() && self.peer_has_said_goodbye();
        if in_order || self.is_closing() || self.has_failed() {
            return Step::Ended;
        }
        if Instant::now() < verdict.until {
            return Step::Until(verdict.until);
        }
        self.fail(match &verdict.error {
            Some(error) => self.socket_failed(error),
            None => self.gone("a data socket closed without a goodbye"),
        });
        Step::Ended
    }

    /// The failure, if the connection has failed.
    pub(crate) fn check(&self) -> Result<()> {
        self.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.failure.get().is_some()
    }

    pub(crate) fn peer_has_said_goodbye(&self) -> bool {
        self.peer_said_goodbye.load(Ordering::Acquire)
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Wakes the I/O threads to end once nothing is left to carry.
    pub(crate) fn begin_close(&self) {
        self.closing.store(true, Ordering::Release);
        self.wake_all();
    }

    /// Has every task look at the connection again.
    fn wake_all(&self) {
        // Either a task that has just begun sees at its first look, which takes the lock, what has changed; or it has set
        // its waker before.
        drop(lock(&self.state));
        self.work.iter().for_each(Waker::wake);
    }

    pub(crate) fn misbehaved(&self, violation: Violation) -> Error {
        Error::PeerMisbehaved { peer: self.peer.clone(), violation }
    }

    pub(crate) fn gone(&self, detail: impl Into<Arc<str>>) -> Error {
        Error::PeerGone { peer: self.peer.clone(), detail: detail.into() }
    }

    /// What an error of a socket means.
    pub(crate) fn socket_failed(&self, error: &io::Error) -> Error {
        use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, TimedOut, UnexpectedEof};
        match error.kind() {
            TimedOut => Error::Timeout { what: "the exchange", peer: self.peer.clone(), after: self.timeout },
            BrokenPipe | ConnectionReset | ConnectionAborted => self.gone("it reset the connection"),
            UnexpectedEof => self.gone("its connection closed in the middle of a message"),
            _ => self.gone(error.to_string()),
        }
    }
}

impl Verdict {
    /// A socket's failure.
    pub(crate) fn on(error: io::Error) -> Self {
        Self { error: Some(error), until: Instant::now() + VERDICT }
    }

    /// The end of a stream at a segment's boundary: in good order if the peer says goodbye on the control socket too.
    pub(crate) fn on_end() -> Self {
        Self { error: None, until: Instant::now() + VERDICT }
    }
}

/// How long a waiter spins for a short message before it sleeps. A wake-up costs about 30 µs, and two of them lie in a
/// blocking round trip of 71 µs (loopback); beyond that, spinning only burns the core.
const SPIN: Duration = Duration::from_micros(60);
/// Who has polled the control socket so recently polls it again soon: between two polls NCCL's one thread may have carried a quarter of
/// a megabyte for each of several connections.
const POLLED_US: u64 = 1000;
/// How long a waiter watches a lane before it looks at the connection again.
const LANE_SLICE: Duration = Duration::from_millis(20);
/// How long the control socket has to explain the failure of a data socket.
const VERDICT: Duration = Duration::from_millis(300);
