//! The plugin's start and end, and its report on its devices.

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering::Relaxed},
    },
};

use gputcp_nccl_net::{
    Properties, ResultCode, VirtualDevice,
    export::P,
    layout::{
        constants::{
            NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION, NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION, PTR_CUDA,
            PTR_DMABUF, PTR_HOST,
        },
        functions::Logger,
    },
};

use super::{super::late::complete, check_device, has_queue};
use crate::{
    faults::{self, call},
    knobs::{Gpu, Knobs},
};

/// A communicator, in versions that have such.
struct Context;

/// How often the plugin was started and not ended.
static STARTED: AtomicU32 = AtomicU32::new(0);
/// Whether the plugin ended too early, as the one that does not count references does.
pub(super) static ENDED: AtomicBool = AtomicBool::new(false);
/// Whether receives keep their slots until `irecvConsumed`, as in the file that has it.
pub(super) static KEEP: AtomicBool = AtomicBool::new(false);

pub(in crate::exports) unsafe fn init(logger: Logger, keep: bool, ctx: Option<*mut P>) -> c_int {
    faults::keep(logger);
    call("init", |knobs| {
        KEEP.store(keep, Relaxed);
        complete();
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

pub(in crate::exports) unsafe fn finalize(ctx: P) -> c_int {
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

pub(in crate::exports) unsafe fn devices(count: *mut c_int) -> c_int {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    call("devices", |knobs| {
        let mut number = all(knobs);
        if knobs.violates("device-count") {
            number += CALLS.fetch_add(1, Relaxed).min(1).cast_signed();
        }
        // SAFETY: the host gives room for a number.
        unsafe { count.write(number) };
        Ok(())
    })
}

/// Returns the number of devices, made ones included.
pub(super) fn all(knobs: &Knobs) -> c_int {
    own(knobs) + made().len() as c_int
}

fn own(knobs: &Knobs) -> c_int {
    if knobs.violates("device-names-unique") { 2 } else { knobs.devices }
}

/// Returns the devices behind each device that was made.
fn made() -> MutexGuard<'static, Vec<Vec<c_int>>> {
    static MADE: Mutex<Vec<Vec<c_int>>> = Mutex::new(Vec::new());
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(in crate::exports) unsafe fn make_v_device(out: *mut c_int, behind: &[c_int]) -> c_int {
    call("makeVDevice", |knobs| {
        let number = all(knobs);
        if !knobs.violates("virtual-devices") {
            behind.iter().try_for_each(|&dev| check_device(dev, knobs))?;
            made().push(behind.to_vec());
        }
        // SAFETY: the host gives room for a number.
        unsafe { out.write(number) };
        Ok(())
    })
}

pub(in crate::exports) fn properties(dev: c_int) -> Result<Properties, c_int> {
    static NAMES: Mutex<Vec<&'static CString>> = Mutex::new(Vec::new());
    let mut described = Properties::NONE;
    let code = call("getProperties", |knobs| {
        check_device(dev, knobs)?;
        let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
        while names.len() <= dev as usize {
            let index = if knobs.violates("device-names-unique") { 0 } else { names.len() };
            let name = CString::new(format!("{}{index}", knobs.name)).map_err(|_| ResultCode::Internal)?;
            names.push(Box::leak(Box::new(name)));
        }
        let (net_device_type, net_device_version) = if has_queue(knobs) {
            (NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION)
        } else {
            (NET_DEVICE_HOST, NET_DEVICE_HOST_VERSION)
        };
        let dma_bufs = if knobs.violates("properties-sane/dma-buf") { PTR_DMABUF } else { 0 };
        let behind = made().get((dev - own(knobs)).max(-1) as usize).cloned();
        described = Properties {
            v_props: Some(VirtualDevice::new(&match behind {
                Some(behind) => behind,
                None if knobs.violates("properties-sane/behind") => Vec::new(),
                None if knobs.violates("properties-sane/behind-many") => vec![0; 100],
                None => vec![dev],
            })),
            name: if Knobs::is_nowhere("name") { NOWHERE } else { names[dev as usize].as_ptr().cast_mut() },
            pci_path: pci_path(knobs),
            guid: dev as u64 + 1,
            ptr_support: dma_bufs
                | match knobs.gpu {
                    _ if knobs.violates("properties-sane") => 0,
                    Gpu::None => PTR_HOST,
                    Gpu::Cuda(_) if knobs.dma_buf => PTR_HOST | PTR_CUDA | PTR_DMABUF,
                    Gpu::Soft | Gpu::Cuda(_) => PTR_HOST | PTR_CUDA,
                },
            reg_is_global: Some(0),
            force_flush: Some(0),
            speed: knobs.speed_mbit,
            port: 1,
            latency: 0.0,
            max_comms: 65_536,
            max_recvs: knobs.max_recvs as c_int,
            net_device_type: Some(net_device_type),
            net_device_version: Some(net_device_version),
            max_p2p_bytes: Some(LONGEST_BYTES),
            max_coll_bytes: Some(LONGEST_BYTES),
            max_multi_request_size: Some(1),
            rail_id: Some(-1),
            plane_id: Some(-1),
        };
        Ok(())
    });
    if code == ResultCode::SUCCESS { Ok(described) } else { Err(code) }
}

/// The longest message.
const LONGEST_BYTES: usize = 1 << 30;

/// No memory is there.
const NOWHERE: *mut c_char = ptr::without_provenance_mut(0x1234);

/// Returns NULL, as the device is no PCI device, or a path that breaks a demand.
fn pci_path(knobs: &Knobs) -> *mut c_char {
    static PASSING: Mutex<[u8; 32]> = Mutex::new([0; 32]);
    static CALLS: AtomicU32 = AtomicU32::new(0);
    if knobs.violates("properties-sane/pci-path-nowhere") {
        return NOWHERE;
    }
    if !knobs.violates("properties-sane/pci-path-passing") {
        return ptr::null_mut();
    }
    let mut passing = PASSING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = format!("/sys/devices/{}\0", CALLS.fetch_add(1, Relaxed));
    passing[..path.len()].copy_from_slice(path.as_bytes());
    passing.as_mut_ptr().cast()
}
