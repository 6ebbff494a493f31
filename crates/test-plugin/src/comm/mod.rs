//! An open connection, from either end, and its requests.

pub(crate) mod recv;
pub(crate) mod send;

use std::{
    net::Shutdown,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use gputcp_nccl_net::ResultCode;
use socket2::Socket;

use self::{recv::RecvComm, send::SendComm};

/// What a comm's pointer leads to. It owns the tickets that its requests' pointers lead to.
pub(crate) struct Comm {
    pub(crate) end: End,
    tickets: Vec<Ticket>,
}

/// Which end of the connection.
pub(crate) enum End {
    Send(SendComm),
    Recv(RecvComm),
}

/// What a request's pointer leads to.
pub(crate) struct Ticket {
    pub(crate) comm: *const Comm,
    pub(crate) slot: usize,
}

impl Comm {
    /// Puts it where its tickets can point to it; given back with `Box::from_raw`.
    pub(crate) fn open(end: End, slots: usize) -> *mut Self {
        let comm = Box::into_raw(Box::new(Self { end, tickets: Vec::with_capacity(slots) }));
        // SAFETY: just made, and nobody else has it.
        unsafe { (*comm).tickets.extend((0..slots).map(|slot| Ticket { comm, slot })) };
        comm
    }

    /// The pointer of the request in a slot.
    pub(crate) fn ticket(&self, slot: usize) -> *const Ticket {
        &raw const self.tickets[slot]
    }
}

/// A request's life in common: when it was posted, how often it was asked for, and when it may be said to be done.
#[derive(Debug, Clone, Copy)]
struct Age {
    number: u64,
    asked: u32,
    ready_at: Option<Instant>,
}

impl Age {
    const fn new(number: u64) -> Self {
        Self { number, asked: 0, ready_at: None }
    }
}

/// State is changed in single steps that do not panic halfway: a poisoned lock guards a state that is whole.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends whatever other threads wait for on these sockets.
fn shut(sockets: &[Socket], how: Shutdown) {
    for socket in sockets {
        let _ = socket.shutdown(how);
    }
}

/// What `test` answers: `None` is "not yet".
pub(crate) type Tested = Result<Option<Done>, ResultCode>;

/// A finished request: the lengths of its parts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Done {
    pub(crate) parts: usize,
    pub(crate) bytes: [usize; crate::knobs::PARTS_MAX],
    pub(crate) capacities: [usize; crate::knobs::PARTS_MAX],
}

/// The plugin that leaks slots leaks them from this request on.
const LEAK_FROM: u64 = 160;
