//! The Python module `gputcp._gputcp`: the library's one-sided transfers for Python's objects.

use pyo3::prelude::*;

/// One-sided transfers over plain TCP.
#[pymodule]
mod _gputcp {}
