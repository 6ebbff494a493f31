//! Peers that are slow, or do not read.

use std::{
    io::{Read, Write},
    net::Shutdown,
    thread,
    time::{Duration, Instant},
};

use gputcp::Error;
use gputcp_gpu::Pattern;
use gputcp_proto::frame::{Announce, Control, SegmentHeader};

use super::common::{TIMEOUT, TestMemory, options, sender_to_impostor};
use super::impostor::{GOOD, Impostor};

#[test]
fn a_slow_peer_is_waited_for_and_a_silent_one_is_not() {
    let (impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(128 << 10);
    let mut request = |offset| receiver.irecv(&to, offset, 64 << 10).unwrap().unwrap();
    let (first, second) = (request(0), request(64 << 10));
    let timeout = Duration::from_millis(300);
    let mut data = impostor.data.try_clone().unwrap();
    // Three times as long as the timeout in all, but never silent for as long.
    let trickle = thread::spawn(move || {
        let header = SegmentHeader { total: 64 << 10, ..GOOD };
        data.write_all(&header.encode()).unwrap();
        for _ in 0..16 {
            thread::sleep(Duration::from_millis(60));
            data.write_all(&[3; 4 << 10]).unwrap();
        }
    });
    assert_eq!(receiver.wait(first, timeout).unwrap().bytes, 64 << 10);
    trickle.join().unwrap();
    let began = Instant::now();
    let error = receiver.wait(second, timeout).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(began.elapsed() < 4 * timeout, "{:?}", began.elapsed());
    impostor.control.shutdown(Shutdown::Both).ok();
}

#[test]
fn a_message_of_which_half_has_come_holds_up_nobody_and_is_gone_on_with() {
    let (mut impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(4096);
    let mut request = receiver.irecv(&to, 0, 4096).unwrap().unwrap();
    let bytes: Vec<u8> = (0..4096u32).map(|at| (at % 251) as u8).collect();
    let seq = impostor.announced().seq;
    impostor.control.write_all(&Control::Inline { seq, bytes: 4096 }.encode()).unwrap();
    for piece in bytes.chunks(1000) {
        let began = Instant::now();
        for _ in 0..20 {
            request = receiver.test(request).unwrap().not_yet().unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        impostor.control.write_all(piece).unwrap();
    }
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 4096);
    let mut landed = vec![0; 4096];
    to.read(0, 4096).unwrap().copy_to(0, &mut landed);
    assert_eq!(landed, bytes);
}

#[test]
fn a_peer_that_does_not_read_holds_up_neither_a_send_nor_a_test() {
    // Room for a few of the messages only, on either side.
    let opts = options(1).tuned(|tuning| tuning.send_buffer_bytes = Some(8 << 10));
    let (mut sender, mut control, _data) = sender_to_impostor(opts, Some(8 << 10));
    let (count, bytes) = (32, 16 << 10);
    for seq in 0..count {
        let announce = Announce { seq, capacity: bytes, inline_bytes: bytes as u32, done: 0, mark: None };
        control.write_all(&Control::Announce(announce).encode()).unwrap();
    }
    let from = TestMemory::Host.buffer(count * bytes);
    from.fill(Pattern { seed: 1, iteration: 2 }, 0, count * bytes).unwrap();
    let began = Instant::now();
    let mut requests: Vec<_> =
        (0..count).map(|at| sender.isend(&from, at * bytes, bytes).unwrap().unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    let last = requests.pop().unwrap();
    let last = sender
        .test(last)
        .unwrap()
        .not_yet()
        .expect("the last of half a mebibyte fitted buffers of a few KiB");
    requests.push(last);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // It reads after all, and finds every message whole.
    let mut all = Vec::new();
    for _ in 0..count {
        let mut frame = [0; Control::BYTES];
        control.read_exact(&mut frame).unwrap();
        assert_eq!(
            Control::decode(&frame).unwrap(),
            Control::Inline { seq: all.len() as u64 / bytes, bytes: bytes as u32 }
        );
        let start = all.len();
        all.resize(start + bytes as usize, 0);
        control.read_exact(&mut all[start..]).unwrap();
    }
    for request in requests {
        assert_eq!(sender.wait(request, TIMEOUT).unwrap().bytes, bytes);
    }
    let to = TestMemory::Host.buffer(count * bytes);
    to.write(0, count * bytes).unwrap().copy_from(0, &all);
    assert_eq!(to.verify(Pattern { seed: 1, iteration: 2 }, 0, count * bytes).unwrap(), Ok(()));
}
