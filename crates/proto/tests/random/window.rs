//! Windows of 16 and 32 against the plainest model there is: the numbers of the slots that are out.

use gputcp_proto::window::{Slot, Window};
use proptest::prelude::*;

/// Issues where a pick is `None`, else releases one of the slots that are out.
fn agrees<const N: usize>(depth: usize, picks: &[Option<prop::sample::Index>]) -> Result<(), TestCaseError> {
    let mut window = Window::<N>::with_depth(depth);
    let mut out: Vec<Slot> = vec![];
    let mut minted = 0u64;
    for pick in picks {
        if let Some(at) = pick {
            if !out.is_empty() {
                window.release(out.swap_remove(at.index(out.len())));
            }
        } else {
            let held = out.iter().any(|slot| slot.seq().wire() + depth as u64 == minted);
            prop_assert_eq!(window.has_room(), !held);
            match window.issue() {
                Some(slot) => {
                    prop_assert!(out.len() < depth && !held);
                    prop_assert_eq!(slot.seq().wire(), minted);
                    prop_assert!(
                        slot.index() < depth && out.iter().all(|other| other.index() != slot.index())
                    );
                    minted += 1;
                    out.push(slot);
                }
                None => prop_assert!(held),
            }
        }
        prop_assert_eq!(window.in_flight(), out.len());
        prop_assert_eq!(window.next_seq(), minted);
        for seq in minted.saturating_sub(3 * N as u64)..minted + N as u64 {
            let holder = out.iter().find(|slot| slot.seq().wire() == seq).map(Slot::index);
            prop_assert_eq!(window.holder(seq), holder);
        }
    }
    Ok(())
}

/// Returns picks that issue twice as often as they release, so that the window is full most of the time.
fn any_picks() -> impl Strategy<Value = Vec<Option<prop::sample::Index>>> {
    let pick = prop_oneof![2 => Just(None), 1 => any::<prop::sample::Index>().prop_map(Some)];
    prop::collection::vec(pick, 0..300)
}

proptest! {
    #[test]
    fn a_window_of_16_agrees_with_the_model(depth in 1..=16usize, picks in any_picks()) {
        agrees::<16>(depth, &picks)?;
    }

    #[test]
    fn a_window_of_32_agrees_with_the_model(depth in 1..=32usize, picks in any_picks()) {
        agrees::<32>(depth, &picks)?;
    }
}

#[test]
#[should_panic(expected = "the window that issued it")]
fn a_slot_of_another_window_is_refused() {
    let (mut one, mut other) = (Window::<16>::new(), Window::<16>::new());
    other.release(one.issue().unwrap());
}

#[test]
#[should_panic(expected = "depth is 1..=N")]
fn a_window_of_no_depth_is_refused() {
    let _ = Window::<16>::with_depth(0);
}

#[test]
#[should_panic(expected = "depth is 1..=N")]
fn a_window_deeper_than_its_ring_is_refused() {
    let _ = Window::<16>::with_depth(17);
}
