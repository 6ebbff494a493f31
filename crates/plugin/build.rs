//! Linker options of the plugin's library.

fn main() {
    // NCCL closes a plugin's library after the last communicator. Threads of the plugin may still receive
    // goodbyes then, and NCCL keeps the addresses of its names. So the loader must never unmap it (ld(1), -z
    // nodelete).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
