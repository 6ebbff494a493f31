//! The wall between Rust and its C caller: no panic goes through it.

use std::{
    ffi::c_int,
    panic::{AssertUnwindSafe, catch_unwind},
};

use crate::ResultCode;

/// Runs the body of an `extern "C"` function, and returns its answer as C's code. A panic is caught and
/// answered with [`ResultCode::Internal`]; its message went to the panic hook.
///
/// A panic leaves the state that the body was changing as it was then. A caller that shares state across
/// calls should treat the connection as failed.
pub fn guard(body: impl FnOnce() -> Result<(), ResultCode>) -> c_int {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => ResultCode::SUCCESS,
        Ok(Err(code)) => code.number(),
        Err(payload) => {
            // The payload's own drop may panic as well.
            std::mem::forget(payload);
            ResultCode::Internal.number()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern "C" fn entry(what: c_int) -> c_int {
        guard(|| match what {
            0 => Ok(()),
            1 => Err(ResultCode::Remote),
            _ => panic!("asked for"),
        })
    }

    #[test]
    fn answers_pass_and_panics_do_not() {
        assert_eq!((entry(0), entry(1), entry(2)), (0, 6, 3));
    }
}
