//! The rules of the module's documentation, each against a plain model, and the marks that a peer may not
//! announce.

use proptest::prelude::*;

use super::*;

const fn mark(tag: i32, following: u8) -> Mark {
    Mark { tag, following }
}

fn groups_of(marks: &[Mark]) -> Groups {
    let mut groups = Groups::new(8, 64);
    for &mark in marks {
        groups.check(mark).unwrap();
        groups.open(mark);
    }
    groups
}

#[test]
fn within_a_group_the_tag_says_where_and_the_first_open_place_takes_it() {
    let mut groups = groups_of(&[mark(5, 2), mark(6, 1), mark(5, 0)]);
    assert_eq!(groups.take(7), None);
    assert_eq!(groups.take(6), Some(1));
    assert_eq!(groups.take(6), None, "it is taken");
    assert_eq!((groups.take(5), groups.take(5), groups.take(5)), (Some(0), Some(2), None));
}

#[test]
fn no_group_takes_anything_before_those_ahead_of_it_are_full() {
    let mut groups = groups_of(&[mark(1, 1), mark(2, 0), mark(3, 0), mark(2, 0)]);
    assert_eq!(groups.take(3), None);
    assert_eq!(groups.take(2), Some(1));
    assert_eq!((groups.take(2), groups.take(3)), (None, None), "a place of the first group is open");
    assert_eq!(groups.take(1), Some(0));
    assert_eq!((groups.take(2), groups.take(3), groups.take(2)), (None, Some(2), Some(3)));
}

#[test]
fn a_place_counts_as_soon_as_it_is_announced() {
    let mut groups = groups_of(&[mark(1, 1)]);
    assert_eq!((groups.take(2), groups.take(1)), (None, Some(0)));
    groups.open(mark(2, 0));
    assert_eq!(groups.take(2), Some(1));
}

#[test]
fn a_group_is_announced_to_its_end_and_no_longer_than_agreed() {
    let following = |groups: &Groups, following| groups.check(mark(0, following));
    let wrong =
        |value| Err(Violation::Field { frame: "tagged announcement", field: "following count", value });
    let groups = groups_of(&[mark(0, 2)]);
    assert_eq!(following(&groups, 1), Ok(()));
    for bad in [0, 2, 3, 254, u8::MAX] {
        assert_eq!(following(&groups, bad), wrong(u64::from(bad)));
    }
    let groups = Groups::new(3, 8);
    assert_eq!(following(&groups, 2), Ok(()));
    for bad in [3, u8::MAX] {
        assert_eq!(following(&groups, bad), wrong(u64::from(bad)));
    }
}

#[test]
fn only_what_was_dealt_is_finished() {
    let mut groups = groups_of(&[mark(1, 2), mark(2, 1), mark(3, 0)]);
    assert!(groups.are_dealt(0..0));
    assert_eq!((groups.take(3), groups.take(1)), (Some(2), Some(0)));
    groups.dealt(2);
    assert!(!groups.are_dealt(0..1) && groups.are_dealt(2..3));
    groups.dealt(0);
    assert!(groups.are_dealt(0..1) && !groups.are_dealt(0..2));
    assert!(!groups.are_dealt(0..u64::MAX), "nor what was never announced");
}

proptest! {
    /// Announces places and posts messages in any order. Each lands where a list of all places says, or waits
    /// when it says so.
    #[test]
    fn every_message_lands_where_a_plain_list_says(
        lengths in prop::collection::vec(1..=8u8, 1..12),
        tags in prop::collection::vec(0..4i32, 96),
        steps in prop::collection::vec((any::<bool>(), 0..4i32), 1..300),
    ) {
        let marks: Vec<(usize, Mark)> = (0..).zip(&lengths)
            .flat_map(|(group, &length)| (0..length).rev().map(move |following| (group, following)))
            .zip(&tags)
            .map(|((group, following), &tag)| (group, mark(tag, following)))
            .collect();
        let mut groups = Groups::new(8, marks.len());
        let mut taken = vec![false; marks.len()];
        let mut announced = 0;
        for (announces, tag) in steps {
            if announces && announced < marks.len() {
                prop_assert_eq!(groups.check(marks[announced].1), Ok(()));
                groups.open(marks[announced].1);
                announced += 1;
                continue;
            }
            let open = || (0..announced).filter(|&seq| !taken[seq]);
            let front = open().next().map(|seq| marks[seq].0);
            let expected = open().find(|&seq| Some(marks[seq].0) == front && marks[seq].1.tag == tag);
            prop_assert_eq!(groups.take(tag), expected.map(|seq| seq as u64));
            if let Some(seq) = expected {
                taken[seq] = true;
            }
        }
    }
}
