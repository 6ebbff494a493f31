//! The background reader: sleeps on an epoll set, in which the control socket is armed for one event at a
//! time. It is a thread for one connection ([`Alone`]), or a pool's for all of its own.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::sockets::{Socket, locks::lock};

/// The outcome of attending to a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// The background reader is woken when there are more events.
    Armed,
    /// A caller polls the socket: the background reader is woken for no frame, and comes back after [`AWAY`].
    Away,
    /// No more frames can come.
    Over,
}

/// The set in which a control socket is watched, and its name there.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) set: Arc<OwnedFd>,
    pub(crate) name: u64,
}

/// The events that a control socket is armed for.
#[derive(Debug)]
pub(super) struct Armed {
    watch: Watch,
    wants: Mutex<Wants>,
}

#[derive(Debug)]
struct Wants {
    /// A caller leads, so the background reader is not woken for frames.
    led: bool,
    /// A caller polls, so the background reader is not woken either: it comes back by itself.
    polled: bool,
    /// Some bytes are left to write.
    room: bool,
}

impl Armed {
    /// Enters a socket, armed for no event yet.
    pub(super) fn new(watch: &Watch, socket: &Socket) -> io::Result<Self> {
        epoll::add(&watch.set, socket, epoll::EventData::new_u64(watch.name), epoll::EventFlags::ONESHOT)?;
        Ok(Self { watch: watch.clone(), wants: Mutex::new(Wants { led: false, polled: false, room: false }) })
    }

    pub(super) fn lead(&self, socket: &Socket, led: bool) -> io::Result<()> {
        let mut wants = lock(&self.wants);
        wants.led = led;
        self.modify(socket, &wants)
    }

    /// Sets whether frames are left to polls, until the background reader comes back. It holds from the next
    /// arming on, also for one for room. An event for room would report the unread frames too, again and
    /// again.
    pub(super) fn leave_to_polls(&self, polled: bool) {
        lock(&self.wants).polled = polled;
    }

    /// Arms the socket for room to write.
    pub(super) fn want_room(&self, socket: &Socket) -> io::Result<()> {
        let mut wants = lock(&self.wants);
        wants.room = true;
        self.modify(socket, &wants)
    }

    /// Takes that back. The bytes that are left are written again after this, which may want room again.
    pub(super) fn tries(&self) {
        lock(&self.wants).room = false;
    }

    /// Arms the socket again after an event. Skipped where no event is wanted: the kernel reports a lost
    /// connection even so, again and again.
    pub(super) fn rearm(&self, socket: &Socket) -> io::Result<()> {
        let wants = lock(&self.wants);
        if (wants.led || wants.polled) && !wants.room { Ok(()) } else { self.modify(socket, &wants) }
    }

    pub(super) fn leave(&self, socket: &Socket) {
        // It fails only if it has been done.
        let _ = epoll::delete(&self.watch.set, socket);
    }

    fn modify(&self, socket: &Socket, wants: &Wants) -> io::Result<()> {
        let mut events = epoll::EventFlags::ONESHOT;
        events.set(epoll::EventFlags::IN, !wants.led && !wants.polled);
        events.set(epoll::EventFlags::OUT, wants.room);
        let name = epoll::EventData::new_u64(self.watch.name);
        Ok(epoll::modify(&self.watch.set, socket, name, events)?)
    }
}

/// The descriptors with which a thread of its own stands by for one connection.
#[derive(Debug)]
pub(crate) struct Alone {
    set: Arc<OwnedFd>,
    stop: OwnedFd,
}

impl Alone {
    pub(crate) fn new() -> io::Result<Self> {
        let set = Arc::new(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        let stop = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        epoll::add(&set, &stop, epoll::EventData::new_u64(STOP), epoll::EventFlags::IN)?;
        Ok(Self { set, stop })
    }

    /// Returns where the connection's control socket is to be watched.
    pub(crate) fn watch(&self) -> Watch {
        Watch { set: self.set.clone(), name: SOCKET }
    }

    /// Runs the thread until [`Alone::stop`]. Calls `attend` at each event, until that reports that no more
    /// can come, and `watch` every `interval`.
    pub(crate) fn read_in_background(
        &self,
        attend: impl Fn() -> Attention,
        watch: impl Fn(),
        interval: Duration,
    ) -> io::Result<()> {
        // On the stack: the thread may reach this line long after connect has returned (invariant I4).
        let mut events = [MaybeUninit::uninit(); 2];
        let mut attention = Attention::Armed;
        let mut next_watch = Instant::now() + interval;
        loop {
            let until_watch = next_watch.saturating_duration_since(Instant::now());
            let until = if attention == Attention::Away { until_watch.min(AWAY) } else { until_watch };
            let limit =
                Timespec { tv_sec: until.as_secs().cast_signed(), tv_nsec: until.subsec_nanos().into() };
            let heard = match epoll::wait(&self.set, &mut events, Some(&limit)) {
                Err(rustix::io::Errno::INTR) => continue,
                heard => heard?.0,
            };
            let is_told = !heard.is_empty();
            if heard.iter().any(|event| { event.data }.u64() == STOP) {
                return Ok(());
            }
            if attention != Attention::Over && (is_told || attention == Attention::Away) {
                attention = attend();
            }
            if Instant::now() >= next_watch {
                watch();
                next_watch = Instant::now() + interval;
            }
        }
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1u64.to_ne_bytes());
    }
}

/// The time that the background reader stays away from a polled socket: a frame that comes after the last
/// poll waits no longer than this.
pub(crate) const AWAY: Duration = Duration::from_millis(1);
const SOCKET: u64 = 0;
const STOP: u64 = 1;
