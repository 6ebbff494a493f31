//! Defects of a driver or a device. One that no check finds would make the checks worthless.

use gputcp_sim::{
    Outcome, Report, Settings,
    faults::{Effect, Flaw},
    run,
    seeds::sweep,
};

/// Returns runs with a defect, each of which is found.
fn with_flaw(flaw: Flaw) -> impl Iterator<Item = Report> {
    (0..20).map(move |seed| {
        let mut settings = Settings::plain(seed, 2, &[3 * 4096; 40]);
        settings.flaw = Some(flaw);
        let report = run(&settings);
        assert!(report.check(&settings).is_err(), "{flaw:?} with seed {seed} goes unnoticed");
        report
    })
}

#[test]
fn a_lane_that_says_done_too_early_is_caught() {
    let mut overwritten = 0;
    for report in with_flaw(Flaw::LyingLanes) {
        let is_overwritten = report.broken.as_ref().is_some_and(|broken| broken.contains("a lane works"));
        overwritten += u32::from(is_overwritten);
        assert!(is_overwritten || matches!(report.receiver.outcome, Some(Outcome::WrongData { .. })));
    }
    assert!(overwritten > 0, "the buffers themselves are watched, too");
}

#[test]
fn a_source_that_is_reused_too_early_is_caught() {
    for report in with_flaw(Flaw::SourceReusedEarly) {
        assert!(matches!(report.receiver.outcome, Some(Outcome::WrongData { .. })));
        assert_eq!(report.broken, None);
    }
}

#[test]
fn a_receive_that_is_called_lost_though_it_has_come_is_caught() {
    let settings = |seed| Settings { flaw: Some(Flaw::EndAfterReceive), ..Settings::from_seed(seed) };
    let caught = sweep(0..2000, usize::MAX, settings, |_, _| String::new()).failures.len();
    assert!(caught >= 10, "{caught} of 2000 seeds");
}

#[test]
fn a_driver_that_forgets_an_effect_is_caught() {
    // Without `look`, the reader finds the end of the control socket by itself, a little later.
    for effect in [Effect::Wake, Effect::Done, Effect::All, Effect::Write, Effect::WantRoom, Effect::Failure]
    {
        let settings = |seed| Settings { flaw: Some(Flaw::Forgets(effect)), ..Settings::from_seed(seed) };
        let result = sweep(0..4000, 1, settings, |_, _| String::new());
        println!("{effect:?} forgotten: found within {} seeds", result.runs);
        assert!(!result.failures.is_empty(), "{effect:?} can be forgotten");
    }
}
