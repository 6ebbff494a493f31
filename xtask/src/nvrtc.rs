//! NVRTC, opened at run time: the six functions that turn CUDA C++ into PTX (NVRTC manual, "User Interface").
//!
//! Invariant: a program's handle is destroyed exactly once, and no string outlives the call it is given to.

use std::{
    ffi::{CStr, CString, c_char, c_int, c_void},
    path::Path,
    ptr,
};

use anyhow::{Context, Result, bail};
use libloading::Library;

/// An open libnvrtc.
pub(crate) struct Nvrtc {
    version: extern "C" fn(*mut c_int, *mut c_int) -> c_int,
    create: CreateProgram,
    compile: unsafe extern "C" fn(Program, c_int, *const *const c_char) -> c_int,
    log_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    log: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    ptx_size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    ptx: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
    destroy: unsafe extern "C" fn(*mut Program) -> c_int,
    /// Last: the functions are its.
    _library: Library,
}

type Program = *mut c_void;
type CreateProgram = unsafe extern "C" fn(
    *mut Program,
    *const c_char,
    *const c_char,
    c_int,
    *const *const c_char,
    *const *const c_char,
) -> c_int;

impl Nvrtc {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        // SAFETY: loading NVRTC runs its initialisers, which ask nothing of the process.
        let library = unsafe { Library::new(path) }.with_context(|| format!("opening {}", path.display()))?;
        // SAFETY: the types are those of nvrtc.h; the functions are called only while the library is open.
        unsafe {
            Ok(Self {
                version: *library.get(b"nvrtcVersion\0")?,
                create: *library.get(b"nvrtcCreateProgram\0")?,
                compile: *library.get(b"nvrtcCompileProgram\0")?,
                log_size: *library.get(b"nvrtcGetProgramLogSize\0")?,
                log: *library.get(b"nvrtcGetProgramLog\0")?,
                ptx_size: *library.get(b"nvrtcGetPTXSize\0")?,
                ptx: *library.get(b"nvrtcGetPTX\0")?,
                destroy: *library.get(b"nvrtcDestroyProgram\0")?,
                _library: library,
            })
        }
    }

    pub(crate) fn version(&self) -> Result<String> {
        let (mut major, mut minor) = (0, 0);
        check((self.version)(&mut major, &mut minor), "asking NVRTC for its version")?;
        Ok(format!("{major}.{minor}"))
    }

    /// Compiles `source` to PTX.
    pub(crate) fn compile(&self, source: &str, name: &str, options: &[&str]) -> Result<String> {
        let (source, name) = (CString::new(source)?, CString::new(name)?);
        let options = options.iter().map(|option| CString::new(*option)).collect::<Result<Vec<_>, _>>()?;
        let options: Vec<_> = options.iter().map(|option| option.as_ptr()).collect();
        let mut program: Program = ptr::null_mut();
        // SAFETY: both strings end in a zero and live through the call; there are no headers.
        let made = unsafe {
            (self.create)(&mut program, source.as_ptr(), name.as_ptr(), 0, ptr::null(), ptr::null())
        };
        check(made, "making a program")?;
        // SAFETY: the program was just made; the options are as many strings as are counted.
        let compiled = unsafe { (self.compile)(program, options.len() as c_int, options.as_ptr()) };
        // SAFETY: the program is alive, and the two functions are those for its log.
        let log = unsafe { text(program, self.log_size, self.log) }?;
        let ptx = if compiled == 0 {
            // SAFETY: as above, for its PTX.
            unsafe { text(program, self.ptx_size, self.ptx) }
        } else {
            Err(anyhow::anyhow!("NVRTC refused the source:\n{log}"))
        };
        // SAFETY: the program is alive, and not used again.
        check(unsafe { (self.destroy)(&mut program) }, "letting go of a program")?;
        ptx
    }
}

/// A text of a program: its log or its PTX.
///
/// # Safety
/// The program must be alive, and `size` must give the length that `get` writes.
unsafe fn text(
    program: Program,
    size: unsafe extern "C" fn(Program, *mut usize) -> c_int,
    get: unsafe extern "C" fn(Program, *mut c_char) -> c_int,
) -> Result<String> {
    let mut bytes = 0;
    // SAFETY: the caller's promise.
    check(unsafe { size(program, &mut bytes) }, "asking for the length of a text")?;
    let mut buffer = vec![0u8; bytes + 1];
    // SAFETY: the buffer is as long as NVRTC asked, which counts the closing zero.
    check(unsafe { get(program, buffer.as_mut_ptr().cast()) }, "fetching a text")?;
    Ok(CStr::from_bytes_until_nul(&buffer)?.to_str()?.to_owned())
}

fn check(result: c_int, doing: &str) -> Result<()> {
    if result != 0 {
        bail!("NVRTC failed with code {result} while {doing}");
    }
    Ok(())
}
