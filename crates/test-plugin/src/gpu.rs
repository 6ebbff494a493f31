//! The GPU: memory that the CPU may not reach, and the way there. libcuda is opened at run time.

use std::{
    alloc::{Layout, alloc_zeroed, dealloc},
    ffi::{c_int, c_uint, c_void},
    mem::MaybeUninit,
    ptr,
    sync::OnceLock,
};

use gputcp_nccl_net::ResultCode;
use libloading::Library;
use socket2::Socket;

use crate::{
    knobs::{Gpu, Knobs},
    memory::{Kind, Lent},
    wire::recv_all,
};

/// The CUDA driver, and the GPU that the knobs name.
pub(crate) struct Driver {
    /// The GPU's primary context; the first GPU's if the knobs name none.
    context: Context,
    /// Whether the knobs name no GPU: a current context then stays current.
    any: bool,
    get_current: unsafe extern "C" fn(*mut Context) -> c_int,
    set_current: unsafe extern "C" fn(Context) -> c_int,
    alloc: unsafe extern "C" fn(*mut u64, usize) -> c_int,
    free: unsafe extern "C" fn(u64) -> c_int,
    host_alloc: unsafe extern "C" fn(*mut *mut c_void, usize, c_uint) -> c_int,
    host_free: unsafe extern "C" fn(*mut c_void) -> c_int,
    to_device: unsafe extern "C" fn(u64, *const c_void, usize) -> c_int,
    to_host: unsafe extern "C" fn(*mut c_void, u64, usize) -> c_int,
    /// The library of the functions. Its place is last, as it is dropped last.
    _library: Library,
}

// SAFETY: the driver's functions may be called from every thread; the pointer names the context, and is not
// followed.
unsafe impl Send for Driver {}
// SAFETY: as above.
unsafe impl Sync for Driver {}

impl Driver {
    /// Opens the process's one driver.
    pub(crate) fn open(ordinal: Option<i32>) -> Result<&'static Self, ResultCode> {
        static DRIVER: OnceLock<Result<Driver, ResultCode>> = OnceLock::new();
        // SAFETY: the library of this name is libcuda, and the types are cuda.h's.
        DRIVER.get_or_init(|| unsafe { Self::load(ordinal) }).as_ref().map_err(|&code| code)
    }

    /// # Safety
    /// libcuda's functions must have the types that they are given here.
    unsafe fn load(ordinal: Option<i32>) -> Result<Self, ResultCode> {
        let no_gpu = |error: libloading::Error| {
            eprintln!("gputcp test plugin: the GPU cannot be used: {error}");
            ResultCode::Cuda
        };
        // SAFETY: the caller's promise, for each of the names; functions are used only while the library is
        // open.
        unsafe {
            let library = Library::new("libcuda.so.1").map_err(no_gpu)?;
            let init: unsafe extern "C" fn(c_uint) -> c_int = *library.get(b"cuInit\0").map_err(no_gpu)?;
            let get: unsafe extern "C" fn(*mut c_int, c_int) -> c_int =
                *library.get(b"cuDeviceGet\0").map_err(no_gpu)?;
            let retain: unsafe extern "C" fn(*mut Context, c_int) -> c_int =
                *library.get(b"cuDevicePrimaryCtxRetain\0").map_err(no_gpu)?;
            let (mut device, mut context) = (0, ptr::null_mut());
            check(init(0))?;
            check(get(&raw mut device, ordinal.unwrap_or(0)))?;
            check(retain(&raw mut context, device))?;
            Ok(Self {
                context,
                any: ordinal.is_none(),
                get_current: *library.get(b"cuCtxGetCurrent\0").map_err(no_gpu)?,
                set_current: *library.get(b"cuCtxSetCurrent\0").map_err(no_gpu)?,
                alloc: *library.get(b"cuMemAlloc_v2\0").map_err(no_gpu)?,
                free: *library.get(b"cuMemFree_v2\0").map_err(no_gpu)?,
                host_alloc: *library.get(b"cuMemHostAlloc\0").map_err(no_gpu)?,
                host_free: *library.get(b"cuMemFreeHost\0").map_err(no_gpu)?,
                to_device: *library.get(b"cuMemcpyHtoD_v2\0").map_err(no_gpu)?,
                to_host: *library.get(b"cuMemcpyDtoH_v2\0").map_err(no_gpu)?,
                _library: library,
            })
        }
    }

    /// Makes a context current, and returns it. If any context will do, a current one stays.
    fn enter(&self) -> Result<Context, ResultCode> {
        if self.any {
            let mut current = ptr::null_mut();
            // SAFETY: the driver writes one pointer.
            check(unsafe { (self.get_current)(&raw mut current) })?;
            if !current.is_null() {
                return Ok(current);
            }
        }
        // SAFETY: the context was retained and is never released.
        check(unsafe { (self.set_current)(self.context) })?;
        Ok(self.context)
    }
}

/// Memory of the plugin's own that a GPU reaches.
pub(crate) struct Area {
    start: *mut u8,
    bytes: usize,
    owner: Owner,
}

enum Owner {
    /// The software GPU: plain memory.
    Rust,
    /// GPU memory, with the context that was current.
    Device(&'static Driver, Context),
    Pinned(&'static Driver),
}

/// `CUcontext`.
type Context = *mut c_void;

// SAFETY: memory belongs to the process, and each access through the pointer has a SAFETY comment of its own.
unsafe impl Send for Area {}
// SAFETY: as above.
unsafe impl Sync for Area {}

impl Area {
    /// Allocates memory of the GPU; plain memory without a driver.
    pub(crate) fn device(driver: Option<&'static Driver>, bytes: usize) -> Result<Self, ResultCode> {
        let Some(driver) = driver else { return Self::plain(bytes) };
        let context = driver.enter()?;
        let mut address = 0;
        // SAFETY: the driver writes one address.
        check(unsafe { (driver.alloc)(&raw mut address, bytes) })?;
        Ok(Self {
            start: ptr::without_provenance_mut(address as usize),
            bytes,
            owner: Owner::Device(driver, context),
        })
    }

    /// Allocates memory that the CPU and the GPU reach at one address.
    pub(crate) fn pinned(driver: Option<&'static Driver>, bytes: usize) -> Result<Self, ResultCode> {
        let Some(driver) = driver else { return Self::plain(bytes) };
        driver.enter()?;
        let mut start = ptr::null_mut();
        // SAFETY: the driver writes one address.
        check(unsafe { (driver.host_alloc)(&raw mut start, bytes, PORTABLE_MAPPED) })?;
        let start = start.cast::<u8>();
        // SAFETY: just allocated, and not shared yet.
        unsafe { start.write_bytes(0, bytes) };
        Ok(Self { start, bytes, owner: Owner::Pinned(driver) })
    }

    fn plain(bytes: usize) -> Result<Self, ResultCode> {
        let layout = Layout::from_size_align(bytes, ALIGN).map_err(|_| ResultCode::System)?;
        // SAFETY: no area is of 0 bytes.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(ResultCode::System);
        }
        Ok(Self { start, bytes, owner: Owner::Rust })
    }

    pub(crate) const fn start(&self) -> *mut u8 {
        self.start
    }

    /// Writes bytes at an offset. The driver's copy to GPU memory has ended on return.
    pub(crate) fn put(&self, offset: usize, bytes: &[u8]) -> Result<(), ResultCode> {
        assert!(offset + bytes.len() <= self.bytes, "within the area");
        let at = self.start.wrapping_add(offset);
        if let Owner::Device(driver, _) = self.owner {
            driver.enter()?;
            // SAFETY: within the allocation.
            return check(unsafe {
                (driver.to_device)(at.addr() as u64, bytes.as_ptr().cast(), bytes.len())
            });
        }
        // SAFETY: within the allocation; the queue gives each page to one segment.
        unsafe { at.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) };
        Ok(())
    }
}

impl Drop for Area {
    fn drop(&mut self) {
        // SAFETY: allocated once, in this way, and freed once; the connection's threads have ended.
        unsafe {
            match self.owner {
                Owner::Rust => dealloc(self.start, Layout::from_size_align_unchecked(self.bytes, ALIGN)),
                Owner::Device(driver, context) if (driver.set_current)(context) == 0 => {
                    (driver.free)(self.start.addr() as u64);
                }
                Owner::Pinned(driver) if driver.enter().is_ok() => {
                    (driver.host_free)(self.start.cast());
                }
                Owner::Device(..) | Owner::Pinned(_) => {}
            }
        }
    }
}

/// A thread's way to and from the host's memory: direct for memory that the CPU reaches, else a pinned
/// buffer.
pub(crate) struct Staging {
    pinned: Option<(&'static Driver, Area)>,
    page: Box<[MaybeUninit<u8>; PAGE_BYTES]>,
}

impl Staging {
    pub(crate) fn new(knobs: &Knobs) -> Result<Self, ResultCode> {
        let pinned = match knobs.gpu {
            Gpu::Cuda(ordinal) => {
                let driver = Driver::open(ordinal)?;
                Some((driver, Area::pinned(Some(driver), knobs.segment_bytes)?))
            }
            Gpu::None | Gpu::Soft => None,
        };
        Ok(Self { pinned, page: Box::new([MaybeUninit::uninit(); PAGE_BYTES]) })
    }

    /// Returns the place where a thread receives a page that it copies on. The driver's copies from memory
    /// that is not pinned may go on after the driver says that they are done.
    pub(crate) fn page(&mut self) -> &mut [MaybeUninit<u8>] {
        match &self.pinned {
            // SAFETY: the area is this thread's, and no shorter than a segment, and so than a page.
            Some((_, area)) => unsafe { std::slice::from_raw_parts_mut(area.start.cast(), PAGE_BYTES) },
            None => &mut self.page[..],
        }
    }

    /// Returns the bytes at an offset of lent memory; those of GPU memory are copied to the pinned buffer.
    ///
    /// # Safety
    /// The memory is lent, and holds the bytes, for as long as the result is used. They are at most a
    /// segment.
    pub(crate) unsafe fn read(
        &mut self,
        memory: Lent,
        offset: usize,
        bytes: usize,
    ) -> Result<&[u8], ResultCode> {
        if bytes == 0 {
            return Ok(&[]);
        }
        let at = memory.start.wrapping_add(offset);
        let (Kind::Gpu, Some((driver, area))) = (memory.kind, &self.pinned) else {
            // SAFETY: the caller's promise.
            return Ok(unsafe { std::slice::from_raw_parts(at, bytes) });
        };
        assert!(bytes <= area.bytes, "no more than a segment");
        driver.enter()?;
        // SAFETY: the caller's promise for the source; the area is this thread's.
        unsafe {
            check((driver.to_host)(area.start.cast(), at.addr() as u64, bytes))?;
            Ok(std::slice::from_raw_parts(area.start, bytes))
        }
    }

    /// Receives bytes to an offset of lent memory; those for GPU memory pass through the pinned buffer.
    ///
    /// # Safety
    /// The memory is lent, and has room for the bytes. They are at most a segment.
    pub(crate) unsafe fn write(
        &mut self,
        memory: Lent,
        offset: usize,
        bytes: usize,
        socket: &Socket,
    ) -> Result<(), ResultCode> {
        if bytes == 0 {
            return Ok(());
        }
        let at = memory.start.wrapping_add(offset);
        let staged = (memory.kind == Kind::Gpu).then_some(self.pinned.as_ref()).flatten();
        let to = staged.map_or(at, |(_, area)| {
            assert!(bytes <= area.bytes, "no more than a segment");
            area.start
        });
        // SAFETY: the caller's promise, or this thread's own area.
        let room = unsafe { std::slice::from_raw_parts_mut(to.cast::<MaybeUninit<u8>>(), bytes) };
        recv_all(socket, room).map_err(|_| ResultCode::Remote)?;
        let Some((driver, _)) = staged else { return Ok(()) };
        driver.enter()?;
        // SAFETY: the caller's promise for the destination; the source was just filled.
        check(unsafe { (driver.to_device)(at.addr() as u64, to.cast(), bytes) })
    }
}

fn check(code: c_int) -> Result<(), ResultCode> {
    if code == 0 { Ok(()) } else { Err(ResultCode::Cuda) }
}

/// `CU_MEMHOSTALLOC_PORTABLE | CU_MEMHOSTALLOC_DEVICEMAP`.
const PORTABLE_MAPPED: c_uint = 1 | 2;
/// The alignment of a page; an unpack queue needs 16.
const ALIGN: usize = 4096;

/// A network card's page.
pub(crate) const PAGE_BYTES: usize = 4096;
