//! The functions in the newest version's shape, for all versions' tables. Each is safe against whatever the host does
//! within the interface: pointers are the host's promise.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    ptr,
    sync::{
        Mutex, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
    thread::{self, ThreadId},
    time::{Duration, Instant},
};

use gputcp_nccl_abi::{
    ResultCode,
    sys::{
        constants::{
            NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION, NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION, PTR_CUDA,
            PTR_HOST,
        },
        device::DeviceHandle,
        unpack::QUEUE_DEPTH,
    },
};

use crate::{
    comm::{
        Comm, End, Ticket,
        recv::{Posting, RecvComm},
        send::SendComm,
    },
    connect,
    faults::call,
    handle::Handle,
    knobs::{Gpu, Knobs, PARTS_MAX, Sizes},
    listen::Listener,
    memory::{Kind, Lent, Registration},
    unpack::Queue,
};

type P = *mut c_void;

/// What a device's properties say, in any version.
pub(super) struct Facts {
    pub(super) name: *mut c_char,
    pub(super) guid: u64,
    pub(super) ptr_support: c_int,
    pub(super) speed_mbit: c_int,
    pub(super) max_recvs: c_int,
    pub(super) net_device_type: u32,
    pub(super) net_device_version: c_int,
}

/// A communicator, in versions that have such.
struct Context;

/// How often the plugin was started and not ended.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// Ended too early: only by the plugin that does not count references.
static ENDED: AtomicBool = AtomicBool::new(false);
/// Whether receives keep their slots until `irecvConsumed`: so in the file that has it.
static KEEP: AtomicBool = AtomicBool::new(false);

pub(super) fn init(keep: bool, ctx: Option<*mut P>) -> c_int {
    call("init", |knobs| {
        KEEP.store(keep, Relaxed);
        let before = STARTED.fetch_add(1, Relaxed);
        match ctx {
            // SAFETY: the host gives room for a pointer.
            Some(ctx) => unsafe { ctx.write(Box::into_raw(Box::new(Context)).cast()) },
            None if before > 0 && knobs.violates("init-counts-references") => {
                return Err(ResultCode::InvalidUsage);
            }
            None => {}
        }
        Ok(())
    })
}

pub(super) fn finalize(ctx: P) -> c_int {
    call("finalize", |knobs| {
        if ctx.is_null() {
            let violated = knobs.violates("finalize-accepts-null");
            return if violated { Err(ResultCode::InvalidArgument) } else { Ok(()) };
        }
        // SAFETY: `init` gave this pointer, and the host ends it once.
        drop(unsafe { Box::from_raw(ctx.cast::<Context>()) });
        STARTED.fetch_sub(1, Relaxed);
        if knobs.violates("init-counts-references") {
            ENDED.store(true, Relaxed);
        }
        Ok(())
    })
}

pub(super) fn devices(count: *mut c_int) -> c_int {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    call("devices", |knobs| {
        let mut number = if knobs.violates("device-names-unique") { 2 } else { knobs.devices };
        if knobs.violates("device-count") {
            number += CALLS.fetch_add(1, Relaxed).min(1).cast_signed();
        }
        // SAFETY: the host gives room for a number.
        unsafe { count.write(number) };
        Ok(())
    })
}

pub(super) fn properties(dev: c_int, write: impl FnOnce(Facts)) -> c_int {
    static NAMES: Mutex<Vec<&'static CString>> = Mutex::new(Vec::new());
    call("getProperties", |knobs| {
        check_device(dev, knobs)?;
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        while names.len() <= dev as usize {
            let index = if knobs.violates("device-names-unique") { 0 } else { names.len() };
            let name = CString::new(format!("loopback{index}")).map_err(|_| ResultCode::Internal)?;
            names.push(Box::leak(Box::new(name)));
        }
        let unpack = KEEP.load(Relaxed) && knobs.gpu != Gpu::None;
        let (net_device_type, net_device_version) = if unpack {
            (NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION)
        } else {
            (NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION)
        };
        write(Facts {
            name: names[dev as usize].as_ptr().cast_mut(),
            guid: dev as u64 + 1,
            ptr_support: if knobs.gpu == Gpu::None { PTR_HOST } else { PTR_HOST | PTR_CUDA },
            speed_mbit: if knobs.violates("properties-sane") { 0 } else { 100_000 },
            max_recvs: knobs.max_recvs as c_int,
            net_device_type,
            net_device_version,
        });
        Ok(())
    })
}

pub(super) fn listen(dev: c_int, handle: P, out: *mut P) -> c_int {
    call("listen", |knobs| {
        check_device(dev, knobs)?;
        if ENDED.load(Relaxed) {
            return Err(ResultCode::Internal);
        }
        if knobs.violates("listen-does-not-block") {
            thread::sleep(TOO_LONG);
        }
        let listener = Listener::bind()?;
        // SAFETY: the host gives room for a handle and a pointer.
        unsafe {
            listener.handle().write(handle.cast());
            out.write(Box::into_raw(Box::new(listener)).cast());
        }
        Ok(())
    })
}

pub(super) fn connect(dev: c_int, handle: P, out: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int {
    call("connect", |knobs| {
        check_device(dev, knobs)?;
        check_device_handle(device, knobs)?;
        // SAFETY: the host's handle, and room for a pointer.
        let mut said = unsafe {
            out.write(ptr::null_mut());
            Handle::read(handle.cast())?
        };
        if said.calls < knobs.not_yet {
            said.calls += 1;
            // SAFETY: the host keeps the handle's memory for this ("call again with the same").
            unsafe { said.write(handle.cast()) };
            return Ok(());
        }
        let slots = knobs.slots() * knobs.max_recvs;
        let comm = SendComm::start(connect::connect(said, knobs)?, slots, knobs)?;
        let comm = Comm::open(End::Send(comm), slots);
        tell_device(device, |storage| storage.net_device_type = NET_DEVICE_HOST);
        // SAFETY: as above.
        unsafe { out.write(comm.cast()) };
        Ok(())
    })
}

pub(super) fn accept(listener: P, out: *mut P, device: Option<*mut *mut DeviceHandle>) -> c_int {
    call("accept", |knobs| {
        check_device_handle(device, knobs)?;
        // SAFETY: `listen` gave this pointer, the host uses it from one thread, and gives room for a pointer.
        let listener = unsafe {
            out.write(ptr::null_mut());
            &mut *listener.cast::<Listener>()
        };
        let mut accepted = listener.accept(knobs)?;
        let began = Instant::now();
        while accepted.is_none() && knobs.violates("connect-accept-not-yet") && began.elapsed() < TOO_LONG {
            thread::sleep(Duration::from_millis(5));
            accepted = listener.accept(knobs)?;
        }
        let Some(sockets) = accepted else { return not_yet(knobs) };
        let keep = KEEP.load(Relaxed);
        let queue = (keep && knobs.gpu != Gpu::None).then(|| Queue::new(knobs)).transpose()?;
        let slots = knobs.slots();
        let said = queue.as_ref().map(Queue::device_handle);
        let comm = RecvComm::start(sockets, queue, keep, slots, knobs)?;
        let comm = Comm::open(End::Recv(comm), slots);
        tell_device(device, |storage| match said {
            Some(said) => *storage = said,
            None => storage.net_device_type = NET_DEVICE_HOST,
        });
        // SAFETY: as above.
        unsafe { out.write(comm.cast()) };
        Ok(())
    })
}

pub(super) fn reg_mr(kind: c_int, out: *mut P) -> c_int {
    call("regMr", |knobs| {
        let registration = Registration { kind: Kind::of(kind, knobs)? };
        // SAFETY: the host gives room for a pointer.
        unsafe { out.write(Box::into_raw(Box::new(registration)).cast()) };
        Ok(())
    })
}

pub(super) fn dereg_mr(comm: P, mhandle: P) -> c_int {
    call("deregMr", |knobs| {
        // SAFETY: an open comm's pointer.
        let comm = unsafe { &*comm.cast::<Comm>() };
        let busy = match &comm.end {
            End::Send(comm) => comm.is_busy(),
            End::Recv(comm) => comm.is_busy(),
        };
        if busy && knobs.violates("deregister-in-flight") {
            return Err(ResultCode::InvalidUsage);
        }
        if !mhandle.is_null() {
            // SAFETY: `reg_mr` gave this pointer, and the host takes it back once. Requests have copied what it says.
            drop(unsafe { Box::from_raw(mhandle.cast::<Registration>()) });
        }
        Ok(())
    })
}

pub(super) fn isend(comm: P, data: P, bytes: usize, tag: c_int, mhandle: P, out: *mut P) -> c_int {
    call("isend", |knobs| {
        one_thread(knobs)?;
        let End::Send(end) = &comm_of(comm).end else { return Err(ResultCode::InvalidArgument) };
        if bytes == 0 && knobs.violates("size-zero") {
            return Err(ResultCode::InvalidArgument);
        }
        let memory = lent(data, mhandle, knobs)?;
        let slot = end.isend(memory, bytes, tag)?;
        give_request(comm, slot, out);
        Ok(())
    })
}

/// A receive's arguments, as arrays of `n`; `size` reads the n-th length.
pub(super) struct Arrays {
    pub(super) n: c_int,
    pub(super) data: *mut P,
    pub(super) tags: *mut c_int,
    pub(super) mhandles: *mut P,
}

pub(super) fn irecv(comm: P, arrays: &Arrays, size: impl Fn(usize) -> usize, out: *mut P) -> c_int {
    call("irecv", |knobs| {
        one_thread(knobs)?;
        let End::Recv(end) = &comm_of(comm).end else { return Err(ResultCode::InvalidArgument) };
        let parts = usize::try_from(arrays.n).ok().filter(|parts| (1..=knobs.max_recvs).contains(parts));
        let parts = parts.ok_or(ResultCode::InvalidArgument)?;
        let nowhere = Lent { start: ptr::null_mut(), kind: Kind::Host };
        let (memory, capacities, tags) = ([nowhere; PARTS_MAX], [0; PARTS_MAX], [0; PARTS_MAX]);
        let mut posting = Posting { parts, memory, capacities, tags };
        for part in 0..parts {
            // SAFETY: the host gives arrays of `n`; that of the mhandles may be missing.
            let (data, tag, mhandle) = unsafe {
                let mhandle =
                    if arrays.mhandles.is_null() { ptr::null_mut() } else { *arrays.mhandles.add(part) };
                (*arrays.data.add(part), *arrays.tags.add(part), mhandle)
            };
            posting.memory[part] = lent(data, mhandle, knobs)?;
            posting.capacities[part] = size(part);
            posting.tags[part] = tag;
        }
        let slot = end.irecv(posting)?;
        if slot.is_none() && knobs.violates("irecv-overwrites-request-0x1") {
            return Ok(());
        }
        give_request(comm, slot, out);
        Ok(())
    })
}

pub(super) fn iflush(out: *mut P) -> c_int {
    call("iflush", |knobs| {
        // Data is in GPU memory before `test` says that a receive is done: there is nothing to flush.
        // SAFETY: the host gives room for a pointer.
        unsafe { out.write(ptr::null_mut()) };
        if knobs.violates("iflush") { Err(ResultCode::Internal) } else { Ok(()) }
    })
}

pub(super) fn test(request: P, done: *mut c_int, sizes: *mut c_int) -> c_int {
    call("test", |knobs| {
        if sizes.is_null() && knobs.violates("null-sizes") {
            return Err(ResultCode::InvalidArgument);
        }
        // SAFETY: `isend` or `irecv` gave this pointer, into a comm that is open.
        let (ticket, comm) = unsafe {
            let ticket = &*request.cast::<Ticket>();
            (ticket, &*ticket.comm)
        };
        let tested = match &comm.end {
            End::Send(end) => end.test(ticket.slot)?,
            End::Recv(end) => end.test(ticket.slot)?,
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

pub(super) fn irecv_consumed(request: P) -> c_int {
    call("irecvConsumed", |_| {
        // SAFETY: `irecv` gave this pointer, into a comm that is open.
        let (ticket, comm) = unsafe {
            let ticket = &*request.cast::<Ticket>();
            (ticket, &*ticket.comm)
        };
        let End::Recv(end) = &comm.end else { return Err(ResultCode::InvalidArgument) };
        end.consumed(ticket.slot)
    })
}

pub(super) fn close_send(comm: P) -> c_int {
    call("closeSend", |knobs| close(comm, knobs))
}

pub(super) fn close_recv(comm: P) -> c_int {
    call("closeRecv", |knobs| close(comm, knobs))
}

pub(super) fn close_listen(listener: P) -> c_int {
    call("closeListen", |_| {
        // SAFETY: `listen` gave this pointer, and the host closes it once.
        drop(unsafe { Box::from_raw(listener.cast::<Listener>()) });
        Ok(())
    })
}

fn close(comm: P, knobs: &Knobs) -> Result<(), ResultCode> {
    // SAFETY: `connect` or `accept` gave this pointer, the host closes it once and uses no request of it any more.
    let comm = unsafe { Box::from_raw(comm.cast::<Comm>()) };
    let (busy, dead) = match &comm.end {
        End::Send(end) => (end.is_busy(), end.is_dead()),
        End::Recv(end) => (end.is_busy(), end.is_dead()),
    };
    if busy && dead && knobs.violates("close-with-dead-peer-does-not-hang") {
        thread::sleep(Duration::from_secs(3600));
    }
    drop(comm);
    if busy && !dead && knobs.violates("close-mid-transfer") { Err(ResultCode::Internal) } else { Ok(()) }
}

fn comm_of<'comm>(comm: P) -> &'comm Comm {
    // SAFETY: `connect` or `accept` gave this pointer, and the host has not closed it.
    unsafe { &*comm.cast::<Comm>() }
}

fn give_request(comm: P, slot: Option<usize>, out: *mut P) {
    let request = slot.map_or(ptr::null(), |slot| comm_of(comm).ticket(slot));
    // SAFETY: the host gives room for a pointer.
    unsafe { out.write(request.cast_mut().cast()) };
}

fn lent(data: P, mhandle: P, knobs: &Knobs) -> Result<Lent, ResultCode> {
    if mhandle.is_null() && knobs.violates("null-mhandle") {
        return Err(ResultCode::InvalidArgument);
    }
    // SAFETY: NULL, or what `reg_mr` gave and the host has not taken back.
    let registration = unsafe { mhandle.cast::<Registration>().as_ref() };
    Ok(Lent { start: data.cast(), kind: registration.map_or(Kind::Host, |registration| registration.kind) })
}

fn check_device(dev: c_int, knobs: &Knobs) -> Result<(), ResultCode> {
    let devices = if knobs.violates("device-names-unique") { 2 } else { knobs.devices };
    if (0..devices).contains(&dev) { Ok(()) } else { Err(ResultCode::InvalidArgument) }
}

fn check_device_handle(device: Option<*mut *mut DeviceHandle>, knobs: &Knobs) -> Result<(), ResultCode> {
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
fn tell_device(device: Option<*mut *mut DeviceHandle>, fill: impl FnOnce(&mut DeviceHandle)) {
    let Some(device) = device.filter(|device| !device.is_null()) else { return };
    // SAFETY: the host's pointer to NULL or to its own memory of that type.
    if let Some(storage) = unsafe { (*device).as_mut() } {
        fill(storage);
    }
}

/// The plugin that works from one thread only: whoever comes first.
fn one_thread(knobs: &Knobs) -> Result<(), ResultCode> {
    static FIRST: OnceLock<ThreadId> = OnceLock::new();
    let here = thread::current().id();
    if knobs.violates("threads") && *FIRST.get_or_init(|| here) != here {
        return Err(ResultCode::Internal);
    }
    Ok(())
}

fn not_yet(knobs: &Knobs) -> Result<(), ResultCode> {
    if knobs.violates("never-in-progress-code") { Err(ResultCode::InProgress) } else { Ok(()) }
}

impl Knobs {
    /// Receives in flight on a connection.
    fn slots(&self) -> usize {
        let slots = if self.violates("requests-32") { 8 } else { self.slots };
        let unpack = KEEP.load(Relaxed) && self.gpu != Gpu::None;
        if unpack { slots.min(QUEUE_DEPTH) } else { slots }
    }
}

/// Longer than a call that does not wait can take.
const TOO_LONG: Duration = Duration::from_millis(1500);
