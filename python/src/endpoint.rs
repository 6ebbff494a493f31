//! Endpoints: a process's end of one-sided transfers.

use std::sync::{Arc, Mutex, PoisonError};

use gputcp::{
    Device, Key, Options, SoftOptions,
    onesided::{self, Address, Note, Rights},
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyString},
};

use crate::{
    errors::{exception, seconds, usage},
    keeper,
    memory::Memory,
    peer::Peer,
    region::Region,
    transfer::{Watch, patiently},
};

/// A process's end of one-sided transfers: it serves any number of peers by itself.
#[pyclass(module = "gputcp", frozen)]
pub(crate) struct Endpoint {
    core: Arc<Core>,
    address: Address,
    device: Option<Device>,
}

/// The library's endpoint, which its regions, peers and transfers hold too. `None` once it is closed.
pub(crate) struct Core(Mutex<Option<Arc<onesided::Endpoint>>>);

impl Core {
    fn new(endpoint: onesided::Endpoint) -> Arc<Self> {
        Arc::new(Self(Mutex::new(Some(Arc::new(endpoint)))))
    }

    pub(crate) fn endpoint(&self) -> PyResult<Arc<onesided::Endpoint>> {
        let endpoint = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        endpoint.ok_or_else(|| usage("the endpoint is closed"))
    }

    pub(crate) fn watch(&self) -> PyResult<Watch> {
        self.endpoint()?.watch().map(Watch::new).map_err(|error| exception(&error))
    }

    /// Leaves all peers, without the interpreter's lock: the endpoint's thread ends first.
    fn close(&self, py: Python<'_>) {
        let endpoint = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        py.detach(|| drop(endpoint));
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // Without an interpreter the process is ending.
        Python::try_attach(|py| self.close(py));
    }
}

#[pymethods]
impl Endpoint {
    #[new]
    #[pyo3(signature = (address = "127.0.0.1:0", *, device = None, streams = None, key = None, timeout = 30.0))]
    fn new(
        py: Python<'_>,
        address: &str,
        device: Option<&Bound<'_, PyAny>>,
        streams: Option<i64>,
        key: Option<&Bound<'_, PyAny>>,
        timeout: f64,
    ) -> PyResult<Self> {
        let device = device.map(device_of).transpose()?.flatten();
        let key = key.map(key_of).transpose()?;
        let mut options = Options::default().with_device(device.clone()).with_key(key);
        options = options.with_timeout(seconds(timeout)?);
        if let Some(streams) = streams {
            let streams = u16::try_from(streams)
                .map_err(|_| usage(format!("{streams} streams were asked for: give a few, such as 4")))?;
            options = options.with_streams(streams);
        }
        let endpoint = py.detach(|| onesided::Endpoint::bind(address, options));
        let endpoint = endpoint.map_err(|error| exception(&error))?;
        let address = endpoint.address();
        Ok(Self { core: Core::new(endpoint), address, device })
    }

    /// The bytes by which peers connect.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.address.to_bytes())
    }

    /// How many requests of peers were refused.
    #[getter]
    fn refused(&self) -> PyResult<u64> {
        Ok(self.core.endpoint()?.refused())
    }

    /// Registers an object's memory, without copying it. Rights are a peer's: "r", "w" or "rw".
    #[pyo3(signature = (obj, rights = "rw"))]
    fn register(&self, py: Python<'_>, obj: &Bound<'_, PyAny>, rights: &str) -> PyResult<Region> {
        let rights = match rights {
            "r" => Rights::Read,
            "w" => Rights::Write,
            "rw" => Rights::ReadWrite,
            _ => return Err(usage(format!("the rights {rights:?} are none: give \"r\", \"w\" or \"rw\""))),
        };
        let memory = Memory::of(obj)?;
        let is_read_only = memory.is_read_only;
        if is_read_only && rights != Rights::Read {
            keeper::release(py);
            return Err(usage("a read-only object was registered for writes: give rights=\"r\""));
        }
        let buffer = memory.into_buffer(self.device.as_ref())?;
        let region = self.core.endpoint()?.register(&buffer, rights).map_err(|error| exception(&error))?;
        Ok(Region::new(region, is_read_only, self.core.clone()))
    }

    /// Returns a peer, and begins to connect to it. Transfers may be posted at once.
    fn connect(&self, address: &[u8]) -> PyResult<Peer> {
        let address = Address::from_bytes(address).map_err(|error| exception(&error))?;
        let peer = self.core.endpoint()?.connect(&address).map_err(|error| exception(&error))?;
        Ok(Peer::new(peer, address, self.core.clone()))
    }

    /// Returns the notes that have come since the last call, each with its sender's address. With a timeout,
    /// it waits so many seconds for one.
    #[pyo3(signature = (timeout = 0.0))]
    fn notes<'py>(
        &self,
        py: Python<'py>,
        timeout: f64,
    ) -> PyResult<Vec<(Bound<'py, PyBytes>, Bound<'py, PyBytes>)>> {
        let timeout = seconds(timeout)?;
        let endpoint = self.core.endpoint()?;
        let mut notes = endpoint.notes();
        drop(endpoint);
        if notes.is_empty() && !timeout.is_zero() {
            let found = patiently(py, timeout, |slice| {
                let notes = self.core.endpoint().map(|endpoint| endpoint.wait_notes(slice))?;
                Ok(Some(notes).filter(|notes| !notes.is_empty()))
            })?;
            notes = found.unwrap_or_default();
        }
        let pair = |note: Note| (PyBytes::new(py, &note.from.to_bytes()), PyBytes::new(py, &note.bytes));
        Ok(notes.into_iter().map(pair).collect())
    }

    /// Returns the notes as `notes` does, once there is one, to a task of asyncio.
    fn next_notes<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("gputcp._asyncio")?.call_method1("next_notes", (slf,))
    }

    /// Leaves all peers. Transfers with them fail; regions stay until they are deregistered.
    fn close(&self, py: Python<'_>) {
        self.core.close(py);
        keeper::release(py);
    }

    fn _watch(&self) -> PyResult<Watch> {
        self.core.watch()
    }

    #[getter]
    fn _identity(&self) -> usize {
        Arc::as_ptr(&self.core).addr()
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) {
        self.close(py);
    }

    fn __repr__(&self) -> String {
        format!("<gputcp.Endpoint {:?}>", self.address)
    }
}

/// Returns the device of this name: "cuda", "cuda:1", 1, "soft", or "cpu" for none.
fn device_of(selector: &Bound<'_, PyAny>) -> PyResult<Option<Device>> {
    let selector = selector.str()?;
    match selector.to_cow()?.as_ref() {
        "cpu" | "host" => Ok(None),
        "soft" => Ok(Some(Device::soft(SoftOptions::default()))),
        selector => {
            let selector = if selector == "cuda" { "0" } else { selector };
            Device::cuda(selector).map(Some).map_err(|error| exception(&error.into()))
        }
    }
}

fn key_of(key: &Bound<'_, PyAny>) -> PyResult<Key> {
    let found = match key.cast::<PyString>() {
        Ok(text) => Key::of(text.to_cow()?.as_bytes()),
        Err(_) => Key::of(key.extract().map_err(|_| usage("the key is neither bytes nor str"))?),
    };
    found.map_err(|why| usage(format!("the endpoint {why}")))
}
