//! Every version's arguments arrive where they belong. Tables of functions write down their arguments, for
//! one send and one receive each.
//!
//! The test plugin's files are of some versions only; these tables are of all.

use std::{
    ffi::c_int,
    ptr::{self, NonNull},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI32, AtomicPtr, Ordering::Relaxed},
    },
};

use gputcp_gpu::Buffer;

use crate::{Error, Plugin, comm::Pointer, connect::Connector, listen::Listener, recv::RecvComm};
use gputcp_nccl_net::{
    layout::{
        c_void,
        device::{Config, DeviceHandle},
        functions::{Logger, Profiler},
    },
    versions::{Net as _, TablePlace, v5, v6, v7, v8, v9, v10, v11, v12},
};

/// Held by the one test that uses the statics below.
static ONE: Mutex<()> = Mutex::new(());
static NOTES: Mutex<Vec<String>> = Mutex::new(Vec::new());
static SIZE: AtomicI32 = AtomicI32::new(-1);
static FAIL_CLOSE: AtomicI32 = AtomicI32::new(0);

fn note(what: impl Into<String>) -> c_int {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    0
}

/// Keeps out other tests that use the process's shared state.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).clear();
    SIZE.store(-1, Relaxed);
    FAIL_CLOSE.store(0, Relaxed);
    guard
}

fn notes() -> Vec<String> {
    NOTES.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
}

/// Returns a pointer that names something and leads nowhere.
const fn token(number: usize) -> *mut c_void {
    ptr::without_provenance_mut(number)
}

/// Writes a value where the caller wants one.
///
/// # Safety
/// The place is the caller's.
unsafe fn give<T>(place: *mut T, value: T) {
    // SAFETY: the caller's promise.
    unsafe { place.write(value) }
}

unsafe extern "C" fn init(logger: Logger) -> c_int {
    note(format!("init {}", logger.is_some()))
}
unsafe extern "C" fn init_v10(logger: Logger, profiler: Profiler) -> c_int {
    note(format!("init {} {}", logger.is_some(), profiler.is_some()))
}
unsafe extern "C" fn init_v11(
    ctx: *mut *mut c_void,
    _id: u64,
    config: *mut Config,
    logger: Logger,
    _: Profiler,
) -> c_int {
    // SAFETY: both are the caller's, as in all functions below.
    let class = unsafe {
        give(ctx, token(0xc));
        (*config).traffic_class
    };
    note(format!("init {} class {class}", logger.is_some()))
}
unsafe extern "C" fn devices(count: *mut c_int) -> c_int {
    // SAFETY: as above.
    unsafe { give(count, 1) };
    0
}
unsafe extern "C" fn listen(dev: c_int, handle: *mut c_void, comm: *mut *mut c_void) -> c_int {
    // SAFETY: as above; a handle has 128 bytes.
    unsafe {
        handle.cast::<u8>().write_bytes(7, 128);
        give(comm, token(0x10));
    }
    note(format!("listen {dev}"))
}
unsafe extern "C" fn listen_v11(
    ctx: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
) -> c_int {
    note(format!("ctx {ctx:?}"));
    // SAFETY: as above.
    unsafe { listen(dev, handle, comm) }
}
unsafe extern "C" fn connect(dev: c_int, handle: *mut c_void, comm: *mut *mut c_void) -> c_int {
    // SAFETY: as above.
    let last = unsafe {
        give(comm, token(0x20));
        handle.cast::<u8>().add(127).read()
    };
    note(format!("connect {dev} {last}"))
}
unsafe extern "C" fn connect_v7(
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut DeviceHandle,
) -> c_int {
    // SAFETY: as above; the storage is zeroed and as long as a device handle at least.
    note(format!("storage {}", unsafe { (**device).size }));
    // SAFETY: as above.
    unsafe { connect(dev, handle, comm) }
}
unsafe extern "C" fn connect_v10(
    dev: c_int,
    config: *mut Config,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut DeviceHandle,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        note(format!("class {}", (*config).traffic_class));
        connect_v7(dev, handle, comm, device)
    }
}
unsafe extern "C" fn connect_v11(
    ctx: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut DeviceHandle,
) -> c_int {
    note(format!("ctx {ctx:?}"));
    // SAFETY: as above.
    unsafe { connect_v7(dev, handle, comm, device) }
}
unsafe extern "C" fn accept(listener: *mut c_void, comm: *mut *mut c_void) -> c_int {
    // SAFETY: as above.
    unsafe { give(comm, token(0x30)) };
    note(format!("accept {listener:?}"))
}
unsafe extern "C" fn accept_v7(
    listener: *mut c_void,
    comm: *mut *mut c_void,
    device: *mut *mut DeviceHandle,
) -> c_int {
    // SAFETY: as above.
    note(format!("storage {}", unsafe { (**device).size }));
    // SAFETY: as above.
    unsafe { accept(listener, comm) }
}
unsafe extern "C" fn reg_mr(
    comm: *mut c_void,
    _: *mut c_void,
    size: c_int,
    kind: c_int,
    handle: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe { reg_mr_v8(comm, ptr::null_mut(), size as usize, kind, handle) }
}
unsafe extern "C" fn reg_mr_v8(
    comm: *mut c_void,
    _: *mut c_void,
    size: usize,
    kind: c_int,
    handle: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe { give(handle, token(0x40)) };
    note(format!("regMr {comm:?} {size} {kind}"))
}
unsafe extern "C" fn dereg_mr(comm: *mut c_void, handle: *mut c_void) -> c_int {
    note(format!("deregMr {comm:?} {handle:?}"))
}
unsafe extern "C" fn isend(
    comm: *mut c_void,
    data: *mut c_void,
    size: c_int,
    tag: c_int,
    handle: *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe { isend_v9(comm, data, size as usize, tag, handle, request) }
}
unsafe extern "C" fn isend_v9(
    comm: *mut c_void,
    _: *mut c_void,
    size: usize,
    tag: c_int,
    handle: *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above.
    unsafe { give(request, token(0x50)) };
    note(format!("isend {comm:?} {size} {tag} {handle:?}"))
}
unsafe extern "C" fn isend_v10(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    tag: c_int,
    handle: *mut c_void,
    profiler: *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    note(format!("profiler {profiler:?}"));
    // SAFETY: as above.
    unsafe { isend_v9(comm, data, size, tag, handle, request) }
}
unsafe extern "C" fn irecv(
    comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    tags: *mut c_int,
    handles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above; arrays of one.
    unsafe {
        let mut size = *sizes as usize;
        irecv_v9(comm, n, data, &raw mut size, tags, handles, request)
    }
}
unsafe extern "C" fn irecv_v9(
    comm: *mut c_void,
    n: c_int,
    _: *mut *mut c_void,
    sizes: *mut usize,
    tags: *mut c_int,
    handles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above; arrays of one.
    unsafe {
        give(request, token(0x60));
        note(format!("irecv {comm:?} {n} {} {} {:?}", *sizes, *tags, *handles))
    }
}
unsafe extern "C" fn irecv_v10(
    comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut usize,
    tags: *mut c_int,
    handles: *mut *mut c_void,
    profilers: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int {
    // SAFETY: as above; arrays of one.
    unsafe {
        note(format!("profiler {:?}", *profilers));
        irecv_v9(comm, n, data, sizes, tags, handles, request)
    }
}
unsafe extern "C" fn test(request: *mut c_void, done: *mut c_int, sizes: *mut c_int) -> c_int {
    // SAFETY: as above.
    unsafe {
        give(done, 1);
        give(sizes, SIZE.load(Relaxed));
    }
    note(format!("test {request:?}"))
}
unsafe extern "C" fn close(comm: *mut c_void) -> c_int {
    note(format!("close {comm:?}"));
    FAIL_CLOSE.load(Relaxed)
}
unsafe extern "C" fn consumed(comm: *mut c_void, n: c_int, request: *mut c_void) -> c_int {
    note(format!("consumed {comm:?} {n} {request:?}"))
}
unsafe extern "C" fn finalize(ctx: *mut c_void) -> c_int {
    note(format!("finalize {ctx:?}"))
}

/// Builds a version's table, with all its functions but those that no test here calls.
macro_rules! whole {
    (
        $version:ident, $props:ident, $init:ident $listen:ident $connect:ident $accept:ident $reg:ident $isend:ident
        $irecv:ident, { $($more:ident: $value:expr),* }
    ) => {{
        unsafe extern "C" fn $props(_: c_int, props: *mut $version::Properties) -> c_int {
            // SAFETY: as above; the properties were all zeros.
            unsafe {
                (*props).name = c"net".as_ptr().cast_mut();
                (*props).ptr_support = 1;
                (*props).max_comms = 1;
                (*props).max_recvs = 1;
            }
            limits::$version(props);
            0
        }
        let table = $version::Net {
            name: c"Notes".as_ptr(),
            init: Some($init),
            devices: Some(devices),
            get_properties: Some($props),
            listen: Some($listen),
            connect: Some($connect),
            accept: Some($accept),
            reg_mr: Some($reg),
            dereg_mr: Some(dereg_mr),
            isend: Some($isend),
            irecv: Some($irecv),
            test: Some(test),
            close_send: Some(close),
            close_recv: Some(close),
            close_listen: Some(close),
            $($more: $value,)*
            ..$version::Net::EMPTY
        };
        NonNull::from(Box::leak(Box::new(table)))
    }};
}

macro_rules! table {
    ($($table:tt)*) => { TablePlace::new(whole!($($table)*)) };
}

/// Versions 9 and later must say how long a request may be.
mod limits {
    use super::*;

    macro_rules! none { ($($version:ident)*) => { $(pub(crate) fn $version(_: *mut $version::Properties) {})* } }
    macro_rules! some {
        ($($version:ident)*) => {
            $(pub(crate) fn $version(props: *mut $version::Properties) {
                // SAFETY: as above.
                unsafe { (*props).max_p2p_bytes = 1 << 30 };
            })*
        };
    }
    none!(v5 v6 v7 v8);
    some!(v9 v10 v11 v12);
}

fn tables() -> Vec<TablePlace> {
    vec![
        table!(v5, p, init listen connect accept reg_mr isend irecv, {}),
        table!(v6, p, init listen connect accept reg_mr isend irecv, {}),
        table!(v7, p, init listen connect_v7 accept_v7 reg_mr isend irecv, { irecv_consumed: Some(consumed) }),
        TablePlace::new(v8_table()),
        table!(v9, p, init listen connect_v7 accept_v7 reg_mr_v8 isend_v9 irecv_v9,
            { irecv_consumed: Some(consumed) }),
        table!(v10, p, init_v10 listen connect_v10 accept_v7 reg_mr_v8 isend_v10 irecv_v10,
            { irecv_consumed: Some(consumed) }),
        table!(v11, p, init_v11 listen_v11 connect_v11 accept_v7 reg_mr_v8 isend_v10 irecv_v10,
            { irecv_consumed: Some(consumed), finalize: Some(finalize) }),
        table!(v12, p, init_v11 listen_v11 connect_v11 accept_v7 reg_mr_v8 isend_v10 irecv_v10,
            { irecv_consumed: Some(consumed), finalize: Some(finalize) }),
    ]
}

/// Returns a whole table, which is never freed.
fn v8_table() -> NonNull<v8::Net> {
    whole!(v8, p, init listen connect_v7 accept_v7 reg_mr_v8 isend irecv, { irecv_consumed: Some(consumed) })
}

/// Gives the slot of a receive back that has landed in place, and returns its bytes.
fn take(recv: &mut RecvComm) -> u64 {
    let landed = recv.test_oldest().unwrap().expect("it has landed");
    let consumable = recv.poll(landed).unwrap().expect("it is in place");
    recv.consume(consumable).unwrap()
}

#[test]
fn every_versions_arguments_arrive() {
    let _alone = alone();
    for place in tables() {
        let version = place.version();
        let plugin = Plugin::start(&"here".into(), place).unwrap();
        assert_eq!((plugin.version(), plugin.name(), plugin.devices().len()), (version, "Notes", 1));
        let (source, destination) = (Buffer::host(100).unwrap(), Buffer::host(100).unwrap());
        let mut listener = Listener::open(&plugin, 0).unwrap();
        assert_eq!(listener.handle(), [7; 128]);
        let mut send = Connector::new(&plugin, 0, &listener.handle()).poll().unwrap().unwrap();
        let mut recv = listener.poll().unwrap().unwrap();
        drop(listener);
        send.register(&source, Pointer::Host, None).unwrap();
        recv.register(&destination, Pointer::Host, None).unwrap();
        assert!(recv.irecv(&destination, 10, 50, 99).unwrap() && send.isend(&source, 10, 40, 99).unwrap());
        assert!(destination.read(10, 1).is_err() && source.write(10, 1).is_err(), "the plugin has them");
        assert_eq!(send.test_oldest().unwrap(), Some(40));
        assert_eq!(take(&mut recv), 50);
        assert!(destination.write(10, 50).is_ok() && source.write(10, 40).is_ok(), "they are free again");
        send.close().unwrap();
        recv.close().unwrap();
        drop(plugin);
        let mut expected = Vec::new();
        let mut say = |from: u32, to: u32, words: &str| {
            if (from..=to).contains(&version) {
                expected.push(words.to_owned());
            }
        };
        say(5, 9, "init true");
        say(10, 10, "init true false");
        say(11, 12, "init true class -1");
        say(11, 12, "ctx 0xc");
        say(5, 12, "listen 0");
        say(10, 10, "class -1");
        say(11, 12, "ctx 0xc");
        say(7, 12, "storage 0");
        say(5, 12, "connect 0 7");
        say(7, 12, "storage 0");
        say(5, 12, "accept 0x10");
        say(5, 12, "close 0x10");
        say(5, 12, "regMr 0x20 100 1");
        say(5, 12, "regMr 0x30 100 1");
        say(10, 12, "profiler 0x0");
        say(5, 12, "irecv 0x30 1 50 99 0x40");
        say(10, 12, "profiler 0x0");
        say(5, 12, "isend 0x20 40 99 0x40");
        say(5, 12, "test 0x50");
        say(5, 12, "test 0x60");
        say(7, 12, "consumed 0x30 1 0x60");
        say(5, 12, "deregMr 0x20 0x40");
        say(5, 12, "close 0x20");
        say(5, 12, "deregMr 0x30 0x40");
        say(5, 12, "close 0x30");
        say(11, 12, "finalize 0xc");
        assert_eq!(notes(), expected, "v{version}");
    }
}

#[test]
fn a_table_is_read_after_init_and_must_then_be_whole() {
    let _alone = alone();
    // It is filled in by its own `init`.
    static TABLE: AtomicPtr<v8::Net> = AtomicPtr::new(ptr::null_mut());
    unsafe extern "C" fn completing(logger: Logger) -> c_int {
        // SAFETY: tables that are never freed; the driver does not read this one during `init`.
        unsafe { TABLE.load(Relaxed).write(v8_table().read()) };
        note(format!("init {}", logger.is_some()))
    }
    let whole = v8_table();
    let before = v8::Net { name: c"Before".as_ptr(), init: Some(completing), ..v8::Net::EMPTY };
    // SAFETY: a table that is never freed, and written by this test alone.
    unsafe { whole.write(before) };
    TABLE.store(whole.as_ptr(), Relaxed);
    let plugin = Plugin::start(&"here".into(), TablePlace::new(whole)).unwrap();
    assert_eq!((plugin.name(), plugin.devices().len()), ("Notes", 1));
    let refused = |place| Plugin::start(&"here".into(), place).unwrap_err().to_string();
    let broken = v8_table();
    // SAFETY: as above.
    unsafe { (*broken.as_ptr()).test = None };
    let why = refused(TablePlace::new(broken));
    assert!(why.starts_with("the plugin Notes (v8) has no function test"), "{why}");
    // SAFETY: as above.
    unsafe { (*broken.as_ptr()).init = None };
    let why = refused(TablePlace::new(broken));
    assert!(why.starts_with("the plugin Notes (v8) has no function init"), "{why}");
}

#[test]
fn a_size_is_believed_where_it_can_be() {
    let _alone = alone();
    let place = tables().remove(4);
    let plugin = Plugin::start(&"here".into(), place).unwrap();
    let buffer = Buffer::host(100).unwrap();
    let mut recv = Listener::open(&plugin, 0).unwrap().poll().unwrap().unwrap();
    recv.register(&buffer, Pointer::Host, None).unwrap();
    for (said, counted) in [(-1, 50), (0, 50), (51, 50), (i32::MIN, 50), (50, 50), (49, 49), (1, 1)] {
        SIZE.store(said, Relaxed);
        assert!(recv.irecv(&buffer, 0, 50, 0).unwrap());
        assert_eq!(take(&mut recv), counted, "{said}");
    }
}

#[test]
fn what_a_version_cannot_say_is_refused_and_what_fails_to_close_is_kept() {
    let _alone = alone();
    let place = tables().remove(0);
    let plugin = Plugin::start(&"here".into(), place).unwrap();
    let buffer = Buffer::host(64).unwrap();
    let mut recv = Listener::open(&plugin, 0).unwrap().poll().unwrap().unwrap();
    assert!(matches!(recv.irecv(&buffer, 0, 1, 0), Err(Error::NotRegistered)));
    assert!(matches!(recv.register(&buffer, Pointer::Cuda, None), Err(Error::Memory { .. })));
    // SAFETY: the length is refused before the call.
    let long = unsafe {
        plugin.calls.isend(ptr::null_mut(), ptr::null_mut(), 1 << 31, 0, ptr::null_mut(), ptr::null_mut())
    };
    assert!(matches!(
        plugin.fits("isend", 1 << 31, long),
        Err(Error::TooLong { bytes: 0x8000_0000, version: 5, .. })
    ));
    recv.register(&buffer, Pointer::Host, None).unwrap();
    assert!(recv.irecv(&buffer, 0, 64, 0).unwrap());
    FAIL_CLOSE.store(2, Relaxed);
    let failed = recv.close().unwrap_err().to_string();
    assert!(failed.contains("failed in closeRecv with code 2 (ncclSystemError)"), "{failed}");
    // The plugin may still write there, so no claim on the memory is ever granted again.
    assert!(buffer.write(0, 1).is_err());
}
