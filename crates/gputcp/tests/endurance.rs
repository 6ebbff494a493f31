//! Long lives: many chunks on one connection, many connections one after another. All data is verified, and
//! no holding grows.

mod common;

use common::{Holdings, TIMEOUT, TestMemory, close, holdings, move_and_verify, options, pair};
use gputcp::transfer::Plan;

/// One test: a process's holdings cannot be counted while another test runs in it.
#[test]
fn a_hundred_thousand_chunks_and_a_thousand_connections() {
    let begun = holdings();
    hundred_thousand_chunks();
    thousand_connections();
    let now = holdings_beyond(&begun);
    assert_eq!((now.descriptors, now.threads), (begun.descriptors, begun.threads));
}

/// Returns the process's holdings. Waits for a moment while it has more threads than before: ended threads
/// may take one to leave /proc.
fn holdings_beyond(before: &Holdings) -> Holdings {
    let until = common::soon();
    let mut now = holdings();
    while (now.descriptors, now.threads) != (before.descriptors, before.threads)
        && now.threads >= before.threads
        && std::time::Instant::now() < until
    {
        std::thread::sleep(std::time::Duration::from_millis(10));
        now = holdings();
    }
    now
}

/// Goes past 10 000, where tags derived from the chunk's number once collided.
fn hundred_thousand_chunks() {
    let (sender, receiver) = pair(&options(2));
    let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
    // Above the inline limit, so that each is a segment on a data socket.
    let chunk_bytes = 20 << 10;
    let plan = Plan { chunk_bytes, window: 16, timeout: TIMEOUT };
    let bytes = 1000 * chunk_bytes;
    let buffers = (&TestMemory::Host.buffer(bytes), &TestMemory::Host.buffer(bytes));
    let warm = move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[bytes; 5]).unwrap();
    let early = holdings();
    let rest = move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[bytes; 95]).unwrap();
    let late = holdings_beyond(&early);
    assert_eq!(warm.chunks + rest.chunks, 100_000);
    assert_eq!(recvs[0].bytes_placed(), 100 * bytes);
    assert_eq!(early.descriptors, late.descriptors);
    // There are fewer threads, if one that had ended was still to be seen early on.
    assert!(late.threads <= early.threads, "{early:?} grew to {late:?}");
    assert!(late.resident_kib < early.resident_kib + 4096, "{early:?} grew to {late:?}");
    close(sends, recvs);
}

fn thousand_connections() {
    let plan = Plan { chunk_bytes: 16 << 10, window: 8, timeout: TIMEOUT };
    let buffers = (&TestMemory::Host.buffer(100_000), &TestMemory::Host.buffer(100_000));
    let round = || {
        let (sender, receiver) = pair(&options(2));
        let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
        move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[100_000]).unwrap();
        close(sends, recvs);
    };
    for _ in 0..100 {
        round();
    }
    let early = holdings();
    for _ in 0..900 {
        round();
    }
    let late = holdings();
    assert_eq!(early.descriptors, late.descriptors);
    assert!(late.resident_kib < early.resident_kib + 4096, "{early:?} grew to {late:?}");
}
