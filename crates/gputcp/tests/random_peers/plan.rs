//! The settings of a connection's two ends.

use std::{sync::OnceLock, time::Duration};

use gputcp::{IoPool, Options};
use gputcp_fuzz::Rng;
use gputcp_gpu::UnpackMode;
use gputcp_proto::{
    frame::{Join, JoinVerdict, Welcome},
    handle::Handle,
    key::Proof,
};

use crate::common::{self, TestMemory};

/// Both ends' numbers; those of the bare peer are the ones that fit its frames.
pub(crate) struct Plan {
    /// Where this side's memory is.
    pub(crate) place: TestMemory,
    pub(crate) options: Options,
    pub(crate) peer_slots: u16,
    pub(crate) peer_inline_bytes: u32,
    pub(crate) peer_eager_places: u16,
    pub(crate) peer_max_receives: u16,
}

impl Plan {
    pub(crate) fn draw(random: &mut Rng) -> Self {
        let place = if random.bool() { TestMemory::Host } else { TestMemory::Soft };
        let segment_bytes = 4096 << random.u32(0..=4);
        let inline = |random: &mut Rng| random.choice([0, 100, 4096, 64 << 10]).unwrap();
        let max_receives = random.choice([1, 1, 1, 2, 8]).unwrap();
        let options = common::options(random.u16(1..=3))
            .with_max_receives(max_receives)
            .with_device(place.device())
            .with_unpack(random.choice([UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host]).unwrap())
            .with_pool(random.bool().then(pool))
            .with_timeout(Duration::from_secs(2))
            .tuned(|tuning| {
                tuning.slots = random.choice([1, 2, 4, 32]).unwrap();
                tuning.segment_bytes = segment_bytes;
                tuning.piece_bytes = random.u32(4096..=segment_bytes);
                tuning.inline_bytes = inline(random);
                tuning.eager_places = random.u16(0..=8);
                tuning.slabs = random.u16(1..=3);
            });
        Self {
            place,
            options,
            peer_slots: random.choice([1, 2, 4, 32]).unwrap(),
            peer_inline_bytes: inline(random),
            peer_eager_places: random.u16(0..=8),
            peer_max_receives: random.choice([1, max_receives, 8]).unwrap(),
        }
    }

    pub(crate) fn inline_bytes(&self) -> u64 {
        self.options.tuning.inline_bytes.min(self.peer_inline_bytes).into()
    }

    pub(crate) fn max_receives(&self) -> u16 {
        self.options.max_receives.min(self.peer_max_receives)
    }

    pub(crate) fn eager_places(&self) -> u64 {
        match self.max_receives() {
            1 => self.options.tuning.eager_places.min(self.peer_eager_places).into(),
            _ => 0,
        }
    }

    /// Returns the join of a bare sender's control socket.
    pub(crate) fn join(&self, handle: &Handle) -> Join {
        Join {
            streams: self.options.streams,
            slots: self.peer_slots,
            segment_bytes: self.options.tuning.segment_bytes,
            piece_bytes: self.options.tuning.piece_bytes,
            inline_bytes: self.peer_inline_bytes,
            eager_places: self.peer_eager_places,
            max_receives: self.peer_max_receives,
            ..common::join(handle)
        }
    }

    /// Returns the welcome of a bare receiver.
    pub(crate) const fn welcome(&self) -> Welcome {
        Welcome {
            verdict: JoinVerdict::Accepted,
            slots: self.peer_slots,
            inline_bytes: self.peer_inline_bytes,
            eager_places: self.peer_eager_places,
            max_receives: self.peer_max_receives,
            proof: Proof::NONE,
        }
    }
}

/// Returns the pool of all ends that have one: a connection's end must leave it good for the others.
fn pool() -> IoPool {
    static POOL: OnceLock<IoPool> = OnceLock::new();
    POOL.get_or_init(|| IoPool::new(2).unwrap()).clone()
}
