//! Frames over a bootstrap connection. Every wait has a deadline and ends on Ctrl-C; every frame must be due.

use std::{
    fmt,
    net::{IpAddr, SocketAddr, TcpStream},
    os::fd::AsFd as _,
    time::{Duration, Instant},
};

use crate::session::{Direction, Header, Kind, Role, Session};
use rustix::{event::PollFd, event::PollFlags, io::Errno, net::RecvFlags, net::SendFlags};
use serde::{Serialize, de::DeserializeOwned};

use super::message::{Abort, Refuse};
use crate::{
    failure::{Failure, advice},
    interrupt::{Hook, Interrupt},
    output::Talk,
    printable::printable,
};

/// One end of a session.
pub struct Link {
    stream: TcpStream,
    session: Session,
    interrupt: Interrupt,
    /// The other side as messages call it: "the server at 10.0.0.1:12347".
    peer: String,
    /// The other side gave up for a reason that may be this side's failure as it saw it.
    told_of_a_peer: bool,
}

impl Link {
    /// Makes a session over this connection. `peer` is the name of the other side in messages.
    ///
    /// # Errors
    /// [`Failure::Run`] if the socket cannot be set up.
    pub fn new(stream: TcpStream, role: Role, interrupt: Interrupt, peer: String) -> Result<Self, Failure> {
        let set_up = stream.set_nonblocking(true).and_then(|()| stream.set_nodelay(true));
        set_up
            .map_err(|error| Failure::Run(format!("could not set up the connection to {peer}: {error}")))?;
        Ok(Self { stream, session: Session::new(role), interrupt, peer, told_of_a_peer: false })
    }

    /// Says something that is due.
    ///
    /// # Errors
    /// [`Failure::Peer`] if the other side is gone or takes nothing until the deadline.
    pub fn say<T: Serialize>(&mut self, kind: Kind, message: &T, deadline: Instant) -> Result<(), Failure> {
        self.session.step(Direction::Send, kind).map_err(|violation| {
            // Only a mistake of ours gets here; the peer is told and the run fails, but nothing panics.
            Failure::Run(format!("this side {violation}"))
        })?;
        let frame = frame(kind, message)?;
        self.write(&frame, deadline)
    }

    /// Reads the frame that is due, of this kind and no other.
    ///
    /// # Errors
    /// [`Failure::Peer`] if the other side says something else, gives up, is gone, or is silent until the
    /// deadline. [`Failure::Busy`] if it asks to come back later.
    pub fn hear<T: DeserializeOwned>(&mut self, kind: Kind, deadline: Instant) -> Result<T, Failure> {
        let (heard, payload) = self.hear_any(deadline)?;
        if heard == kind { self.parse(heard, &payload) } else { Err(self.unexpected(heard)) }
    }

    /// Hears whatever is due.
    ///
    /// # Errors
    /// As [`Self::hear`].
    pub fn hear_any(&mut self, deadline: Instant) -> Result<(Kind, Vec<u8>), Failure> {
        let since = Instant::now();
        let mut header = [0; Header::BYTES];
        self.read(&mut header, since, deadline)?;
        let header =
            Header::decode(&header).map_err(|violation| Failure::violation(&self.peer, &violation))?;
        let mut payload = vec![0; header.bytes as usize];
        self.read(&mut payload, since, deadline)?;
        self.session
            .step(Direction::Recv, header.kind)
            .map_err(|violation| Failure::violation(&self.peer, &violation))?;
        match header.kind {
            Kind::Abort => {
                let Abort { reason, code } = self.parse(header.kind, &payload)?;
                self.told_of_a_peer = code == Failure::Peer(String::new()).exit_code();
                Err(Failure::told_by(&self.peer, code, &reason))
            }
            Kind::Refuse => {
                let Refuse { reason, busy } = self.parse(header.kind, &payload)?;
                let sentence = format!("{} refused: {reason}", self.peer);
                Err(if busy { Failure::Busy(sentence) } else { Failure::Peer(sentence) })
            }
            kind => Ok((kind, payload)),
        }
    }

    /// Parses the message in a frame's payload.
    ///
    /// # Errors
    /// [`Failure::Peer`] if it is none.
    pub fn parse<T: DeserializeOwned>(&self, kind: Kind, payload: &[u8]) -> Result<T, Failure> {
        serde_json::from_slice(payload).map_err(|error| {
            // The parser quotes what it did not expect.
            let error = printable(&error.to_string());
            Failure::Peer(format!(
                "{} sent a frame of kind {} that cannot be read ({error})",
                self.peer,
                kind.name()
            ))
        })
    }

    /// Returns the failure of a frame of this kind, which is out of turn now.
    #[must_use]
    pub fn unexpected(&self, kind: Kind) -> Failure {
        let doing = self.session.doing();
        Failure::Peer(format!("{} said {} out of turn while {doing}", self.peer, kind.name()))
    }

    /// Takes a frame as said or heard that went over the connection before this link was made.
    pub(super) fn already(&mut self, direction: Direction, kind: Kind) -> Result<(), Failure> {
        self.session.step(direction, kind).map_err(|violation| Failure::violation(&self.peer, &violation))
    }

    /// Tells the other side the reason why this one gives up, if it still listens. Never waits long.
    pub fn abort(&mut self, failure: &Failure) {
        if self.session.is_over() || self.session.step(Direction::Send, Kind::Abort).is_err() {
            return;
        }
        let Ok(bytes) = frame(Kind::Abort, &Abort::of(failure)) else { return };
        // The buffer of a healthy connection takes this at once; a full one belongs to a peer that does not
        // read.
        let _ = rustix::net::send(&self.stream, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
    }

    /// Returns the better explanation of a failure. If the other side gave up and gave a reason, that
    /// reason stands for the failure that followed here. If the other side too blames its peer, the order
    /// of the two is unknown: both are given.
    #[must_use]
    pub fn explain(&mut self, failure: Failure) -> Failure {
        if !matches!(failure, Failure::Peer(_)) || self.session.is_over() {
            return failure;
        }
        let deadline = Instant::now() + EXPLAIN;
        loop {
            match self.hear_any(deadline) {
                // A frame that the other side sent before it gave up.
                Ok(_) => {}
                Err(told) if self.session.is_over() && self.told_of_a_peer => {
                    return Failure::Peer(format!("{told}; on this side {failure}"));
                }
                Err(told) if self.session.is_over() => return told,
                Err(_) => return failure,
            }
        }
    }

    /// Waits while nothing is due from the other side: until the deadline, or until one of `fds` has one of
    /// its events. Returns true if one has.
    ///
    /// # Errors
    /// [`Failure::Interrupted`], or [`Failure::Peer`] once the other side gave up or is gone.
    pub fn watch(&mut self, fds: &[PollFd<'_>], deadline: Instant) -> Result<bool, Failure> {
        // A frame in good order is read later, and does not end this wait.
        let mut all = fds.to_vec();
        all.push(PollFd::new(&self.stream, PollFlags::RDHUP));
        let ready = self.interrupt.wait(&mut all, Some(deadline))?;
        let gone = all.last().is_some_and(|fd| !fd.revents().is_empty());
        drop(all);
        if !gone && !self.has_given_up() {
            return Ok(ready);
        }
        // Its reason may come after what it said in good order.
        let deadline = Instant::now() + EXPLAIN;
        loop {
            self.hear_any(deadline)?;
        }
    }

    /// Makes Ctrl-C end the process there and then, for as long as the hook lives. This is for work that
    /// the system does not interrupt. The other side is told.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system has no descriptor left.
    pub fn leave_on_interrupt(&self) -> Result<Hook, Failure> {
        let stream = self.stream.try_clone().map_err(|error| {
            Failure::Run(format!("could not share the connection: {error}{}", advice(&error)))
        })?;
        let bytes = frame(Kind::Abort, &Abort::of(&Failure::Interrupted))?;
        Ok(self.interrupt.on_fire(move || {
            let _ = rustix::net::send(&stream, &bytes, SendFlags::NOSIGNAL | SendFlags::DONTWAIT);
            Talk::default().error(&Failure::Interrupted);
            // Not by `exit`, in which a plugin could hold it.
            gputcp_nccl_drive::leave(Failure::Interrupted.exit_code().into());
        }))
    }

    /// Returns whether the next frame is an abort.
    fn has_given_up(&self) -> bool {
        let mut header = [0; Header::BYTES];
        let peeked = rustix::net::recv(&self.stream, &mut header[..], RecvFlags::PEEK | RecvFlags::DONTWAIT);
        matches!(peeked, Ok((_, Header::BYTES)))
            && Header::decode(&header).is_ok_and(|header| header.kind == Kind::Abort)
    }

    /// Returns the name of the other side in messages.
    #[must_use]
    pub fn peer(&self) -> &str {
        &self.peer
    }

    /// Returns the request to stop that this link's waits end on.
    #[must_use]
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }

    /// Returns this side's address, as the other side knows it. A socket that takes both families calls
    /// IPv4 addresses by a name of IPv6.
    ///
    /// # Errors
    /// [`Failure::Run`] if the system does not say.
    pub fn local_address(&self) -> Result<SocketAddr, Failure> {
        let address = self.stream.local_addr();
        let address =
            address.map_err(|error| Failure::Run(format!("could not read this side's address: {error}")))?;
        Ok(match address.ip().to_canonical() {
            ip @ IpAddr::V4(_) => SocketAddr::new(ip, address.port()),
            // With its scope.
            IpAddr::V6(_) => address,
        })
    }

    fn write(&self, mut bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
        let since = Instant::now();
        while !bytes.is_empty() {
            match rustix::net::send(&self.stream, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT, since, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.gone(&error)),
            }
        }
        Ok(())
    }

    fn read(&self, mut bytes: &mut [u8], since: Instant, deadline: Instant) -> Result<(), Failure> {
        while !bytes.is_empty() {
            match rustix::net::recv(&self.stream, &mut *bytes, RecvFlags::empty()) {
                Ok((_, 0)) => return Err(self.gone(&"it closed the connection")),
                Ok((_, read)) => bytes = &mut bytes[read..],
                Err(Errno::AGAIN) => self.wait(PollFlags::IN, since, deadline)?,
                Err(Errno::INTR) => {}
                Err(error) => return Err(self.gone(&error)),
            }
        }
        Ok(())
    }

    /// Waits for the socket; `since` is when the frame was first waited for.
    fn wait(&self, events: PollFlags, since: Instant, deadline: Instant) -> Result<(), Failure> {
        if self.interrupt.wait_one(self.stream.as_fd(), events, deadline)? {
            return Ok(());
        }
        Err(Failure::Peer(format!(
            "{} was silent for {:.1} s while {}: it is stuck, or the network lost it (the bound is --timeout)",
            self.peer,
            since.elapsed().as_secs_f64(),
            self.session.doing(),
        )))
    }

    fn gone(&self, how: &dyn fmt::Display) -> Failure {
        let doing = self.session.doing();
        Failure::Peer(format!("{} is gone while {doing} ({how}): see what it says on its side", self.peer))
    }
}

/// Returns a frame's bytes.
///
/// # Errors
/// [`Failure::Run`] if they are beyond the kind's bound. The peer's words may be in them, so this is no
/// reason to panic.
pub(super) fn frame<T: Serialize>(kind: Kind, message: &T) -> Result<Vec<u8>, Failure> {
    let failed = |why: String| Failure::Run(format!("this side could not say {}: {why}", kind.name()));
    let payload = serde_json::to_vec(message).map_err(|error| failed(error.to_string()))?;
    let bytes = payload.len();
    if bytes > kind.bytes_max() as usize {
        return Err(failed(format!("its {bytes} bytes are beyond the bound of {}", kind.bytes_max())));
    }
    let mut frame = Header { kind, bytes: bytes as u32 }.encode().to_vec();
    frame.extend_from_slice(&payload);
    Ok(frame)
}

/// The wait for the reason of a connection that broke: it was said before.
const EXPLAIN: Duration = Duration::from_millis(200);

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpListener};

    use super::*;
    use crate::bootstrap::message::{Bye, End};

    fn pair() -> (TcpStream, Link) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (other, _) = listener.accept().unwrap();
        let link = Link::new(stream, Role::Client, Interrupt::new().unwrap(), "the server".into()).unwrap();
        (other, link)
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(100)
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let (_other, mut link) = pair();
        let error = link.hear::<End>(Kind::Hello, soon()).unwrap_err();
        assert!(error.to_string().starts_with("the server was silent for 0.1 s while greeting"), "{error}");
        assert_eq!(error.exit_code(), 5);
    }

    #[test]
    fn silence_counts_from_the_start_of_the_hearing() {
        let (mut other, mut link) = pair();
        let thread = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(80));
            other.write_all(&Header { kind: Kind::Hello, bytes: 9 }.encode()).unwrap();
            other
        });
        let error = link.hear::<End>(Kind::Hello, soon()).unwrap_err();
        assert!(error.to_string().starts_with("the server was silent for 0.1 s while greeting"), "{error}");
        drop(thread.join());
    }

    #[test]
    fn garbage_old_versions_and_endings_are_told_apart() {
        let say = |bytes: &[u8]| {
            let (mut other, mut link) = pair();
            other.write_all(bytes).unwrap();
            drop(other);
            link.hear::<End>(Kind::Hello, soon()).unwrap_err().to_string()
        };
        let mut old = Header { kind: Kind::Hello, bytes: 0 }.encode();
        old[4] = 77;
        let long = Header { kind: Kind::Abort, bytes: 4096 }.encode();
        let abort = br#"{"reason":"no \u001b[1mmemory","code":1}"#;
        let abort = [&Header { kind: Kind::Abort, bytes: abort.len() as u32 }.encode(), &abort[..]].concat();
        let interrupted = frame(Kind::Abort, &Abort::of(&Failure::Interrupted)).unwrap();
        let stranger = [Header { kind: Kind::Abort, bytes: 4 }.encode().as_slice(), b"nope"].concat();
        let all = [
            say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
            say(&old),
            say(&long),
            say(b""),
            say(&abort),
            say(&interrupted),
            say(&stranger),
            say(&frame(Kind::Bye, &Bye {}).unwrap()),
        ];
        let ours = format!("this side speaks {}:", gputcp_proto::frame::VERSION);
        insta::assert_snapshot!(all.join("\n").replace(&ours, "this side speaks another:"));
    }

    #[test]
    fn who_leaves_or_gives_up_is_noticed_while_nothing_is_due() {
        let late = || Instant::now() + Duration::from_secs(60);
        let (_silent, mut link) = pair();
        assert_eq!(link.watch(&[], soon()), Ok(false));
        let (other, mut link) = pair();
        drop(other);
        let failure = link.watch(&[], late()).unwrap_err();
        assert!(failure.to_string().starts_with("the server is gone while greeting"), "{failure}");
        let (mut other, mut link) = pair();
        let abort = Abort::of(&Failure::Run("the disk is full".into()));
        other.write_all(&frame(Kind::Abort, &abort).unwrap()).unwrap();
        let failure = loop {
            if let Err(failure) = link.watch(&[], soon()) {
                break failure;
            }
        };
        assert_eq!(failure.to_string(), "the server gave up: the disk is full");
        let (_silent, mut link) = pair();
        link.interrupt().fire();
        assert_eq!(link.watch(&[], late()), Err(Failure::Interrupted));
    }

    #[test]
    fn ctrl_c_ends_a_wait() {
        let (_other, mut link) = pair();
        link.interrupt().fire();
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(link.hear::<End>(Kind::Hello, late), Err(Failure::Interrupted));
    }

    #[test]
    fn the_peers_own_reason_explains_a_broken_connection() {
        let (mut other, mut link) = pair();
        let abort = Abort::of(&Failure::Run("the disk is full".into()));
        other.write_all(&frame(Kind::Abort, &abort).unwrap()).unwrap();
        let failure = link.explain(Failure::Peer("connection reset".into()));
        assert_eq!(failure.to_string(), "the server gave up: the disk is full");
        assert_eq!(link.explain(Failure::Interrupted), Failure::Interrupted);
    }

    #[test]
    fn who_each_blame_the_other_are_both_told_of() {
        let (mut other, mut link) = pair();
        let abort = Abort::of(&Failure::Peer("it reset the connection".into()));
        other.write_all(&frame(Kind::Abort, &abort).unwrap()).unwrap();
        let failure = link.explain(Failure::Peer("the plugin failed in test with code 2".into()));
        let both =
            "the server gave up: it reset the connection; on this side the plugin failed in test with code 2";
        assert_eq!(failure, Failure::Peer(both.into()));
    }
}
