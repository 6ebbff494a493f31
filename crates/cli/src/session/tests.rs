//! The whole grid of transitions, hostile headers, and both ends in lockstep.

use std::{collections::VecDeque, fmt::Write as _};

use gputcp_fuzz::run;
use proptest::prelude::*;

use super::*;

fn all_states() -> Vec<State> {
    let mut seen = vec![State::Greeting];
    let mut at = 0;
    while at < seen.len() {
        for speaker in [Role::Client, Role::Server] {
            for kind in Kind::ALL {
                if let Some(state) = next(seen[at], speaker, kind)
                    && !seen.contains(&state)
                {
                    seen.push(state);
                }
            }
        }
        at += 1;
    }
    seen
}

/// Checks the whole grid: every state that can be reached, every frame that may come in it, and the state
/// that follows. Frames that are not listed are refused.
#[test]
fn transition_grid() {
    let mut grid = String::new();
    let mut refused = 0;
    for state in all_states() {
        writeln!(grid, "{state:?}").unwrap();
        for speaker in [Role::Client, Role::Server] {
            for kind in Kind::ALL {
                match next(state, speaker, kind) {
                    Some(after) => writeln!(grid, "    {speaker:?} {} → {after:?}", kind.name()).unwrap(),
                    None => refused += 1,
                }
            }
        }
    }
    writeln!(grid, "refused: {refused}").unwrap();
    insta::assert_snapshot!(grid);
}

#[test]
fn every_state_can_end() {
    for state in all_states().into_iter().filter(|&state| state != State::Closed) {
        assert_eq!(next(state, Role::Client, Kind::Abort), Some(State::Failed));
        assert_eq!(next(state, Role::Server, Kind::Abort), Some(State::Failed));
    }
}

#[test]
fn kinds_keep_their_numbers() {
    for (index, kind) in Kind::ALL.into_iter().enumerate() {
        assert_eq!(kind as usize, index + 1);
        assert_eq!(Kind::from_u16(kind as u16), Some(kind));
    }
    assert_eq!(Kind::from_u16(0), None);
    assert_eq!(Kind::from_u16(19), None);
}

#[test]
fn a_frame_out_of_turn_names_both_sides_of_the_story() {
    let mut session = Session::new(Role::Server);
    let error = session.step(Direction::Recv, Kind::BeginForward).unwrap_err();
    assert_eq!(error.to_string(), "said begin-forward while the session was greeting");
    session.step(Direction::Recv, Kind::Hello).unwrap();
}

#[test]
fn a_header_is_refused_for_every_wrong_field() {
    let good = Header { kind: Kind::Settings, bytes: 100 }.encode();
    assert_eq!(Header::decode(&good), Ok(Header { kind: Kind::Settings, bytes: 100 }));
    let with = |at: usize, byte: u8| {
        let mut bytes = good;
        bytes[at] = byte;
        Header::decode(&bytes).unwrap_err()
    };
    assert!(matches!(with(0, b'H'), Violation::Magic { .. }));
    assert!(matches!(with(4, 99), Violation::Version { theirs: 99, .. }));
    assert!(matches!(with(6, 77), Violation::Kind(77)));
    assert!(matches!(with(10, 1), Violation::Field { field: "length", .. }));
    assert!(matches!(with(15, 1), Violation::Field { field: "reserved byte", .. }));
}

fn kinds() -> impl Strategy<Value = Kind> {
    proptest::sample::select(&Kind::ALL[..])
}

proptest! {
    #[test]
    fn any_bytes_decode_or_are_refused(bytes in any::<[u8; Header::BYTES]>()) {
        if let Ok(header) = Header::decode(&bytes) {
            prop_assert_eq!(header.encode(), bytes);
        }
    }

    #[test]
    fn any_steps_are_taken_or_refused(steps in proptest::collection::vec((any::<bool>(), kinds()), 0..200)) {
        let mut session = Session::new(Role::Client);
        for (send, kind) in steps {
            let before = session.clone();
            let direction = if send { Direction::Send } else { Direction::Recv };
            if session.step(direction, kind).is_err() {
                prop_assert_eq!(before.state, session.state);
            }
        }
    }

    /// Runs two ends with frames under way between them: each may hear every frame that the other may send,
    /// in whichever order they come.
    #[test]
    fn both_ends_accept_the_same_runs(choices in proptest::collection::vec((any::<u8>(), any::<u8>()), 0..400)) {
        let mut ends = [Session::new(Role::Client), Session::new(Role::Server)];
        let mut under_way = [VecDeque::new(), VecDeque::new()];
        for (what, which) in choices {
            let me = usize::from(what & 1);
            if what & 2 == 0 {
                // The end sends one of the frames that are allowed, if there is any; it aborts rarely.
                let allowed: Vec<Kind> = Kind::ALL
                    .into_iter()
                    .filter(|&kind| kind != Kind::Abort || what > 250)
                    .filter(|&kind| ends[me].clone().step(Direction::Send, kind).is_ok())
                    .collect();
                if !allowed.is_empty() {
                    let kind = allowed[usize::from(which) % allowed.len()];
                    ends[me].step(Direction::Send, kind).unwrap();
                    under_way[1 - me].push_back(kind);
                }
            } else if let Some(kind) = under_way[me].pop_front() {
                // An end that has given up, or has said goodbye, listens no more.
                if !ends[me].is_over() {
                    prop_assert!(ends[me].step(Direction::Recv, kind).is_ok(), "{kind:?} in {:?}", ends[me]);
                }
            }
        }
        // Once no frame is under way and neither end gave up, both are at the same place.
        for me in [0, 1] {
            while let Some(kind) = under_way[me].pop_front() {
                if !ends[me].is_over() {
                    prop_assert!(ends[me].step(Direction::Recv, kind).is_ok());
                }
            }
        }
        if ends.iter().all(|end| end.state != State::Failed) {
            prop_assert_eq!(ends[0].state, ends[1].state);
        }
    }
}

#[test]
fn a_session_takes_what_is_due_and_nothing_else() {
    run("session", |random, counts| {
        let mut session = Session::new(random.choice([Role::Client, Role::Server]).expect("two"));
        for _ in 0..100 {
            let direction = random.choice([Direction::Send, Direction::Recv]).expect("two");
            // Mostly the kinds that are due, so that every state is reached.
            let is_due = |kind: &Kind| session.clone().step(direction, *kind).is_ok();
            let due: Vec<Kind> = Kind::ALL.into_iter().filter(is_due).collect();
            let any = due.is_empty() || random.u8(0..6) == 0;
            let kind = if any { random.choice(Kind::ALL) } else { random.choice(due) };
            let kind = kind.expect("there are some");
            if session.is_over() && random.u8(0..8) == 0 {
                break;
            }
            if kind == Kind::Abort && random.u8(0..30) != 0 {
                continue;
            }
            let before = format!("{session:?}");
            counts.one("frames");
            if session.step(direction, kind).is_err() {
                counts.one("frames refused");
                assert_eq!(before, format!("{session:?}"), "{kind:?}");
            }
        }
    });
}
