//! The NIXL that has loaded this library: whether it is one whose interface is known.
//!
//! The interface's own version does not tell: `api_version` is 1 in all. NIXL 1.0 renamed a method of the
//! agent together with those of backends, `prepMemoryView` to `prepMemView`. Its symbol is the sign.

use std::{
    ffi::{CStr, c_int, c_void},
    ptr,
};

/// Checks each NIXL library of the process.
///
/// # Errors
/// A sentence, if one is too old, or there is none.
pub(crate) fn check() -> Result<(), String> {
    let mut names: Vec<String> = Vec::new();
    // SAFETY: the callback has the type that the function wants, and `names` outlives the call.
    unsafe { libc::dl_iterate_phdr(Some(collect), (&raw mut names).cast()) };
    let libraries: Vec<_> = names.iter().filter(|name| is_nixl(name)).collect();
    if let Some(old) = libraries.iter().find(|name| !has_sign(Some(name))) {
        return Err(format!(
            "{old} is a NIXL before 1.0, whose backends are built differently: install nixl 1.0 or later, or \
             choose another backend"
        ));
    }
    if libraries.is_empty() && !has_sign(None) {
        return Err("no NIXL 1.0 or later is loaded in this process, whose backend this library is".into());
    }
    Ok(())
}

unsafe extern "C" fn collect(info: *mut libc::dl_phdr_info, _: usize, names: *mut c_void) -> c_int {
    // SAFETY: the loader gives a description that is valid during the call, and `check` gave the list.
    let (info, names) = unsafe { (&*info, &mut *names.cast::<Vec<String>>()) };
    if !info.dlpi_name.is_null() {
        // SAFETY: a name that is not null is a string of the loader's.
        let name = unsafe { CStr::from_ptr(info.dlpi_name) };
        names.extend(name.to_str().ok().map(str::to_owned));
    }
    0
}

/// Returns whether a file is NIXL's library, and none of its others (`libnixl_common.so`).
fn is_nixl(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    name.strip_prefix("libnixl").is_some_and(|rest| rest.starts_with(['.', '-']))
}

/// Returns whether a loaded library, or else the program, has the symbol.
fn has_sign(path: Option<&str>) -> bool {
    let path = path.map(|path| std::ffi::CString::new(path).unwrap_or_default());
    let name = path.as_ref().map_or(ptr::null(), |path| path.as_ptr());
    // SAFETY: the name ends in a zero, and nothing is loaded: it is open already. The symbol is looked up and
    // not used.
    unsafe {
        let library = libc::dlopen(name, libc::RTLD_LAZY | libc::RTLD_NOLOAD);
        if library.is_null() {
            return false;
        }
        let is_there = !libc::dlsym(library, SIGN.as_ptr()).is_null();
        libc::dlclose(library);
        is_there
    }
}

/// `nixlAgent::prepMemView`, for local memory.
const SIGN: &CStr =
    c"_ZNK9nixlAgent11prepMemViewERK12nixlDescListI13nixlBasicDescERPvPK21nixlAgentOptionalArgs";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_library_itself_is_nixl() {
        let names = ["/a/libnixl.so", "libnixl-3f2a.so.1", "/nixl/libnixl_common.so", "/libnixl/libucp.so"];
        assert_eq!(names.map(is_nixl), [true, true, false, false]);
    }

    #[test]
    fn a_process_without_nixl_is_told_so() {
        assert!(check().unwrap_err().contains("no NIXL"));
    }
}
