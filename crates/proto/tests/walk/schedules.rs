//! Every schedule of the miniature connection, and the proof that the walk finds each flaw.

use crate::{
    choices::Choices,
    model::{Flaw, Model},
};

/// Walks every schedule. Returns the number of runs and of states, or the failure and the steps before it.
fn walk<const RING: usize>(sizes: &'static [u64], flaw: Flaw) -> Result<(u64, usize), String> {
    let mut choices = Choices::default();
    while choices.next_run() {
        let mut model = Model::<RING>::new(sizes, flaw);
        let mut taken = vec![];
        while !model.is_over() && !choices.known(&model) {
            let steps = model.steps();
            if steps.is_empty() {
                return Err(format!("stuck after {taken:?}"));
            }
            let step = steps[choices.pick(steps.len())];
            taken.push(step);
            model.take(step).map_err(|what| format!("{what}, after {taken:?}"))?;
        }
        if model.is_over() {
            model.reconcile().map_err(|what| format!("{what}, after {taken:?}"))?;
        }
    }
    Ok((choices.runs(), choices.states()))
}

#[track_caller]
fn walks<const RING: usize>(sizes: &'static [u64]) {
    let (runs, states) = walk::<RING>(sizes, Flaw::None).unwrap();
    println!("{sizes:?}: {runs} runs through {states} states");
    assert!(states > 700, "the walk went somewhere");
}

#[test]
fn three_messages_of_one_segment() {
    walks::<2>(&[2, 1, 2]);
}

#[test]
fn a_long_message_between_an_empty_and_a_short_one() {
    walks::<2>(&[0, 4, 1]);
}

#[test]
fn four_messages_through_two_slots() {
    walks::<2>(&[3, 0, 2, 1]);
}

#[test]
fn five_messages_of_every_kind() {
    walks::<2>(&[3, 2, 0, 4, 1]);
}

#[test]
fn messages_of_two_segments_each() {
    walks::<2>(&[4, 4, 4]);
}

#[test]
fn one_bounce_buffer_is_enough() {
    walks::<1>(&[3, 1, 2]);
}

#[track_caller]
fn is_caught<const RING: usize>(flaw: Flaw, because: &str) {
    let what = walk::<RING>(&[2, 1, 2], flaw).expect_err("the walk cannot fail");
    assert!(what.contains(because), "{what}");
}

#[test]
fn a_driver_that_believes_in_more_buffers_than_there_are_is_caught() {
    is_caught::<4>(Flaw::None, "written while an unpack reads it");
}

#[test]
fn a_flag_that_is_set_too_early_is_caught() {
    is_caught::<2>(Flaw::FlagTooEarly, "free only when its bytes are where they belong");
}

#[test]
fn a_source_that_is_reused_too_early_is_caught() {
    is_caught::<2>(Flaw::WrittenTooEarly, "free only when its bytes are where they belong");
}

#[test]
fn a_buffer_that_is_dropped_is_caught() {
    is_caught::<2>(Flaw::BufferDropped, "stuck");
}
