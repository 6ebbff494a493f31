//! The library's errors as Python's exceptions, with the same sentences.

use std::time::Duration;

use gputcp::{Error, Origin};
use pyo3::{PyTypeInfo as _, exceptions::PyRuntimeError, prelude::*, sync::PyOnceLock, types::PyType};

/// The exceptions of `gputcp._errors`: a class of two bases is written in Python.
struct Classes {
    error: Py<PyType>,
    peer: Py<PyType>,
    usage: Py<PyType>,
    timeout: Py<PyType>,
}

/// Returns the exception of an error.
pub(crate) fn exception(error: &Error) -> PyErr {
    raise(error.to_string(), |classes| match error {
        Error::Timeout { .. } | Error::NoPeer { .. } => &classes.timeout,
        _ => match error.origin() {
            Origin::Peer => &classes.peer,
            Origin::Caller => &classes.usage,
            _ => &classes.error,
        },
    })
}

/// Returns a `UsageError`.
pub(crate) fn usage(sentence: impl Into<String>) -> PyErr {
    raise(sentence.into(), |classes| &classes.usage)
}

/// Returns a number of seconds as a duration.
pub(crate) fn seconds(seconds: f64) -> PyResult<Duration> {
    let longest = Duration::from_secs(1 << 32);
    match Duration::try_from_secs_f64(seconds) {
        Ok(duration) => Ok(duration.min(longest)),
        Err(_) if seconds == f64::INFINITY => Ok(longest),
        Err(_) => Err(usage(format!("a timeout of {seconds} seconds was given: give one of 0 or more"))),
    }
}

fn raise(sentence: String, class: impl FnOnce(&Classes) -> &Py<PyType>) -> PyErr {
    Python::attach(|py| match classes(py) {
        Ok(classes) => PyErr::from_type(class(classes).bind(py).clone(), sentence),
        Err(_) => PyErr::from_type(PyRuntimeError::type_object(py), sentence),
    })
}

fn classes(py: Python<'_>) -> PyResult<&Classes> {
    static CLASSES: PyOnceLock<Classes> = PyOnceLock::new();
    CLASSES.get_or_try_init(py, || {
        let module = py.import("gputcp._errors")?;
        let class = |name: &str| Ok::<_, PyErr>(module.getattr(name)?.cast_into::<PyType>()?.unbind());
        Ok(Classes {
            error: class("Error")?,
            peer: class("PeerError")?,
            usage: class("UsageError")?,
            timeout: class("TimeoutError")?,
        })
    })
}
