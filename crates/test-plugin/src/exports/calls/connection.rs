//! Connections: listening, connecting, accepting, registering memory for them, closing.

use std::{
    ffi::c_int,
    os::fd::BorrowedFd,
    ptr,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
    time::{Duration, Instant},
};

use gputcp_nccl_net::{
    ResultCode,
    export::P,
    layout::{
        constants::{HANDLE_BYTES, NET_DEVICE_HOST, PTR_CUDA},
        device::DeviceHandle,
        unpack::QUEUE_DEPTH,
    },
};

use super::{
    check_device, comm_of, has_queue, not_yet,
    start::{ENDED, KEEP},
};
use crate::{
    comm::{Comm, End, recv::RecvComm, send::SendComm},
    connect, dma_buf,
    faults::call,
    handle::Handle,
    knobs::Knobs,
    listen::Listener,
    memory::{Kind, Lent, Registration},
    unpack::Queue,
};

pub(in crate::exports) unsafe fn listen(dev: c_int, handle: P, out: *mut P) -> c_int {
    call("listen", |knobs| {
        check_device(dev, knobs)?;
        if ENDED.load(Relaxed) {
            return Err(ResultCode::Internal);
        }
        static CALLED: AtomicBool = AtomicBool::new(false);
        if knobs.violates("listen-does-not-block") && !CALLED.swap(true, Relaxed) {
            thread::sleep(TOO_LONG);
        }
        let listener = Listener::bind()?;
        // SAFETY: the host gives room for a handle and a pointer.
        unsafe {
            listener.handle().write(handle.cast());
            write_beside(handle, "handle-128-bytes", knobs);
            out.write(Box::into_raw(Box::new(listener)).cast());
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn connect(
    dev: c_int,
    handle: P,
    out: *mut P,
    device: Option<*mut *mut DeviceHandle>,
) -> c_int {
    call("connect", |knobs| {
        check_device(dev, knobs)?;
        // SAFETY: the host's promises.
        unsafe { check_device_handle(device, knobs) }?;
        if knobs.violates("connection-works") {
            return Err(ResultCode::System);
        }
        // SAFETY: the host's handle, and room for a pointer.
        let mut said = unsafe {
            out.write(ptr::null_mut());
            write_beside(handle, "handle-128-bytes/connect", knobs);
            Handle::read(handle.cast())?
        };
        if said.calls < knobs.not_yet {
            said.calls += 1;
            // SAFETY: the host keeps the handle's memory for this ("call again with the same").
            unsafe { said.write(handle.cast()) };
            return Ok(());
        }
        let few = knobs.violates("requests-32/sends");
        let slots = if few { knobs.slots() } else { knobs.slots() * knobs.max_recvs };
        let comm = SendComm::start(connect::connect(said, knobs)?, slots, knobs)?;
        let comm = Comm::open(End::Send(comm), slots);
        // SAFETY: the host's promises.
        unsafe { tell_device(device, |storage| storage.net_device_type = NET_DEVICE_HOST) };
        // SAFETY: as above.
        unsafe { out.write(comm.cast()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn accept(
    listener: P,
    out: *mut P,
    device: Option<*mut *mut DeviceHandle>,
) -> c_int {
    call("accept", |knobs| {
        // SAFETY: the host's promises.
        unsafe { check_device_handle(device, knobs) }?;
        // SAFETY: `listen` gave this pointer, the host uses it from one thread, and gives room for a pointer.
        let listener = unsafe {
            out.write(ptr::null_mut());
            &mut *listener.cast::<Listener>()
        };
        let mut accepted = listener.accept(knobs)?;
        static CALLED: AtomicBool = AtomicBool::new(false);
        let blocks = knobs.violates("connect-accept-not-yet/blocks");
        let waits = knobs.violates("connect-accept-not-yet") && !CALLED.swap(true, Relaxed);
        let began = Instant::now();
        while accepted.is_none() && (blocks || waits && began.elapsed() < TOO_LONG) {
            thread::sleep(Duration::from_millis(5));
            accepted = listener.accept(knobs)?;
        }
        let Some(sockets) = accepted else { return not_yet(knobs) };
        let keep = KEEP.load(Relaxed);
        let queue = has_queue(knobs).then(|| Queue::new(knobs)).transpose()?;
        let slots = knobs.slots();
        let said = queue.as_ref().map(Queue::device_handle);
        let comm = RecvComm::start(sockets, queue, keep, slots, knobs)?;
        let comm = Comm::open(End::Recv(comm), slots);
        let fill = |storage: &mut DeviceHandle| match said {
            Some(said) => *storage = said,
            None => storage.net_device_type = NET_DEVICE_HOST,
        };
        // SAFETY: the host's promises.
        unsafe { tell_device(device, fill) };
        // SAFETY: as above.
        unsafe { out.write(comm.cast()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn reg_mr(kind: c_int, out: *mut P) -> c_int {
    call("regMr", |knobs| {
        let registration = Registration { kind: Kind::of(kind, knobs)? };
        // SAFETY: the host gives room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(registration)).cast()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn reg_mr_dma_buf(
    bytes: usize,
    kind: c_int,
    offset: u64,
    fd: c_int,
    out: *mut P,
) -> c_int {
    call("regMrDmaBuf", |knobs| {
        if kind != PTR_CUDA || !knobs.dma_buf || fd < 0 {
            return Err(ResultCode::InvalidArgument);
        }
        // SAFETY: the host's, which keeps it open during the call.
        let fd = unsafe { BorrowedFd::borrow_raw(fd) };
        dma_buf::check(fd, offset, bytes as u64).map_err(|why| {
            eprintln!("gputcp test plugin: {why}");
            ResultCode::InvalidArgument
        })?;
        let registration = Registration { kind: Kind::Gpu };
        // SAFETY: the host gives room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(registration)).cast()) };
        Ok(())
    })
}

pub(in crate::exports) unsafe fn dereg_mr(comm: P, mhandle: P) -> c_int {
    call("deregMr", |knobs| {
        // SAFETY: the host's own comm.
        let end = &unsafe { comm_of(comm) }.end;
        let busy = match end {
            End::Send(comm) => comm.is_busy(),
            End::Recv(comm) => comm.is_busy(),
        };
        if busy && knobs.violates("deregister-in-flight") {
            return Err(ResultCode::InvalidUsage);
        }
        if busy && knobs.violates("deregister-in-flight/drops") {
            match end {
                End::Send(comm) => comm.cut(),
                End::Recv(comm) => comm.cut(),
            }
        }
        if !mhandle.is_null() {
            // SAFETY: `reg_mr` gave this pointer, and the host takes it back once. Requests have copied its
            // content.
            drop(unsafe { Box::from_raw(mhandle.cast::<Registration>()) });
        }
        Ok(())
    })
}

pub(in crate::exports) unsafe fn close_send(comm: P) -> c_int {
    call("closeSend", |knobs| {
        // SAFETY: the host's promises.
        unsafe { close(comm, knobs) }
    })
}

pub(in crate::exports) unsafe fn close_recv(comm: P) -> c_int {
    call("closeRecv", |knobs| {
        // SAFETY: the host's promises.
        unsafe { close(comm, knobs) }
    })
}

pub(in crate::exports) unsafe fn close_listen(listener: P) -> c_int {
    call("closeListen", |_| {
        // SAFETY: `listen` gave this pointer, and the host closes it once.
        drop(unsafe { Box::from_raw(listener.cast::<Listener>()) });
        Ok(())
    })
}

/// Breaks a demand, if asked to: writes behind the handle.
///
/// # Safety
/// A handle of a host that has more memory behind it.
unsafe fn write_beside(handle: P, violation: &str, knobs: &Knobs) {
    if knobs.violates(violation) {
        // SAFETY: the caller's promise.
        unsafe { handle.cast::<u8>().add(HANDLE_BYTES).write_bytes(0x5a, 32) };
    }
}

/// # Safety
/// `connect` or `accept` gave this pointer, and the host closes it once.
unsafe fn close(comm: P, knobs: &Knobs) -> Result<(), ResultCode> {
    // SAFETY: `connect` or `accept` gave this pointer. The host closes it once and uses no request of it any
    // more.
    let comm = unsafe { Box::from_raw(comm.cast::<Comm>()) };
    let (busy, dead) = match &comm.end {
        End::Send(end) => (end.is_busy(), end.is_dead()),
        End::Recv(end) => (end.is_busy(), end.is_dead()),
    };
    if busy && dead && knobs.violates("close-with-dead-peer-does-not-hang") {
        thread::sleep(Duration::from_secs(3600));
    }
    let newest = match &comm.end {
        End::Recv(end) if busy => end.newest(),
        _ => None,
    };
    drop(comm);
    for (violation, late) in LATE {
        if let Some(memory) = newest.filter(|_| knobs.violates(violation)) {
            thread::spawn(move || write_late(memory, late));
        }
    }
    if busy && !dead && knobs.violates("close-mid-transfer") { Err(ResultCode::Internal) } else { Ok(()) }
}

/// # Safety
/// NULL, or the host's pointer to a pointer.
unsafe fn check_device_handle(
    device: Option<*mut *mut DeviceHandle>,
    knobs: &Knobs,
) -> Result<(), ResultCode> {
    let missing = device.is_some_and(|device| {
        // SAFETY: NULL, or the host's pointer to a pointer.
        device.is_null() || unsafe { *device }.is_null()
    });
    if missing && knobs.violates("dev-handle-null-pointer-accepted") {
        return Err(ResultCode::InvalidArgument);
    }
    Ok(())
}

/// Fills in a device handle where the host has given room for one.
///
/// # Safety
/// As for [`check_device_handle`]; the pointer leads to a device handle, or is NULL.
unsafe fn tell_device(device: Option<*mut *mut DeviceHandle>, fill: impl FnOnce(&mut DeviceHandle)) {
    let Some(device) = device.filter(|device| !device.is_null()) else { return };
    if Knobs::is_nowhere("device-handle") {
        // SAFETY: the host's pointer to a pointer.
        unsafe { device.write(ptr::without_provenance_mut(0x1230)) };
        return;
    }
    // SAFETY: the host's pointer to NULL or to its own memory of that type.
    if let Some(storage) = unsafe { (*device).as_mut() } {
        fill(storage);
    }
}

impl Knobs {
    /// Returns the most receives in flight on a connection.
    fn slots(&self) -> usize {
        let slots = if self.violates("requests-32") { 8 } else { self.slots };
        if has_queue(self) { slots.min(QUEUE_DEPTH) } else { slots }
    }
}

/// Breaks a demand: writes to a receive's memory when its connection has been closed.
fn write_late(memory: Lent, late: Duration) {
    thread::sleep(late);
    // SAFETY: only asked for by a host that does not free the memory.
    unsafe { *memory.start ^= 0x55 };
}

/// How long after the close something is written, by the violation that asks for it.
const LATE: [(&str, Duration); 2] = [
    ("close-mid-transfer/soon", Duration::from_millis(10)),
    ("close-mid-transfer/late", Duration::from_millis(80)),
];
/// Longer than a call that does not wait can take. Only a process's first call takes so long, as the other
/// checks must not run out of time.
const TOO_LONG: Duration = Duration::from_millis(1100);
