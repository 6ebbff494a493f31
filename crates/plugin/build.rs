//! How the plugin's library is linked.

fn main() {
    // NCCL closes a plugin's library after the last communicator; threads of ours may still be hearing goodbyes then, and
    // NCCL keeps the addresses of our names. So the loader must never unmap it (ld(1), -z nodelete).
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rerun-if-changed=build.rs");
}
