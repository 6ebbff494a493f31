//! The interface in `shim/interface.h`, compared with NIXL's own headers where `NIXL_INCLUDE_DIR` names them.
//!
//! Its value is the folder `src` of NIXL's sources, or a folder of installed headers, or several with colons
//! between them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
};

#[test]
fn the_interface_is_that_of_nixls_headers() {
    let Some(folders) = env::var_os("NIXL_INCLUDE_DIR").filter(|value| !value.is_empty()) else {
        println!("skipped: NIXL_INCLUDE_DIR names no folder with NIXL's headers");
        return;
    };
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let inside = ["", "api/cpp", "api/cpp/backend", "backend", "utils", "core", "core/telemetry", "infra"];
    // This crate's folders come first: in the first is a header in the place of one that needs Abseil.
    let mut include = vec![own.join("tests/headers"), own.join("shim")];
    for folder in env::split_paths(&folders) {
        include.extend(inside.iter().map(|inside| folder.join(inside)).filter(|folder| folder.is_dir()));
    }
    let program = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compare");
    let compiler = env::var_os("CXX").unwrap_or_else(|| "c++".into());
    let compiled = Command::new(compiler)
        .args(["-std=c++20", "-o"])
        .arg(&program)
        .args(include.iter().map(|folder| format!("-I{}", folder.display())))
        .arg(own.join("tests/headers/compare.cpp"))
        .output()
        .expect("a C++ compiler");
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    let compared = Command::new(&program).output().expect("the compiled program");
    assert!(compared.status.success(), "{}", String::from_utf8_lossy(&compared.stdout));
}
