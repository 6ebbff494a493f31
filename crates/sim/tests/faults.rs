//! One fault at a known place, and its consequence.

use gputcp_proto::{
    Violation,
    connection::{Failure, SocketError},
    frame::{Control, SegmentHeader},
};
use gputcp_sim::{
    Outcome, Report, Settings,
    faults::{Fault, WireFault, WireName},
    report::EndReport,
    run,
    settings::TIMEOUT,
};

const SEGMENT: u64 = 4096;

/// Runs ten messages of one segment over one data socket, with a fault behind `at` bytes of a wire.
fn with_fault(name: WireName, at: usize, kind: WireFault) -> Report {
    let mut settings = Settings::plain(7, 1, &[SEGMENT; 10]);
    settings.faults.push(Fault::Wire { name, at: at as u64, kind });
    let report = run(&settings);
    assert!(report.flipped || report.wire_hit);
    report.check(&settings).unwrap();
    report
}

#[track_caller]
fn failure(end: &EndReport) -> &Failure {
    end.failure.as_ref().unwrap_or_else(|| panic!("it should have failed: {end:?}"))
}

const DATA: WireName = WireName::Data(0);
/// The place of the third segment's header.
const HEADER: usize = 2 * (SegmentHeader::BYTES + SEGMENT as usize);

#[test]
fn a_flipped_payload_byte_is_found_at_the_destination() {
    for offset in [0, 1, 2000, SEGMENT as usize - 1] {
        let report = with_fault(DATA, HEADER + SegmentHeader::BYTES + offset, WireFault::Flip(1));
        assert_eq!(report.receiver.outcome, Some(Outcome::WrongData { item: 2 }));
        failure(&report.sender);
        assert_eq!(report.receiver.bytes, 2 * SEGMENT, "what was right before counts, nothing after");
    }
}

#[test]
fn a_flipped_header_is_a_violation() {
    let flipped = |at: usize, mask| {
        let report = with_fault(DATA, HEADER + at, WireFault::Flip(mask));
        failure(&report.sender);
        match failure(&report.receiver) {
            Failure::Violation(violation) => violation.clone(),
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
    let report = with_fault(DATA, HEADER + 8, WireFault::Flip(1));
    let is_found = report.receiver.outcome == Some(Outcome::WrongData { item: 3 })
        || matches!(failure(&report.receiver), Failure::Violation(Violation::Twice { seq: 3, .. }));
    assert!(is_found, "{report:?}");
}

#[test]
fn a_flipped_announcement_is_a_violation() {
    let report = with_fault(WireName::Down, Control::BYTES + 8, WireFault::Flip(4));
    let out_of_order = Violation::AnnouncedOutOfOrder { expected: 1, found: 5 };
    assert_eq!(*failure(&report.sender), Failure::Violation(out_of_order));
    failure(&report.receiver);
}

#[test]
fn both_ends_learn_of_a_reset() {
    for name in [DATA, WireName::Down] {
        let report = with_fault(name, 100, WireFault::Cut(SocketError::Closed));
        let is_told =
            |end| matches!(failure(end), Failure::Socket(_) | Failure::ControlClosed | Failure::Aborted(_));
        assert!(is_told(&report.sender) && is_told(&report.receiver), "{report:?}");
    }
}

#[test]
fn a_stream_that_ends_early_is_no_end() {
    for at in [0, HEADER, HEADER + 1, HEADER + SegmentHeader::BYTES + 1] {
        let report = with_fault(DATA, at, WireFault::Eof);
        failure(&report.sender);
        // The writer may be refused, and fail, before the reader is at the end.
        let failure = failure(&report.receiver);
        let is_told = matches!(failure, Failure::Socket(_) | Failure::StreamClosed | Failure::ControlClosed);
        assert!(is_told || matches!(failure, Failure::Aborted(_)), "{failure:?}");
    }
}

#[test]
fn a_stream_that_stalls_ends_both_within_the_timeout() {
    let report = with_fault(DATA, HEADER + 100, WireFault::Stall);
    let ends = [failure(&report.sender), failure(&report.receiver)];
    assert!(ends.contains(&&Failure::Stalled), "{ends:?}");
    let most = (TIMEOUT + TIMEOUT / 2).as_nanos() as u64;
    assert!(report.virtual_ns < most, "{} ns", report.virtual_ns);
}

#[test]
fn a_lost_goodbye_fails_the_sender_though_all_was_received() {
    // The receiver's goodbye is the last frame: only the sender can miss it.
    let report = with_fault(WireName::Down, 10 * Control::BYTES, WireFault::Eof);
    assert_eq!(*failure(&report.sender), Failure::ControlClosed);
    assert_eq!(report.receiver.outcome, Some(Outcome::Complete));
}
