//! Compiles the C++ side of the backend.

use std::process::Command;

fn main() {
    let mut build = cc::Build::new();
    build.cpp(true).std("c++20").file("shim/engine.cpp").warnings(true).extra_warnings(true);
    // Strings and maps have the layout that NIXL was built with, and no symbol leaves the library.
    build.define("_GLIBCXX_USE_CXX11_ABI", "1").flag("-fvisibility=hidden").opt_level(2);
    let compiler = build.get_compiler();
    let is_there =
        Command::new(compiler.path()).arg("--version").output().is_ok_and(|out| out.status.success());
    assert!(
        is_there,
        "the NIXL backend needs a C++ compiler, and {} does not run: install g++, or leave the crate out \
         (--exclude gputcp-nixl)",
        compiler.path().display()
    );
    build.compile("gputcp_nixl_shim");
    // NIXL may close the library while threads of the backend end. So the loader must never unmap it.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=shim");
    println!("cargo::rerun-if-changed=build.rs");
}
