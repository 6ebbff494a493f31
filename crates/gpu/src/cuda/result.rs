//! The open driver, and its codes as errors.
//!
//! Invariant: anything that is missing (library, symbol, device, version) is an error of one sentence;
//! nothing here panics.

use std::{
    ffi::{CStr, c_char},
    ptr,
    sync::OnceLock,
};

use libloading::Library;

use super::sys::{self, Code, Driver};
use crate::Error;

/// Returns the process's one driver, which the first caller opens and initialises.
///
/// # Errors
/// [`Error::NoGpu`], the same to every caller: a driver does not appear while the process runs.
pub(super) fn driver() -> Result<&'static Driver, Error> {
    static DRIVER: OnceLock<Result<Driver, Error>> = OnceLock::new();
    DRIVER.get_or_init(open).as_ref().map_err(Clone::clone)
}

impl Driver {
    /// Turns a code into an error. `doing` completes "the GPU failed to …".
    pub(super) fn check(&self, code: Code, doing: &'static str) -> Result<(), Error> {
        if code == sys::SUCCESS {
            return Ok(());
        }
        Err(Error::Cuda { doing, name: self.name(code), text: self.text(code) })
    }

    /// Returns the code's name as in cuda.h: `CUDA_ERROR_…`.
    pub(super) fn name(&self, code: Code) -> String {
        self.say(self.error_name, code).unwrap_or_else(|| format!("CUDA error {code}"))
    }

    fn text(&self, code: Code) -> String {
        self.say(self.error_text, code).unwrap_or_else(|| "unknown to this driver".to_owned())
    }

    fn say(&self, say: unsafe extern "C" fn(Code, *mut *const c_char) -> Code, code: Code) -> Option<String> {
        let mut text: *const c_char = ptr::null();
        // SAFETY: the driver writes one pointer, to a string of its own or null.
        let said = unsafe { say(code, &mut text) };
        if said != sys::SUCCESS || text.is_null() {
            return None;
        }
        // SAFETY: the driver's strings for codes end in a zero and live as long as it ("Error Handling").
        Some(unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
    }
}

fn open() -> Result<Driver, Error> {
    // SAFETY: loading libcuda runs its initialisers, which demand nothing of the process.
    let library = unsafe { Library::new(LIBRARY) };
    let library =
        library.map_err(|_| no_gpu(format!("{LIBRARY} is not there; install NVIDIA's driver, {DRIVER}")))?;
    // SAFETY: the library of this name is libcuda, and the table is of its types.
    let driver = unsafe { Driver::from_library(library) };
    let driver =
        driver.map_err(|missing| no_gpu(format!("the driver lacks {missing}; update it to {DRIVER}")))?;
    // SAFETY: no flags are defined; the function is made to be called first, and more than once.
    let begun = unsafe { (driver.init)(0) };
    if begun == sys::ERROR_NO_DEVICE {
        return Err(no_gpu("NVIDIA's driver is there and finds no GPU; see what nvidia-smi says".to_owned()));
    }
    if begun != sys::SUCCESS {
        let (name, text) = (driver.name(begun), driver.text(begun));
        return Err(no_gpu(format!(
            "NVIDIA's driver does not start, {name} ({text}); see what nvidia-smi says"
        )));
    }
    let mut version = 0;
    // SAFETY: the driver writes one number.
    driver.check(unsafe { (driver.driver_version)(&mut version) }, "say its version")?;
    if version < VERSION_MIN {
        let (major, minor) = (version / 1000, version % 1000 / 10);
        return Err(no_gpu(format!("the driver is made for CUDA {major}.{minor}; update it to {DRIVER}")));
    }
    Ok(driver)
}

fn no_gpu(reason: String) -> Error {
    Error::NoGpu { reason }
}

const LIBRARY: &str = "libcuda.so.1";
/// CUDA 12.2, which came with R535, the first driver to load PTX ISA 8.2.
const VERSION_MIN: i32 = 12_020;
const DRIVER: &str = "R535 or later";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_gpu_there_is_a_sentence() {
        if let Err(error) = driver() {
            let text = error.to_string();
            assert!(text.starts_with("no GPU can be used: "), "{text}");
            assert_eq!(driver().err(), Some(error), "the same to every caller");
        }
    }
}
