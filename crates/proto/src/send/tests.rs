//! Dealing in order, and only announced receives. Every way in which a peer can misbehave towards the sender
//! is tried.

use super::*;
use crate::{
    frame::{Control, Mark},
    plan::PIECES_MAX,
};

const STEP: u64 = 4096;
const INLINE: u64 = 8192;

fn side() -> SendSide<16> {
    SendSide::new(16, STEP, 4).with_inline(INLINE)
}

const fn announce(seq: u64, capacity: u64, inline_bytes: u32) -> Announce {
    Announce { seq, capacity, inline_bytes, done: 0, mark: None }
}

/// Deals and writes everything that can be dealt; returns the lengths of the segments.
fn send_all(side: &mut SendSide<16>) -> Vec<u64> {
    let mut pieces = vec![];
    while let Some(segment) = side.deal(Carrier::Any).unwrap() {
        pieces.push(segment.bytes());
        side.written(segment);
    }
    pieces
}

#[test]
fn nothing_is_sent_that_was_not_announced() {
    let mut side = side();
    let slot = side.post(5000, false).unwrap();
    assert_eq!(side.deal(Carrier::Any), Ok(None));
    side.announced(&announce(0, 5000, 0)).unwrap();
    assert_eq!(send_all(&mut side), [4096, 904]);
    assert_eq!(side.finish(slot), Ok(Sent { bytes: 5000 }));
    side.announced(&announce(1, 10, 0)).unwrap();
    assert_eq!(side.deal(Carrier::Any), Ok(None), "nor what was not posted");
}

#[test]
fn announcements_come_in_order() {
    let mut side = side();
    for found in [1, 5, u64::MAX] {
        let wrong = Violation::AnnouncedOutOfOrder { expected: 0, found };
        assert_eq!(side.announced(&announce(found, 10, 0)), Err(wrong));
    }
    side.announced(&announce(0, 10, 0)).unwrap();
    let again = Violation::AnnouncedOutOfOrder { expected: 1, found: 0 };
    assert_eq!(side.announced(&announce(0, 10, 0)), Err(again));
    let slot = side.post(10, false).unwrap();
    assert_eq!(send_all(&mut side), [10]);
    assert!(side.finish(slot).is_ok(), "a refused announcement changes nothing");
}

#[test]
fn no_more_announcements_than_the_peer_has_slots() {
    let mut side = side();
    for seq in 0..4 {
        side.announced(&announce(seq, 10 + seq, 0)).unwrap();
    }
    let fifth = Violation::TooManyAnnounced { seq: 4, slots: 4 };
    assert_eq!(side.announced(&announce(4, 99, 0)), Err(fifth));
    let slots: Vec<_> = (0..4).map(|at| side.post(10 + at, false).unwrap()).collect();
    assert_eq!(send_all(&mut side), [10, 11, 12, 13]);
    for slot in slots {
        side.finish(slot).unwrap();
    }
    side.announced(&Announce { done: 1, ..announce(4, 99, 0) }).unwrap();
}

#[test]
fn a_message_longer_than_its_receive_is_this_sides_fault() {
    let mut side = side();
    let _posted = side.post(11, true).unwrap();
    side.announced(&announce(0, 10, 10)).unwrap();
    let too_long = Err(TooLong { bytes: 11, capacity: 10 });
    assert_eq!(side.deal(Carrier::Any), too_long);
    assert_eq!(side.deal(Carrier::Control), too_long, "and stays it: the connection is over");
}

#[test]
fn a_message_too_long_for_its_headers_is_refused_whatever_was_announced() {
    let mut side = side();
    let _posted = side.post(MESSAGE_BYTES_MAX + 1, false).unwrap();
    side.announced(&announce(0, u64::MAX, 0)).unwrap();
    assert!(side.deal(Carrier::Any).is_err());
}

#[test]
fn the_longest_message_keeps_its_lengths() {
    let mut side = side();
    let _posted = side.post(MESSAGE_BYTES_MAX, false).unwrap();
    side.announced(&announce(0, u64::MAX, 0)).unwrap();
    let mut dealt = 0;
    while let Some(segment) = side.deal(Carrier::Any).unwrap() {
        assert_eq!(u64::from(segment.header().bytes), segment.bytes());
        assert_eq!(segment.offset(), dealt);
        dealt += segment.bytes();
        assert_eq!(side.written(segment), dealt == MESSAGE_BYTES_MAX);
    }
    assert_eq!(dealt, MESSAGE_BYTES_MAX);
    assert_eq!(MESSAGE_BYTES_MAX / PIECES_MAX, 2 << 30);
}

#[test]
fn short_messages_travel_in_control_frames_where_both_sides_can() {
    let is_inline = |bytes, source_can, inline_bytes| {
        let mut side = side();
        let _posted = side.post(bytes, source_can).unwrap();
        side.announced(&announce(0, 8192, inline_bytes)).unwrap();
        let by_control = side.deal(Carrier::Control).unwrap();
        let inline = by_control.is_some();
        let segment = by_control.or_else(|| side.deal(Carrier::Any).unwrap()).unwrap();
        assert_eq!(segment.is_inline(), inline, "the control socket carries these only");
        assert_eq!(segment.bytes(), if inline { bytes } else { bytes.min(STEP) });
        inline
    };
    assert!(is_inline(64, true, 64));
    assert!(!is_inline(65, true, 64));
    assert!(!is_inline(64, false, 64));
    assert!(!is_inline(64, true, 0));
    assert!(is_inline(0, false, 0), "an empty message has no segment to ride on");
    assert!(is_inline(5000, true, 8192), "even one longer than a segment, whole");
}

#[test]
fn a_send_is_finished_when_every_segment_was_written() {
    let mut side = side();
    let slot = side.post(3 * STEP, false).unwrap();
    side.announced(&announce(0, 3 * STEP, 0)).unwrap();
    let mut segments: Vec<_> = (0..3).map(|_| side.deal(Carrier::Any).unwrap().unwrap()).collect();
    assert_eq!(side.deal(Carrier::Any), Ok(None));
    let last = segments.remove(0);
    for segment in segments {
        assert!(!side.written(segment));
        assert!(!side.is_complete(&slot));
    }
    let slot = side.finish(slot).unwrap_err();
    assert!(side.written(last));
    assert!(side.is_complete(&slot));
    assert_eq!(side.finish(slot), Ok(Sent { bytes: 3 * STEP }));
    assert_eq!(side.in_flight(), 0);
}

#[test]
#[should_panic(expected = "the connection that dealt it")]
fn a_segment_of_another_connection_is_our_bug() {
    let (mut one, mut other) = (side(), side());
    let _posted = one.post(10, false).unwrap();
    one.announced(&announce(0, 10, 0)).unwrap();
    let segment = one.deal(Carrier::Any).unwrap().unwrap();
    other.written(segment);
}

#[test]
fn what_the_receiver_announces_the_frame_can_say() {
    // An announcement with the largest numbers survives the wire.
    let wide = announce(u64::MAX, u64::MAX, 64 << 10);
    assert_eq!(Control::decode(&Control::Announce(wide).encode()), Ok(Control::Announce(wide)));
}

/// Makes a connection of streams, with `open` receives of one segment each announced, and as many sends
/// posted.
fn streams(count: usize, open: u64) -> (SendSide<16>, Vec<Slot>) {
    let mut side = SendSide::new(16, STEP, 16).with_streams(count);
    let slots = (0..open).map(|_| side.post(STEP, false).unwrap()).collect();
    for seq in 0..open {
        side.announced(&announce(seq, STEP, 0)).unwrap();
    }
    (side, slots)
}

fn take(side: &mut SendSide<16>, stream: usize) -> bool {
    match side.deal(Carrier::Stream(stream)).unwrap() {
        Some(segment) => {
            side.written(segment);
            true
        }
        None => false,
    }
}

#[test]
fn a_stream_that_never_blocks_gets_its_share_and_no_more() {
    let (mut side, _slots) = streams(2, 8);
    let hoarded = (0..8).take_while(|_| take(&mut side, 0)).count();
    assert_eq!(hoarded, 5, "half of the open bytes, and the segment that lets some stream go on");
    assert_eq!(side.to_wake(), None, "the other one is not idle: it will ask");
    assert!(take(&mut side, 1));
}

#[test]
fn an_idle_stream_that_holds_less_goes_first() {
    let (mut side, _slots) = streams(3, 9);
    assert!(take(&mut side, 0));
    side.set_idle(1, true);
    side.set_idle(2, true);
    assert!(!take(&mut side, 0), "two hold nothing and wait");
    assert_eq!(side.to_wake(), Some(1));
    side.set_idle(1, false);
    assert!(take(&mut side, 1));
    assert_eq!(side.to_wake(), Some(2));
    side.set_idle(2, false);
    assert!(take(&mut side, 2));
    assert!(take(&mut side, 0), "all hold the same, so no stream waits");
}

#[test]
fn idle_streams_that_may_not_carry_a_segment_are_not_called() {
    // The third stream takes nothing: its socket is full.
    let (mut side, _slots) = streams(3, 9);
    for stream in [0, 1] {
        while take(&mut side, stream) {}
        side.set_idle(stream, true);
    }
    assert!(side.is_ready(), "a third of the bytes is left");
    assert_eq!(side.to_wake(), None, "two streams that hold their share would wake each other for ever");
    side.set_idle(2, true);
    assert_eq!(side.to_wake(), Some(2));
    assert_eq!(side.to_wake(), None, "nor before 2 has come, which holds less");
}

#[test]
fn each_idle_stream_is_called_once_and_no_more_than_there_are_segments() {
    let (mut side, _slots) = streams(4, 2);
    (0..4).for_each(|stream| side.set_idle(stream, true));
    assert_eq!([side.to_wake(), side.to_wake(), side.to_wake()], [Some(0), Some(1), None]);
    assert!(!take(&mut side, 0) || !take(&mut side, 0), "called, 1 goes before a stream that holds more");
    side.set_idle(0, false);
    side.set_idle(1, false);
    assert!(take(&mut side, 1));
    side.set_idle(0, true);
    assert_eq!(side.to_wake(), None, "nothing is left");
    // One message of three segments wakes three streams.
    let mut side = SendSide::<16>::new(16, STEP, 16).with_streams(4);
    (0..4).for_each(|stream| side.set_idle(stream, true));
    let _slot = side.post(3 * STEP - 1, false).unwrap();
    assert_eq!(side.to_wake(), None, "not announced");
    side.announced(&announce(0, 3 * STEP, 0)).unwrap();
    assert_eq!((0..4).filter_map(|_| side.to_wake()).count(), 3);
}

#[test]
fn what_the_peer_has_finished_is_no_longer_held() {
    let (mut side, slots) = streams(2, 4);
    for _ in 0..3 {
        assert!(take(&mut side, 0));
    }
    assert!(!take(&mut side, 0));
    for slot in slots.into_iter().take(3) {
        side.finish(slot).unwrap();
    }
    let _slots: Vec<_> = (0..3).map(|_| side.post(STEP, false).unwrap()).collect();
    for seq in 4..7 {
        side.announced(&Announce { done: 3, ..announce(seq, STEP, 0) }).unwrap();
    }
    assert!(take(&mut side, 0));
}

#[test]
fn somebody_may_always_go_on() {
    // However the segments fell so far: as long as one is left, some stream is within its share.
    for count in 1..=8 {
        let (mut side, _slots) = streams(count, 16);
        let mut dealt = 0;
        while side.is_ready() {
            let taker = (0..count).rev().find(|&stream| take(&mut side, stream));
            assert!(taker.is_some(), "{count} streams, {dealt} dealt");
            dealt += 1;
        }
        assert_eq!(dealt, 16);
    }
}

#[test]
fn a_finished_count_that_cannot_be_is_a_violation() {
    let (mut side, _slots) = streams(1, 2);
    assert!(take(&mut side, 0));
    let wrong = |value| Violation::Field { frame: "announcement", field: "finished count", value };
    for done in [2, 3, u64::MAX] {
        assert_eq!(
            side.announced(&Announce { done, ..announce(2, 1, 0) }),
            Err(wrong(done)),
            "not yet dealt"
        );
    }
    side.announced(&Announce { done: 1, ..announce(2, 1, 0) }).unwrap();
    assert_eq!(side.announced(&announce(3, 1, 0)), Err(wrong(0)), "it went back");
}

#[test]
fn no_message_inside_a_frame_is_longer_than_was_agreed() {
    let inline = |side: &mut SendSide<16>, capacity, inline_bytes| {
        side.announced(&announce(0, capacity, inline_bytes)).map_err(|violation| {
            let value = u64::from(inline_bytes);
            assert_eq!(violation, Violation::Field { frame: "announcement", field: "inline length", value });
        })
    };
    for agreed in [0, 100] {
        let mut side = side().with_inline(agreed.into());
        assert_eq!(inline(&mut side, STEP, agreed + 1), Err(()));
        assert_eq!(inline(&mut side, STEP, u32::MAX), Err(()));
        assert_eq!(inline(&mut side, STEP, agreed), Ok(()), "and a refused announcement changes nothing");
    }
    assert_eq!(inline(&mut SendSide::new(16, STEP, 4), STEP, 1), Err(()), "none where none was agreed on");
    assert_eq!(inline(&mut side(), 99, 100), Err(()), "nor longer than the receive");
    assert_eq!(inline(&mut side(), 100, 100), Ok(()));
}

#[test]
fn segments_are_short_at_the_start_and_at_the_end() {
    let long = 4 * STEP;
    let mut side = SendSide::<16>::new(16, long, 16).with_pieces(STEP).with_streams(2);
    let bytes = 32 * STEP + 5;
    let _slot = side.post(bytes, false).unwrap();
    side.announced(&announce(0, bytes, 0)).unwrap();
    let mut dealt = [vec![], vec![]];
    for stream in [0, 1].into_iter().cycle() {
        if !side.is_ready() {
            break;
        }
        let Some(segment) = side.deal(Carrier::Stream(stream)).unwrap() else { continue };
        dealt[stream].push(segment.bytes());
        side.written(segment);
    }
    for lengths in &dealt {
        assert_eq!(lengths[..4], [STEP, STEP, 2 * STEP, long], "short ones to begin with: {dealt:?}");
        assert!(lengths.iter().rev().take(2).all(|&bytes| bytes <= STEP), "and to end with: {dealt:?}");
    }
    assert_eq!(dealt.concat().iter().sum::<u64>(), bytes);
    let totals = dealt.map(|lengths| lengths.iter().sum::<u64>());
    assert!(totals[0].abs_diff(totals[1]) < long, "{totals:?}");
}

fn eager() -> SendSide<16> {
    SendSide::new(16, STEP, 16).with_streams(2).with_inline(INLINE).with_eager(4, 100)
}

#[test]
fn a_short_message_needs_no_announcement_while_there_is_a_place() {
    let mut side = eager();
    let slots: Vec<_> = (0..6).map(|_| side.post(100, true).unwrap()).collect();
    for seq in 0..4 {
        let segment = side.deal(Carrier::Control).unwrap().unwrap();
        assert!(segment.is_inline() && segment.seq() == seq);
        assert!(side.written(segment));
    }
    assert_eq!(side.deal(Carrier::Control), Ok(None), "all places may be in use");
    assert_eq!((side.to_want(), side.to_wake()), (None, None), "and the receiver reports finished receives");
    // The announcement comes late: two receives are finished already, so two places are free again.
    side.announced(&Announce { seq: 0, capacity: 100, inline_bytes: 100, done: 2, mark: None }).unwrap();
    for seq in 4..6 {
        let segment = side.deal(Carrier::Control).unwrap().unwrap();
        assert_eq!(segment.seq(), seq);
        side.written(segment);
    }
    slots.into_iter().for_each(|slot| assert!(side.finish(slot).is_ok()));
}

#[test]
fn what_is_no_short_message_waits_and_is_asked_for_once_behind_one() {
    let mut side = eager();
    let _first = side.post(101, true).unwrap();
    assert_eq!(side.deal(Carrier::Control), Ok(None), "too long");
    assert_eq!(side.to_want(), None, "nothing is held back before a short one");
    side.announced(&Announce { seq: 0, capacity: 101, inline_bytes: 101, done: 0, mark: None }).unwrap();
    let segment = side.deal(Carrier::Control).unwrap().unwrap();
    side.written(segment);
    let _short = side.post(7, true).unwrap();
    let segment = side.deal(Carrier::Control).unwrap().unwrap();
    side.written(segment);
    assert_eq!(side.to_want(), None, "nothing waits");
    // The message is short, but a socket cannot read its source.
    let _third = side.post(7, false).unwrap();
    assert_eq!(side.deal(Carrier::Any), Ok(None));
    assert_eq!((side.to_want(), side.to_want()), (Some(2), None));
}

#[test]
fn more_finished_than_was_sent_is_a_violation_with_places_too() {
    let mut side = eager();
    let _slot = side.post(7, true).unwrap();
    let _dealt = side.deal(Carrier::Control).unwrap().unwrap();
    let done = |done| Announce { seq: 0, capacity: 9, inline_bytes: 9, done, mark: None };
    assert!(matches!(side.announced(&done(2)), Err(Violation::Field { value: 2, .. })));
    assert_eq!(side.announced(&done(1)), Ok(()));
}

const fn tagged(seq: u64, capacity: u64, done: u64, tag: i32, following: u8) -> Announce {
    let mark = Some(Mark { tag, following });
    Announce { seq, capacity, inline_bytes: 0, done, mark }
}

#[test]
fn a_send_with_a_tag_is_posted_when_its_place_is_there_and_goes_to_that() {
    let mut side = side().with_groups(2);
    assert_eq!(side.post_tagged(10, false, 7), None, "nothing is announced");
    side.announced(&tagged(0, 10, 0, 7, 1)).unwrap();
    side.announced(&tagged(1, 20, 0, 8, 0)).unwrap();
    side.announced(&tagged(2, 30, 0, 9, 0)).unwrap();
    assert_eq!(side.post_tagged(10, false, 9), None, "the first group has open places");
    let second = side.post_tagged(20, false, 8).unwrap();
    let first = side.post_tagged(10, false, 7).unwrap();
    let third = side.post_tagged(30, false, 9).unwrap();
    let mut seqs = vec![];
    while let Some(segment) = side.deal(Carrier::Any).unwrap() {
        seqs.push((segment.seq(), segment.bytes()));
        side.written(segment);
    }
    assert_eq!(seqs, [(1, 20), (0, 10), (2, 30)], "in the order of the posts, each to its place");
    for (slot, bytes) in [(third, 30), (second, 20), (first, 10)] {
        assert_eq!(side.finish(slot), Ok(Sent { bytes }));
    }
    side.announced(&tagged(3, 10, 3, 7, 0)).unwrap();
}

#[test]
fn of_a_group_only_what_was_dealt_is_finished() {
    let mut side = side().with_groups(2);
    side.announced(&tagged(0, 10, 0, 7, 1)).unwrap();
    side.announced(&tagged(1, 20, 0, 8, 0)).unwrap();
    let _second = side.post_tagged(20, false, 8).unwrap();
    assert_eq!(send_all(&mut side), [20]);
    let wrong = |value| Violation::Field { frame: "announcement", field: "finished count", value };
    for done in [1, 2, 3, u64::MAX] {
        assert_eq!(side.announced(&tagged(2, 10, done, 7, 0)), Err(wrong(done)), "the first was not dealt");
    }
    let _first = side.post_tagged(10, false, 7).unwrap();
    assert_eq!(send_all(&mut side), [10]);
    side.announced(&tagged(2, 10, 2, 7, 0)).unwrap();
    assert_eq!(side.announced(&tagged(3, 10, 1, 7, 0)), Err(wrong(1)), "it went back");
}

#[test]
fn announcements_have_marks_where_receives_are_grouped_and_nowhere_else() {
    assert_eq!(side().announced(&tagged(0, 10, 0, 7, 0)), Err(Violation::Kind(6)));
    assert_eq!(side().with_groups(8).announced(&announce(0, 10, 0)), Err(Violation::Kind(1)));
    let mut side = side().with_groups(2);
    let following =
        |value| Violation::Field { frame: "tagged announcement", field: "following count", value };
    assert_eq!(side.announced(&tagged(0, 10, 0, 7, 2)), Err(following(2)), "longer than agreed");
    side.announced(&tagged(0, 10, 0, 7, 1)).unwrap();
    assert_eq!(side.announced(&tagged(1, 10, 0, 7, 1)), Err(following(1)), "it never ends");
    side.announced(&tagged(1, 10, 0, 7, 0)).unwrap();
}

#[test]
fn a_send_without_a_slot_takes_no_place() {
    let mut side = SendSide::<16>::new(1, STEP, 4).with_groups(2);
    side.announced(&tagged(0, 10, 0, 7, 0)).unwrap();
    side.announced(&tagged(1, 10, 0, 7, 0)).unwrap();
    let first = side.post_tagged(10, false, 7).unwrap();
    assert_eq!(side.post_tagged(10, false, 7), None);
    assert_eq!(send_all(&mut side), [10]);
    side.finish(first).unwrap();
    let _second = side.post_tagged(10, false, 7).unwrap();
    assert_eq!(side.deal(Carrier::Any).unwrap().map(|segment| segment.seq()), Some(1));
}
