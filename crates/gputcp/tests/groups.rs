//! Several receives in one request: which message meets which receive, and how a group ends, well or badly.

mod common;

use std::{
    io::Write,
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, move_and_verify, options, pair, pair_of, sender_to_impostor, soon};
use gputcp::{
    Error, GroupRequest, Options, Part, Progress, ReceivedGroup, RecvComm, SendComm, SendRequest,
    transfer::{Message, Plan, Sender},
};
use gputcp_gpu::{Buffer, Pattern};
use gputcp_proto::frame::{Announce, Control, Mark};

fn grouped(streams: u16) -> Options {
    options(streams).with_max_receives(8)
}

/// Makes room for several receives of up to `each` bytes.
fn room(place: TestMemory, count: usize, each: u64) -> Vec<Buffer> {
    (0..count).map(|_| place.buffer(each)).collect()
}

fn post(receiver: &mut RecvComm, room: &[Buffer], tags: &[i32]) -> GroupRequest {
    let part = |(destination, &tag): (_, &i32)| Part {
        destination,
        offset: 0,
        bytes: Buffer::bytes(destination),
        tag,
    };
    let group: Vec<_> = room.iter().zip(tags).map(part).collect();
    receiver.irecv_group(&group).unwrap().expect("there are slots")
}

/// Asks until the message has a place.
fn send(sender: &mut SendComm, source: &Buffer, bytes: u64, tag: i32) -> SendRequest {
    let until = soon();
    loop {
        if let Some(request) = sender.isend_tagged(source, 0, bytes, tag).unwrap() {
            return request;
        }
        assert!(Instant::now() < until, "no place for tag {tag}");
        thread::yield_now();
    }
}

fn wait_all(sender: &mut SendComm, requests: impl IntoIterator<Item = SendRequest>) {
    for request in requests {
        sender.wait(request, TIMEOUT).unwrap();
    }
}

fn sizes(received: &ReceivedGroup) -> Vec<u64> {
    received.parts().iter().map(|part| part.bytes).collect()
}

fn filled(place: TestMemory, bytes: u64, iteration: u64) -> Buffer {
    let buffer = place.buffer(bytes);
    buffer.fill(Pattern { seed: 5, iteration }, 0, bytes).unwrap();
    buffer
}

#[test]
fn groups_are_filled_by_their_tags_in_whatever_order_they_are_sent() {
    const EACH: u64 = 200_000;
    const ROUNDS: u64 = 12;
    // Long and short, of no bytes and of all that fits; two of one tag.
    let tags = [40, -3, 40, 7, 8, 9, i32::MAX, i32::MIN];
    let lengths = [EACH, 0, 1, 70_000, 16 << 10, 8, 131_072, 5];
    let order = [7, 0, 3, 2, 1, 6, 4, 5];
    for place in [TestMemory::Host, TestMemory::Soft] {
        let opts = grouped(2).with_device(place.device());
        let (mut sender, mut receiver) = pair(&opts);
        assert_eq!(receiver.max_receives(), 8);
        thread::scope(|scope| {
            let sender = &mut sender;
            scope.spawn(move || {
                let sources = room(place, 8, EACH);
                for round in 0..ROUNDS {
                    for (source, iteration) in sources.iter().zip(8 * round..) {
                        source.fill(Pattern { seed: 5, iteration }, 0, EACH).unwrap();
                    }
                    let mut order = order;
                    order.rotate_left(round as usize % 8);
                    // Those of one tag go in order.
                    let second = order.iter().position(|&at| at == 2).unwrap();
                    let first = order.iter().position(|&at| at == 0).unwrap();
                    if second < first {
                        order.swap(first, second);
                    }
                    let requests: Vec<_> =
                        order.iter().map(|&at| send(sender, &sources[at], lengths[at], tags[at])).collect();
                    wait_all(sender, requests);
                }
            });
            // Two groups are posted at a time.
            let rooms = [room(place, 8, EACH), room(place, 8, EACH)];
            let mut posted = [None, None];
            for round in 0..ROUNDS as usize + 2 {
                let room = &rooms[round % 2];
                if let Some(request) = posted[round % 2].take() {
                    let received = receiver.wait_group(request, TIMEOUT).unwrap();
                    assert_eq!(sizes(&received), lengths, "{place:?}, round {round}");
                    for (at, (to, &bytes)) in room.iter().zip(&lengths).enumerate() {
                        let iteration = (8 * (round - 2) + at) as u64;
                        let pattern = Pattern { seed: 5, iteration };
                        assert_eq!(to.verify(pattern, 0, bytes).unwrap(), Ok(()), "{place:?}, part {at}");
                    }
                }
                if round < ROUNDS as usize {
                    posted[round % 2] = Some(post(&mut receiver, room, &tags));
                }
            }
        });
        close(vec![sender], vec![receiver]);
    }
}

#[test]
fn nothing_is_posted_before_its_place_is_open() {
    let (mut sender, mut receiver) = pair(&grouped(1));
    let source = filled(TestMemory::Host, 64, 0);
    let rooms = room(TestMemory::Host, 3, 64);
    let not_yet = |sender: &mut SendComm, tag| {
        for _ in 0..20 {
            assert!(sender.isend_tagged(&source, 0, 64, tag).unwrap().is_none(), "tag {tag}");
            thread::sleep(Duration::from_millis(1));
        }
    };
    not_yet(&mut sender, 1);
    let first = post(&mut receiver, &rooms[..2], &[1, 2]);
    let second = post(&mut receiver, &rooms[2..], &[3]);
    not_yet(&mut sender, 3);
    let sent = [send(&mut sender, &source, 64, 2)];
    not_yet(&mut sender, 2);
    not_yet(&mut sender, 3);
    let Progress::NotYet(first) = receiver.test_group(first).unwrap() else { panic!("half of it was sent") };
    let sent: Vec<_> =
        sent.into_iter().chain([1, 3].map(|tag| send(&mut sender, &source, 10, tag))).collect();
    assert_eq!(sizes(&receiver.wait_group(first, TIMEOUT).unwrap()), [10, 64]);
    assert_eq!(sizes(&receiver.wait_group(second, TIMEOUT).unwrap()), [10]);
    wait_all(&mut sender, sent);
    close(vec![sender], vec![receiver]);
}

#[test]
fn every_request_has_room_for_a_whole_group() {
    let (mut sender, mut receiver) = pair(&grouped(1).tuned(|tuning| tuning.slots = 4));
    let source = filled(TestMemory::Host, 100, 0);
    let rooms: Vec<_> = (0..4).map(|_| room(TestMemory::Host, 8, 100)).collect();
    let tags: Vec<i32> = (0..8).collect();
    let requests: Vec<_> = rooms.iter().map(|room| post(&mut receiver, room, &tags)).collect();
    let fifth = TestMemory::Host.buffer(1);
    assert!(
        receiver.irecv_group(&[Part { destination: &fifth, offset: 0, bytes: 1, tag: 0 }]).unwrap().is_none()
    );
    // As many sends are in flight.
    let sent: Vec<_> = (0..32).map(|at| send(&mut sender, &source, 100, tags[7 - at % 8])).collect();
    for request in requests {
        assert_eq!(sizes(&receiver.wait_group(request, TIMEOUT).unwrap()), [100; 8]);
    }
    wait_all(&mut sender, sent);
    close(vec![sender], vec![receiver]);
}

#[test]
fn where_either_end_groups_none_tags_mean_nothing() {
    for (send_opts, recv_opts) in [(grouped(1), options(1)), (options(1), grouped(1))] {
        let (mut sender, mut receiver) = pair_of(send_opts, &recv_opts);
        assert_eq!(receiver.max_receives(), 1);
        let (source, rooms) = (filled(TestMemory::Host, 64, 0), room(TestMemory::Host, 2, 64));
        let two = [0, 1].map(|at| Part { destination: &rooms[at], offset: 0, bytes: 64, tag: 1 });
        let error = receiver.irecv_group(&two).unwrap_err();
        assert!(matches!(&error, Error::Usage(_)), "{error:?}");
        assert!(error.to_string().contains("a group of 2 receives was posted"), "{error}");
        // A send is posted at once, and meets the next receive whatever its tag.
        let request = sender.isend_tagged(&source, 0, 64, 7).unwrap().unwrap();
        let receive = receiver.irecv_group(&two[..1]).unwrap().unwrap();
        assert_eq!(sizes(&receiver.wait_group(receive, TIMEOUT).unwrap()), [64]);
        sender.wait(request, TIMEOUT).unwrap();
        close(vec![sender], vec![receiver]);
    }
}

#[test]
fn receives_of_one_are_groups_too() {
    let (mut sender, mut receiver) = pair_of(grouped(1), &grouped(1).with_max_receives(3));
    assert_eq!(receiver.max_receives(), 3, "the smaller one holds");
    let (source, to) = (filled(TestMemory::Host, 64, 0), TestMemory::Host.buffer(64));
    let receive = receiver.irecv_tagged(&to, 0, 64, 5).unwrap().unwrap();
    let request = send(&mut sender, &source, 64, 5);
    assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 64);
    sender.wait(request, TIMEOUT).unwrap();
    // Without a tag, it is 0 at both ends.
    let receive = receiver.irecv(&to, 0, 64).unwrap().unwrap();
    let request = send(&mut sender, &source, 64, 0);
    assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 64);
    sender.wait(request, TIMEOUT).unwrap();
    close(vec![sender], vec![receiver]);
}

#[test]
fn whole_transfers_wait_for_their_receives() {
    let plan = Plan { chunk_bytes: 64 << 10, window: 8, timeout: TIMEOUT };
    let options = grouped(2).with_timeout(Duration::from_secs(1));
    let (mut sends, mut recvs) = (0..2).map(|_| pair(&options)).collect::<(Vec<_>, Vec<_>)>();
    let bytes = 2 << 20;
    let buffers = (&TestMemory::Host.buffer(bytes), &TestMemory::Host.buffer(bytes));
    let moved =
        move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[bytes, 100, 0, bytes]).unwrap();
    assert_eq!(moved.bytes, 2 * bytes + 100);
    let message = Message { buffer: buffers.0, offset: 0, bytes };
    let error = Sender::new(plan, 2).send(&mut sends, message).unwrap_err();
    assert!(error.to_string().contains("waiting for a receive"), "{error}");
}

#[test]
fn a_send_longer_than_its_place_is_the_users_mistake() {
    let (mut sender, mut receiver) = pair(&grouped(1));
    let (source, rooms) = (filled(TestMemory::Host, 65, 0), room(TestMemory::Host, 2, 64));
    let request = post(&mut receiver, &rooms, &[1, 2]);
    let until = soon();
    let error = loop {
        match sender.isend_tagged(&source, 0, 65, 2) {
            Ok(None) => assert!(Instant::now() < until),
            Ok(Some(request)) => break sender.wait(request, TIMEOUT).unwrap_err(),
            Err(error) => break error,
        }
    };
    assert!(error.to_string().contains("65 bytes met a receive of 64"), "{error}");
    assert!(receiver.wait_group(request, TIMEOUT).is_err());
}

/// With half of a group sent, the sender ends in good order or by being dropped, or the receiver ends.
#[test]
fn a_group_of_which_half_was_sent_ends_with_its_peer() {
    for is_orderly in [true, false] {
        let (mut sender, mut receiver) = pair(&grouped(2));
        let (source, rooms) = (filled(TestMemory::Host, 1 << 20, 0), room(TestMemory::Host, 2, 1 << 20));
        let request = post(&mut receiver, &rooms, &[1, 2]);
        let sent = send(&mut sender, &source, 1 << 20, 2);
        sender.wait(sent, TIMEOUT).unwrap();
        let began = Instant::now();
        if is_orderly {
            sender.leave(Duration::from_secs(5)).unwrap()
        } else {
            drop(sender)
        }
        let error = receiver.wait_group(request, TIMEOUT).unwrap_err();
        let expected = if is_orderly { "while 2 requests were open" } else { "dropped" };
        assert!(error.to_string().contains(expected), "{error}");
        assert!(began.elapsed() < Duration::from_secs(3));
    }
    let (mut sender, mut receiver) = pair(&grouped(2));
    let (source, rooms) = (filled(TestMemory::Host, 64, 0), room(TestMemory::Host, 2, 64));
    let _request = post(&mut receiver, &rooms, &[1, 2]);
    let _sent = send(&mut sender, &source, 64, 2);
    drop(receiver);
    let until = soon();
    while sender.isend_tagged(&source, 0, 64, 3).is_ok_and(|posted| posted.is_none()) {
        assert!(Instant::now() < until, "who waits for a place is told of the end");
    }
}

#[test]
fn who_waits_for_a_place_is_told_of_a_goodbye() {
    let (mut sender, receiver) = pair(&grouped(1));
    receiver.leave(Duration::from_secs(5)).unwrap();
    let source = filled(TestMemory::Host, 64, 0);
    let until = soon();
    let error = loop {
        match sender.isend_tagged(&source, 0, 64, 1) {
            Ok(posted) => assert!(posted.is_none() && Instant::now() < until),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
}

#[test]
fn a_group_that_cannot_be_claimed_is_not_posted() {
    let (mut sender, mut receiver) = pair(&grouped(1));
    let to = TestMemory::Host.buffer(64);
    let part = |offset, tag| Part { destination: &to, offset, bytes: 32, tag };
    for bad in [[part(0, 1), part(16, 2)], [part(0, 1), part(33, 2)]] {
        assert!(matches!(receiver.irecv_group(&bad), Err(Error::Usage(_))));
    }
    assert!(matches!(receiver.irecv_group(&[]), Err(Error::Usage(_))));
    let request = receiver.irecv_group(&[part(0, 1), part(32, 2)]).unwrap().unwrap();
    let source = filled(TestMemory::Host, 32, 0);
    let sent = [2, 1].map(|tag| send(&mut sender, &source, 32, tag));
    assert_eq!(sizes(&receiver.wait_group(request, TIMEOUT).unwrap()), [32, 32]);
    wait_all(&mut sender, sent);
    close(vec![sender], vec![receiver]);
}

#[test]
fn a_receiver_whose_groups_make_no_sense_is_refused() {
    let mark = |following| Some(Mark { tag: 1, following });
    let announce = |seq, mark| Announce { seq, capacity: 10, inline_bytes: 0, done: 0, mark };
    for (announces, wanted) in [
        (vec![announce(0, None)], "unknown kind 1"),
        (vec![announce(0, mark(8))], "following count is 8"),
        (vec![announce(0, mark(2)), announce(1, mark(0))], "following count is 0"),
        (vec![announce(1, mark(0))], "due"),
        ((0..257).map(|seq| announce(seq, mark(0))).collect(), "still unmatched"),
    ] {
        let (mut sender, mut control, _data) = sender_to_impostor(grouped(1), None);
        for announce in announces {
            control.write_all(&Control::Announce(announce).encode()).unwrap();
        }
        let (from, until) = (TestMemory::Host.buffer(10), soon());
        let error = loop {
            match sender.isend_tagged(&from, 0, 0, 2) {
                Ok(posted) => assert!(posted.is_none() && Instant::now() < until, "{wanted}"),
                Err(error) => break error,
            }
        };
        assert!(error.to_string().contains(wanted), "{error}");
    }
}
