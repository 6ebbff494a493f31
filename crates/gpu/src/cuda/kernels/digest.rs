//! The digest that ties a PTX file to its source unpack.cu.
//!
//! `cargo xtask kernels`, which writes it, shares this file.

/// Returns the first line of a PTX file made from `source`.
pub(crate) fn first_line(source: &str) -> String {
    format!("// made from unpack.cu by `cargo xtask kernels`; digest of the source: {:016x}", digest(source))
}

/// Computes FNV-1a, 64 bits: it reveals a forgotten build, not a forgery.
fn digest(source: &str) -> u64 {
    source
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
