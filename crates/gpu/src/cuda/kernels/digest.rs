//! The digest that ties a PTX file to the unpack.cu it was made from. Shared with `cargo xtask kernels`, which writes it.

/// The first line of a PTX file made from `source`.
pub(crate) fn first_line(source: &str) -> String {
    format!("// made from unpack.cu by `cargo xtask kernels`; digest of the source: {:016x}", digest(source))
}

/// FNV-1a, 64 bits: tells a forgotten build, not a forgery.
fn digest(source: &str) -> u64 {
    source
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
