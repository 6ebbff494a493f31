//! Random lists, and peers that come and go: no wrong byte, and nothing grows.
//!
//! `GPUTCP_ONESIDED_LISTS` and `GPUTCP_ONESIDED_PEERS` set how many, by default a few seconds' worth.

use std::{fs, sync::Mutex, time::Duration};

use gputcp::{
    Buffer, Device, IoPool, Options, SoftOptions,
    onesided::{Block, Endpoint, Rights},
};

const SOON: Duration = Duration::from_secs(60);

/// One test at a time: threads and descriptors of the whole process are counted.
static ALONE: Mutex<()> = Mutex::new(());

fn count(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

#[test]
fn random_lists_move_every_byte_and_no_other() {
    let _alone = ALONE.lock().unwrap();
    let seed = count("GPUTCP_ONESIDED_SEED", 1);
    let mut rng = fastrand::Rng::with_seed(seed);
    for device in [None, Some(Device::soft(SoftOptions::default()))] {
        let bytes = 12usize << 20;
        let options = || Options::default().with_streams(2).with_device(device.clone());
        let ends = [0, 1].map(|_| Endpoint::bind("127.0.0.1:0", options()).unwrap());
        let memory = [0, 1].map(|_| match &device {
            Some(device) => device.allocate(bytes as u64).unwrap(),
            None => Buffer::host(bytes as u64).unwrap(),
        });
        let mut expected = [vec![0; bytes], vec![0; bytes]];
        for (buffer, model) in memory.iter().zip(&mut expected) {
            rng.fill(model);
            buffer.copy_from_host(0, model).unwrap();
        }
        let lists = count("GPUTCP_ONESIDED_LISTS", 60) / 2;
        let mut done = 0;
        while done < lists {
            let regions = [0, 1].map(|at| ends[at].register(&memory[at], Rights::ReadWrite).unwrap());
            let peer = ends[0].connect(&ends[1].address()).unwrap();
            let key = regions[1].key();
            for _ in 0..25.min(lists - done) {
                done += 1;
                let longest = rng.choice([8, 300, 5000, 70_000, 8 << 20]).unwrap();
                let is_read = rng.bool();
                // Disjoint where they are written; anywhere, and overlapping, where they are read.
                let (mut at, mut list) = (rng.usize(0..100), vec![]);
                while list.len() < rng.usize(1..1500) {
                    let length = rng.usize(1..=longest);
                    if at + length > bytes {
                        break;
                    }
                    list.push((at, rng.usize(0..=bytes - length), length));
                    at += length + rng.usize(0..50);
                }
                rng.shuffle(&mut list);
                let blocks = list.iter().map(|&(to, from, length)| {
                    let (here, there) = if is_read { (to, from) } else { (from, to) };
                    Block {
                        local: &regions[0],
                        local_offset: here as u64,
                        remote: &key,
                        remote_offset: there as u64,
                        bytes: length as u64,
                    }
                });
                let transfer = if is_read { peer.read(blocks) } else { peer.write(blocks) };
                transfer.unwrap().wait(SOON).unwrap();
                let [here, there] = &mut expected;
                let (target, source) = if is_read { (here, there) } else { (there, here) };
                for (to, from, length) in list {
                    target[to..to + length].copy_from_slice(&source[from..from + length]);
                }
            }
            for region in regions {
                region.deregister(SOON).unwrap();
            }
            for (buffer, model) in memory.iter().zip(&expected) {
                let mut found = vec![0; bytes];
                buffer.copy_to_host(0, &mut found).unwrap();
                assert!(found == *model, "seed {seed}, after {done} lists, {device:?}");
            }
        }
    }
}

#[test]
fn peers_that_come_and_go_leave_nothing_behind() {
    let _alone = ALONE.lock().unwrap();
    let pool = IoPool::new(2).unwrap();
    let options = || Options::default().with_streams(2).with_pool(pool.clone());
    let hub = Endpoint::bind("127.0.0.1:0", options()).unwrap();
    let region = hub.register(&Buffer::host(1 << 20).unwrap(), Rights::ReadWrite).unwrap();
    let key = region.key();
    let mut before = None;
    let peers = count("GPUTCP_ONESIDED_PEERS", 40);
    for number in 0..peers {
        let own = Endpoint::bind("127.0.0.1:0", options()).unwrap();
        let local = own.register(&Buffer::host(1 << 16).unwrap(), Rights::Read).unwrap();
        let peer = own.connect(&hub.address()).unwrap();
        let blocks = (0..16).map(|at| Block {
            local: &local,
            local_offset: at << 12,
            remote: &key,
            remote_offset: at << 13,
            bytes: 4096,
        });
        let transfer = peer.read(blocks).unwrap();
        if number % 3 > 0 {
            transfer.wait(SOON).unwrap();
        }
        drop((transfer, local, own));
        if number == peers / 4 {
            before = Some((descriptors(), threads()));
        }
    }
    let (before, deadline) = (before.unwrap(), std::time::Instant::now() + SOON);
    // The hub may notice the last ones' end a moment later.
    while descriptors() > before.0 + 30 {
        assert!(std::time::Instant::now() < deadline, "{} descriptors, {} before", descriptors(), before.0);
        std::thread::sleep(Duration::from_millis(10));
    }
    assert!(threads() <= before.1 + 2, "{} threads, {} before", threads(), before.1);
}
