//! A connection that is polled, while its peer reads no frame: the background reader does not spin over the
//! frames that the next poll reads. Alone in its process: the CPU time of the whole process is counted.

mod common;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use common::{TestMemory, cpu, options, sender_to_impostor};
use gputcp::IoPool;
use gputcp_proto::frame::{Announce, Control};

const EACH: u64 = 16 << 10;

fn announce(seq: u64) -> [u8; Control::BYTES] {
    let announce = Announce { seq, capacity: EACH, inline_bytes: EACH as u32, done: 0, mark: None };
    Control::Announce(announce).encode()
}

#[test]
fn what_is_left_to_write_and_to_read_makes_nobody_spin() {
    // With threads of its own, and in a pool; several times, as CPU time is counted in ticks of 10 ms.
    for pool in [None, Some(IoPool::new(1).unwrap())] {
        let (mut spent, mut took) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..4 {
            let options =
                options(1).with_pool(pool.clone()).tuned(|tuning| tuning.send_buffer_bytes = Some(16 << 10));
            let (mut sender, mut control, _data) = sender_to_impostor(options, Some(4 << 10));
            (0..16).for_each(|seq| control.write_all(&announce(seq)).unwrap());
            let from = TestMemory::Host.buffer(EACH);
            let mut requests: Vec<_> =
                (0..16).map(|_| sender.isend(&from, 0, EACH).unwrap().unwrap()).collect();
            let mut last = requests.pop().unwrap();
            let (before, began) = (cpu(), Instant::now());
            // A byte at a time, so that after each poll there is something to read.
            for byte in (16..32).flat_map(announce) {
                last = sender.test(last).unwrap().not_yet().expect("the peer has no room for it");
                control.write_all(&[byte]).unwrap();
                thread::sleep(Duration::from_micros(120));
            }
            spent += cpu() - before;
            took += began.elapsed();
        }
        // A fifth is what polling and writing cost; twice as much with a background reader that spins.
        assert!(3 * spent < took, "{spent:?} of CPU in {took:?}");
    }
}
