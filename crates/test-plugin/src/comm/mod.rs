//! One end of an open connection, and its requests.

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

/// The target of a comm's pointer. Owns the tickets, the targets of its requests' pointers.
pub(crate) struct Comm {
    pub(crate) end: End,
    tickets: Vec<Ticket>,
}

/// The end of the connection.
pub(crate) enum End {
    Send(SendComm),
    Recv(RecvComm),
}

/// The target of a request's pointer.
pub(crate) struct Ticket {
    pub(crate) comm: *const Comm,
    pub(crate) slot: usize,
}

impl Comm {
    /// Puts a comm on the heap, where its tickets point to it; given back with `Box::from_raw`.
    pub(crate) fn open(end: End, slots: usize) -> *mut Self {
        let comm = Box::into_raw(Box::new(Self { end, tickets: Vec::with_capacity(slots) }));
        // SAFETY: just made, and not shared yet.
        unsafe { (*comm).tickets.extend((0..slots).map(|slot| Ticket { comm, slot })) };
        comm
    }

    /// Returns the pointer of the request in a slot.
    pub(crate) fn ticket(&self, slot: usize) -> *const Ticket {
        &raw const self.tickets[slot]
    }
}

/// A request's age: its number in the order of posting, the calls of `test` for it, and its earliest end.
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

/// Locks a state. State is changed in single steps that do not panic halfway, so a poisoned lock guards a
/// whole state.
fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Ends the waits of other threads on these sockets.
fn shut(sockets: &[Socket], how: Shutdown) {
    for socket in sockets {
        let _ = socket.shutdown(how);
    }
}

/// The answer of `test`: `None` is "not yet".
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
