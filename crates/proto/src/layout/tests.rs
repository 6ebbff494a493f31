//! A layout agrees with a list of places, one for each byte.

use proptest::prelude::*;

use super::*;

/// Draws ranges that lie anywhere, or follow one another; some of 0 bytes, some of 1.
fn ranges() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let bytes = prop_oneof![Just(0), Just(1), 0..50u64];
    let gap = prop_oneof![3 => Just(Some(0)), 1 => (0..9u64).prop_map(Some), 2 => Just(None)];
    prop::collection::vec((gap, 0..5000u64, bytes), 0..60).prop_map(|list| {
        let mut end = 0;
        let mut place = |(gap, anywhere, bytes): (Option<u64>, u64, u64)| {
            let offset = gap.map_or(anywhere, |gap| end + gap);
            end = offset + bytes;
            (offset, bytes)
        };
        list.into_iter().map(&mut place).collect()
    })
}

proptest! {
    #[test]
    fn agrees_with_a_place_per_byte(list in ranges(), cuts in prop::collection::vec(0..3000u64, 0..20)) {
        let places: Vec<u64> = list.iter().flat_map(|&(at, bytes)| at..at + bytes).collect();
        let layout = Layout::of(list.iter().copied()).unwrap();
        let message_bytes = places.len() as u64;
        prop_assert_eq!(layout.bytes(), message_bytes);
        prop_assert_eq!(layout.end(), places.iter().map(|place| place + 1).max().unwrap_or(0));
        let breaks = places.windows(2).filter(|pair| pair[0] + 1 != pair[1]).count();
        prop_assert_eq!(layout.runs(), breaks + usize::from(!places.is_empty()), "all neighbours are merged");

        let mut cuts: Vec<u64> = cuts.into_iter().map(|cut| cut.min(message_bytes)).collect();
        cuts.extend([0, message_bytes]);
        for &from in &cuts {
            for &to in cuts.iter().filter(|&&to| to >= from) {
                let mut at = 0;
                for part in layout.slice(from, to - from).unwrap() {
                    prop_assert_eq!(part.source_offset, at);
                    prop_assert!(part.bytes > 0);
                    let here = &places[(from + at) as usize..(from + at + part.bytes) as usize];
                    let end = part.destination_offset + part.bytes;
                    prop_assert!(here.iter().copied().eq(part.destination_offset..end));
                    at += part.bytes;
                }
                prop_assert_eq!(at, to - from);
            }
        }
        prop_assert!(layout.slice(0, message_bytes + 1).is_none());
        prop_assert!(layout.slice(message_bytes + 1, 0).is_none());
        prop_assert!(layout.slice(u64::MAX, 2).is_none() && layout.slice(1, u64::MAX).is_none());
    }

    /// A list from the wire is taken or refused, and never overflows.
    #[test]
    fn any_numbers_are_judged(list in prop::collection::vec((number(), number()), 0..9)) {
        let mut layout = Layout::with_room(list.len());
        let mut sum = 0u128;
        for (index, (offset, bytes)) in list.into_iter().enumerate() {
            let before = (layout.ranges, layout.bytes(), layout.end(), layout.runs());
            let wraps = u128::from(offset) + u128::from(bytes) > u128::from(u64::MAX);
            let too_long = sum + u128::from(bytes) > u128::from(u64::MAX);
            let expected = match (wraps, too_long) {
                (true, _) => Err(LayoutError::Wraps { index: before.0, offset, bytes }),
                (false, true) => Err(LayoutError::TooLong { index: before.0, bytes }),
                (false, false) => Ok(()),
            };
            prop_assert_eq!(layout.push(offset, bytes), expected, "range {}", index);
            if expected.is_ok() {
                sum += u128::from(bytes);
            } else {
                prop_assert_eq!((layout.ranges, layout.bytes(), layout.end(), layout.runs()), before);
            }
        }
        let all = layout.slice(0, layout.bytes()).unwrap();
        prop_assert_eq!(all.map(|part| u128::from(part.bytes)).sum::<u128>(), sum);
    }
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX - 1), Just(1 << 63), any::<u64>()]
}

#[test]
fn room_is_for_so_many_ranges_however_short_and_is_used_again() {
    let mut layout = Layout::with_room(2);
    for _ in 0..3 {
        assert_eq!((layout.push(7, 0), layout.push(7, 5)), (Ok(()), Ok(())));
        assert_eq!(layout.push(12, 0), Err(LayoutError::TooMany { max: 2 }));
        assert_eq!((layout.bytes(), layout.end(), layout.runs()), (5, 12, 1));
        layout.clear();
        assert_eq!((layout.bytes(), layout.end(), layout.runs()), (0, 0, 0));
        assert_eq!(layout.slice(0, 0).unwrap().count(), 0);
    }
    assert_eq!(Layout::with_room(usize::MAX).ranges_max, RANGES_MAX);
    let too_many = Layout::of(vec![(0, 0); RANGES_MAX + 1]);
    assert_eq!(too_many.err(), Some(LayoutError::TooMany { max: RANGES_MAX }));
}

#[test]
fn a_range_up_to_the_highest_address_has_no_neighbour() {
    let layout = Layout::of([(u64::MAX - 1, 1), (u64::MAX, 0), (0, 1)]).unwrap();
    assert_eq!((layout.runs(), layout.end()), (2, u64::MAX));
}

#[test]
fn a_fragment_reversed_copies_back() {
    let there = Fragment { source_offset: 1, bytes: 2, destination_offset: 3 };
    assert_eq!(there.reversed(), Fragment { source_offset: 3, bytes: 2, destination_offset: 1 });
    assert_eq!(there.reversed().reversed(), there);
}
