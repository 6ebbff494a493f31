//! Short messages that come before their receives are posted, and the order of the long ones among them.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, options, pair, pair_of, soon};
use gputcp::Error;
use gputcp_gpu::{Buffer, Pattern};

const PLACES: u64 = 8;

fn filled(place: TestMemory, bytes: u64, iteration: u64) -> Buffer {
    let buffer = place.buffer(bytes);
    buffer.fill(Pattern { seed: 3, iteration }, 0, bytes).unwrap();
    buffer
}

#[test]
fn as_many_as_there_are_places_are_sent_before_anything_is_received() {
    for place in [TestMemory::Host, TestMemory::Soft] {
        let opts = options(1).with_device(place.device());
        let (mut sender, mut receiver) = pair(&opts);
        let lengths = [8, 0, 16 << 10, 1, 4096, 5000, 333, 7];
        let sources: Vec<_> = (0..PLACES).map(|at| filled(place, 16 << 10, at)).collect();
        for (source, &bytes) in sources.iter().zip(&lengths) {
            let request = sender.isend(source, 0, bytes).unwrap().unwrap();
            assert_eq!(sender.wait(request, TIMEOUT).unwrap().bytes, bytes, "{place:?}");
        }
        let ninth = sender.isend(&sources[0], 0, 8).unwrap().unwrap();
        thread::sleep(Duration::from_millis(20));
        let ninth = sender.test(ninth).unwrap().not_yet().expect("there is no place for it");
        for (iteration, &bytes) in lengths.iter().enumerate() {
            let to = place.buffer(16 << 10);
            let request = receiver.irecv(&to, 0, 16 << 10).unwrap().unwrap();
            assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, bytes, "{place:?}");
            let pattern = Pattern { seed: 3, iteration: iteration as u64 };
            assert_eq!(to.verify(pattern, 0, bytes).unwrap(), Ok(()), "{place:?}, message {iteration}");
        }
        let to = place.buffer(8);
        let last = receiver.irecv(&to, 0, 8).unwrap().unwrap();
        assert_eq!(receiver.wait(last, TIMEOUT).unwrap().bytes, 8);
        sender.wait(ninth, TIMEOUT).unwrap();
        close(vec![sender], vec![receiver]);
    }
}

#[test]
fn none_is_sent_early_where_either_end_has_no_place() {
    let none = options(1).tuned(|tuning| tuning.eager_places = 0);
    for (send, recv) in [(none.clone(), options(1)), (options(1), none)] {
        let (mut sender, mut receiver) = pair_of(send, &recv);
        let source = filled(TestMemory::Host, 8, 0);
        let request = sender.isend(&source, 0, 8).unwrap().unwrap();
        thread::sleep(Duration::from_millis(20));
        let request = sender.test(request).unwrap().not_yet().expect("its receive is not posted");
        let to = TestMemory::Host.buffer(8);
        let receive = receiver.irecv(&to, 0, 8).unwrap().unwrap();
        assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 8);
        sender.wait(request, TIMEOUT).unwrap();
        close(vec![sender], vec![receiver]);
    }
}

/// The receiver polls no request until all is sent: the announcements that were held back must go out by
/// themselves.
#[test]
fn long_messages_behind_short_ones_wait_for_nobodys_polling() {
    let (mut sender, mut receiver) = pair(&options(2));
    let (short, long) = (filled(TestMemory::Host, 64, 1), filled(TestMemory::Host, 300 << 10, 2));
    let lengths = |round: u64| (0..12).map(move |at| if at == 5 + round % 7 { 300 << 10 } else { 64 });
    for round in 0..20 {
        let buffers: Vec<_> = lengths(round).map(|_| TestMemory::Host.buffer(300 << 10)).collect();
        // Sometimes posted before, sometimes behind the sends.
        let late = round % 2 == 0;
        let mut receives = Vec::new();
        if !late {
            receives.extend(buffers.iter().map(|to| receiver.irecv(to, 0, 300 << 10).unwrap().unwrap()));
        }
        let sends: Vec<_> = lengths(round)
            .map(|bytes| {
                let source = if bytes == 64 { &short } else { &long };
                sender.isend(source, 0, bytes).unwrap().unwrap()
            })
            .collect();
        if late {
            receives.extend(buffers.iter().map(|to| receiver.irecv(to, 0, 300 << 10).unwrap().unwrap()));
        }
        let began = Instant::now();
        for request in sends {
            sender.wait(request, TIMEOUT).unwrap();
        }
        assert!(began.elapsed() < Duration::from_secs(2), "round {round}: {:?}", began.elapsed());
        for ((request, to), bytes) in receives.into_iter().zip(&buffers).zip(lengths(round)) {
            assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, bytes);
            let pattern = Pattern { seed: 3, iteration: if bytes == 64 { 1 } else { 2 } };
            assert_eq!(to.verify(pattern, 0, bytes).unwrap(), Ok(()), "round {round}");
        }
    }
    close(vec![sender], vec![receiver]);
}

#[test]
fn an_early_message_longer_than_its_receive_is_the_users_mistake() {
    let (mut sender, mut receiver) = pair(&options(1));
    let source = filled(TestMemory::Host, 5000, 0);
    let request = sender.isend(&source, 0, 5000).unwrap().unwrap();
    sender.wait(request, TIMEOUT).unwrap();
    let to = TestMemory::Host.buffer(1000);
    let posted = receiver.irecv(&to, 0, 1000);
    let error = match posted {
        Err(error) => error,
        Ok(request) => receiver.wait(request.unwrap(), TIMEOUT).unwrap_err(),
    };
    assert!(matches!(&error, Error::Usage(_)), "{error:?}");
    assert!(error.to_string().contains("5000 bytes met a receive of 1000"), "{error}");
}

/// A sender that has said goodbye has sent all: neither its timeout nor its end takes any byte of it from the
/// receiver.
#[test]
fn what_came_early_is_received_long_after_the_sender_has_gone() {
    let (mut sender, mut receiver) = pair(&options(2));
    let sources: Vec<_> = (0..PLACES).map(|at| filled(TestMemory::Host, 4096, at)).collect();
    for source in &sources {
        let request = sender.isend(source, 0, 4096).unwrap().unwrap();
        sender.wait(request, TIMEOUT).unwrap();
    }
    sender.leave(Duration::from_millis(1)).unwrap();
    // It has waited for the receiver's goodbye in vain, and closed its sockets.
    thread::sleep(Duration::from_millis(200));
    for iteration in 0..PLACES {
        let to = TestMemory::Host.buffer(4096);
        let request = receiver.irecv(&to, 0, 4096).unwrap().unwrap();
        assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 4096, "message {iteration}");
        assert_eq!(to.verify(Pattern { seed: 3, iteration }, 0, 4096).unwrap(), Ok(()));
        // An answer to a frame that is written meanwhile would have come.
        thread::sleep(Duration::from_millis(5));
    }
    let to = TestMemory::Host.buffer(8);
    let request = receiver.irecv(&to, 0, 8).unwrap().unwrap();
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { open: 1, .. }), "{error:?}");
    receiver.leave(Duration::from_secs(1)).unwrap_err();
}

/// Does the same for a receiver that has announced more than was sent, to a peer that reads no frame any
/// more.
#[test]
fn a_receiver_that_has_announced_more_closes_in_good_order() {
    let (mut sender, mut receiver) = pair(&options(2));
    let source = filled(TestMemory::Host, 4096, 1);
    let buffers: Vec<_> = (0..3).map(|_| TestMemory::Host.buffer(4096)).collect();
    let mut receives: Vec<_> =
        buffers.iter().map(|to| receiver.irecv(to, 0, 4096).unwrap().unwrap()).collect();
    let request = sender.isend(&source, 0, 4096).unwrap().unwrap();
    sender.wait(request, TIMEOUT).unwrap();
    sender.leave(Duration::from_millis(1)).unwrap();
    thread::sleep(Duration::from_millis(100));
    let first = receives.remove(0);
    assert_eq!(receiver.wait(first, TIMEOUT).unwrap().bytes, 4096);
    let error = receiver.wait(receives.remove(0), TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { open: 2, .. }), "{error:?}");
}

/// A message that was sent before its receive, which is never posted, is not lost in silence.
#[test]
fn a_message_that_is_never_received_fails_the_receivers_close() {
    for sent in [1, 3] {
        let (mut sender, receiver) = pair(&options(1));
        let source = filled(TestMemory::Host, 100, 1);
        for _ in 0..sent {
            let request = sender.isend(&source, 0, 100).unwrap().unwrap();
            sender.wait(request, TIMEOUT).unwrap();
        }
        let closing = thread::spawn(move || sender.close(soon()));
        let error = receiver.close(soon()).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("{sent} messages came that were never received")),
            "{error}"
        );
        closing.join().unwrap().unwrap();
    }
}
