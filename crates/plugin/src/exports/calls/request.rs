//! Requests: posting them and polling them.

use std::{ffi::c_int, ptr};

use gputcp::Part;
use gputcp_gpu::Buffer;
use gputcp_nccl_net::{
    ResultCode,
    export::{P, Receive, Receives},
};
use gputcp_proto::frame::RECEIVES_MAX;

use crate::{
    answer::{answer, refused},
    comm::{Comm, NUMBERS},
    memory::{self, Registration},
};

pub(in crate::exports) unsafe fn isend(
    comm: P,
    data: P,
    bytes: Option<usize>,
    tag: c_int,
    mhandle: P,
    out: *mut P,
) -> c_int {
    answer(|| {
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        let bytes = bytes.ok_or(ResultCode::InvalidArgument)?;
        // SAFETY: the request's memory, and its registration, are NCCL's promise.
        let (buffer, offset) = unsafe { memory::lent(data.cast(), bytes, registration(mhandle))? };
        // SAFETY: NCCL's own comm.
        let number = unsafe { comm_of(comm) }.isend(&buffer, offset, bytes as u64, tag)?;
        // SAFETY: NCCL's promises.
        unsafe { give(comm, number, out) };
        Ok(())
    })
}

/// Posts a receive request.
pub(in crate::exports) unsafe fn irecv(comm: P, parts: &Receives, out: *mut P) -> c_int {
    answer(|| {
        // The pointer may hold anything: NCCL puts a 1 there where it does not care for the end.
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        // SAFETY: NCCL's own comm.
        let receiving = unsafe { comm_of(comm) };
        // The connection itself limits the number of receives.
        let Ok(n @ 1..=MOST) = usize::try_from(parts.n) else {
            let n = parts.n;
            return Err(refused(&format!("{n} receives came in one request: it has 1 to {MOST}")));
        };
        // SAFETY: arrays of at least one; the request's memory, and its registration, are NCCL's promise.
        let first = unsafe { lent(parts, 0)? };
        let number = if n == 1 {
            receiving.irecv(first.part())?
        } else {
            let mut rest = [const { None }; MOST - 1];
            for (at, place) in (1..n).zip(&mut rest) {
                // SAFETY: arrays of `n`; as above.
                *place = Some(unsafe { lent(parts, at)? });
            }
            let mut group = [first.part(); MOST];
            for (part, lent) in group[1..].iter_mut().zip(rest.iter().flatten()) {
                *part = lent.part();
            }
            receiving.irecv_group(&group[..n])?
        };
        // SAFETY: NCCL's promises.
        unsafe { give(comm, number, out) };
        Ok(())
    })
}

/// A receive of a group, and the memory that NCCL lends to it.
struct Lent {
    buffer: Buffer,
    offset: u64,
    bytes: u64,
    tag: c_int,
}

impl Lent {
    const fn part(&self) -> Part<'_> {
        let &Self { ref buffer, offset, bytes, tag } = self;
        Part { destination: buffer, offset, bytes, tag }
    }
}

/// Returns the receive at a place, with the memory that NCCL lends to it.
///
/// # Safety
/// The arrays have this place, and the memory is lent as for [`Registration::new`].
unsafe fn lent(parts: &Receives, at: usize) -> Result<Lent, ResultCode> {
    // SAFETY: the caller's promise.
    let Receive { data, bytes, tag, mhandle } = unsafe { parts.at(at) };
    let bytes = bytes.ok_or(ResultCode::InvalidArgument)?;
    // SAFETY: the caller's promise.
    let (buffer, offset) = unsafe { memory::lent(data.cast(), bytes, registration(mhandle))? };
    Ok(Lent { buffer, offset, bytes: bytes as u64, tag })
}

pub(in crate::exports) unsafe fn iflush(out: *mut P) -> c_int {
    answer(|| {
        // The plugin receives nothing to GPU memory, so there is nothing to flush: done at once.
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    answer(|| {
        // SAFETY: room for a number.
        unsafe { done.write(0) };
        if request.is_null() {
            return Err(refused("test was called for a request that is NULL"));
        }
        let number = request.addr() % NUMBERS;
        let comm = request.map_addr(|address| address - number);
        // A send reports its size too, as NCCL's own sends do.
        let say = |at: usize, bytes: u64| {
            if !sizes.is_null() {
                // SAFETY: room for as many numbers as the request has receives, or one.
                unsafe { sizes.add(at).write(c_int::try_from(bytes).unwrap_or(c_int::MAX)) };
            }
        };
        // SAFETY: the comm of a request that NCCL has.
        if unsafe { comm_of(comm) }.test(number, say)? {
            // SAFETY: room for a number.
            unsafe { done.write(1) };
        }
        Ok(())
    })
}

/// Gives NCCL a request's pointer: its connection's, and the request's number in the low bits.
///
/// # Safety
/// `out` has room for a pointer.
unsafe fn give(comm: P, number: Option<usize>, out: *mut P) {
    let request = number.map_or(ptr::null_mut(), |number| comm.map_addr(|address| address + number));
    // SAFETY: room for a pointer.
    unsafe { out.write(request) };
}

/// # Safety
/// `connect` or `accept` gave this pointer, and NCCL has not closed it.
unsafe fn comm_of<'comm>(comm: P) -> &'comm Comm {
    // SAFETY: the caller's promise.
    unsafe { &*comm.cast::<Comm>() }
}

/// # Safety
/// NULL, or a pointer that `reg_mr` gave and NCCL has not taken back.
unsafe fn registration<'comm>(mhandle: P) -> Option<&'comm Registration> {
    // SAFETY: the caller's promise.
    unsafe { mhandle.cast::<Registration>().as_ref() }
}

const MOST: usize = RECEIVES_MAX as usize;
