//! The memory of an object: the protocols that describe it, in the order in which they are asked.

use std::ptr::NonNull;

use gputcp::{Buffer, Device, MemoryKind};
use pyo3::{
    exceptions::PyTypeError,
    intern,
    prelude::*,
    types::{PyCapsule, PyDict},
};

use crate::{
    errors::{exception, usage},
    foreign::{self, Export, Tensor},
    keeper::{Keeper, Owner},
};

/// An object's memory: contiguous, and in place while the owner is kept.
pub(crate) struct Memory {
    start: NonNull<u8>,
    bytes: u64,
    pub(crate) is_read_only: bool,
    place: Place,
    owner: Owner,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Host,
    /// A GPU; which one, if the object tells.
    Cuda(Option<u32>),
}

impl Memory {
    /// Finds an object's memory.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let has = |name| object.hasattr(name).unwrap_or(false);
        match Export::of(object) {
            Ok(export) => return Self::exported(object, export),
            // The object does not have the protocol.
            Err(error) if error.is_instance_of::<PyTypeError>(py) => {}
            Err(_) if has(intern!(py, "__dlpack__")) && !is_numpy(object) => {}
            Err(error) => return Err(not_contiguous(object, &error.value(py).to_string())),
        }
        if has(intern!(py, "__cuda_array_interface__")) {
            return Self::cuda_array(object);
        }
        if has(intern!(py, "__dlpack__")) {
            return Self::dlpack(object);
        }
        Err(usage(format!(
            "could not register {}: it has neither the buffer protocol, nor __cuda_array_interface__, nor \
             __dlpack__",
            name(object)
        )))
    }

    /// Returns the memory as a buffer for an endpoint with this device.
    pub(crate) fn into_buffer(self, device: Option<&Device>) -> PyResult<Buffer> {
        let device = match (self.place, device.map(Device::kind)) {
            (Place::Host, None | Some(MemoryKind::Cuda(_))) => None,
            // The software GPU's memory is the host's.
            (Place::Host, _) => device,
            (Place::Cuda(number), Some(MemoryKind::Cuda(ordinal)))
                if number.is_none_or(|number| number == ordinal) =>
            {
                device
            }
            (Place::Cuda(number), _) => {
                let number = number.map_or_else(String::new, |number| format!(" {number}"));
                return Err(usage(format!(
                    "memory of GPU{number} was registered: make the endpoint with that device, such as \
                     device=\"cuda:0\""
                )));
            }
        };
        if let (Place::Cuda(_), Some(device)) = (self.place, device) {
            let known = device.bytes_at(self.start).map_err(|error| exception(&error.into()))?;
            if let Some(known) = known.filter(|known| *known < self.bytes) {
                let bytes = self.bytes;
                return Err(usage(format!(
                    "memory of {bytes} bytes was registered, and the GPU has {known}"
                )));
            }
        }
        let keeper = Keeper::new(self.owner);
        foreign::buffer(self.start, self.bytes, device, keeper).map_err(|error| exception(&error))
    }

    fn exported(object: &Bound<'_, PyAny>, export: Export) -> PyResult<Self> {
        let (start, bytes, is_read_only) = (export.start(), export.bytes(), export.is_read_only());
        match not_empty(object, start, bytes) {
            Ok(start) => {
                Ok(Self { start, bytes, is_read_only, place: Place::Host, owner: Owner::Export(export) })
            }
            Err(error) => {
                export.release(object.py());
                Err(error)
            }
        }
    }

    fn cuda_array(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let found = object.getattr(intern!(py, "__cuda_array_interface__"))?.cast_into::<PyDict>()?;
        let item = |name: &str| {
            let item = found.get_item(name)?;
            item.ok_or_else(|| {
                usage(format!("__cuda_array_interface__ of {} has no {name}", self::name(object)))
            })
        };
        let (address, is_read_only): (usize, bool) = item("data")?.extract()?;
        let shape: Vec<i64> = item("shape")?.extract()?;
        let kind: String = item("typestr")?.extract()?;
        // A byte order, a kind and a length: "<f4".
        let item_bytes = kind.get(2..).and_then(|length| length.parse().ok());
        let item_bytes: i64 =
            item_bytes.ok_or_else(|| usage(format!("the items of {} have no length", name(object))))?;
        let strides: Option<Vec<i64>> = match found.get_item("strides")? {
            Some(strides) if !strides.is_none() => Some(strides.extract()?),
            _ => None,
        };
        let bytes = dense_bytes(&shape, strides.as_deref(), item_bytes, item_bytes)
            .ok_or_else(|| not_contiguous(object, "its strides leave gaps"))?;
        let start = not_empty(object, std::ptr::with_exposed_provenance_mut(address), bytes)?;
        let owner = Owner::Object(object.clone().unbind());
        Ok(Self { start, bytes, is_read_only, place: Place::Cuda(None), owner })
    }

    fn dlpack(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let (capsule, tensor) = tensor_of(object)?;
        let place = match tensor.device {
            // Host memory, plain and pinned.
            (1 | 3, _) => Place::Host,
            (2, number) => Place::Cuda(u32::try_from(number).ok()),
            (13, _) => Place::Cuda(None),
            (kind, _) => {
                return Err(usage(format!(
                    "could not register {}: it is on a device of DLPack's kind {kind}, and gputcp knows host \
                     memory and CUDA",
                    name(object)
                )));
            }
        };
        if tensor.item_bits % 8 != 0 {
            return Err(usage(format!("could not register {}: its items are no whole bytes", name(object))));
        }
        let item_bytes = (tensor.item_bits / 8) as i64;
        let bytes = dense_bytes(&tensor.shape, tensor.strides.as_deref(), 1, item_bytes)
            .ok_or_else(|| not_contiguous(object, "its strides leave gaps"))?;
        let start = not_empty(object, tensor.start, bytes)?;
        // The capsule's end is the description's end, and so the tensor's.
        let owner = Owner::Object(capsule.into_any().unbind());
        Ok(Self { start, bytes, is_read_only: tensor.is_read_only, place, owner })
    }
}

/// Returns a tensor's description, and the capsule that keeps it.
pub(crate) fn tensor_of<'py>(object: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyCapsule>, Tensor)> {
    let py = object.py();
    let options = PyDict::new(py);
    options.set_item(intern!(py, "max_version"), (1, 0))?;
    // Tells more, such as that a tensor is read-only; older libraries do not know it.
    let capsule = match object.call_method(intern!(py, "__dlpack__"), (), Some(&options)) {
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            object.call_method0(intern!(py, "__dlpack__"))
        }
        found => found,
    };
    let capsule = capsule.map_err(|error| {
        let sentence = usage(format!("could not register {}: {}", name(object), error.value(py)));
        sentence.set_cause(py, Some(error));
        sentence
    })?;
    let capsule = capsule.cast_into::<PyCapsule>()?;
    let tensor = Tensor::in_capsule(&capsule).ok_or_else(|| {
        usage(format!("{} is described by a version of DLPack that is not known", name(object)))
    })?;
    Ok((capsule, tensor))
}

/// Returns the length of an array without gaps, in whatever order its dimensions lie.
fn dense_bytes(shape: &[i64], strides: Option<&[i64]>, item_stride: i64, item_bytes: i64) -> Option<u64> {
    let items = shape.iter().try_fold(1i64, |all, length| all.checked_mul(*length))?;
    let bytes = u64::try_from(items.checked_mul(item_bytes)?).ok()?;
    let Some(strides) = strides.filter(|_| bytes > 0) else { return Some(bytes) };
    let dimensions = shape.iter().zip(strides).filter(|(length, _)| **length > 1);
    let mut dimensions: Vec<_> = dimensions.map(|(length, stride)| (*stride, *length)).collect();
    dimensions.sort_unstable();
    let mut expected = item_stride;
    for (stride, length) in dimensions {
        if stride != expected {
            return None;
        }
        expected = expected.checked_mul(length)?;
    }
    Some(bytes)
}

fn not_empty(object: &Bound<'_, PyAny>, start: *mut u8, bytes: u64) -> PyResult<NonNull<u8>> {
    NonNull::new(start)
        .filter(|_| bytes > 0)
        .ok_or_else(|| usage(format!("could not register {}: it has no bytes", name(object))))
}

fn not_contiguous(object: &Bound<'_, PyAny>, why: &str) -> PyErr {
    usage(format!(
        "could not register {}, whose memory must be contiguous ({why}): register a contiguous copy",
        name(object)
    ))
}

fn is_numpy(object: &Bound<'_, PyAny>) -> bool {
    object.get_type().module().is_ok_and(|module| module == "numpy")
}

/// Returns what a sentence calls an object: its type's name.
fn name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().fully_qualified_name().map_or_else(|_| "an object".into(), |name| format!("a {name}"))
}
