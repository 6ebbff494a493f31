//! The functions of all versions. Where a signature changed, its name says the version it came with.
//!
//! Each returns a result code: 0 is success, see [`crate::ResultCode`]. "Not yet" is success with a NULL
//! result.

use super::{
    c_char, c_int, c_ulong, c_void,
    device::{Config, DeviceHandle, NetAttr},
};

/// Takes the plugin's messages (`ncclDebugLogger_t`): level, subsystems, file, line, printf format,
/// arguments.
pub type Logger = Option<
    unsafe extern "C" fn(
        level: c_int,
        flags: c_ulong,
        file: *const c_char,
        line: c_int,
        format: *const c_char,
        ...
    ),
>;
/// Takes the plugin's profiler events (`ncclProfilerCallback_t`).
pub type Profiler = Option<
    unsafe extern "C" fn(
        event: *mut *mut c_void,
        kind: c_int,
        parent: *mut c_void,
        plugin: i64,
        extra: *mut c_void,
    ) -> c_int,
>;

/// Starts the plugin.
pub type Init = unsafe extern "C" fn(Logger) -> c_int;
/// Starts the plugin.
pub type InitV10 = unsafe extern "C" fn(Logger, Profiler) -> c_int;
/// Starts the plugin for one communicator.
pub type InitV11 =
    unsafe extern "C" fn(ctx: *mut *mut c_void, comm_id: u64, config: *mut Config, Logger, Profiler) -> c_int;
/// Says how many devices there are.
pub type Devices = unsafe extern "C" fn(ndev: *mut c_int) -> c_int;
/// Describes a device; `P` is the version's properties.
pub type GetProperties<P> = unsafe extern "C" fn(dev: c_int, props: *mut P) -> c_int;
/// Listens on a device and writes a handle of 128 bytes. Does not wait.
pub type Listen =
    unsafe extern "C" fn(dev: c_int, handle: *mut c_void, listen_comm: *mut *mut c_void) -> c_int;
/// The same, of a communicator.
pub type ListenV11 = unsafe extern "C" fn(
    ctx: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    listen_comm: *mut *mut c_void,
) -> c_int;
/// Connects to a handle. Success and NULL: call again with the same handle memory, where state may live.
pub type Connect =
    unsafe extern "C" fn(dev: c_int, handle: *mut c_void, send_comm: *mut *mut c_void) -> c_int;
/// The same; the device handle is filled in where the device has one.
pub type ConnectV7 = unsafe extern "C" fn(
    dev: c_int,
    handle: *mut c_void,
    send_comm: *mut *mut c_void,
    device_handle: *mut *mut DeviceHandle,
) -> c_int;
/// The same with a configuration.
pub type ConnectV10 = unsafe extern "C" fn(
    dev: c_int,
    config: *mut Config,
    handle: *mut c_void,
    send_comm: *mut *mut c_void,
    device_handle: *mut *mut DeviceHandle,
) -> c_int;
/// The same, of a communicator, whose configuration `init` was given.
pub type ConnectV11 = unsafe extern "C" fn(
    ctx: *mut c_void,
    dev: c_int,
    handle: *mut c_void,
    send_comm: *mut *mut c_void,
    device_handle: *mut *mut DeviceHandle,
) -> c_int;
/// Takes a connection. Success and NULL: call again.
pub type Accept = unsafe extern "C" fn(listen_comm: *mut c_void, recv_comm: *mut *mut c_void) -> c_int;
/// The same; the device handle is filled in where the device has one.
pub type AcceptV7 = unsafe extern "C" fn(
    listen_comm: *mut c_void,
    recv_comm: *mut *mut c_void,
    device_handle: *mut *mut DeviceHandle,
) -> c_int;
/// Registers memory of one of the `PTR_*` types.
pub type RegMr = unsafe extern "C" fn(
    comm: *mut c_void,
    data: *mut c_void,
    size: c_int,
    kind: c_int,
    mhandle: *mut *mut c_void,
) -> c_int;
/// The same with a length that is not cut to 32 bits.
pub type RegMrV8 = unsafe extern "C" fn(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    kind: c_int,
    mhandle: *mut *mut c_void,
) -> c_int;
/// Registers memory that a dma-buf's descriptor leads to.
pub type RegMrDmaBuf = unsafe extern "C" fn(
    comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    kind: c_int,
    offset: u64,
    fd: c_int,
    mhandle: *mut *mut c_void,
) -> c_int;
/// Takes a registration back.
pub type DeregMr = unsafe extern "C" fn(comm: *mut c_void, mhandle: *mut c_void) -> c_int;
/// Posts a send. Success and a NULL request: no slot is free, call again.
pub type Isend = unsafe extern "C" fn(
    send_comm: *mut c_void,
    data: *mut c_void,
    size: c_int,
    tag: c_int,
    mhandle: *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// The same with a length that is not cut to 32 bits.
pub type IsendV9 = unsafe extern "C" fn(
    send_comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    tag: c_int,
    mhandle: *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// The same with a profiler's handle.
pub type IsendV10 = unsafe extern "C" fn(
    send_comm: *mut c_void,
    data: *mut c_void,
    size: usize,
    tag: c_int,
    mhandle: *mut c_void,
    phandle: *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// Posts `n` receives as one request. Success and a NULL request: no slot is free, call again.
pub type Irecv = unsafe extern "C" fn(
    recv_comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    tags: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// The same with lengths that are not cut to 32 bits.
pub type IrecvV9 = unsafe extern "C" fn(
    recv_comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut usize,
    tags: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// The same with profilers' handles.
pub type IrecvV10 = unsafe extern "C" fn(
    recv_comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut usize,
    tags: *mut c_int,
    mhandles: *mut *mut c_void,
    phandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// Makes what was received visible to the GPU; a NULL request is done at once.
pub type Iflush = unsafe extern "C" fn(
    recv_comm: *mut c_void,
    n: c_int,
    data: *mut *mut c_void,
    sizes: *mut c_int,
    mhandles: *mut *mut c_void,
    request: *mut *mut c_void,
) -> c_int;
/// Asks whether a request is done; `sizes` has room for as many numbers as the request has receives.
pub type Test = unsafe extern "C" fn(request: *mut c_void, done: *mut c_int, sizes: *mut c_int) -> c_int;
/// Ends a connection, or a listener.
pub type Close = unsafe extern "C" fn(comm: *mut c_void) -> c_int;
/// Gives the name by which a GPU knows a registration.
pub type GetDeviceMr =
    unsafe extern "C" fn(comm: *mut c_void, mhandle: *mut c_void, device_mhandle: *mut *mut c_void) -> c_int;
/// Gives a receive's slot back, once the GPU has unpacked it.
pub type IrecvConsumed =
    unsafe extern "C" fn(recv_comm: *mut c_void, n: c_int, request: *mut c_void) -> c_int;
/// Joins devices to one virtual device; `V` is the version's list of devices.
pub type MakeVDevice<V> = unsafe extern "C" fn(dev: *mut c_int, props: *mut V) -> c_int;
/// Ends what `init` started; NULL after an `init` that failed.
pub type Finalize = unsafe extern "C" fn(ctx: *mut c_void) -> c_int;
/// Says how connections made next will be used.
pub type SetNetAttr = unsafe extern "C" fn(ctx: *mut c_void, attr: *mut NetAttr) -> c_int;
