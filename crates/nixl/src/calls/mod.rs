//! The functions that the C++ side calls, and those that NIXL looks up.
//!
//! Each runs behind the [`wall`](crate::wall).

mod table;

use std::{
    ffi::{c_int, c_void},
    panic::catch_unwind,
    ptr, slice,
    sync::Arc,
};

use gputcp::onesided::Operation;

use self::table::{Add, CALLS, Calls, Parameter, Range, Text};
use crate::{
    agent::{Agent, Kind},
    lists::{Descriptor, Lists},
    loaded, log,
    memory::{Local, Remote},
    request::Request,
    status::{Status, refused},
    wall::{free, guard},
};

/// Returns the backend's functions to NIXL; null, after a sentence, if its version is not known.
#[unsafe(no_mangle)]
pub extern "C" fn nixl_plugin_init() -> *mut c_void {
    let plugin = catch_unwind(|| match loaded::check() {
        // SAFETY: the table is as `shim/calls.h` declares it, and a static.
        Ok(()) => unsafe { gputcp_nixl_plugin(&CALLS) },
        Err(why) => {
            log::say(&why);
            ptr::null_mut()
        }
    });
    plugin.unwrap_or(ptr::null_mut())
}

/// Ends nothing: each agent ends by itself, and the library stays loaded.
#[unsafe(no_mangle)]
pub const extern "C" fn nixl_plugin_fini() {}

unsafe extern "C" {
    fn gputcp_nixl_plugin(calls: *const Calls) -> *mut c_void;
}

unsafe extern "C" fn start(name: Text, parameters: *const Parameter, count: usize) -> *mut c_void {
    let mut agent = ptr::null_mut();
    guard(|| {
        // SAFETY: the C++ side's strings and its list, which live during the call.
        let (name, list) =
            unsafe { (name.get(), if count == 0 { &[] } else { slice::from_raw_parts(parameters, count) }) };
        // SAFETY: as above.
        let text = |text: Text| String::from_utf8_lossy(unsafe { text.get() }).into_owned();
        let list: Vec<_> = list.iter().map(|one| (text(one.name), text(one.value))).collect();
        let started = Agent::start(name, &list).map_err(|why| refused(Status::BACKEND, &why))?;
        agent = Box::into_raw(Box::new(started)).cast();
        Ok(Status::SUCCESS)
    });
    agent
}

unsafe extern "C" fn stop(agent: *mut c_void) {
    free(|| {
        // SAFETY: `start` gave it, and NIXL ends it once, after all other calls.
        drop(unsafe { Box::from_raw(agent.cast::<Agent>()) });
        Ok(Status::SUCCESS)
    });
}

unsafe extern "C" fn register_memory(
    agent: *const Agent,
    range: *const Range,
    memory: c_int,
    out: *mut *const Local,
) -> Status {
    guard(|| {
        // SAFETY: `start` gave the agent, which is not ended; the range lives during the call.
        let (agent, range) = unsafe { (&*agent, *range) };
        let kind = match memory {
            0 => Kind::Host,
            1 => Kind::Gpu,
            other => {
                let why = format!("memory of kind {other} was registered; this backend knows DRAM and VRAM");
                return Err(refused(Status::INVALID_PARAMETER, &why));
            }
        };
        // SAFETY: the program promises NIXL that the memory stays until it is deregistered.
        let local = unsafe { agent.register(kind, range.device, range.start, range.bytes) }?;
        // SAFETY: room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(local))) };
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn deregister_memory(agent: *const Agent, local: *const Local) -> Status {
    free(|| {
        if local.is_null() {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: `start` gave the agent, which is not ended. `register_memory` gave the memory, and NIXL
        // gives it back once.
        let (agent, local) = unsafe { (&*agent, Box::from_raw(local.cast_mut())) };
        agent.deregister(*local).map(|()| Status::SUCCESS)
    })
}

unsafe extern "C" fn public_data(local: *const Local, out: *mut u8) -> usize {
    // SAFETY: `register_memory` gave the memory, if there is any.
    let Some(local) = (unsafe { local.as_ref() }) else { return 0 };
    copy_out(&local.public_data(), out)
}

unsafe extern "C" fn connection_info(agent: *const Agent, out: *mut u8) -> usize {
    // SAFETY: `start` gave the agent, which is not ended.
    copy_out(&unsafe { &*agent }.connection_info(), out)
}

fn copy_out<const N: usize>(bytes: &[u8; N], out: *mut u8) -> usize {
    const { assert!(N <= 256, "the C++ side's PUBLIC_BYTES") };
    // SAFETY: the C++ side gives room for PUBLIC_BYTES.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), out, N) };
    N
}

unsafe extern "C" fn load_connection_info(agent: *const Agent, name: Text, info: Text) -> Status {
    guard(|| {
        // SAFETY: `start` gave the agent, which is not ended; the texts live during the call.
        let (agent, name, info) = unsafe { (&*agent, name.get(), info.get()) };
        agent.load_connection_info(name, info).map(|()| Status::SUCCESS)
    })
}

unsafe extern "C" fn connect(agent: *const Agent, name: Text) -> Status {
    guard(|| {
        // SAFETY: as in `load_connection_info`.
        let (agent, name) = unsafe { (&*agent, name.get()) };
        agent.connect(name).map(|()| Status::SUCCESS)
    })
}

unsafe extern "C" fn disconnect(agent: *const Agent, name: Text) -> Status {
    free(|| {
        // SAFETY: as in `load_connection_info`.
        let (agent, name) = unsafe { (&*agent, name.get()) };
        agent.disconnect(name);
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn load_remote(
    agent: *const Agent,
    range: *const Range,
    blob: Text,
    name: Text,
    out: *mut *const Remote,
) -> Status {
    guard(|| {
        // SAFETY: as in `load_connection_info`; the range lives during the call.
        let (agent, range, blob, name) = unsafe { (&*agent, *range, blob.get(), name.get()) };
        let remote = agent.load_remote(range.start, range.bytes, blob, name)?;
        // SAFETY: room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(remote))) };
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn load_local(agent: *const Agent, local: *const Local, out: *mut *const Remote) -> Status {
    guard(|| {
        // SAFETY: `start` gave the agent, which is not ended, and `register_memory` the memory, if any.
        let (agent, local) = unsafe { (&*agent, local.as_ref().ok_or(Status::INVALID_PARAMETER)?) };
        // SAFETY: room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(agent.load_local(local)))) };
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn unload(remote: *const Remote) {
    free(|| {
        if !remote.is_null() {
            // SAFETY: one of `load_remote` and `load_local` gave it, and NIXL gives it back once.
            drop(unsafe { Box::from_raw(remote.cast_mut()) });
        }
        Ok(Status::SUCCESS)
    });
}

unsafe extern "C" fn prepare(
    agent: *const Agent,
    operation: c_int,
    local: *const Descriptor,
    locals: usize,
    remote: *const Descriptor,
    remotes: usize,
    name: Text,
    out: *mut *const Request,
) -> Status {
    guard(|| {
        // SAFETY: as in `load_connection_info`.
        let (agent, name) = unsafe { (&*agent, name.get()) };
        let operation = match operation {
            0 => Operation::Read,
            1 => Operation::Write,
            other => {
                return Err(refused(Status::INVALID_PARAMETER, &format!("there is no operation {other}")));
            }
        };
        let list = |start: *const Descriptor, count: usize| match count {
            0 => &[][..],
            // SAFETY: NIXL's lists live during the call. One without items may have no place.
            _ => unsafe { slice::from_raw_parts(start, count) },
        };
        // SAFETY: NIXL fills the local list with memory of `register_memory`, and the remote one with that of
        // `load_remote` and `load_local`.
        let lists = unsafe { Lists::new(list(local, locals), list(remote, remotes)) };
        let lists = lists.map_err(|why| refused(Status::INVALID_PARAMETER, &why))?;
        let request = agent.prepare(operation, lists, name)?;
        // SAFETY: room for a pointer.
        unsafe { out.write(Arc::into_raw(request)) };
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn post(
    agent: *const Agent,
    request: *const Request,
    has_note: bool,
    note: Text,
) -> Status {
    guard(|| {
        if request.is_null() {
            return Err(Status::INVALID_PARAMETER);
        }
        // SAFETY: `start` gave the agent, which is not ended. `prepare` gave the request, whose owner stays
        // NIXL. The text lives during the call.
        let (agent, request, note) = unsafe {
            Arc::increment_strong_count(request);
            (&*agent, Arc::from_raw(request), note.get())
        };
        agent.post(&request, has_note.then_some(note))
    })
}

unsafe extern "C" fn check(request: *const Request) -> Status {
    guard(|| {
        // SAFETY: `prepare` gave the request, and NIXL has not released it.
        let request = unsafe { request.as_ref() }.ok_or(Status::INVALID_PARAMETER)?;
        Ok(request.check())
    })
}

/// Releases a request. One that is under way is cancelled: parts of it that have begun may go on, in memory
/// that stays registered until they end.
unsafe extern "C" fn release(request: *const Request) -> Status {
    free(|| {
        if !request.is_null() {
            // SAFETY: `prepare` gave the request, and NIXL releases it once.
            drop(unsafe { Arc::from_raw(request) });
        }
        Ok(Status::SUCCESS)
    })
}

unsafe extern "C" fn take_notifications(agent: *const Agent, sink: *mut c_void, add: Add) -> Status {
    guard(|| {
        // SAFETY: `start` gave the agent, which is not ended.
        let all = unsafe { &*agent }.take_notifications();
        let mut is_kept = true;
        for (name, bytes) in &all {
            // SAFETY: the C++ side's own function and sink; the texts live during the call.
            is_kept &= unsafe { add(sink, Text::of(name), Text::of(bytes)) };
        }
        if is_kept {
            Ok(Status::SUCCESS)
        } else {
            Err(refused(Status::BACKEND, "no memory for notifications"))
        }
    })
}

unsafe extern "C" fn notify(agent: *const Agent, name: Text, note: Text) -> Status {
    guard(|| {
        // SAFETY: as in `load_connection_info`.
        let (agent, name, note) = unsafe { (&*agent, name.get(), note.get()) };
        agent.notify(name, note).map(|()| Status::SUCCESS)
    })
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, c_char};

    unsafe extern "C" {
        fn gputcp_nixl_misplaced() -> *const c_char;
    }

    #[test]
    fn the_virtual_methods_are_at_their_places() {
        // SAFETY: it takes nothing, and returns null or a constant.
        let name = unsafe { gputcp_nixl_misplaced() };
        // SAFETY: a constant string.
        assert!(name.is_null(), "{:?}", unsafe { CStr::from_ptr(name) });
    }
}
