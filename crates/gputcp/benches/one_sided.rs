//! Measures one-sided transfers between two endpoints of one process, over the loopback: contiguous, and
//! scattered as the blocks of a paged cache are. Every byte is compared afterwards.
//!
//! `cargo bench -p gputcp --bench one_sided -- [cuda|soft|host]`

use std::time::{Duration, Instant};

use gputcp::{
    Buffer, Device, Options, Pattern, SoftOptions,
    onesided::{Block, Endpoint, Operation, Peer, Region, RemoteKey, Rights},
};

const SOON: Duration = Duration::from_secs(60);
const ROOM: u64 = 1 << 30;

/// Prints what preparing a long list costs, block by block.
fn measure_preparing(peer: &Peer, local: &Region, key: &RemoteKey) -> gputcp::Result<()> {
    const COUNT: u64 = 100_000;
    let blocks = || {
        (0..COUNT).map(|at| {
            let offset = (at * 7919 % COUNT) * 1024;
            Block { local, local_offset: offset, remote: key, remote_offset: offset, bytes: 512 }
        })
    };
    let mut times: Vec<Duration> = (0..20)
        .map(|_| {
            let began = Instant::now();
            drop(peer.prepare(Operation::Read, blocks()));
            began.elapsed()
        })
        .collect();
    times.sort_unstable();
    let each = times[times.len() / 2].as_nanos() as f64 / COUNT as f64;
    println!("preparing {COUNT} blocks: {each:.1} ns each");
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let kind = std::env::args().nth(1).unwrap_or_else(|| "host".into());
    let device = match kind.as_str() {
        "host" => None,
        "soft" => Some(Device::soft(SoftOptions::default())),
        _ => Some(Device::cuda("0")?),
    };
    let room = if kind == "cuda" { ROOM } else { ROOM / 4 };
    let allocate = || match &device {
        Some(device) => device.allocate(room),
        None => Buffer::host(room),
    };
    let options = || Options::default().with_device(device.clone());
    let (here, there) =
        (Endpoint::bind("127.0.0.1:0", options())?, Endpoint::bind("127.0.0.1:0", options())?);
    let (mine, theirs) = (allocate()?, allocate()?);
    let pattern = Pattern { seed: 7, iteration: 0 };
    theirs.fill(pattern, 0, room)?;
    let (local, remote) =
        (here.register(&mine, Rights::ReadWrite)?, there.register(&theirs, Rights::ReadWrite)?);
    let (peer, key) = (here.connect(&there.address())?, remote.key());
    println!("{kind}: one-sided, loopback, one process");
    println!("{:>16}  {:>10}  {:>10}", "blocks", "read", "write");
    let cases: [(u64, u64); 6] =
        [(1, 64 << 20), (1, 512 << 20), (16, 4 << 20), (2000, 64 << 10), (2000, 16 << 10), (64, 4 << 10)];
    for (count, bytes) in cases.into_iter().filter(|(count, bytes)| count * bytes <= room) {
        let spread = room / bytes / count;
        let mut order: Vec<u64> = (0..count).collect();
        // Scattered at both ends, in an order of its own.
        order.sort_by_key(|at| at.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut row = format!("{:>16}", format!("{count} x {} KiB", bytes >> 10));
        for operation in [Operation::Read, Operation::Write] {
            let blocks = order.iter().map(|&at| {
                let offset = at * spread.max(1) * bytes;
                Block { local: &local, local_offset: offset, remote: &key, remote_offset: offset, bytes }
            });
            let mut transfer = peer.prepare(operation, blocks)?;
            let mut times = vec![];
            for _ in 0..if count * bytes > 32 << 20 { 12 } else { 60 } {
                let began = Instant::now();
                transfer.post(None)?;
                transfer.wait(SOON)?;
                times.push(began.elapsed());
            }
            times.sort_unstable();
            let median = times[times.len() / 2];
            let rate = (count * bytes) as f64 / median.as_secs_f64() / 1e9;
            row += &if count * bytes > 1 << 20 {
                format!("  {rate:>5.2} GB/s")
            } else {
                format!("  {:>7} us", median.as_micros())
            };
        }
        println!("{row}");
    }
    measure_preparing(&peer, &local, &key)?;
    // All that was moved is where it was at the peer, and the peer's is as it was.
    local.deregister(SOON)?;
    remote.deregister(SOON)?;
    assert_eq!(theirs.verify(pattern, 0, room)?, Ok(()));
    Ok(())
}
