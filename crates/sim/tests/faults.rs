//! One fault at a known place, and its consequence; and defects that the checks must find.

use gputcp_proto::{
    Violation,
    frame::{Control, Join, SegmentHeader, Welcome},
};
use gputcp_sim::{
    Report, Settings,
    end::{End, Failure},
    faults::{Fault, FaultKind, WireName},
    run,
    settings::Flaw,
    wire::Closed,
};

const SEGMENT: u64 = 4096;

/// Runs ten messages of one segment over one data socket, with a fault behind `at` bytes of a wire.
fn with_fault(wire: WireName, at: usize, kind: FaultKind) -> Report {
    let mut settings = Settings::plain(7, 1, vec![SEGMENT; 10]);
    settings.fault = Some(Fault { wire, at: at as u64, kind });
    let report = run(&settings);
    assert!(report.fault_hit);
    report.check(&settings).unwrap();
    report
}

#[track_caller]
fn failure(end: Option<End>) -> Failure {
    match end {
        Some(End::Failed(failure)) => failure,
        other => panic!("it should have failed: {other:?}"),
    }
}

const DATA: WireName = WireName::Data(0);
/// The place of the third segment's header.
const HEADER: usize = Join::BYTES + 2 * (SegmentHeader::BYTES + SEGMENT as usize);

#[test]
fn a_flipped_payload_byte_is_found_at_the_destination() {
    for offset in [0, 1, 2000, SEGMENT as usize - 1] {
        let report = with_fault(DATA, HEADER + SegmentHeader::BYTES + offset, FaultKind::Flip(1));
        assert_eq!(failure(report.receiver), Failure::WrongData { seq: 2 });
        failure(report.sender);
        assert_eq!(report.verified_bytes, 2 * SEGMENT, "what was right before counts, nothing after");
    }
}

#[test]
fn a_flipped_header_is_a_violation() {
    let flipped = |at: usize, mask| {
        let report = with_fault(DATA, HEADER + at, FaultKind::Flip(mask));
        failure(report.sender);
        match failure(report.receiver) {
            Failure::Violation(violation) => violation,
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(flipped(0, 1), Violation::Magic { .. }));
    assert!(matches!(flipped(4, 1), Violation::Segment { seq: 2, .. }));
    assert!(matches!(flipped(8, 128), Violation::Sequence { seq: 130 }));
    assert!(matches!(flipped(15, 128), Violation::Sequence { .. }));
    assert!(matches!(flipped(16, 1), Violation::Segment { seq: 2, offset: 1, .. }));
    assert!(matches!(flipped(30, 1), Violation::Overflow { seq: 2, .. }));
}

#[test]
fn a_segment_in_anothers_name_is_found() {
    // Number 2 becomes number 3: no message may be complete with the wrong bytes.
    let report = with_fault(DATA, HEADER + 8, FaultKind::Flip(1));
    let failure = failure(report.receiver);
    let found = matches!(
        failure,
        Failure::WrongData { seq: 3 } | Failure::Violation(Violation::Twice { seq: 3, .. })
    );
    assert!(found, "{failure:?}");
}

#[test]
fn a_flipped_announcement_is_a_violation() {
    let second = Welcome::BYTES + Control::BYTES;
    let report = with_fault(WireName::ControlDown, second + 8, FaultKind::Flip(4));
    let out_of_order = Violation::AnnouncedOutOfOrder { expected: 1, found: 5 };
    assert_eq!(failure(report.sender), Failure::Violation(out_of_order));
    failure(report.receiver);
}

#[test]
fn a_flipped_join_is_a_violation() {
    for (wire, at) in [(DATA, 0), (DATA, 8), (DATA, 24), (DATA, 44), (WireName::ControlUp, 6)] {
        let report = with_fault(wire, at, FaultKind::Flip(2));
        assert!(matches!(failure(report.receiver), Failure::Violation(_)), "{wire:?} {at}");
        failure(report.sender);
    }
}

#[test]
fn both_ends_learn_of_a_reset() {
    for wire in [DATA, WireName::ControlDown] {
        let report = with_fault(wire, 100, FaultKind::Reset);
        let told = |failure| matches!(failure, Failure::Closed(_) | Failure::Aborted(_));
        assert!(told(failure(report.sender)) && told(failure(report.receiver)));
    }
}

#[test]
fn a_stream_that_ends_early_is_no_end() {
    for at in [0, HEADER, HEADER + 1, HEADER + SegmentHeader::BYTES + 1] {
        let report = with_fault(DATA, at, FaultKind::Eof);
        failure(report.sender);
        // The writer may be refused, and fail, before the reader is at the end.
        let failure = failure(report.receiver);
        assert!(matches!(failure, Failure::Closed(_) | Failure::Aborted(_)), "{failure:?}");
    }
}

#[test]
fn a_stream_that_stalls_ends_both_within_the_timeout() {
    let report = with_fault(DATA, HEADER + 100, FaultKind::Stall);
    let ends = [failure(report.sender), failure(report.receiver)];
    assert!(ends.contains(&Failure::TimedOut), "{ends:?}");
    let timeout_ns = Settings::plain(7, 1, vec![]).timeout_ns;
    assert!(report.virtual_ns < timeout_ns + timeout_ns / 2, "{} ns", report.virtual_ns);
}

#[test]
fn a_lost_goodbye_fails_the_sender_though_all_was_received() {
    // The receiver's goodbye is the last frame: only the sender can miss it.
    let goodbye = Welcome::BYTES + 10 * Control::BYTES;
    let report = with_fault(WireName::ControlDown, goodbye, FaultKind::Eof);
    assert_eq!(failure(report.sender), Failure::Closed(Closed::Eof));
    assert_eq!(report.receiver, Some(End::Complete));
}

/// Returns runs with a defect. A defect that no check finds would make the checks worthless.
fn with_flaw(flaw: Flaw) -> impl Iterator<Item = Report> {
    (0..20).map(move |seed| {
        let mut settings = Settings::plain(seed, 2, vec![3 * SEGMENT; 40]);
        settings.flaw = flaw;
        let report = run(&settings);
        assert!(report.check(&settings).is_err(), "{flaw:?} with seed {seed} goes unnoticed");
        report
    })
}

#[test]
fn a_lane_that_says_done_too_early_is_caught() {
    for report in with_flaw(Flaw::LyingLanes) {
        assert!(matches!(failure(report.receiver), Failure::WrongData { .. }));
        assert!(report.overwritten > 0, "the buffers themselves are watched, too");
    }
}

#[test]
fn a_receive_that_is_called_lost_though_it_has_come_is_caught() {
    let caught = (0..200).filter(|&seed| {
        let mut settings = Settings::from_seed(seed);
        settings.fault = None;
        settings.flaw = Flaw::EndAfterReceive;
        let report = run(&settings);
        let is_caught = report.receiver == Some(End::Failed(Failure::EarlyGoodbye));
        assert_eq!(report.check(&settings).is_err(), is_caught, "seed {seed}");
        is_caught
    });
    let caught = caught.count();
    assert!(caught >= 10, "{caught} of 200 seeds");
}

#[test]
fn a_source_that_is_reused_too_early_is_caught() {
    for report in with_flaw(Flaw::SourceReusedEarly) {
        assert!(matches!(failure(report.receiver), Failure::WrongData { .. }));
        assert_eq!(report.overwritten, 0);
    }
}
