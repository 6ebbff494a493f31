//! Memory that Python's objects own, found by the buffer protocol and DLPack: the crate's only unsafe code.
//!
//! The buffer protocol's calls are declared here. Python's headers offer them to libraries of the stable ABI
//! from 3.11 on, with this layout; 3.10 has the same functions and the same layout.

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    marker::PhantomData,
    ptr::{self, NonNull},
    sync::Arc,
};

use gputcp::{Buffer, Device};
use pyo3::{ffi, prelude::*, types::PyCapsule};

use crate::keeper::Keeper;

/// An object's memory, exported by the buffer protocol: it does not move until it is released.
pub(crate) struct Export {
    /// Boxed, because an exporter may have stored pointers into it.
    view: Box<View>,
}

/// A contiguous array of integers, to be read once.
pub(crate) struct Integers<'a> {
    start: *const u8,
    pub(crate) count: usize,
    item_bytes: usize,
    is_signed: bool,
    owner: PhantomData<&'a Export>,
}

/// A tensor as DLPack describes it.
pub(crate) struct Tensor {
    pub(crate) start: *mut u8,
    pub(crate) device: (i32, i32),
    pub(crate) item_bits: u64,
    /// 0 for signed integers, 1 for unsigned ones.
    pub(crate) item_code: u8,
    pub(crate) shape: Vec<i64>,
    /// In items; `None` if it is contiguous.
    pub(crate) strides: Option<Vec<i64>>,
    pub(crate) is_read_only: bool,
}

impl Export {
    /// Asks an object for its memory, contiguous in some order.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = Box::<View>::new(View::EMPTY);
        // SAFETY: the interpreter is attached, the object lives, and the view may be written.
        let status = unsafe { PyObject_GetBuffer(object.as_ptr(), &raw mut *view, ANY_CONTIGUOUS | FORMAT) };
        if status != 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self { view })
    }

    pub(crate) fn start(&self) -> *mut u8 {
        self.view.buf.cast()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.view.len as u64
    }

    pub(crate) fn is_read_only(&self) -> bool {
        self.view.readonly != 0
    }

    /// Returns its items, if they are integers in one dimension.
    pub(crate) fn integers(&self) -> Option<Integers<'_>> {
        let View { buf, len, itemsize, ndim, format, .. } = *self.view;
        let format = NonNull::new(format)?;
        // SAFETY: a format that is not null is a string of the exporter's, which lives as long as the view.
        let format = unsafe { CStr::from_ptr(format.as_ptr()) }.to_bytes();
        let letter = match format {
            [letter] | [b'@' | b'=' | b'<', letter] => *letter,
            _ => return None,
        };
        let is_integer = b"bBhHiIlLqQnN".contains(&letter) && matches!(itemsize, 1 | 2 | 4 | 8);
        let (bytes, item_bytes) = (usize::try_from(len).ok()?, usize::try_from(itemsize).ok()?);
        (is_integer && ndim <= 1).then(|| Integers {
            start: buf.cast(),
            count: bytes / item_bytes,
            item_bytes,
            is_signed: letter.is_ascii_lowercase(),
            owner: PhantomData,
        })
    }

    /// Gives the memory back to the object.
    pub(crate) fn release(mut self, _py: Python<'_>) {
        // SAFETY: the interpreter is attached, and the view was filled by `PyObject_GetBuffer`, once.
        unsafe { PyBuffer_Release(&raw mut *self.view) };
    }
}

// SAFETY: the view is a description. Only `release`, with the interpreter attached, hands it to Python.
unsafe impl Send for Export {}
// SAFETY: as above; shared, it is only read.
unsafe impl Sync for Export {}

impl Integers<'_> {
    /// Returns each item, or the first that is negative.
    pub(crate) fn read(&self) -> Result<Vec<u64>, i64> {
        // SAFETY: `count` items of `item_bytes` bytes from `start` on belong to the export, which lives. They
        // are read at any alignment, one by one, so no reference to them exists.
        let item = |at: usize| unsafe {
            let item = self.start.add(at * self.item_bytes);
            match (self.item_bytes, self.is_signed) {
                (1, true) => i64::from(item.cast::<i8>().read_unaligned()),
                (1, false) => i64::from(item.read_unaligned()),
                (2, true) => i64::from(item.cast::<i16>().read_unaligned()),
                (2, false) => i64::from(item.cast::<u16>().read_unaligned()),
                (4, true) => i64::from(item.cast::<i32>().read_unaligned()),
                (4, false) => i64::from(item.cast::<u32>().read_unaligned()),
                // An unsigned index of 2^63 or more is past every region, and is called negative.
                _ => item.cast::<i64>().read_unaligned(),
            }
        };
        (0..self.count).map(|at| u64::try_from(item(at)).map_err(|_| item(at))).collect()
    }
}

impl Tensor {
    /// Reads the description in a capsule. `None` if the capsule is of another kind or a later version.
    pub(crate) fn in_capsule(capsule: &Bound<'_, PyCapsule>) -> Option<Self> {
        if let Ok(found) = capsule.pointer_checked(Some(VERSIONED)) {
            let start = found.cast::<Versioned>().as_ptr();
            // SAFETY: a capsule of this name holds such a struct, whose first words never change.
            let (major, flags) = unsafe { ((*start).major, (*start).flags) };
            // SAFETY: and with this version the whole of it is as declared; the capsule keeps it.
            return (major == 1).then(|| unsafe { Self::read(&raw const (*start).tensor, flags & 1 != 0) });
        }
        let found = capsule.pointer_checked(Some(PLAIN)).ok()?;
        // SAFETY: a capsule of this name holds a struct that begins with the tensor; the capsule keeps it.
        Some(unsafe { Self::read(found.cast().as_ptr(), false) })
    }

    /// # Safety
    /// The tensor's description is valid for reading.
    unsafe fn read(tensor: *const RawTensor, is_read_only: bool) -> Self {
        // SAFETY: the caller's promise.
        let tensor = unsafe { &*tensor };
        let list = |start: *const i64| {
            let dimensions = usize::try_from(tensor.ndim).unwrap_or_default();
            // SAFETY: DLPack's shape and strides have one number for each dimension, or are null.
            (!start.is_null()).then(|| unsafe { std::slice::from_raw_parts(start, dimensions) }.to_vec())
        };
        Self {
            start: tensor.data.cast::<u8>().wrapping_add(tensor.byte_offset as usize),
            device: (tensor.device_kind, tensor.device_number),
            item_bits: u64::from(tensor.bits) * u64::from(tensor.lanes),
            item_code: tensor.code,
            shape: list(tensor.shape).unwrap_or_default(),
            strides: list(tensor.strides),
            is_read_only,
        }
    }

    /// Returns the items, if they are integers in one dimension of host memory.
    pub(crate) fn integers<'a>(&self, _owner: &'a Bound<'_, PyCapsule>) -> Option<Integers<'a>> {
        let is_integer = self.item_code <= 1 && matches!(self.item_bits, 8 | 16 | 32 | 64);
        let is_host = self.device.0 == 1;
        let ([count], true, true) = (&self.shape[..], is_integer, is_host) else { return None };
        let is_dense = *count <= 1 || self.strides.as_ref().is_none_or(|strides| strides[..] == [1]);
        is_dense.then_some(Integers {
            start: self.start,
            count: usize::try_from(*count).ok()?,
            item_bytes: (self.item_bits / 8) as usize,
            is_signed: self.item_code == 0,
            owner: PhantomData,
        })
    }
}

/// Returns a buffer of memory whose owner the keeper holds: of the device, or else of the host.
///
/// Its bytes are for endpoints alone, which hand them to sockets and lanes.
pub(crate) fn buffer(
    start: NonNull<u8>,
    bytes: u64,
    device: Option<&Device>,
    keeper: Keeper,
) -> gputcp::Result<Buffer> {
    let keeper = Arc::new(keeper);
    // SAFETY: the object behind the keeper described so many bytes from `start` on as its own. Python's
    // protocols keep them in place until the keeper lets go. The endpoint gives claims to sockets and lanes
    // alone. A read-only region is never claimed to be written: `Region` and `Endpoint` refuse it.
    let buffer = unsafe {
        match device {
            Some(device) => Buffer::foreign(start, bytes, device, keeper),
            None => Buffer::foreign_host(start, bytes, keeper),
        }
    };
    Ok(buffer?)
}

/// `Py_buffer`.
#[repr(C)]
#[derive(Clone, Copy)]
struct View {
    buf: *mut c_void,
    obj: *mut ffi::PyObject,
    len: ffi::Py_ssize_t,
    itemsize: ffi::Py_ssize_t,
    readonly: c_int,
    ndim: c_int,
    format: *mut c_char,
    shape: *mut ffi::Py_ssize_t,
    strides: *mut ffi::Py_ssize_t,
    suboffsets: *mut ffi::Py_ssize_t,
    internal: *mut c_void,
}

impl View {
    const EMPTY: Self = Self {
        buf: ptr::null_mut(),
        obj: ptr::null_mut(),
        len: 0,
        itemsize: 0,
        readonly: 0,
        ndim: 0,
        format: ptr::null_mut(),
        shape: ptr::null_mut(),
        strides: ptr::null_mut(),
        suboffsets: ptr::null_mut(),
        internal: ptr::null_mut(),
    };
}

/// `DLTensor`.
#[repr(C)]
struct RawTensor {
    data: *mut c_void,
    device_kind: i32,
    device_number: i32,
    ndim: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}

/// `DLManagedTensorVersioned`.
#[repr(C)]
struct Versioned {
    major: u32,
    minor: u32,
    context: *mut c_void,
    deleter: *const c_void,
    flags: u64,
    tensor: RawTensor,
}

/// `PyBUF_ANY_CONTIGUOUS`.
const ANY_CONTIGUOUS: c_int = 0x98;
/// `PyBUF_FORMAT`.
const FORMAT: c_int = 4;
const PLAIN: &CStr = c"dltensor";
const VERSIONED: &CStr = c"dltensor_versioned";

unsafe extern "C" {
    fn PyObject_GetBuffer(object: *mut ffi::PyObject, view: *mut View, flags: c_int) -> c_int;
    fn PyBuffer_Release(view: *mut View);
}
