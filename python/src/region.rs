//! Regions: registered memory of Python's objects.

use std::sync::{Arc, Mutex, PoisonError};

use gputcp::onesided::{self, Operation, RemoteKey};
use pyo3::{prelude::*, types::PyBytes};

use crate::{
    endpoint::Core,
    errors::{exception, seconds, usage},
    keeper,
};

/// Registered memory, which transfers may touch until it is deregistered. It keeps its object alive.
#[pyclass(module = "gputcp", frozen)]
pub(crate) struct Region {
    /// `None` once it is deregistered.
    region: Mutex<Option<Arc<onesided::Region>>>,
    key: RemoteKey,
    is_read_only: bool,
    /// Regions end before their endpoint.
    _core: Arc<Core>,
}

impl Region {
    pub(crate) fn new(region: onesided::Region, is_read_only: bool, core: Arc<Core>) -> Self {
        let key = region.key();
        Self { region: Mutex::new(Some(Arc::new(region))), key, is_read_only, _core: core }
    }

    /// Returns the region for the local side of an operation.
    pub(crate) fn local(&self, operation: Operation) -> PyResult<Arc<onesided::Region>> {
        if self.is_read_only && operation == Operation::Read {
            return Err(usage("a read into a region was asked for whose object is read-only"));
        }
        let region = self.region.lock().unwrap_or_else(PoisonError::into_inner);
        region.clone().ok_or_else(|| usage("a transfer names a region that is deregistered"))
    }

    fn take(&self) -> Option<Arc<onesided::Region>> {
        self.region.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[pymethods]
impl Region {
    /// The key by which a peer names the region. A peer that has it may use the region.
    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.key.encode())
    }

    /// The length in bytes.
    #[getter]
    fn nbytes(&self) -> u64 {
        self.key.bytes()
    }

    /// Ends the region: no transfer begins with it any more, and those under way are waited for.
    #[pyo3(signature = (timeout = 30.0))]
    fn deregister(&self, py: Python<'_>, timeout: f64) -> PyResult<()> {
        let timeout = seconds(timeout)?;
        let Some(region) = self.take() else { return Ok(()) };
        let ended = py.detach(|| match Arc::into_inner(region) {
            Some(region) => region.deregister(timeout),
            // A transfer is being prepared with it in another thread, and ends it.
            None => Ok(()),
        });
        keeper::release(py);
        ended.map_err(|error| exception(&error))
    }

    fn __enter__(slf: Py<Self>) -> Py<Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyAny>) -> PyResult<()> {
        self.deregister(py, 30.0)
    }

    fn __repr__(&self) -> String {
        let is_over = self.region.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let over = if is_over { ", deregistered" } else { "" };
        format!("<gputcp.Region of {} bytes, {:?}{over}>", self.key.bytes(), self.key.rights())
    }
}
