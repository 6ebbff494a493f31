//! Messages of all kinds arrive whole, from all kinds of memory to all kinds of memory.

mod common;

use common::{TIMEOUT, TestMemory, close, move_and_verify, options, pair, pair_of};
use gputcp::transfer::Plan;
use gputcp_gpu::UnpackMode;

const PLAN: Plan = Plan { chunk_bytes: 64 << 10, window: 12, timeout: TIMEOUT };
const RECV_PLAN: Plan = Plan { chunk_bytes: 64 << 10, window: 16, timeout: TIMEOUT };

/// Lengths around every boundary: nothing, inline, one segment, one chunk, several, odd ones.
const LENGTHS: [u64; 14] = [
    0,
    1,
    31,
    4096,
    16 << 10,
    (16 << 10) + 1,
    65_535,
    65_536,
    65_537,
    131_072,
    999_999,
    1 << 20,
    (1 << 20) + 5,
    3 << 20,
];

fn all_lengths(from: TestMemory, to: TestMemory, streams: u16, unpack: UnpackMode) {
    let most = *LENGTHS.iter().max().unwrap();
    let send = options(streams).with_device(from.device()).tuned(|tuning| tuning.segment_bytes = 48 << 10);
    let recv = options(1).with_device(to.device()).with_unpack(unpack);
    let (sender, receiver) = pair_of(send, &recv);
    let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
    let buffers = (&from.buffer(most), &to.buffer(most));
    let moved = move_and_verify(&mut sends, &mut recvs, buffers, (PLAN, RECV_PLAN), &LENGTHS).unwrap();
    assert_eq!(moved.bytes, LENGTHS.iter().sum::<u64>());
    assert_eq!(sends[0].bytes_written(), moved.bytes);
    assert_eq!(recvs[0].bytes_landed(), moved.bytes);
    assert_eq!(recvs[0].bytes_placed(), moved.bytes);
    close(sends, recvs);
}

#[test]
fn host_to_host() {
    all_lengths(TestMemory::Host, TestMemory::Host, 1, UnpackMode::None);
    all_lengths(TestMemory::Host, TestMemory::Host, 3, UnpackMode::None);
}

#[test]
fn host_to_device() {
    all_lengths(TestMemory::Host, TestMemory::Soft, 2, UnpackMode::Kernel);
}

#[test]
fn device_to_host() {
    all_lengths(TestMemory::Soft, TestMemory::Host, 2, UnpackMode::None);
}

#[test]
fn device_to_device_in_every_unpack_mode() {
    for unpack in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host] {
        all_lengths(TestMemory::Soft, TestMemory::Soft, 2, unpack);
    }
}

#[test]
fn chunk_i_travels_on_connection_i_modulo_n() {
    let opts = options(1);
    let (mut sends, mut recvs): (Vec<_>, Vec<_>) = (0..3).map(|_| pair(&opts)).unzip();
    let bytes = 7 * PLAN.chunk_bytes;
    let buffers = (&TestMemory::Host.buffer(bytes), &TestMemory::Host.buffer(bytes));
    let moved = move_and_verify(&mut sends, &mut recvs, buffers, (PLAN, RECV_PLAN), &[bytes]).unwrap();
    assert_eq!(moved.chunks, 7);
    let carried: Vec<_> = recvs.iter().map(|comm| comm.bytes_landed() / PLAN.chunk_bytes).collect();
    assert_eq!(carried, [3, 2, 2]);
    close(sends, recvs);
}

#[test]
fn every_window_up_to_the_slots_works() {
    for (send_window, recv_window) in [(1, 1), (1, 32), (32, 1), (32, 32), (12, 16)] {
        let (sender, receiver) = pair(&options(2));
        let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
        let plans = (Plan { window: send_window, ..PLAN }, Plan { window: recv_window, ..PLAN });
        let buffers = (&TestMemory::Host.buffer(3 << 20), &TestMemory::Host.buffer(3 << 20));
        move_and_verify(&mut sends, &mut recvs, buffers, plans, &[3 << 20, 3 << 20]).unwrap();
        close(sends, recvs);
    }
}

#[test]
fn a_sender_with_few_slots_meets_a_receiver_with_many() {
    for (ours, theirs) in [(1, 32), (32, 1), (3, 5)] {
        let send = options(2).tuned(|tuning| tuning.slots = ours);
        let recv = options(2).tuned(|tuning| tuning.slots = theirs);
        let (sender, receiver) = pair_of(send, &recv);
        let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
        let plans = (Plan { window: ours.into(), ..PLAN }, Plan { window: theirs.into(), ..PLAN });
        let buffers = (&TestMemory::Host.buffer(2 << 20), &TestMemory::Host.buffer(2 << 20));
        move_and_verify(&mut sends, &mut recvs, buffers, plans, &[2 << 20, 100, 2 << 20]).unwrap();
        close(sends, recvs);
    }
}

#[test]
fn requests_may_be_finished_in_any_order() {
    let (mut sender, mut receiver) = pair(&options(2));
    let (from, to) = (TestMemory::Host.buffer(1 << 20), TestMemory::Host.buffer(1 << 20));
    let pattern = gputcp_gpu::Pattern { seed: 3, iteration: 4 };
    from.fill(pattern, 0, 1 << 20).unwrap();
    let piece = (1 << 20) / 16;
    let mut recvs: Vec<_> =
        (0..16).map(|i| receiver.irecv(&to, i * piece, piece).unwrap().unwrap()).collect();
    let mut sends: Vec<_> =
        (0..16).map(|i| sender.isend(&from, i * piece, piece).unwrap().unwrap()).collect();
    while let Some(request) = recvs.pop() {
        assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, piece);
    }
    while let Some(request) = sends.pop() {
        assert_eq!(sender.wait(request, TIMEOUT).unwrap().bytes, piece);
    }
    assert_eq!(to.verify(pattern, 0, 1 << 20).unwrap(), Ok(()));
    close(vec![sender], vec![receiver]);
}

#[test]
fn the_window_is_full_at_the_last_slot_and_says_so_without_an_error() {
    let (mut sender, mut receiver) = pair(&options(1).tuned(|tuning| tuning.slots = 16));
    let buffer = TestMemory::Host.buffer(1 << 20);
    let requests: Vec<_> = (0..16).map(|_| sender.isend(&buffer, 0, 1 << 20).unwrap().unwrap()).collect();
    assert!(sender.isend(&buffer, 0, 1).unwrap().is_none(), "a seventeenth request found a slot");
    // Nothing moves that was not announced.
    assert_eq!(sender.bytes_written(), 0);
    let to = TestMemory::Host.buffer(1 << 20);
    for request in requests {
        let receive = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
        receiver.wait(receive, TIMEOUT).unwrap();
        sender.wait(request, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
}

#[test]
fn a_receive_may_be_longer_than_its_message() {
    let (mut sender, mut receiver) = pair(&options(2));
    let (from, to) = (TestMemory::Host.buffer(1 << 20), TestMemory::Host.buffer(1 << 20));
    for bytes in [0, 5, 100_000] {
        let receive = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
        let send = sender.isend(&from, 0, bytes).unwrap().unwrap();
        assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, bytes);
        sender.wait(send, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
}

#[test]
fn progress_does_not_depend_on_polling() {
    let (mut sender, mut receiver) = pair(&options(2));
    let (from, to) = (TestMemory::Host.buffer(4 << 20), TestMemory::Host.buffer(4 << 20));
    let piece = (4 << 20) / 32;
    let sends: Vec<_> = (0..32).map(|i| sender.isend(&from, i * piece, piece).unwrap().unwrap()).collect();
    let recvs: Vec<_> = (0..32).map(|i| receiver.irecv(&to, i * piece, piece).unwrap().unwrap()).collect();
    // No caller calls test or wait; all the bytes still arrive.
    let until = common::soon();
    while receiver.bytes_placed() < 4 << 20 {
        assert!(std::time::Instant::now() < until, "stuck at {} bytes", receiver.bytes_placed());
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
    for request in recvs {
        assert!(receiver.test(request).unwrap().is_done());
    }
    for request in sends {
        sender.wait(request, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
}

#[test]
fn a_short_message_travels_on_the_control_socket_if_it_is_alone() {
    let bytes = 64 << 10;
    for place in [TestMemory::Host, TestMemory::Soft] {
        let opts = options(2).with_device(place.device());
        let (sender, receiver) = pair(&opts);
        let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
        let buffers = (&place.buffer(4 * bytes), &place.buffer(4 * bytes));
        let mut on_data_sockets = |lengths: &[u64]| {
            move_and_verify(&mut sends, &mut recvs, buffers, (PLAN, RECV_PLAN), lengths).unwrap();
            let infos = recvs[0].tcp_info();
            infos.iter().map(|info| info.bytes_received).sum::<u64>()
        };
        assert_eq!(on_data_sockets(&[bytes, 1, bytes]), on_data_sockets(&[bytes]), "{place:?}: all alone");
        let before = on_data_sockets(&[0]);
        assert!(on_data_sockets(&[4 * bytes]) >= before + bytes, "{place:?}: four at a time");
        close(sends, recvs);
    }
}
