//! Requests: posting them and asking for them.

use std::{ffi::c_int, ptr};

use gputcp_nccl_abi::{ResultCode, guard::guard};

use super::P;
use crate::{
    answer::refused,
    comm::{Comm, REQUESTS},
    memory::{self, Registration},
};

pub(in crate::exports) fn isend(comm: P, data: P, bytes: usize, mhandle: P, out: *mut P) -> c_int {
    guard(|| {
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        // SAFETY: the request's memory, and its registration, are NCCL's promise.
        let (buffer, offset) = unsafe { memory::lent(data.cast(), bytes, registration(mhandle))? };
        let number = comm_of(comm).isend((&buffer, offset), bytes as u64)?;
        give(comm, number, out);
        Ok(())
    })
}

/// `bytes` reads the first length.
pub(in crate::exports) fn irecv(
    comm: P,
    n: c_int,
    data: *mut P,
    bytes: impl FnOnce() -> Result<usize, ResultCode>,
    mhandles: *mut P,
    out: *mut P,
) -> c_int {
    guard(|| {
        // Whatever it holds: NCCL puts a 1 there where it does not care for the end.
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        if n != super::MAX_RECVS {
            return Err(refused(&format!("{n} receives came in one request, of which it takes 1")));
        }
        let bytes = bytes()?;
        // SAFETY: arrays of one; that of registrations may be missing. The rest as in `isend`.
        let (buffer, offset) = unsafe {
            let mhandle = mhandles.as_ref().map_or(ptr::null_mut(), |first| *first);
            memory::lent((*data).cast(), bytes, registration(mhandle))?
        };
        let number = comm_of(comm).irecv((&buffer, offset), bytes as u64)?;
        give(comm, number, out);
        Ok(())
    })
}

pub(in crate::exports) fn iflush(out: *mut P) -> c_int {
    guard(|| {
        // Nothing is received to GPU memory, so there is nothing to flush: done at once.
        // SAFETY: room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        Ok(())
    })
}

pub(in crate::exports) fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    guard(|| {
        // SAFETY: room for a number.
        unsafe { done.write(0) };
        if request.is_null() {
            return Err(refused("test was called for a request that is NULL"));
        }
        let number = request.addr() % REQUESTS;
        let comm = request.map_addr(|address| address - number);
        if let Some(bytes) = comm_of(comm).test(number)? {
            // SAFETY: room for a number; NULL, or room for one more. A send says its size too, as NCCL's own do.
            unsafe {
                done.write(1);
                if let Some(size) = sizes.as_mut() {
                    *size = c_int::try_from(bytes).unwrap_or(c_int::MAX);
                }
            }
        }
        Ok(())
    })
}

/// A request's pointer: its connection's, and the request's number in the low bits.
fn give(comm: P, number: Option<usize>, out: *mut P) {
    let request = number.map_or(ptr::null_mut(), |number| comm.map_addr(|address| address + number));
    // SAFETY: room for a pointer.
    unsafe { out.write(request) };
}

fn comm_of<'comm>(comm: P) -> &'comm Comm {
    // SAFETY: `connect` or `accept` gave this pointer, and NCCL has not closed it.
    unsafe { &*comm.cast::<Comm>() }
}

/// # Safety
/// NULL, or what `reg_mr` gave and NCCL has not taken back.
unsafe fn registration<'comm>(mhandle: P) -> Option<&'comm Registration> {
    // SAFETY: the caller's promise.
    unsafe { mhandle.cast::<Registration>().as_ref() }
}
