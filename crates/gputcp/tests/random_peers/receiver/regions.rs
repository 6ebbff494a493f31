//! The memory that is received into: a region for each receive, in the order of their sequence numbers,
//! longer than any receive. The bytes around and behind a receive must stay as they were.

use std::time::{Duration, Instant};

use gputcp_gpu::{Buffer, Pattern};

use super::Receive;
use crate::common::TestMemory;

pub(super) struct Regions {
    pub(super) memory: Buffer,
    place: TestMemory,
}

impl Regions {
    pub(super) fn new(place: TestMemory) -> Self {
        Self { memory: place.buffer(REGION * RECEIVES as u64), place }
    }

    /// Fills the region of a receive that is about to be posted.
    pub(super) fn prepare(&self, at: usize) {
        self.memory.fill(guard(at), region(at), REGION).unwrap();
    }

    /// Waits until a connection that has ended holds no memory: a lane ends its work by itself.
    pub(super) fn wait_until_free(&self) {
        let until = Instant::now() + Duration::from_secs(10);
        while self.memory.write(0, self.memory.bytes()).is_err() {
            assert!(Instant::now() < until, "a connection that has ended holds memory");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Checks that a region holds the data that the peer sent there, and elsewhere its data from before. Of a
    /// peer that is not faithful only the latter is known.
    pub(super) fn check(&self, at: usize, receive: &Receive, faithful: bool) {
        let (mut found, mut before, mut sent) = (bytes(), bytes(), bytes());
        let view = self.memory.host_view().expect("the software GPU's memory is the CPU's to see");
        view.read(region(at), REGION).unwrap().copy_to(0, &mut found);
        guard(at).fill(0, &mut before);
        data(at as u64).fill(0, &mut sent);
        let capacity = receive.capacity as usize;
        assert!(found[capacity..] == before[capacity..], "written beyond receive {at} in {:?}", self.place);
        if !faithful {
            return;
        }
        let received = receive.received.unwrap_or(0) as usize;
        assert!(found[..received] == sent[..received], "receive {at} of {received} bytes is wrong");
        let is_either = |at: usize| found[at] == before[at] || found[at] == sent[at];
        assert!((received..capacity).all(is_either), "receive {at} has bytes that the peer did not send");
    }
}

fn bytes() -> Vec<u8> {
    vec![0; REGION as usize]
}

/// Returns where the region of a receive begins.
pub(super) const fn region(at: usize) -> u64 {
    at as u64 * REGION
}

/// Returns the data that is sent to a receive.
pub(super) const fn data(seq: u64) -> Pattern {
    Pattern { seed: 1, iteration: seq }
}

/// Returns the data that its region has before.
const fn guard(at: usize) -> Pattern {
    Pattern { seed: 2, iteration: at as u64 }
}

/// The longest receive.
pub(super) const ROOM: u64 = 24 << 10;
const REGION: u64 = 28 << 10;
/// How many receives a case has at most.
pub(super) const RECEIVES: usize = 40;
