//! Who stands by: sleeps on an epoll set, in which the control socket is armed for one event at a time. A thread for one
//! connection ([`Alone`]), or a pool's for all of its own.

use std::{
    io,
    mem::MaybeUninit,
    os::fd::OwnedFd,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use rustix::event::{EventfdFlags, Timespec, epoll, eventfd};

use crate::sockets::{Socket, locks::lock};

/// What comes of attending to a control socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attention {
    /// Standby will be told when there is more to do.
    Armed,
    /// Somebody polls the socket: standby is told of nothing, and comes back after [`AWAY`].
    Away,
    /// Nothing more can come.
    Over,
}

/// Where a control socket is watched, and by which name.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    pub(crate) set: Arc<OwnedFd>,
    pub(crate) name: u64,
}

/// What a control socket is armed for.
#[derive(Debug)]
pub(super) struct Armed {
    watch: Watch,
    wants: Mutex<Wants>,
}

#[derive(Debug)]
struct Wants {
    /// Somebody leads, so standby is not told of what comes.
    led: bool,
    /// Somebody polls, so neither: standby comes back by itself.
    polled: bool,
    /// Something is left to write.
    room: bool,
}

impl Armed {
    /// For nothing yet.
    pub(super) fn new(watch: &Watch, socket: &Socket) -> io::Result<Self> {
        epoll::add(&watch.set, socket, epoll::EventData::new_u64(watch.name), epoll::EventFlags::ONESHOT)?;
        Ok(Self { watch: watch.clone(), wants: Mutex::new(Wants { led: false, polled: false, room: false }) })
    }

    pub(super) fn lead(&self, socket: &Socket, led: bool) -> io::Result<()> {
        let mut wants = lock(&self.wants);
        wants.led = led;
        self.modify(socket, &wants)
    }

    /// Whether what comes is left to polls, until standby comes back. From the next arming on, as that for room, which would tell
    /// of what is there to be read again and again.
    pub(super) fn leave_to_polls(&self, polled: bool) {
        lock(&self.wants).polled = polled;
    }

    /// Asks to be told when there is room to write.
    pub(super) fn want_room(&self, socket: &Socket) -> io::Result<()> {
        let mut wants = lock(&self.wants);
        wants.room = true;
        self.modify(socket, &wants)
    }

    /// Takes that back. What is left to write is tried again after this, and may want room again.
    pub(super) fn tries(&self) {
        lock(&self.wants).room = false;
    }

    /// After an event. Not where nothing is wanted: the kernel tells of a lost connection even so, again and again.
    pub(super) fn rearm(&self, socket: &Socket) -> io::Result<()> {
        let wants = lock(&self.wants);
        if (wants.led || wants.polled) && !wants.room { Ok(()) } else { self.modify(socket, &wants) }
    }

    pub(super) fn leave(&self, socket: &Socket) {
        // Fails only if it has been done.
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

/// What a thread of its own stands by with, for one connection.
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

    /// Where the connection's control socket is to be watched.
    pub(crate) fn watch(&self) -> Watch {
        Watch { set: self.set.clone(), name: SOCKET }
    }

    /// Runs the thread until [`Alone::stop`]: calls `attend` whenever there is something to do, until that says that nothing
    /// more can come, and `watch` every `interval`.
    pub(crate) fn stand_by(
        &self,
        attend: impl Fn() -> Attention,
        (watch, interval): (impl Fn(), Duration),
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

/// How long standby stays away from a socket that is polled: what comes when the polling has ended waits no longer than this.
pub(crate) const AWAY: Duration = Duration::from_millis(1);
const SOCKET: u64 = 0;
const STOP: u64 = 1;
