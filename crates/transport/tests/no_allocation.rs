//! Invariant I4: nothing is allocated after connect. Counted over the whole process, so over all threads of both ends.

mod common;

use std::{alloc::System, thread};

use common::{PATIENCE, Place, close, options, pair, soon};
use gputcp::{
    IoPool, Options, Part,
    transfer::{Message, Plan, Receiver, Sender},
};
use gputcp_gpu::Pattern;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// One test for all places: a second one at the same time would be counted too.
#[test]
fn a_transfer_allocates_nothing() {
    let pool = IoPool::new(2).unwrap();
    let of_its_own_or_pooled = [None, Some(pool)];
    let places = [Place::Host, Place::Soft];
    for (place, pool) in of_its_own_or_pooled.iter().flat_map(|pool| places.map(|place| (place, pool))) {
        let (chunk_bytes, bytes) = (64 << 10, 8 << 20);
        let (sender, receiver) = pair(&Options { device: place.device(), pool: pool.clone(), ..options(2) });
        let (mut sends, mut recvs) = ([sender], [receiver]);
        let (from, to) = (place.buffer(bytes), place.buffer(bytes));
        let mut sending = Sender::new(Plan { chunk_bytes, window: 12, patience: PATIENCE }, 1);
        let mut receiving = Receiver::new(Plan { chunk_bytes, window: 16, patience: PATIENCE }, 1);
        let lengths = [bytes, 1000, bytes, 0, chunk_bytes + 1, bytes];
        let barrier = std::sync::Barrier::new(2);
        let counted = thread::scope(|scope| {
            let (sends, from, sending, barrier) = (&mut sends, &from, &mut sending, &barrier);
            scope.spawn(move || {
                barrier.wait();
                for bytes in lengths {
                    sending.send(sends, Message { buffer: from, offset: 0, bytes }).unwrap();
                }
                barrier.wait();
            });
            barrier.wait();
            let region = Region::new(ALLOCATOR);
            for bytes in lengths {
                let posted = receiving.post(&mut recvs, Message { buffer: &to, offset: 0, bytes }).unwrap();
                receiving.finish(&mut recvs, posted).unwrap();
            }
            let counted = region.change();
            barrier.wait();
            counted
        });
        assert_eq!(recvs[0].bytes_placed(), lengths.iter().sum::<u64>());
        let made = (counted.allocations, counted.reallocations, counted.deallocations);
        assert_eq!(
            made,
            (0, 0, 0),
            "allocations, reallocations, deallocations in {place:?} memory, {pool:?}: {counted:?}"
        );
        // The counter counts: filling a vector shows.
        let region = Region::new(ALLOCATOR);
        std::hint::black_box(vec![Pattern { seed: 0, iteration: 0 }]);
        assert_eq!(region.change().allocations, 1);
        let ([sender], [receiver]) = (sends, recvs);
        close(vec![sender], vec![receiver]);
        let made = groups(place, pool.clone());
        assert_eq!(made, (0, 0), "allocations and deallocations for groups in {place:?} memory, {pool:?}");
    }
}

/// What grouped receives allocate and free.
fn groups(place: Place, pool: Option<IoPool>) -> (usize, usize) {
    let opts = Options { device: place.device(), pool, max_receives: 8, ..options(2) };
    let (mut sender, mut receiver) = pair(&opts);
    let each = 100_000;
    let (from, to) = (place.buffer(each), place.buffer(8 * each));
    let part = |at| Part { destination: &to, offset: at * each, bytes: each, tag: at as i32 };
    let group = [0, 1, 2, 3, 4, 5, 6, 7].map(part);
    let region = Region::new(ALLOCATOR);
    for bytes in [each, 0, 8, each] {
        let posted = receiver.irecv_group(&group).unwrap().unwrap();
        let mut sent = [const { None }; 8];
        for tag in (0..8).rev() {
            while sent[tag].is_none() {
                sent[tag] = sender.isend_tagged(&from, 0, bytes, tag as i32).unwrap();
            }
        }
        let received = receiver.wait_group(posted, soon()).unwrap();
        assert!(received.parts().iter().all(|part| part.bytes == bytes));
        for request in sent.into_iter().flatten() {
            sender.wait(request, soon()).unwrap();
        }
    }
    let made = region.change();
    close(vec![sender], vec![receiver]);
    (made.allocations, made.deallocations)
}
