//! One descriptor for all sockets that a listener waits for, so that an event loop can watch it.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::event::epoll;

use crate::sockets::Socket;

/// A set of sockets, readable while one of them is. A socket that is closed leaves it by itself.
#[derive(Debug)]
pub(super) struct ReadySet(OwnedFd);

impl ReadySet {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(epoll::CreateFlags::CLOEXEC)?))
    }

    pub(super) fn add(&self, socket: &Socket) -> io::Result<()> {
        Ok(epoll::add(&self.0, socket, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?)
    }

    /// Takes out a socket that stays open: its data is for others.
    pub(super) fn remove(&self, socket: &Socket) {
        // It fails only for a socket that was never added.
        let _ = epoll::delete(&self.0, socket);
    }
}

impl AsFd for ReadySet {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
