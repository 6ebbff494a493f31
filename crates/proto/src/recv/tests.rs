//! Tries every way in which a peer can misbehave towards the receiver; the state stays usable after each.

use proptest::prelude::*;

use super::*;
use crate::plan::MESSAGE_BYTES_MAX;

const STEP: u64 = 4096;

fn side() -> RecvSide<16> {
    RecvSide::new(16, STEP, 64)
}

const fn header(seq: u64, offset: u64, total: u64, bytes: u32) -> SegmentHeader {
    SegmentHeader { seq, offset, total, bytes }
}

fn land(landing: Landing) -> Placed {
    let all = landing.bytes();
    InPlace::new(landing).advance(all).unwrap()
}

#[track_caller]
fn not_yet(finished: Result<Received, Unfinished>) -> Slot {
    match finished {
        Err(Unfinished::NotYet(slot)) => slot,
        other => panic!("{other:?}"),
    }
}

/// Receives a message of two segments into receive `seq`, to show that nothing before has damaged it.
#[track_caller]
fn still_works(side: &mut RecvSide<16>, slot: Slot) {
    let seq = slot.seq().wire();
    let first = side.begin(&header(seq, 0, 5000, 4096)).unwrap();
    let second = side.begin(&header(seq, 4096, 5000, 904)).unwrap();
    assert!(!side.place(land(second)));
    let slot = not_yet(side.finish(slot));
    assert!(side.place(land(first)));
    assert!(side.is_complete(&slot));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 5000 }));
}

#[test]
fn a_sequence_number_that_is_not_in_flight_is_a_violation() {
    let mut side = side();
    assert_eq!(side.begin(&header(0, 0, 1, 1)), Err(Violation::Sequence { seq: 0 }));
    let (slot, _) = side.post(8192, true).unwrap();
    for seq in [1, 16, u64::MAX] {
        assert_eq!(side.begin(&header(seq, 0, 1, 1)), Err(Violation::Sequence { seq }));
        assert_eq!(side.begin_inline(seq, 1), Err(Violation::Sequence { seq }));
    }
    still_works(&mut side, slot);
    assert_eq!(side.begin(&header(0, 0, 1, 1)), Err(Violation::Sequence { seq: 0 }), "it is over");
}

#[test]
fn a_message_longer_than_its_receive_is_a_violation() {
    let mut side = side();
    let (slot, _) = side.post(5000, true).unwrap();
    let overflow = |total, capacity| Err(Violation::Overflow { seq: 0, total, capacity });
    assert_eq!(side.begin(&header(0, 0, 5001, 4096)), overflow(5001, 5000));
    assert_eq!(side.begin(&header(0, 0, u64::MAX, 4096)), overflow(u64::MAX, 5000));
    assert_eq!(side.begin_inline(0, 65), overflow(65, 64));
    still_works(&mut side, slot);
}

#[test]
fn a_short_message_is_taken_only_where_it_was_offered() {
    let mut side = side();
    let (_on_device, announce) = side.post(5000, false).unwrap();
    assert_eq!(announce.inline_bytes, 0);
    assert_eq!(side.begin_inline(0, 1), Err(Violation::Overflow { seq: 0, total: 1, capacity: 0 }));
    let (_tiny, announce) = side.post(10, true).unwrap();
    assert_eq!(announce.inline_bytes, 10, "never more than the receive takes");
    assert_eq!(side.begin_inline(1, 11), Err(Violation::Overflow { seq: 1, total: 11, capacity: 10 }));
}

#[test]
fn a_segment_off_the_plan_is_a_violation() {
    let mut side = side();
    let (slot, _) = side.post(5000, true).unwrap();
    for (offset, total, bytes) in [
        (0, 0, 0),           // an empty message has no segment
        (0, 5000, 4095),     // too short
        (0, 5000, 4097),     // too long
        (0, 5000, 0),        // empty
        (1, 5000, 4096),     // between two places
        (4096, 5000, 4096),  // past the end
        (4096, 4096, 0),     // at the end
        (8192, 5000, 904),   // behind the end
        (u64::MAX, 5000, 1), // where offset + length overflows
    ] {
        let expected = Violation::Segment { seq: 0, offset, bytes: u64::from(bytes), total };
        assert_eq!(side.begin(&header(0, offset, total, bytes)), Err(expected));
    }
    still_works(&mut side, slot);
}

#[test]
fn a_message_of_two_lengths_is_a_violation() {
    let mut side = side();
    let (slot, _) = side.post(8192, true).unwrap();
    let first = side.begin(&header(0, 0, 5000, 4096)).unwrap();
    let lengths = Violation::Length { seq: 0, first: 5000, second: 5001 };
    assert_eq!(side.begin(&header(0, 4096, 5001, 905)), Err(lengths));
    let second = side.begin(&header(0, 4096, 5000, 904)).unwrap();
    assert!(!side.place(land(first)));
    assert!(side.place(land(second)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 5000 }));
}

#[test]
fn a_segment_that_comes_twice_is_a_violation() {
    let mut side = side();
    let (slot, _) = side.post(8192, true).unwrap();
    let twice = |seq, offset| Err(Violation::Twice { seq, offset });
    let first = side.begin(&header(0, 4096, 5000, 904)).unwrap();
    assert_eq!(side.begin(&header(0, 4096, 5000, 904)), twice(0, 4096), "while the first is on its way");
    assert!(!side.place(land(first)));
    assert_eq!(side.begin(&header(0, 4096, 5000, 904)), twice(0, 4096), "after it landed");
    assert_eq!(side.begin_inline(0, 20), twice(0, 0), "or in a control frame");
    let rest = side.begin(&header(0, 0, 5000, 4096)).unwrap();
    assert!(side.place(land(rest)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 5000 }));

    let (slot, _) = side.post(64, true).unwrap();
    let short = side.begin_inline(1, 20).unwrap();
    assert_eq!(side.begin_inline(1, 20), twice(1, 0));
    assert_eq!(side.begin(&header(1, 0, 20, 20)), twice(1, 0));
    assert!(side.place(land(short)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 20 }));
}

#[test]
fn the_next_receive_of_a_place_remembers_nothing() {
    // The last of 4096 segments sets the bitmap's last bit; the next receive of that place must find it
    // clear.
    let mut side = RecvSide::<1>::new(1, STEP, 64);
    for seq in 0..3 {
        let (slot, announce) = side.post(STEP * PIECES_MAX, true).unwrap();
        assert_eq!(announce.seq, seq);
        assert!(side.post(1, true).is_none(), "one slot, one receive");
        for piece in (0..PIECES_MAX).rev() {
            let landing = side.begin(&header(seq, piece * STEP, STEP * PIECES_MAX, 4096)).unwrap();
            assert_eq!(side.place(land(landing)), piece == 0);
        }
        assert_eq!(side.finish(slot), Ok(Received { bytes: STEP * PIECES_MAX }));
    }
}

#[test]
fn an_empty_message_is_complete_when_placed_and_not_before() {
    let mut side = side();
    let (slot, _) = side.post(0, false).unwrap();
    let landing = side.begin_inline(0, 0).unwrap();
    assert!(!side.is_complete(&slot), "its landing is still out");
    let slot = not_yet(side.finish(slot));
    assert!(side.place(land(landing)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 0 }));
}

#[test]
#[should_panic(expected = "the connection that began it")]
fn a_landing_of_another_connection_is_our_bug() {
    let (mut one, mut other) = (side(), side());
    let _posted = one.post(10, true).unwrap();
    let landing = one.begin_inline(0, 10).unwrap();
    other.place(land(landing));
}

#[test]
#[should_panic(expected = "past the segment's end")]
fn reading_past_a_segment_is_our_bug() {
    let mut side = side();
    let _posted = side.post(10, true).unwrap();
    let _ = InPlace::new(side.begin_inline(0, 10).unwrap()).advance(11);
}

#[test]
#[should_panic(expected = "fits a control frame")]
fn no_longer_inline_limit_than_the_frame_has() {
    let _ = RecvSide::<16>::new(16, STEP, u64::from(INLINE_BYTES_MAX) + 1);
}

/// Returns headers of a peer that knows the protocol and wants harm: some all random, most almost right.
fn hostile() -> impl Strategy<Value = SegmentHeader> {
    let random = any::<(u64, u64, u64, u32)>()
        .prop_map(|(seq, offset, total, bytes)| header(seq, offset, total, bytes));
    let nearly = (0u64..20, 0u64..6, prop_oneof![Just(5000u64), 0u64..20_000], 0u32..3, 0u64..20).prop_map(
        |(seq, piece, total, slip, rare)| {
            let offset = piece * STEP + u64::from(rare == 0);
            let right = STEP.min(total.saturating_sub(offset)) as u32;
            header(seq, offset, total, if rare == 1 { right ^ slip } else { right })
        },
    );
    prop_oneof![1 => random, 6 => nearly]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn hostile_headers_get_no_byte_that_is_not_theirs(
        capacities in prop::collection::vec(prop_oneof![0u64..20_000, Just(MESSAGE_BYTES_MAX), Just(u64::MAX)], 1..16),
        headers in prop::collection::vec(hostile(), 0..200),
        inlines in prop::collection::vec((0u64..20, 0u64..100), 0..20),
    ) {
        let mut side = side();
        let posted: Vec<_> = capacities.iter().map(|&capacity| side.post(capacity, true).unwrap()).collect();
        let mut given: Vec<Vec<(u64, u64)>> = vec![vec![]; posted.len()];
        let mut totals: Vec<Option<u64>> = vec![None; posted.len()];
        let mut landings = vec![];
        let begun = headers
            .iter()
            .map(|header| (side.begin(header), header.total))
            .collect::<Vec<_>>();
        let begun_inline = inlines.iter().map(|&(seq, bytes)| (side.begin_inline(seq, bytes), bytes));
        for (landing, total) in begun.into_iter().chain(begun_inline.collect::<Vec<_>>()) {
            let Ok(landing) = landing else { continue };
            let at = landing.slot_index();
            let (start, end) = (landing.offset(), landing.offset().checked_add(landing.bytes()).unwrap());
            prop_assert_eq!(posted[at].0.seq().wire(), landing.seq());
            prop_assert!(end <= capacities[at]);
            prop_assert!(given[at].iter().all(|&(s, e)| end <= s || e <= start), "given out twice");
            prop_assert!(*totals[at].get_or_insert(total) == total);
            given[at].push((start, end));
            landings.push(landing);
        }
        // Landings that were given out can be placed, and only a whole message is finished.
        for landing in landings {
            side.place(land(landing));
        }
        for (at, (slot, _)) in posted.into_iter().enumerate() {
            let have: u64 = given[at].iter().map(|(start, end)| end - start).sum();
            let whole = totals[at] == Some(have) && !given[at].is_empty();
            prop_assert_eq!(side.finish(slot).is_ok(), whole);
        }
    }
}

#[test]
fn a_segment_is_whole_pieces_none_of_them_twice() {
    let mut side = RecvSide::<4>::new(4, 4 * STEP, 0).with_pieces(STEP);
    let total = 6 * STEP + 1;
    let (slot, _) = side.post(total, false).unwrap();
    let wrong =
        |offset, bytes: u32| Err(Violation::Segment { seq: 0, offset, bytes: u64::from(bytes), total });
    let step = STEP as u32;
    for (offset, bytes) in
        [(0, 0), (0, step - 1), (0, step + 1), (1, step), (0, 5 * step), (6 * STEP, step), (total, 1)]
    {
        assert_eq!(side.begin(&header(0, offset, total, bytes)), wrong(offset, bytes), "{offset} {bytes}");
    }
    let middle = side.begin(&header(0, 2 * STEP, total, 3 * step)).unwrap();
    for (offset, bytes) in
        [(2 * STEP, step), (0, 4 * step), (4 * STEP, 2 * step), (3 * STEP, step), (4 * STEP, 2 * step + 1)]
    {
        let twice = Err(Violation::Twice { seq: 0, offset });
        assert_eq!(side.begin(&header(0, offset, total, bytes)), twice, "{offset} {bytes}");
    }
    let first = side.begin(&header(0, 0, total, 2 * step)).unwrap();
    let last = side.begin(&header(0, 5 * STEP, total, step + 1)).unwrap();
    assert!(!side.place(land(last)) && !side.place(land(middle)) && side.place(land(first)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: total }));
}

#[test]
fn what_came_in_a_control_frame_has_no_other_piece_either() {
    let mut side = side();
    let (slot, _) = side.post(8192, true).unwrap();
    let whole = side.begin_inline(0, 64).unwrap();
    // The length is the same, so that only the place tells them apart.
    assert_eq!(side.begin(&header(0, 0, 64, 64)), Err(Violation::Twice { seq: 0, offset: 0 }));
    assert!(side.place(land(whole)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 64 }));

    let mut side = RecvSide::<4>::new(4, STEP, 2 * STEP);
    let _posted = side.post(2 * STEP, true).unwrap();
    let _whole = side.begin_inline(0, 2 * STEP).unwrap();
    let second = side.begin(&header(0, STEP, 2 * STEP, STEP as u32));
    assert_eq!(second, Err(Violation::Twice { seq: 0, offset: STEP }));
}

fn eager() -> RecvSide<16> {
    RecvSide::new(16, STEP, 64).with_eager(4, 50)
}

#[test]
fn an_early_message_waits_in_its_place_for_its_receive() {
    let mut side = eager();
    let early = side.begin_early(0, 50).unwrap().unwrap();
    assert_eq!((early.place(), early.bytes()), (0, 50));
    assert_eq!((side.early_is_whole(early), side.unreceived()), (Ok(None), 1));
    let (slot, _) = side.post(60, true).unwrap();
    let (place, landing) = side.take_early(&slot).unwrap().unwrap();
    assert_eq!((place, landing.bytes()), (0, 50));
    assert!(side.take_early(&slot).unwrap().is_none(), "it is given out once");
    assert_eq!(side.unreceived(), 0);
    assert!(side.place(land(landing)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 50 }));
}

#[test]
fn a_receive_that_is_posted_amid_its_early_message_lands_with_its_last_byte() {
    let mut side = eager();
    let early = side.begin_early(0, 50).unwrap().unwrap();
    let (slot, _) = side.post(60, true).unwrap();
    assert!(side.take_early(&slot).unwrap().is_none());
    assert_eq!(side.begin_early(0, 50), Err(Violation::Twice { seq: 0, offset: 0 }));
    let landing = side.early_is_whole(early).unwrap().unwrap();
    assert!(side.place(land(landing)));
    assert_eq!(side.finish(slot), Ok(Received { bytes: 50 }));
    assert_eq!(side.begin_early(0, 50), Ok(None), "an ordinary late message, which is refused as such");
    assert_eq!(side.begin_inline(0, 50), Err(Violation::Sequence { seq: 0 }));
}

#[test]
fn an_early_message_without_a_place_is_a_violation() {
    let mut side = eager();
    assert_eq!(side.begin_early(4, 1), Err(Violation::Sequence { seq: 4 }), "one too many");
    assert_eq!(side.begin_early(u64::MAX, 1), Err(Violation::Sequence { seq: u64::MAX }));
    assert_eq!(side.begin_early(3, 51), Err(Violation::Overflow { seq: 3, total: 51, capacity: 50 }));
    let early = side.begin_early(3, 1).unwrap().unwrap();
    assert_eq!(side.begin_early(3, 1), Err(Violation::Twice { seq: 3, offset: 0 }), "while it comes");
    assert_eq!(side.early_is_whole(early), Ok(None));
    assert_eq!(side.begin_early(3, 1), Err(Violation::Twice { seq: 3, offset: 0 }), "and when it is here");
    // A receive that is finished makes room for one more.
    let (slot, _) = side.post(9, true).unwrap();
    let landing = side.begin_inline(0, 9).unwrap();
    side.place(land(landing));
    assert_eq!(side.begin_early(4, 1), Err(Violation::Sequence { seq: 4 }));
    side.finish(slot).unwrap();
    assert!(side.begin_early(4, 1).unwrap().is_some());
    assert_eq!(side.begin_early(7, 1), Err(Violation::Sequence { seq: 7 }), "not without any place");
    let mut none = RecvSide::<4>::new(4, STEP, 64);
    assert_eq!(none.begin_early(0, 1), Err(Violation::Sequence { seq: 0 }), "without places");
}

#[test]
fn an_early_message_too_long_for_its_receive_is_found_out_either_way() {
    let overflow = |seq| Violation::Overflow { seq, total: 50, capacity: 9 };
    let mut side = eager();
    let (first, second) =
        (side.begin_early(0, 50).unwrap().unwrap(), side.begin_early(1, 50).unwrap().unwrap());
    assert_eq!(side.early_is_whole(first), Ok(None));
    let (slot, _) = side.post(9, true).unwrap();
    assert_eq!(side.take_early(&slot), Err(overflow(0)));
    let _slot = side.post(9, true).unwrap();
    assert_eq!(side.early_is_whole(second), Err(overflow(1)));
}

#[test]
fn the_end_and_the_last_bytes_are_judged_at_one_moment() {
    // The goodbye, the ends of two data sockets, and the last segment's bytes come in every possible order. A
    // receive is lost only when all have come and bytes are still missing.
    for order in 0..24 {
        let mut side = side().with_streams(2);
        let (slot, _) = side.post(5000, false).unwrap();
        let (lost, _) = side.post(1, false).unwrap();
        let first = side.begin(&header(0, 0, 5000, 4096)).unwrap();
        assert!(!side.place(land(first)));
        // The segment was begun before its data socket ended, and is unpacked at any time after.
        let mut last = Some(side.begin(&header(0, 4096, 5000, 904)).unwrap());
        let mut events = vec![0, 1, 2, 3];
        let order: Vec<_> = [4, 3, 2, 1]
            .iter()
            .scan(order, |rest, &n| {
                let event = events.remove(*rest % n);
                *rest /= n;
                Some(event)
            })
            .collect();
        let (mut slot, mut lost) = (Some(slot), Some(lost));
        for (at, event) in order.into_iter().enumerate() {
            let held = not_yet(side.finish(lost.take().unwrap()));
            lost = Some(held);
            if last.is_some() {
                slot = Some(not_yet(side.finish(slot.take().unwrap())));
            }
            match event {
                0 => side.goodbye(),
                1 | 2 => side.stream_ended(),
                _ => assert!(side.place(land(last.take().unwrap()))),
            }
            assert_eq!(side.is_over(), at == 3);
        }
        assert!(matches!(side.finish(lost.unwrap()), Err(Unfinished::Never(_))));
        assert_eq!(side.finish(slot.unwrap()), Ok(Received { bytes: 5000 }), "it is complete");
    }
}
