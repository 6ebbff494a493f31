//! Peers: the other end of transfers.

use std::sync::Arc;

use gputcp::onesided::{self, Address, Operation};
use pyo3::{prelude::*, types::PyBytes};

use crate::{blocks::Blocks, endpoint::Core, errors::exception, region::Region, transfer::Transfer};

/// A peer of an endpoint.
#[pyclass(module = "gputcp", frozen)]
pub(crate) struct Peer {
    peer: onesided::Peer,
    address: Address,
    core: Arc<Core>,
}

impl Peer {
    pub(crate) const fn new(peer: onesided::Peer, address: Address, core: Arc<Core>) -> Self {
        Self { peer, address, core }
    }

    fn begin(&self, operation: Operation, blocks: &Blocks, note: Option<&[u8]>) -> PyResult<Transfer> {
        let mut transfer = self.peer.prepare(operation, blocks.iter()).map_err(|error| exception(&error))?;
        transfer.post(note).map_err(|error| exception(&error))?;
        Ok(Transfer::new(transfer, self.core.clone()))
    }
}

#[pymethods]
impl Peer {
    /// The peer's address.
    #[getter]
    fn address<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.address.to_bytes())
    }

    /// The error by which the peer has failed, or None.
    #[getter]
    fn failure(&self) -> Option<PyErr> {
        self.peer.failure().map(|error| exception(&error))
    }

    /// Begins to read the remote side of the blocks into the local side. A block is a tuple (region,
    /// local_offset, key, remote_offset, nbytes). The note reaches the peer's program when all is in place.
    #[pyo3(signature = (blocks, note = None))]
    fn read(&self, blocks: &Bound<'_, PyAny>, note: Option<&[u8]>) -> PyResult<Transfer> {
        self.begin(Operation::Read, &Blocks::of_tuples(blocks, Operation::Read)?, note)
    }

    /// Begins to write the local side of the blocks to the remote side, as `read` does the other way.
    #[pyo3(signature = (blocks, note = None))]
    fn write(&self, blocks: &Bound<'_, PyAny>, note: Option<&[u8]>) -> PyResult<Transfer> {
        self.begin(Operation::Write, &Blocks::of_tuples(blocks, Operation::Write)?, note)
    }

    /// Begins to read block `remote_indices[i]` of the peer's region into block `local_indices[i]` of this
    /// one, for each i.
    #[pyo3(signature = (region, key, local_indices, remote_indices, block_bytes, note = None))]
    fn read_blocks(
        &self,
        region: &Region,
        key: &[u8],
        local_indices: &Bound<'_, PyAny>,
        remote_indices: &Bound<'_, PyAny>,
        block_bytes: &Bound<'_, PyAny>,
        note: Option<&[u8]>,
    ) -> PyResult<Transfer> {
        let operation = Operation::Read;
        let blocks = Blocks::of_indices(region, key, local_indices, remote_indices, block_bytes, operation)?;
        self.begin(operation, &blocks, note)
    }

    /// Begins to write block `local_indices[i]` of this region to block `remote_indices[i]` of the peer's.
    #[pyo3(signature = (region, key, local_indices, remote_indices, block_bytes, note = None))]
    fn write_blocks(
        &self,
        region: &Region,
        key: &[u8],
        local_indices: &Bound<'_, PyAny>,
        remote_indices: &Bound<'_, PyAny>,
        block_bytes: &Bound<'_, PyAny>,
        note: Option<&[u8]>,
    ) -> PyResult<Transfer> {
        let operation = Operation::Write;
        let blocks = Blocks::of_indices(region, key, local_indices, remote_indices, block_bytes, operation)?;
        self.begin(operation, &blocks, note)
    }

    /// Sends a note to the peer's program, in no order with transfers.
    fn notify(&self, note: &[u8]) -> PyResult<()> {
        self.peer.notify(note).map_err(|error| exception(&error))
    }

    fn __repr__(&self) -> String {
        format!("<gputcp.Peer {:?}>", self.address)
    }
}
