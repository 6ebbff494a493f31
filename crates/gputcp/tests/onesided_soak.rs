//! Random lists, and peers that come and go: no wrong byte, and nothing grows.
//!
//! `GPUTCP_ONESIDED_LISTS` and `GPUTCP_ONESIDED_PEERS` set how many, by default a few seconds' worth.
//! `GPUTCP_ONESIDED_GPU=0` moves the lists between the memory of that GPU and host memory, too.

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

/// One end's memory: several buffers, and what they must have.
struct End {
    buffers: Vec<Buffer>,
    expected: Vec<Vec<u8>>,
}

impl End {
    /// Allocates buffers of different lengths; with a device, every other one is of it.
    fn new(device: Option<&Device>, rng: &mut fastrand::Rng) -> Self {
        let lengths: Vec<usize> = (0..10).map(|at| rng.usize(1..=[1, 50_000, 9 << 20][at % 3])).collect();
        let (mut buffers, mut expected) = (vec![], vec![]);
        for (at, length) in lengths.into_iter().enumerate() {
            let buffer = match device {
                Some(device) if at % 2 == 0 => device.allocate(length as u64).unwrap(),
                _ => Buffer::host(length as u64).unwrap(),
            };
            let mut bytes = vec![0; length];
            rng.fill(&mut bytes);
            buffer.copy_from_host(0, &bytes).unwrap();
            buffers.push(buffer);
            expected.push(bytes);
        }
        Self { buffers, expected }
    }

    /// Returns a block anywhere: its buffer and start.
    fn any(&self, rng: &mut fastrand::Rng, length: usize) -> Option<Place> {
        let at = rng.usize(0..self.buffers.len());
        Some((at, rng.usize(0..=self.expected[at].len().checked_sub(length)?)))
    }
}

/// A buffer of an end, and an offset in it.
type Place = (usize, usize);

/// Returns a list of blocks (buffer and start at the target, buffer and start at the source, length) that are
/// disjoint at the target.
fn list(rng: &mut fastrand::Rng, target: &End, source: &End) -> Vec<(Place, Place, usize)> {
    let longest = rng.choice([8, 300, 5000, 70_000, 8 << 20]).unwrap();
    let mut list = vec![];
    let most = rng.usize(1..1500);
    for (at, bytes) in target.expected.iter().enumerate() {
        let mut from = rng.usize(0..100);
        while list.len() < most {
            let length = rng.usize(1..=longest);
            if from + length > bytes.len() {
                break;
            }
            if let Some(other) = source.any(rng, length) {
                list.push(((at, from), other, length));
            }
            from += length + rng.usize(0..50);
        }
    }
    rng.shuffle(&mut list);
    list
}

#[test]
fn random_lists_move_every_byte_and_no_other() {
    let _alone = ALONE.lock().unwrap();
    let seed = count("GPUTCP_ONESIDED_SEED", 1);
    let mut rng = fastrand::Rng::with_seed(seed);
    let gpu = std::env::var("GPUTCP_ONESIDED_GPU").ok().map(|gpu| Device::cuda(&gpu).unwrap());
    for device in [None, Some(Device::soft(SoftOptions::default()))].into_iter().chain(gpu.map(Some)) {
        let options = || Options::default().with_streams(2).with_device(device.clone());
        let ends = [0, 1].map(|_| Endpoint::bind("127.0.0.1:0", options()).unwrap());
        let mut memory = [0, 1].map(|_| End::new(device.as_ref(), &mut rng));
        let lists = count("GPUTCP_ONESIDED_LISTS", 60) / 2;
        let mut done = 0;
        while done < lists {
            let regions = [0, 1].map(|at| {
                let register = |buffer| ends[at].register(buffer, Rights::ReadWrite).unwrap();
                memory[at].buffers.iter().map(register).collect::<Vec<_>>()
            });
            let peer = ends[0].connect(&ends[1].address()).unwrap();
            let keys: Vec<_> = regions[1].iter().map(|region| region.key()).collect();
            for _ in 0..25.min(lists - done) {
                done += 1;
                let is_read = rng.bool();
                let [here, there] = &mut memory;
                let (target, source) = if is_read { (here, there) } else { (there, here) };
                let list = list(&mut rng, target, source);
                let blocks = list.iter().map(|&(to, from, length)| {
                    let (here, there) = if is_read { (to, from) } else { (from, to) };
                    Block {
                        local: &regions[0][here.0],
                        local_offset: here.1 as u64,
                        remote: &keys[there.0],
                        remote_offset: there.1 as u64,
                        bytes: length as u64,
                    }
                });
                let transfer = if is_read { peer.read(blocks) } else { peer.write(blocks) };
                transfer.unwrap().wait(SOON).unwrap();
                for (to, from, length) in list {
                    target.expected[to.0][to.1..to.1 + length]
                        .copy_from_slice(&source.expected[from.0][from.1..from.1 + length]);
                }
            }
            for region in regions.into_iter().flatten() {
                region.deregister(SOON).unwrap();
            }
            for End { buffers, expected } in &memory {
                for (at, (buffer, model)) in buffers.iter().zip(expected).enumerate() {
                    let mut found = vec![0; model.len()];
                    buffer.copy_to_host(0, &mut found).unwrap();
                    assert!(found == *model, "seed {seed}, after {done} lists, buffer {at}, {device:?}");
                }
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
