//! Requests: posting them, polling them, giving their slots back.

use std::{
    ffi::c_int,
    ptr,
    sync::OnceLock,
    thread::{self, ThreadId},
};

use gputcp_nccl_net::{
    ResultCode,
    export::{P, Receive, Receives},
};

use super::{comm_of, not_yet};
use crate::{
    comm::{Comm, End, Ticket, recv::Posting},
    faults::call,
    knobs::{Knobs, PARTS_MAX, Sizes},
    memory::{Kind, Lent, Registration},
};

pub(in crate::exports) unsafe fn isend(
    comm: P,
    data: P,
    bytes: Option<usize>,
    tag: c_int,
    mhandle: P,
    out: *mut P,
) -> c_int {
    call("isend", |knobs| {
        let bytes = bytes.ok_or(ResultCode::InvalidArgument)?;
        one_thread(knobs)?;
        // SAFETY: the host's own comm.
        let End::Send(end) = &unsafe { comm_of(comm) }.end else { return Err(ResultCode::InvalidArgument) };
        if bytes == 0 && knobs.violates("size-zero") {
            return Err(ResultCode::InvalidArgument);
        }
        // SAFETY: the host's promises.
        let memory = unsafe { lent(data, mhandle, knobs) }?;
        let slot = end.isend(memory, bytes, tag)?;
        // SAFETY: the host's promises.
        unsafe { give_request(comm, slot, out) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn irecv(comm: P, receives: &Receives, out: *mut P) -> c_int {
    call("irecv", |knobs| {
        one_thread(knobs)?;
        // SAFETY: the host's own comm.
        let End::Recv(end) = &unsafe { comm_of(comm) }.end else { return Err(ResultCode::InvalidArgument) };
        let parts = usize::try_from(receives.n).ok().filter(|parts| (1..=knobs.max_recvs).contains(parts));
        let parts = parts.ok_or(ResultCode::InvalidArgument)?;
        let nowhere = Lent { start: ptr::null_mut(), kind: Kind::Host };
        let (memory, capacities, tags) = ([nowhere; PARTS_MAX], [0; PARTS_MAX], [0; PARTS_MAX]);
        let mut posting = Posting { parts, memory, capacities, tags };
        for part in 0..parts {
            // SAFETY: the host gives arrays of `n`.
            let Receive { data, bytes, tag, mhandle } = unsafe { receives.at(part) };
            // SAFETY: the host's promises.
            posting.memory[part] = unsafe { lent(data, mhandle, knobs) }?;
            posting.capacities[part] = bytes.unwrap_or(0);
            posting.tags[part] = tag;
        }
        let slot = end.irecv(posting)?;
        if slot.is_none() && knobs.violates("irecv-overwrites-request-0x1") {
            return Ok(());
        }
        // SAFETY: the host's promises.
        unsafe { give_request(comm, slot, out) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn iflush(out: *mut P) -> c_int {
    call("iflush", |knobs| {
        // Data is in GPU memory before `test` says that a receive is done: there is nothing to flush.
        // SAFETY: the host gives room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        if knobs.violates("iflush") { Err(ResultCode::Internal) } else { Ok(()) }
    })
}

pub(in crate::exports) unsafe fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    call("test", |knobs| {
        if sizes.is_null() && knobs.violates("null-sizes") {
            return Err(ResultCode::InvalidArgument);
        }
        // SAFETY: the host's promises.
        let (comm, slot) = unsafe { opened(request) };
        let tested = match &comm.end {
            End::Send(end) => end.test(slot)?,
            End::Recv(end) => end.test(slot)?,
        };
        let Some(finished) = tested else {
            if !knobs.violates("done-once") {
                // SAFETY: the host gives room for a number.
                unsafe { done.write(0) };
            }
            return not_yet(knobs);
        };
        // SAFETY: as above.
        unsafe { done.write(1) };
        if !sizes.is_null()
            && knobs.violates(if finished.parts > 1 {
                "grouped-tags/sizes"
            } else {
                "receive-larger-than-send/sizes"
            })
        {
            // SAFETY: only asked for by a host that has more memory behind the sizes.
            unsafe { sizes.add(finished.parts).write(0) };
        }
        for part in 0..finished.parts {
            let right = finished.bytes[part];
            let said = match knobs.sizes {
                Sizes::Missing => continue,
                Sizes::Wrong => right + 1,
                Sizes::Right if knobs.violates("receive-larger-than-send") => finished.capacities[part],
                Sizes::Right => right,
            };
            if !sizes.is_null() {
                // SAFETY: the host gives room for as many numbers as the request has parts.
                unsafe { sizes.add(part).write(said as c_int) };
            }
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn irecv_consumed(request: P) -> c_int {
    call("irecvConsumed", |_| {
        // SAFETY: the host's promises.
        let (comm, slot) = unsafe { opened(request) };
        let End::Recv(end) = &comm.end else { return Err(ResultCode::InvalidArgument) };
        end.consumed(slot)
    })
}

/// # Safety
/// `comm` is the network's own, and `out` has room for a pointer.
unsafe fn give_request(comm: P, slot: Option<usize>, out: *mut P) {
    // SAFETY: the host's own comm.
    let request = slot.map_or(ptr::null(), |slot| unsafe { comm_of(comm) }.ticket(slot));
    // SAFETY: the host gives room for a pointer.
    unsafe { out.write(request.cast_mut().cast()) };
}

/// # Safety
/// `mhandle` is NULL, or `reg_mr` gave it and the host has not taken it back.
unsafe fn lent(data: P, mhandle: P, knobs: &Knobs) -> Result<Lent, ResultCode> {
    if mhandle.is_null() && knobs.violates("null-mhandle") {
        return Err(ResultCode::InvalidArgument);
    }
    // SAFETY: NULL, or what `reg_mr` gave and the host has not taken back.
    let registration = unsafe { mhandle.cast::<Registration>().as_ref() };
    Ok(Lent { start: data.cast(), kind: registration.map_or(Kind::Host, |registration| registration.kind) })
}

/// Refuses threads other than the first, in the plugin that works from one thread only.
fn one_thread(knobs: &Knobs) -> Result<(), ResultCode> {
    static FIRST: OnceLock<ThreadId> = OnceLock::new();
    let here = thread::current().id();
    if knobs.violates("threads") && *FIRST.get_or_init(|| here) != here {
        return Err(ResultCode::Internal);
    }
    Ok(())
}

/// Returns the comm and the slot that a request's pointer leads to.
///
/// # Safety
/// `isend` or `irecv` gave this pointer, into a comm that is open.
unsafe fn opened<'comm>(request: P) -> (&'comm Comm, usize) {
    // SAFETY: `isend` or `irecv` gave this pointer, into a comm that is open.
    unsafe {
        let ticket = &*request.cast::<Ticket>();
        (&*ticket.comm, ticket.slot)
    }
}
