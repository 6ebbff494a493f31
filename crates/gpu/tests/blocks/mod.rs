//! A message of 300 blocks of a buffer, in an order of their own.

use gputcp_gpu::{Buffer, Pattern};
use gputcp_proto::layout::Layout;

pub(crate) const BLOCK: u64 = 1000;
pub(crate) const MESSAGE_BYTES: u64 = BLOCKS * BLOCK;
const BLOCKS: u64 = 300;
pub(crate) const PATTERN: Pattern = Pattern { seed: 8, iteration: 9 };

/// Returns the blocks in an order of their own: `step` has no divisor in common with their number.
pub(crate) fn blocks(step: u64) -> Layout {
    Layout::of((0..BLOCKS).map(|i| (i * step % BLOCKS * BLOCK, BLOCK))).unwrap()
}

/// Returns what the pattern becomes in a copy from the blocks of one step to those of another.
pub(crate) fn expected(from: u64, to: u64) -> Vec<u8> {
    let mut source = vec![0; MESSAGE_BYTES as usize];
    PATTERN.fill(0, &mut source);
    let mut expected = vec![0; source.len()];
    let place = |i, step| (i * step % BLOCKS * BLOCK) as usize..(i * step % BLOCKS * BLOCK + BLOCK) as usize;
    for i in 0..BLOCKS {
        expected[place(i, to)].copy_from_slice(&source[place(i, from)]);
    }
    expected
}

/// Returns all bytes of a buffer.
pub(crate) fn content(buffer: &Buffer) -> Vec<u8> {
    let mut found = vec![0; buffer.bytes() as usize];
    buffer.host_view().unwrap().read(0, buffer.bytes()).unwrap().copy_to(0, &mut found);
    found
}
