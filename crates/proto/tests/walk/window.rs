//! Every order in which slots of a small window can be issued and released.

use gputcp_proto::window::{Slot, Window};

use crate::choices::Choices;

/// Returns whether the next number has a place: the number `depth` before it must be back.
fn is_free(out: &[Slot], next: u64, depth: usize) -> bool {
    out.iter().all(|slot| slot.seq().wire() + depth as u64 != next)
}

/// Walks all orders of `steps` issues and releases, and returns how many orders there were.
///
/// The window must agree with the plainest model there is: the numbers of the slots that are out.
fn walk<const N: usize>(depth: usize, steps: usize) -> u64 {
    let mut choices = Choices::default();
    while choices.next_run() {
        let mut window = Window::<N>::with_depth(depth);
        let mut out: Vec<Slot> = vec![];
        let mut minted = 0;
        for _ in 0..steps {
            let free = is_free(&out, minted, depth);
            assert_eq!(window.has_room(), free);
            assert_eq!(window.next_seq(), minted);
            let pick = choices.pick(out.len() + usize::from(free));
            if pick < out.len() {
                window.release(out.swap_remove(pick));
            } else {
                let slot = window.issue().expect("a slot is free");
                assert_eq!(slot.seq().wire(), minted, "numbers are minted one after another, none twice");
                assert!(out.iter().all(|other| other.index() != slot.index()), "one slot on a place");
                assert!(slot.index() < depth);
                minted += 1;
                out.push(slot);
                assert!(out.len() <= depth);
            }
            if !is_free(&out, minted, depth) {
                assert!(window.issue().is_none(), "no slot is free");
            }
            assert_eq!(window.in_flight(), out.len());
            for seq in 0..minted + 2 {
                let holder = out.iter().find(|slot| slot.seq().wire() == seq).map(Slot::index);
                assert_eq!(window.holder(seq), holder);
            }
        }
    }
    choices.runs()
}

#[test]
fn every_order_of_a_window_of_two() {
    let orders: u64 = (1..=2).map(|depth| walk::<2>(depth, 22)).sum();
    println!("{orders} orders");
    assert!(orders > 5000);
}

#[test]
fn every_order_of_a_window_of_four() {
    let orders: u64 = (1..=4).map(|depth| walk::<4>(depth, 15)).sum();
    println!("{orders} orders");
    assert!(orders > 5_000);
}
