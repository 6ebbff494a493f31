//! Checks of the whole way: GPU → slabs → socket → slabs → GPU, as the transport does it.

use gputcp_gpu::{Lane, LaneSpec, Pattern, UnpackMode, measure};

use crate::{Check, Outcome, Scene, passage::Passage, unpacks::MODES};

pub(crate) const CHECKS: &[Check] = &[
    ("a message goes from GPU to GPU through slabs and a socket", transfer),
    ("the same where flags are written by a kernel", transfer_with_kernel_marks),
];

const SEGMENT: u64 = 64 << 10;
const SLOTS: usize = 4;
const SPEC: LaneSpec = LaneSpec { slots: SLOTS, slab_bytes: SEGMENT };

fn transfer(scene: &Scene) -> Outcome {
    let lane = || scene.device.lane(SPEC);
    for round in 0..if scene.quick { 1 } else { 8 } {
        for mode in MODES {
            one_transfer(scene, lane()?, lane()?, mode, round)?;
        }
    }
    Ok(())
}

fn transfer_with_kernel_marks(scene: &Scene) -> Outcome {
    let lane = || measure::lane_with_kernel_marks(&scene.device, SPEC);
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
    let (source, destination) = (device.allocate(bytes)?, device.allocate(bytes + 99)?);
    let pattern = Pattern { seed: 3, iteration };
    source.fill(pattern, 0, bytes)?;
    let (from, to) = ((&source, 0), (&destination, 99));
    let passage = Passage { from, to, layouts: None, bytes, segment_bytes: SEGMENT, slabs: SLOTS, mode };
    passage.carry(&mut sender, &mut receiver)?;
    destination.verify(pattern, 99, bytes)?.map_err(|wrong| format!("{mode}: {wrong:?}").into())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use gputcp_gpu::{Device, SoftOptions};

    use super::*;

    #[test]
    fn a_message_goes_from_software_gpu_to_software_gpu() {
        for lateness in [Duration::ZERO, Duration::from_millis(2)] {
            let device = Device::soft(SoftOptions { lateness, seed: 7, lost_after: None });
            transfer(&Scene { device, quick: true }).unwrap();
        }
    }
}
