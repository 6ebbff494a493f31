//! Checks of the whole way: GPU → slabs → socket → slabs → GPU, as the transport does it.

use gputcp_gpu::{Lane, LaneSpec, Pattern, UnpackMode, measure};

use crate::{Check, Outcome, Scene, ensure, passage::Passage, text, unpacks::MODES};

pub(crate) const CHECKS: &[Check] = &[
    ("a message goes from GPU to GPU through slabs and a socket", transfer),
    ("the same where flags are written by a kernel", transfer_with_kernel_marks),
];

const SEGMENT: u64 = 64 << 10;
const SLOTS: usize = 4;
const SPEC: LaneSpec = LaneSpec { slots: SLOTS, slab_bytes: SEGMENT };

fn transfer(scene: &Scene) -> Outcome {
    let lane = || scene.device.lane(SPEC).map_err(text);
    for round in 0..if scene.quick { 1 } else { 8 } {
        for mode in MODES {
            one_transfer(scene, lane()?, lane()?, mode, round)?;
        }
    }
    Ok(())
}

fn transfer_with_kernel_marks(scene: &Scene) -> Outcome {
    let lane = || measure::lane_with_kernel_marks(&scene.device, SPEC).map_err(text);
    one_transfer(scene, lane()?, lane()?, UnpackMode::Copy, 0)
}

fn one_transfer(
    scene: &Scene,
    mut sender: Lane,
    mut receiver: Lane,
    mode: UnpackMode,
    iteration: u64,
) -> Outcome {
    let bytes = 40 * SEGMENT + 12_345;
    let device = &scene.device;
    let (source, destination) =
        (device.allocate(bytes).map_err(text)?, device.allocate(bytes + 99).map_err(text)?);
    let pattern = Pattern { seed: 3, iteration };
    source.fill(pattern, 0, bytes).map_err(text)?;
    let (from, to) = ((&source, 0), (&destination, 99));
    let passage = Passage { from, to, layouts: None, bytes, segment_bytes: SEGMENT, slabs: SLOTS, mode };
    passage.carry(&mut sender, &mut receiver)?;
    let verified = destination.verify(pattern, 99, bytes).map_err(text)?;
    ensure(verified.is_ok(), || format!("{mode}: {verified:?}"))
}
