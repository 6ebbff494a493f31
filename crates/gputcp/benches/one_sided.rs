//! Measures one-sided transfers between two endpoints of one process, over the loopback: contiguous, and
//! scattered as the blocks of a paged cache are. Every byte is compared afterwards.
//!
//! `cargo bench -p gputcp --bench one_sided -- [host|soft|cuda [DEVICE DEVICE]]`

use std::time::{Duration, Instant};

use gputcp::{
    Buffer, Device, Options, Pattern, SoftOptions,
    onesided::{Block, Endpoint, Operation, Peer, Region, RemoteKey, Rights},
};

type Failure = Box<dyn std::error::Error>;

const SOON: Duration = Duration::from_secs(60);
const ROOM: u64 = 1 << 30;
/// The layers of a cache, each a region of its own.
const LAYERS: u64 = 64;
const LAYER: u64 = 4 << 20;

/// An endpoint, with its memory.
struct End {
    endpoint: Endpoint,
    device: Option<Device>,
}

/// A region of each end, and their buffers.
struct Pair {
    local: Region,
    key: RemoteKey,
    remote: Region,
    buffers: [Buffer; 2],
}

impl End {
    fn new(device: Option<Device>) -> Result<Self, Failure> {
        let options = Options::default().with_device(device.clone());
        Ok(Self { endpoint: Endpoint::bind("127.0.0.1:0", options)?, device })
    }

    fn allocate(&self, bytes: u64) -> Result<Buffer, Failure> {
        Ok(match &self.device {
            Some(device) => device.allocate(bytes)?,
            None => Buffer::host(bytes)?,
        })
    }
}

impl Pair {
    /// Registers memory of `bytes` bytes at both ends; the remote one's has a pattern.
    fn new(here: &End, there: &End, bytes: u64, number: u64) -> Result<Self, Failure> {
        let buffers = [here.allocate(bytes)?, there.allocate(bytes)?];
        buffers[1].fill(pattern(number), 0, bytes)?;
        let local = here.endpoint.register(&buffers[0], Rights::ReadWrite)?;
        let remote = there.endpoint.register(&buffers[1], Rights::ReadWrite)?;
        Ok(Self { local, key: remote.key(), remote, buffers })
    }

    fn block(&self, offset: u64, bytes: u64) -> Block<'_> {
        Block { local: &self.local, local_offset: offset, remote: &self.key, remote_offset: offset, bytes }
    }

    /// All was read first, and written back since: the remote side is as it was.
    fn verify(self, number: u64) -> Result<(), Failure> {
        self.local.deregister(SOON)?;
        self.remote.deregister(SOON)?;
        let bytes = self.buffers[1].bytes();
        assert_eq!(self.buffers[1].verify(pattern(number), 0, bytes)?, Ok(()));
        Ok(())
    }
}

const fn pattern(number: u64) -> Pattern {
    Pattern { seed: 7, iteration: number }
}

fn main() -> Result<(), Failure> {
    // Cargo adds an argument of its own.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let kind = words.first().map_or("host", String::as_str);
    let device = |at: usize| match kind {
        "host" => Ok(None),
        "soft" => Ok(Some(Device::soft(SoftOptions::default()))),
        _ => Device::cuda(words.get(at).map_or("0", String::as_str)).map(Some),
    };
    let (here, there) = (End::new(device(1)?)?, End::new(device(2)?)?);
    let room = if kind == "cuda" { ROOM } else { ROOM / 4 };
    let memory = Pair::new(&here, &there, room, 0)?;
    let peer = here.endpoint.connect(&there.endpoint.address())?;
    println!("{}: one-sided, loopback, one process", words.join(" "));
    println!("{:>26}  {:>10}  {:>10}", "blocks", "read", "write");
    let cases: [(u64, u64); 6] =
        [(1, 64 << 20), (1, 512 << 20), (16, 4 << 20), (2000, 64 << 10), (2000, 16 << 10), (64, 4 << 10)];
    for (count, bytes) in cases.into_iter().filter(|(count, bytes)| count * bytes <= room) {
        let spread = (room / bytes / count).max(1);
        let mut order: Vec<u64> = (0..count).collect();
        // Scattered at both ends, in an order of its own.
        order.sort_by_key(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let blocks = || order.iter().map(|&at| memory.block(at * spread * bytes, bytes));
        measure(&peer, &format!("{count} x {} KiB", bytes >> 10), count * bytes, blocks)?;
    }
    let layers = (0..LAYERS).map(|number| Pair::new(&here, &there, LAYER, number));
    let layers = layers.collect::<Result<Vec<_>, _>>()?;
    let blocks = || {
        layers.iter().flat_map(|layer| (0..31).map(move |at| layer.block((at * 37 % 128) << 15, 16 << 10)))
    };
    measure(&peer, &format!("{LAYERS} regions, 31 x 16 KiB"), (LAYERS * 31) << 14, blocks)?;
    measure_preparing(&peer, &memory)?;
    memory.verify(0)?;
    layers.into_iter().enumerate().try_for_each(|(number, layer)| layer.verify(number as u64))
}

/// Prints the medians of a list's reads and writes.
fn measure<'a, I: Iterator<Item = Block<'a>>>(
    peer: &Peer,
    name: &str,
    bytes: u64,
    blocks: impl Fn() -> I,
) -> Result<(), Failure> {
    let mut row = format!("{name:>26}");
    for operation in [Operation::Read, Operation::Write] {
        let mut transfer = peer.prepare(operation, blocks())?;
        let mut times = vec![];
        for _ in 0..if bytes > 32 << 20 { 12 } else { 60 } {
            let began = Instant::now();
            transfer.post(None)?;
            transfer.wait(SOON)?;
            times.push(began.elapsed());
        }
        times.sort_unstable();
        let median = times[times.len() / 2];
        row += &if bytes > 1 << 20 {
            format!("  {:>5.2} GB/s", bytes as f64 / median.as_secs_f64() / 1e9)
        } else {
            format!("  {:>7} us", median.as_micros())
        };
    }
    println!("{row}");
    Ok(())
}

/// Prints the cost of preparing a long list, block by block.
fn measure_preparing(peer: &Peer, memory: &Pair) -> Result<(), Failure> {
    const COUNT: u64 = 100_000;
    let mut times = vec![];
    for _ in 0..20 {
        let began = Instant::now();
        peer.prepare(Operation::Read, (0..COUNT).map(|at| memory.block((at * 7919 % COUNT) * 1024, 512)))?;
        times.push(began.elapsed());
    }
    times.sort_unstable();
    let each = times[times.len() / 2].as_nanos() as f64 / COUNT as f64;
    println!("preparing {COUNT} blocks: {each:.1} ns each");
    Ok(())
}
