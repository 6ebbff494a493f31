//! Notes after several transfers: a thread of the agent sends them, whether the program polls or not.

use std::{
    os::fd::{AsFd, OwnedFd},
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use gputcp::onesided::{Endpoint, Watch};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};

use crate::{log, request::Request};

/// The requests whose notes a thread sends, and the thread, which the first request starts.
#[derive(Debug)]
pub(crate) struct After {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug)]
struct Shared {
    requests: Mutex<Vec<Weak<Request>>>,
    watches: Mutex<Vec<Arc<Watch>>>,
    /// Becomes readable when there is a new request, or the end.
    event: OwnedFd,
    is_stopped: AtomicBool,
}

impl After {
    /// # Errors
    /// A sentence, if the system has no more descriptors.
    pub(crate) fn new() -> Result<Arc<Self>, String> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| format!("could not make a descriptor for events: {error}"))?;
        let shared = Shared {
            requests: Mutex::default(),
            watches: Mutex::default(),
            event,
            is_stopped: AtomicBool::new(false),
        };
        Ok(Arc::new(Self { shared: Arc::new(shared), thread: Mutex::default() }))
    }

    /// Has the thread hear of the ends of an endpoint's transfers.
    ///
    /// # Errors
    /// If the system has no more descriptors.
    pub(crate) fn watch(&self, endpoint: &Endpoint) -> gputcp::Result<()> {
        let watch = endpoint.watch()?;
        lock(&self.shared.watches).push(Arc::new(watch));
        Ok(())
    }

    /// Has the thread finish a request.
    pub(crate) fn add(&self, request: Weak<Request>) {
        lock(&self.shared.requests).push(request);
        let mut thread = lock(&self.thread);
        if thread.is_none() {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name("gputcp-nixl".into()).spawn(move || shared.run());
            // Without the thread, the program's polls send the notes.
            *thread = started
                .inspect_err(|error| {
                    log::say(&format!("could not start the thread of notifications: {error}"))
                })
                .ok();
        }
        drop(thread);
        self.shared.ring();
    }

    /// Ends the thread.
    pub(crate) fn stop(&self) {
        self.shared.is_stopped.store(true, Ordering::Release);
        self.shared.ring();
        if let Some(thread) = lock(&self.thread).take() {
            // A thread that panicked has reported it on stderr.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn ring(&self) {
        // The write fails only when the counter is full, and then the descriptor is readable anyway.
        let _ = rustix::io::write(&self.event, &1u64.to_ne_bytes());
    }

    fn run(&self) {
        while !self.is_stopped.load(Ordering::Acquire) {
            let watches = lock(&self.watches).clone();
            // Cleared first: an end that comes later makes the descriptor readable again.
            let _ = rustix::io::read(&self.event, &mut [0; 8]);
            watches.iter().for_each(|watch| watch.clear());
            let mut requests = std::mem::take(&mut *lock(&self.requests));
            requests.retain(|request| !Request::finish(request));
            let is_idle = {
                let mut waiting = lock(&self.requests);
                waiting.append(&mut requests);
                waiting.is_empty()
            };
            let watches = if is_idle { &[][..] } else { &watches };
            let mut watched = vec![PollFd::new(&self.event, PollFlags::IN)];
            watched
                .extend(watches.iter().map(|watch| PollFd::from_borrowed_fd(watch.as_fd(), PollFlags::IN)));
            // All is looked at next, whether it reports an event or not.
            let _ = poll(&mut watched, Timespec::try_from(LOOK).ok().as_ref());
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The longest sleep.
const LOOK: Duration = Duration::from_secs(1);
