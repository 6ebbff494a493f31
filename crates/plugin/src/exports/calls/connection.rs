//! Connections: listening, connecting, accepting, registering memory for them, closing.
//!
//! No function here waits for the peer.

use std::{
    ffi::c_int,
    ptr,
    sync::{Mutex, PoisonError},
};

use gputcp::{Handle, Listener};
use gputcp_nccl_net::export::P;
use gputcp_nccl_net::layout::constants::PTR_HOST;

use crate::{
    answer::{answer, failed, refused},
    comm::{Comm, End, Requests},
    connecting,
    memory::Registration,
    started::started,
};

/// A listen comm.
type Listening = Mutex<Listener>;

pub(in crate::exports) unsafe fn listen(dev: c_int, handle: P, out: *mut P) -> c_int {
    answer(|| {
        let plugin = started()?;
        let addresses = &plugin.device(dev)?.addresses;
        let listener = Listener::bind_all(addresses, plugin.options()).map_err(|error| failed(&error))?;
        let said = listener.handle().encode();
        let listening: Box<Listening> = Box::new(Mutex::new(listener));
        // SAFETY: room for a handle, which is bytes of no alignment, and for a pointer.
        unsafe {
            handle.cast::<u8>().copy_from_nonoverlapping(said.as_ptr(), said.len());
            out.write(Box::into_raw(listening).cast());
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn connect(dev: c_int, handle: P, out: *mut P) -> c_int {
    answer(|| {
        // SAFETY: room for a pointer: "not yet", until it is.
        unsafe { out.write(ptr::null_mut()) };
        let plugin = started()?;
        let over = plugin.device(dev)?;
        let mut said = [0; Handle::BYTES];
        // SAFETY: NCCL's handle, whose memory is the plugin's to use until there is a connection.
        unsafe { said.as_mut_ptr().copy_from_nonoverlapping(handle.cast(), said.len()) };
        let comm = connecting::connect(&mut said, over, plugin)?;
        // SAFETY: as above.
        unsafe { handle.cast::<u8>().copy_from_nonoverlapping(said.as_ptr(), said.len()) };
        if let Some(comm) = comm {
            // SAFETY: NCCL's promises.
            unsafe { give(End::Send(Requests::new(comm)), out) };
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn accept(listener: P, out: *mut P) -> c_int {
    answer(|| {
        // SAFETY: room for a pointer; and `listen` gave the listener, which NCCL has not closed.
        let listening = unsafe {
            out.write(ptr::null_mut());
            &*listener.cast::<Listening>()
        };
        let mut listener = listening.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(comm) = listener.poll().map_err(|error| failed(&error))? {
            // SAFETY: NCCL's promises.
            unsafe { give(End::Recv(Requests::new(comm)), out) };
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn reg_mr(data: P, bytes: usize, kind: c_int, out: *mut P) -> c_int {
    answer(|| {
        if kind != PTR_HOST {
            return Err(refused(&format!(
                "memory of type {kind} was to be registered, and only host memory is supported"
            )));
        }
        // SAFETY: the interface demands this of a caller that registers memory and lends it to requests.
        let registration = unsafe { Registration::new(data.cast(), bytes) };
        // SAFETY: room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(registration)).cast()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn dereg_mr(mhandle: P) -> c_int {
    answer(|| {
        if !mhandle.is_null() {
            // SAFETY: `reg_mr` gave this pointer, and NCCL takes it back once. Requests in flight hold the
            // buffer.
            drop(unsafe { Box::from_raw(mhandle.cast::<Registration>()) });
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn close(comm: P) -> c_int {
    answer(|| {
        if !comm.is_null() {
            // SAFETY: `give` made this pointer; NCCL closes it once, and uses it and its requests no more.
            let comm = unsafe { Box::from_raw(comm.cast::<Comm>()) };
            comm.close(started()?);
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn close_listen(listener: P) -> c_int {
    answer(|| {
        if !listener.is_null() {
            // SAFETY: `listen` gave this pointer, and NCCL closes it once.
            drop(unsafe { Box::from_raw(listener.cast::<Listening>()) });
        }
        Ok(())
    })
}

/// Gives a connection to NCCL.
///
/// # Safety
/// `out` has room for a pointer.
unsafe fn give(end: End, out: *mut P) {
    // SAFETY: room for a pointer.
    unsafe { out.write(Box::into_raw(Box::new(Comm::new(end))).cast()) };
}
