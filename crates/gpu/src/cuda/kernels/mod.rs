//! The kernels' PTX and their numbers. The driver compiles PTX for its GPU when a device is opened.

#[cfg(test)]
mod digest;

/// PTX for every GPU, made from unpack.cu by `cargo xtask kernels`. It ends in a zero, as `cuModuleLoadData`
/// demands.
pub(super) const PTX: &str = concat!(include_str!("unpack.ptx"), "\0");
/// PTX for GPUs from Hopper on. Its `unpack` waits in the kernel for the work before it in the stream, so it
/// may be launched early.
pub(super) const PTX_SM90: &str = concat!(include_str!("unpack_sm90.ptx"), "\0");

/// The threads of a block of every kernel but those of one thread, as in unpack.cu.
pub(super) const BLOCK_THREADS: u32 = 256;
/// The warps of a block of `unpack`: each copies one fragment, or a part of one.
pub(super) const BLOCK_WARPS: u32 = BLOCK_THREADS / 32;
/// The bytes that a warp copies at a time.
pub(super) const TILE_BYTES: u64 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCE: &str = include_str!("unpack.cu");

    #[test]
    fn the_ptx_was_made_from_this_source() {
        for ptx in [PTX, PTX_SM90] {
            let first = ptx.lines().next().unwrap_or_default();
            assert_eq!(first, digest::first_line(SOURCE), "run `cargo xtask kernels`");
        }
    }

    #[test]
    fn the_ptx_loads_on_drivers_from_r535_and_gpus_from_volta_or_hopper_on() {
        for (ptx, target) in [(PTX, ".target sm_70"), (PTX_SM90, ".target sm_90")] {
            let line = |prefix| ptx.lines().find(|line| line.starts_with(prefix)).unwrap();
            assert!(matches!(line(".version "), ".version 8.0" | ".version 8.1" | ".version 8.2"));
            assert_eq!(line(".target "), target);
        }
    }

    #[test]
    fn unpack_waits_for_those_before_it_and_then_lets_the_next_in_before_it_touches_memory() {
        let (_, body) = PTX_SM90.split_once(".entry unpack(").unwrap();
        let mut acts = body.lines().map(str::trim).filter(|line| {
            let is_access = ["ld.", "st.", "red.", "atom."].iter().any(|name| line.contains(name));
            line.starts_with("griddepcontrol") || is_access && !line.starts_with("ld.param")
        });
        assert_eq!(acts.next(), Some("griddepcontrol.wait;"));
        assert_eq!(acts.next(), Some("griddepcontrol.launch_dependents;"));
        // The flag is first.
        assert!(acts.next().unwrap().starts_with("st.volatile.global.u32"));
        // A kernel that only raises a flag does so behind a fence for the whole system.
        for ptx in [PTX, PTX_SM90] {
            let (_, mark) = ptx.split_once(".entry mark(").unwrap();
            assert!(mark.find("membar.sys;").unwrap() < mark.find("st.volatile.global.u32").unwrap());
        }
        // Such loads may return data from before the wait: they are for memory that is constant while the
        // kernel runs.
        assert!(!PTX_SM90.contains("ld.global.nc"));
        assert!(!PTX.contains("griddepcontrol"));
    }

    #[test]
    fn the_source_has_the_same_numbers() {
        assert!(SOURCE.contains(&format!("constexpr u32 BLOCK_THREADS = {BLOCK_THREADS};")));
        assert!(SOURCE.contains(&format!("constexpr u32 TILE_BYTES = {TILE_BYTES};")));
    }
}
