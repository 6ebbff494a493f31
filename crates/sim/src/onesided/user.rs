//! A user: the transfers that it posts, and their ends.

use gputcp_proto::onesided::{
    chunks::{Block, Plan},
    key::{Key, Operation},
    link::TransferId,
    regions::Refusal,
};

use super::memory::Region;

/// A transfer that was posted.
#[derive(Debug)]
pub(super) struct Transfer {
    pub(super) id: TransferId,
    pub(super) operation: Operation,
    /// Local regions are named by their place in the owner's list, remote ones by their place in `keys`.
    pub(super) plan: Plan,
    pub(super) keys: Vec<Key>,
    /// The remote region of each key, by its place in its owner's list.
    pub(super) remotes: Vec<usize>,
    /// The bytes that its source had, block by block.
    pub(super) content: Vec<Vec<u8>>,
    /// Chunks that are not over.
    pub(super) left: u32,
    pub(super) is_cancelled: bool,
    pub(super) refusal: Option<Refusal>,
    /// A block of it is beyond its region.
    pub(super) is_bad: bool,
    /// A remote region allows no such operation.
    pub(super) is_forbidden: bool,
    /// Chunks of others that began since its last one.
    pub(super) passed: usize,
}

impl Transfer {
    pub(super) const fn is_over(&self) -> bool {
        self.left == 0
    }
}

/// Draws a transfer: blocks in a few regions of each end, each in a place of its own at the target.
pub(super) fn draw(
    rng: &mut fastrand::Rng,
    id: TransferId,
    here: &mut [Region],
    there: &mut [Region],
) -> Option<Transfer> {
    let operation = if rng.bool() { Operation::Read } else { Operation::Write };
    let (is_bad, may_be_forbidden) = (rng.u8(..16) == 0, rng.u8(..16) == 0);
    let (mut keys, mut remotes, mut blocks, mut content) = (vec![], vec![], vec![], vec![]);
    let longest = rng.choice([1, 8, 200, 1500])?;
    for _ in 0..rng.usize(1..=40) {
        let (local, remote) = (rng.usize(0..here.len()), rng.usize(0..there.len()));
        let bytes = rng.u64(1..=longest);
        let is_allowed = there[remote].key.rights().allow(operation) || may_be_forbidden;
        if here[local].is_revoked || !is_allowed {
            continue;
        }
        let (target, source) = match operation {
            Operation::Read => (&mut here[local], &there[remote]),
            Operation::Write => (&mut there[remote], &here[local]),
        };
        let Some(from) = source.source(rng, bytes) else { continue };
        let Some(to) = target.take(bytes) else { continue };
        let end = (from + bytes) as usize;
        content.push(source.bytes[from as usize..end].to_vec());
        let (local_offset, mut remote_offset) = match operation {
            Operation::Read => (to, from),
            Operation::Write => (from, to),
        };
        if is_bad && rng.bool() {
            remote_offset = there[remote].key.bytes();
        }
        let place = remotes.iter().position(|&other| other == remote).unwrap_or_else(|| {
            remotes.push(remote);
            keys.push(there[remote].key);
            remotes.len() - 1
        });
        blocks.push(Block { local: local as u32, remote: place as u32, local_offset, remote_offset, bytes });
    }
    let is_bad =
        blocks.iter().any(|block| block.remote_offset + block.bytes > keys[block.remote as usize].bytes());
    let is_forbidden = keys.iter().any(|key| !key.rights().allow(operation));
    let mut plan = Plan::merge(blocks);
    let space = |block: &Block| (here[block.local as usize].key.space(), keys[block.remote as usize].space());
    plan.cut(rng.u64(1..=1000), space);
    let left = plan.chunks() as u32;
    let (is_cancelled, refusal, passed) = (false, None, 0);
    Some(Transfer {
        id,
        operation,
        plan,
        keys,
        remotes,
        content,
        left,
        is_cancelled,
        refusal,
        is_bad,
        is_forbidden,
        passed,
    })
    .filter(|transfer| transfer.left > 0)
}
