//! Watches: descriptors by which event loops sleep until a transfer ends or a note comes.

use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{Arc, Mutex, Weak},
};

use rustix::event::{EventfdFlags, eventfd};

use crate::{Error, Result, sockets::lock};

/// A descriptor that becomes readable when a transfer of its endpoint ends, or a note comes.
///
/// It may also become readable without either. The loop calls [`Watch::clear`], then looks at its transfers:
/// in this order none is missed.
#[derive(Debug)]
pub struct Watch {
    event: Arc<OwnedFd>,
}

/// The watches of an endpoint.
#[derive(Debug, Default)]
pub(super) struct Watches {
    events: Mutex<Vec<Weak<OwnedFd>>>,
}

impl Watch {
    /// Makes the descriptor unreadable until the next event.
    pub fn clear(&self) {
        // It fails only if there was no event.
        let _ = rustix::io::read(&*self.event, &mut [0; 8]);
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

impl Watches {
    pub(super) fn add(&self) -> Result<Watch> {
        let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|error| Error::system("make a descriptor for an event loop", error))?;
        let event = Arc::new(event);
        let mut events = lock(&self.events);
        events.retain(|event| event.strong_count() > 0);
        events.push(Arc::downgrade(&event));
        Ok(Watch { event })
    }

    pub(super) fn ring(&self) {
        for event in lock(&self.events).iter().filter_map(Weak::upgrade) {
            // The write fails only when the counter is full, and then the descriptor is readable anyway.
            let _ = rustix::io::write(&*event, &1u64.to_ne_bytes());
        }
    }
}
