//! The kernels' PTX and their names. PTX is compiled for the GPU at hand when a device is opened.

#[cfg(test)]
mod digest;

/// Made from unpack.cu by `cargo xtask kernels`, ending in a zero as `cuModuleLoadData` wants it.
pub(super) const PTX: &str = concat!(include_str!("unpack.ptx"), "\0");

/// The threads of a block of every kernel but those of one thread. As in unpack.cu.
pub(super) const BLOCK_THREADS: u32 = 256;
/// The warps of a block of `unpack`: each copies one fragment, or a part of one.
pub(super) const BLOCK_WARPS: u32 = BLOCK_THREADS / 32;
/// What a warp copies at a time.
pub(super) const TILE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("unpack.cu");

    #[test]
    fn the_ptx_was_made_from_this_source() {
        let first = PTX.lines().next().unwrap_or_default();
        assert_eq!(first, digest::first_line(SOURCE), "run `cargo xtask kernels`");
    }

    #[test]
    fn the_ptx_loads_on_drivers_from_r535_and_gpus_from_volta_on() {
        let line = |prefix| PTX.lines().find(|line| line.starts_with(prefix)).unwrap();
        assert!(matches!(line(".version "), ".version 8.0" | ".version 8.1" | ".version 8.2"));
        assert_eq!(line(".target "), ".target sm_70");
    }

    #[test]
    fn the_source_has_the_same_numbers() {
        assert!(SOURCE.contains(&format!("constexpr u32 BLOCK_THREADS = {BLOCK_THREADS};")));
        assert!(SOURCE.contains(&format!("constexpr u32 TILE_BYTES = {TILE_BYTES};")));
    }
}
