//! One-sided transfers between endpoints: what arrives, what is refused, and how it ends.

use std::time::{Duration, Instant};

use gputcp::{
    Buffer, Device, Options, SoftOptions,
    onesided::{Block, Counters, Endpoint, Peer, Region, RemoteKey, Rights},
};

const SOON: Duration = Duration::from_secs(20);

fn options() -> Options {
    Options::default().with_streams(2).with_timeout(Duration::from_secs(5))
}

fn endpoint(options: Options) -> Endpoint {
    Endpoint::bind("127.0.0.1:0", options).unwrap()
}

/// Two endpoints, a region of each, and the first's view of the second.
struct Pair {
    here: Endpoint,
    there: Endpoint,
    local: Region,
    remote: Region,
    memory: [Buffer; 2],
    peer: Peer,
}

fn pair(options: impl Fn() -> Options, bytes: u64, rights: Rights) -> Pair {
    let (here, there) = (endpoint(options()), endpoint(options()));
    let allocate = |options: Options| match options.device {
        Some(device) => device.allocate(bytes).unwrap(),
        None => Buffer::host(bytes).unwrap(),
    };
    let memory = [allocate(options()), allocate(options())];
    for (buffer, seed) in memory.iter().zip([1, 2]) {
        buffer.copy_from_host(0, &pattern(seed, bytes)).unwrap();
    }
    let local = here.register(&memory[0], Rights::ReadWrite).unwrap();
    let remote = there.register(&memory[1], rights).unwrap();
    let peer = here.connect(&there.address()).unwrap();
    Pair { here, there, local, remote, memory, peer }
}

fn pattern(seed: u64, bytes: u64) -> Vec<u8> {
    let mut rng = fastrand::Rng::with_seed(seed);
    (0..bytes).map(|_| rng.u8(..)).collect()
}

#[test]
fn a_peers_counters_are_those_of_its_data_sockets() {
    let (here, there) = (endpoint(options()), endpoint(options()));
    let bytes = 4 << 20;
    let local = here.register(&Buffer::host(bytes).unwrap(), Rights::ReadWrite).unwrap();
    let remote = there.register(&Buffer::host(bytes).unwrap(), Rights::ReadWrite).unwrap();
    let (key, peer) = (remote.key(), here.connect(&there.address()).unwrap());
    peer.write([block(&local, &key, (0, 0), bytes)]).unwrap().wait(SOON).unwrap();
    let written = counted(&peer, (bytes, 0));
    assert_eq!((written.sending.len(), written.receiving.len()), (2, 2));
    assert!(written.congestion.as_deref().is_some_and(|name| !name.is_empty()), "{written:?}");
    let acked = |counters: &Counters| counters.sending.iter().map(|info| info.bytes_acked).sum::<u64>();
    assert!(acked(&written) >= bytes && written.sending.iter().all(|info| info.rtt_us > 0), "{written:?}");
    peer.read([block(&local, &key, (0, 0), bytes)]).unwrap().wait(SOON).unwrap();
    let read = counted(&peer, (bytes, bytes));
    assert!(read.receiving.iter().map(|info| info.bytes_received).sum::<u64>() >= bytes, "{read:?}");
    // The other end sees the same from its side.
    counted(&there.connect(&here.address()).unwrap(), (bytes, bytes));
}

/// Returns the counters with so many bytes sent and received. A thread may count its bytes a moment after the
/// peer has them.
fn counted(peer: &Peer, bytes: (u64, u64)) -> Counters {
    let deadline = Instant::now() + SOON;
    loop {
        let counters = peer.counters().unwrap();
        if (counters.bytes_sent, counters.bytes_received) == bytes {
            return counters;
        }
        assert!(Instant::now() < deadline, "{counters:?}");
    }
}

#[test]
fn a_peers_counters_end_with_it() {
    let (here, there) = (endpoint(options()), endpoint(options()));
    let peer = here.connect(&there.address()).unwrap();
    peer.notify(b"hello").unwrap();
    assert_eq!(there.wait_notes(SOON).len(), 1);
    drop(there);
    let deadline = Instant::now() + SOON;
    while peer.failure().is_none() {
        // Meanwhile a call gives what there is, or fails.
        let _ = peer.counters();
        assert!(Instant::now() < deadline, "the peer has left");
    }
    assert_eq!(peer.counters().unwrap_err().to_string(), peer.failure().unwrap().to_string());
    drop(here);
    assert!(peer.counters().is_err());
}

/// Ends both regions, and returns what their memory has.
fn contents(pair: Pair) -> [Vec<u8>; 2] {
    let Pair { here, there, local, remote, memory, .. } = pair;
    local.deregister(SOON).unwrap();
    remote.deregister(SOON).unwrap();
    drop((here, there));
    memory.map(|buffer| {
        let mut bytes = vec![0; buffer.bytes() as usize];
        buffer.copy_to_host(0, &mut bytes).unwrap();
        bytes
    })
}

fn block<'a>(local: &'a Region, remote: &'a RemoteKey, from: (u64, u64), bytes: u64) -> Block<'a> {
    Block { local, local_offset: from.0, remote, remote_offset: from.1, bytes }
}

#[test]
fn scattered_blocks_are_read_and_written() {
    let soft = Device::soft(SoftOptions::default());
    for device in [None, Some(soft)] {
        let options = || options().with_device(device.clone());
        let bytes = 8 << 20;
        let pair = pair(options, bytes, Rights::ReadWrite);
        let mut expected = [pattern(1, bytes), pattern(2, bytes)];
        let key = pair.remote.key();
        let mut rng = fastrand::Rng::with_seed(7);
        for round in 0..20 {
            // Disjoint at the side that is written, anywhere at the other.
            let (mut at, mut blocks) = (0, vec![]);
            while at < bytes / 2 && blocks.len() < 2000 {
                let length = rng.u64(1..=[64, 5000, 3 << 20][round % 3]).min(bytes - at);
                let from = rng.u64(0..=bytes / 2 - length.min(bytes / 2)) + bytes / 2;
                let from = from.min(bytes - length);
                if at + length > bytes / 2 {
                    break;
                }
                blocks.push((at, from, length));
                at += length + rng.u64(0..100);
            }
            rng.shuffle(&mut blocks);
            let is_read = round % 2 == 0;
            let list = blocks.iter().map(|&(to, from, length)| {
                let place = if is_read { (to, from) } else { (from, to) };
                block(&pair.local, &key, place, length)
            });
            let transfer = if is_read { pair.peer.read(list) } else { pair.peer.write(list) };
            transfer.unwrap().wait(SOON).unwrap();
            let [here, there] = &mut expected;
            let (target, source) = if is_read { (here, there) } else { (there, here) };
            for (to, from, length) in blocks {
                let (to, from, length) = (to as usize, from as usize, length as usize);
                target[to..to + length].copy_from_slice(&source[from..from + length]);
            }
        }
        assert!(contents(pair) == expected, "{device:?}");
    }
}

#[test]
fn a_note_comes_after_its_transfer_and_names_its_sender() {
    let pair = pair(options, 1 << 20, Rights::ReadWrite);
    let key = pair.remote.key();
    let blocks = [block(&pair.local, &key, (0, 0), 1 << 20)];
    let mut transfer = pair.peer.prepare(gputcp::onesided::Operation::Write, blocks).unwrap();
    for round in 0..5u8 {
        transfer.post(Some(&[round; 3])).unwrap();
        transfer.wait(SOON).unwrap();
    }
    pair.peer.notify(b"alone").unwrap();
    let (mut notes, deadline) = (vec![], Instant::now() + SOON);
    while notes.len() < 6 && Instant::now() < deadline {
        notes.extend(pair.there.notes());
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(notes.iter().all(|note| note.from == pair.here.address()), "{notes:?}");
    let bytes: Vec<_> = notes.into_iter().map(|note| note.bytes).collect();
    assert_eq!(bytes, [vec![0; 3], vec![1; 3], vec![2; 3], vec![3; 3], vec![4; 3], b"alone".to_vec()]);
    let [here, there] = contents(pair);
    assert!(here == there);
}

#[test]
fn the_last_notes_of_an_endpoint_arrive() {
    let there = endpoint(options());
    for round in 0..20u8 {
        let here = endpoint(options());
        let peer = here.connect(&there.address()).unwrap();
        // The first ones go before the peer is connected.
        for number in 0..40 {
            peer.notify(&[round, number]).unwrap();
        }
        drop(here);
        let mut found = Vec::new();
        let until = Instant::now() + SOON;
        while found.len() < 40 && Instant::now() < until {
            found.extend(there.wait_notes(SOON).into_iter().map(|note| note.bytes));
        }
        let expected: Vec<_> = (0..40).map(|number| vec![round, number]).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_bad_block_fails_its_transfer_and_no_other() {
    let pair = pair(options, 1 << 16, Rights::Read);
    let key = pair.remote.key();
    let refused = |list: Vec<Block<'_>>| pair.peer.write(list).unwrap_err().to_string();
    let error = refused(vec![block(&pair.local, &key, (0, 0), 8)]);
    assert!(error.contains("block 0 of a write is bad: the remote region allows no write"), "{error}");
    let past = pair.peer.read([block(&pair.local, &key, (0, 1 << 16), 1)]).unwrap_err().to_string();
    assert!(past.contains("not within the remote region"), "{past}");
    // A key whose region is gone: its owner finds out.
    let other = pair.there.register(&Buffer::host(100).unwrap(), Rights::ReadWrite).unwrap();
    let stale = other.key();
    other.deregister(SOON).unwrap();
    for _ in 0..20 {
        let list = [block(&pair.local, &key, (0, 0), 8), block(&pair.local, &stale, (8, 0), 8)];
        let error = pair.peer.read(list).unwrap().wait(SOON).unwrap_err().to_string();
        assert!(error.contains("the peer refused block 1 of a read: no region has its key"), "{error}");
        let error = pair.peer.write([block(&pair.local, &stale, (8, 0), 8)]).unwrap().wait(SOON).unwrap_err();
        assert!(error.to_string().contains("refused block 0 of a write"), "{error}");
        pair.peer.read([block(&pair.local, &key, (16, 16), 100)]).unwrap().wait(SOON).unwrap();
    }
    assert_eq!(pair.there.refused(), 40);
}

#[test]
fn a_dead_peer_fails_its_transfers_and_a_restarted_one_works() {
    let Pair { here, there, local, remote, peer, .. } = pair(options, 64 << 20, Rights::ReadWrite);
    let key = remote.key();
    let mut transfer = peer.read([block(&local, &key, (0, 0), 64 << 20)]).unwrap();
    drop((remote, there));
    let error = transfer.wait(SOON);
    if error.is_ok() {
        // It was faster than the end of its peer.
        transfer.post(None).map_or_else(drop, |()| _ = transfer.wait(SOON).unwrap_err());
    }
    let deadline = Instant::now() + SOON;
    while peer.failure().is_none() {
        assert!(Instant::now() < deadline, "the peer is gone");
        std::thread::sleep(Duration::from_millis(1));
    }
    let there = endpoint(options());
    let remote = there.register(&Buffer::host(4096).unwrap(), Rights::Read).unwrap();
    let peer = here.connect(&there.address()).unwrap();
    peer.read([block(&local, &remote.key(), (0, 0), 4096)]).unwrap().wait(SOON).unwrap();
}

#[test]
fn a_short_transfer_is_not_held_up_by_a_long_one() {
    let pair = pair(options, 17 << 20, Rights::ReadWrite);
    let key = pair.remote.key();
    // 2 GiB, in which the same places come again and again. 96 MiB of them may be ahead of the short one.
    let long = pair.peer.read((0..256).map(|_| block(&pair.local, &key, (0, 0), 8 << 20))).unwrap();
    let began = Instant::now();
    let blocks = (0..64).map(|at| block(&pair.local, &key, (16 << 20 | at << 13, 16 << 20 | at << 12), 4096));
    pair.peer.read(blocks).unwrap().wait(SOON).unwrap();
    let short = began.elapsed();
    long.wait(SOON).unwrap();
    let all = began.elapsed();
    println!("the short one took {short:?}, the long one {all:?}");
    assert!(short < all / 4, "the short one took {short:?}, the long one {all:?}");
}

#[test]
fn short_transfers_to_a_device_end_with_its_work() {
    let soft = Device::soft(SoftOptions { lateness: Duration::from_millis(1), seed: 3, lost_after: None });
    let pair = pair(|| options().with_device(Some(soft.clone())), 1 << 20, Rights::ReadWrite);
    let key = pair.remote.key();
    let blocks = || (0..16).map(|at| block(&pair.local, &key, (at << 13, at << 14), 4096));
    pair.peer.write(blocks()).unwrap().wait(SOON).unwrap();
    for is_read in [true, false] {
        let mut times: Vec<Duration> = (0..15)
            .map(|_| {
                let began = Instant::now();
                let begun = if is_read { pair.peer.read(blocks()) } else { pair.peer.write(blocks()) };
                begun.unwrap().wait(SOON).unwrap();
                began.elapsed()
            })
            .collect();
        times.sort_unstable();
        // An endpoint that has nothing to wait for looks every 100 ms.
        assert!(times[7] < Duration::from_millis(60), "{times:?}");
    }
}

#[test]
fn both_sides_read_and_write_at_a_time_over_one_link() {
    let pair = pair(options, 4 << 20, Rights::ReadWrite);
    let (here_key, there_key) = (pair.local.key(), pair.remote.key());
    let back = pair.there.connect(&pair.here.address()).unwrap();
    let mut transfers = vec![];
    for at in 0..64u64 {
        let from = (at << 14, at << 14);
        transfers.push(pair.peer.read([block(&pair.local, &there_key, from, 1 << 14)]).unwrap());
        let from = (2 << 20 | at << 14, 2 << 20 | at << 14);
        transfers.push(back.read([block(&pair.remote, &here_key, from, 1 << 14)]).unwrap());
        transfers.push(pair.peer.write([block(&pair.local, &there_key, (3 << 20, 3 << 20), 999)]).unwrap());
    }
    for transfer in &mut transfers {
        transfer.wait(SOON).unwrap();
    }
    drop(transfers);
    let [here, there] = contents(pair);
    assert!(here[..1 << 20] == there[..1 << 20] && here[2 << 20..3 << 20] == there[2 << 20..3 << 20]);
}

#[test]
fn an_event_loop_sleeps_on_a_watch_and_other_threads_wait_too() {
    let pair = pair(options, 1 << 20, Rights::ReadWrite);
    let (key, watch) = (pair.remote.key(), pair.here.watch().unwrap());
    let there = pair.there.watch().unwrap();
    let mut transfer = pair
        .peer
        .prepare(gputcp::onesided::Operation::Write, [block(&pair.local, &key, (0, 0), 1 << 20)])
        .unwrap();
    transfer.post(Some(b"here")).unwrap();
    let transfer = &transfer;
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| transfer.wait(SOON).unwrap());
        }
        while !transfer.poll().unwrap().is_done() {
            sleep_on(&watch);
            watch.clear();
        }
    });
    sleep_on(&there);
    let notes = pair.there.wait_notes(SOON);
    assert_eq!(notes.len(), 1);
    assert!(pair.there.wait_notes(Duration::from_millis(1)).is_empty());
}

fn sleep_on(watch: &gputcp::onesided::Watch) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let soon = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(watch, PollFlags::IN)], Some(&soon)).unwrap(), 1);
}
