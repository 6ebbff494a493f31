//! The backend under a NIXL of another version: it gives itself to none that it would harm.

#[path = "../../test-plugin/built.rs"]
mod built;

use std::{
    ffi::c_void,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use libloading::Library;

/// The first function of a backend that NIXL calls.
type Init = unsafe extern "C" fn() -> *mut c_void;

#[test]
fn only_nixl_from_1_0_on_gets_the_backend() {
    let backend = built::built().join("libplugin_GPUTCP.so");
    // SAFETY: this repository's library, whose constructors do nothing.
    let backend = unsafe { Library::new(backend) }.expect("the backend");
    // SAFETY: the function has this type.
    let init = unsafe { backend.get::<Init>(b"nixl_plugin_init") }.expect("its first function");
    let is_given = || {
        // SAFETY: it may be called at any time.
        !unsafe { init() }.is_null()
    };
    assert!(!is_given(), "without any NIXL");
    let _new = load("new", &format!("void {SIGN}(void) {{}}"));
    assert!(is_given(), "with NIXL 1.0");
    let _old = load("old", "void _ZNK9nixlAgent14prepMemoryViewEv(void) {}");
    assert!(!is_given(), "with an older one beside it, which may be the one that asks");
}

/// Loads a library with NIXL's name and this source.
fn load(name: &str, source: &str) -> Library {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).expect("a folder");
    let (source_file, library): (PathBuf, _) = (folder.join("nixl.c"), folder.join("libnixl.so"));
    fs::write(&source_file, source).expect("a source");
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source_file).status();
    assert!(compiled.expect("a C compiler").success());
    // SAFETY: a library of one function that does nothing.
    unsafe { Library::new(library) }.expect("the library")
}

const SIGN: &str =
    "_ZNK9nixlAgent11prepMemViewERK12nixlDescListI13nixlBasicDescERPvPK21nixlAgentOptionalArgs";
