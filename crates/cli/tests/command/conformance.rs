//! Checking plugins: the test plugin passes in all versions, what is wrong with a plugin is told, and why.

use std::{
    os::unix::process::CommandExt as _,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    plugin::{plugin, with},
    process::{
        Running, children, document, expect, fails, gputcp, json, run, says, stderr, stdout, wait_until,
    },
};

/// Returns the names of the checks with this result.
pub(crate) fn with_result<'report>(report: &'report Value, result: &str) -> Vec<&'report str> {
    let rows = report["results"].as_array().expect("results").iter();
    rows.filter(|row| row["result"] == result).map(|row| row["id"].as_str().expect("a name")).collect()
}

pub(crate) fn seen<'report>(report: &'report Value, id: &str) -> &'report str {
    let rows = report["results"].as_array().expect("results");
    let row = rows.iter().find(|row| row["id"] == id).unwrap_or_else(|| panic!("{id} was performed"));
    row["seen"].as_str().expect("a sentence")
}

#[test]
fn a_good_plugin_passes_at_every_version() {
    const NO_GPU: &[&str] = &["gpu-data-at-done", "iflush", "unpack-queue"];
    const OLD: &[&str] = &["finalize-accepts-null", "irecv-overwrites-request-0x1"];
    for (version, knobs, skipped) in [
        ("v5", &[][..], [OLD, &["dev-handle-null-pointer-accepted", "grouped-tags"], NO_GPU].concat()),
        ("v6", &[], [OLD, &["dev-handle-null-pointer-accepted", "grouped-tags"], NO_GPU].concat()),
        ("v7", &[("GPU", "soft")], [OLD, &["grouped-tags", "unpack-queue"]].concat()),
        ("v8", &[("MAX_RECVS", "4"), ("LATE", "1")], [OLD, NO_GPU].concat()),
        ("v9", &[("MAX_RECVS", "3"), ("SPEED", "-1")], [&["finalize-accepts-null"], NO_GPU].concat()),
        (
            "v10",
            &[("LATE", "1"), ("SPEED", "0")],
            [&["finalize-accepts-null", "grouped-tags"], NO_GPU].concat(),
        ),
        ("v12", &[("DEVICES", "2"), ("LATE", "1")], [&["grouped-tags"], NO_GPU].concat()),
        ("v11", &[("GPU", "soft")], ["grouped-tags", "unpack-queue"].to_vec()),
        ("unpack", &[("MAX_RECVS", "2")], NO_GPU.to_vec()),
        ("unpack", &[("GPU", "soft")], ["grouped-tags", "gpu-data-at-done", "iflush"].to_vec()),
        (
            "v11",
            &[("SLOTS", "16"), ("NOT_YET", "3"), ("DELAY_US", "500")],
            [&["grouped-tags"], NO_GPU].concat(),
        ),
    ] {
        // Building it is not counted.
        let path = plugin(version);
        let began = Instant::now();
        let report = document(&with(knobs, &["plugin", "check", "-J", "-m", "soft", &path]), 0);
        assert_eq!(report["schema"], "gputcp.plugin-check/1");
        assert_eq!((&report["failed"], &report["stricter"]), (&0.into(), &0.into()), "{report}");
        let mut seen = with_result(&report, "skipped");
        let mut skipped = skipped;
        if !knobs.contains(&("DEVICES", "2")) {
            // One device, or a version that joins none.
            skipped.push("virtual-devices");
        }
        seen.sort_unstable();
        skipped.sort_unstable();
        assert_eq!(seen, skipped, "{version} {knobs:?}");
        // 2 s on a quiet machine, and more than 20 on one that builds meanwhile; a check that waits for its
        // limit takes 10.
        assert!(began.elapsed() < Duration::from_secs(60), "{version} took {:?}", began.elapsed());
    }
}

#[test]
fn sixteen_requests_are_enough_and_noted() {
    let args = ["plugin", "check", "-J", "--only", "requests-32", &plugin("v8")];
    let output = with(&[("SLOTS", "16")], &args);
    expect(&output, 0);
    assert!(
        seen(&json(&output), "requests-32").contains("16 receives: fewer than 32"),
        "{}",
        stdout(&output)
    );
}

#[test]
fn one_violation_is_one_red_row_of_all() {
    let output = with(&[("VIOLATE", "null-sizes")], &["plugin", "check", &plugin("v8")]);
    expect(&output, 1);
    let text = stdout(&output);
    assert_eq!(text.matches(" FAIL ").count(), 1, "{text}");
    assert!(text.contains("test answered 4 (ncclInvalidArgument)"), "{text}");
    assert!(text.contains("expected: test takes NULL for sizes"), "{text}");
    assert!(
        words(&text).contains("NCCL: v2.28.9-1 src/transport/net.cc:1577-1578, src/bootstrap.cc:"),
        "{text}"
    );
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 100), "{text}");
    says(&output, "1 of 37 checks failed");
}

/// Returns a text whose lines were wrapped, in one line.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn what_is_stricter_than_nccl_is_a_row_and_no_failure() {
    let only = ["--only", "null-mhandle", "--only", "null-sizes"];
    let path = plugin("v8");
    let violate = [("VIOLATE", "null-mhandle")];
    let output = with(&violate, &[&["plugin", "check", &path][..], &only].concat());
    expect(&output, 0);
    let text = stdout(&output);
    assert!(text.lines().any(|line| line.contains("null-mhandle") && line.contains(" stricter ")), "{text}");
    assert!(words(&text).contains("beyond NCCL: NCCL passes NULL only where regMr gave NULL"), "{text}");
    assert!(text.contains("# 1 passed, 0 failed, 1 stricter than NCCL, 0 skipped"), "{text}");
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 100), "{text}");
    let report = document(&with(&violate, &[&["plugin", "check", "-J", &path][..], &only].concat()), 0);
    assert_eq!(
        (&report["passed"], &report["stricter"], &report["failed"]),
        (&1.into(), &1.into(), &0.into())
    );
    let row = &report["results"][0];
    assert_eq!((&row["id"], &row["result"]), (&"null-mhandle".into(), &"stricter".into()));
    assert!(row["sources"][0].as_str().is_some_and(|source| source.starts_with("v2.28.9-1 ")), "{row}");
    // A crash there is no failure either.
    let output = with(&[("CRASH", "isend:1")], &["plugin", "check", "-J", "--only", "null-mhandle", &path]);
    expect(&output, 0);
    assert!(seen(&json(&output), "null-mhandle").starts_with("crashed: SIGABRT in isend"));
}

/// A checker that does not call test while it waits for its other side finds no send in flight here.
#[test]
fn manual_progress_is_driven_while_the_sides_wait_for_each_other() {
    for (version, knobs) in [
        ("v8", &[("MANUAL", "1")][..]),
        ("v5", &[("MANUAL", "1"), ("FIFO", "1")]),
        ("v11", &[("MANUAL", "1"), ("MAX_RECVS", "4")]),
    ] {
        let report = document(&with(knobs, &["plugin", "check", "-J", &plugin(version)]), 0);
        let mut stricter = with_result(&report, "stricter");
        stricter.retain(|&id| id != "test-any-order" || version != "v5");
        assert_eq!(stricter, ["progress-without-test"], "{version}: {report}");
        assert!(seen(&report, "requests-32").contains("32 sends"), "{version}: {report}");
        let closed = seen(&report, "close-mid-transfer");
        assert!(
            closed.contains("sends were in flight") && !closed.contains("; 0 sends"),
            "{version}: {closed}"
        );
    }
}

#[test]
fn where_no_connection_can_be_made_one_row_says_so() {
    for (knob, value, said) in [
        ("ERROR", "accept:1:3", "accept answered 3 (ncclInternalError)"),
        ("ERROR", "connect:1:2", "connect answered 2 (ncclSystemError)"),
        ("HANG", "accept:1", "hung for 1.5 s in accept (receiving side)"),
        ("HANG", "connect:1", "hung for 1.5 s in connect (sending side)"),
    ] {
        let began = Instant::now();
        let report = document(
            &with(&[(knob, value)], &["plugin", "check", "-J", "--timeout", "1.5", &plugin("v11")]),
            1,
        );
        assert_eq!(with_result(&report, "fail"), ["connection-works"], "{knob} {value}: {report}");
        assert!(seen(&report, "connection-works").starts_with(said), "{knob} {value}: {report}");
        let skipped = with_result(&report, "skipped");
        assert!(skipped.len() > 25, "{knob} {value}: {report}");
        let why = seen(&report, "data-integrity");
        assert_eq!(why, "no connection can be made: see connection-works");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    }
}

#[test]
fn a_blocking_accept_is_told_as_such_and_repeated_by_no_other_row() {
    let violate = [("VIOLATE", "connect-accept-not-yet/blocks")];
    let report = document(&with(&violate, &["plugin", "check", "-J", "--timeout", "3", &plugin("v8")]), 1);
    assert_eq!(with_result(&report, "fail"), ["connect-accept-not-yet"], "{report}");
    let seen = |id| seen(&report, id);
    assert!(
        seen("connect-accept-not-yet").starts_with("hung for 3 s in accept (receiving side)"),
        "{report}"
    );
    for id in ["accept-survives-strays", "never-in-progress-code"] {
        assert_eq!(seen(id), "it would only repeat the failure of connect-accept-not-yet");
    }
}

/// `docs/plugin-check.md` is made from the checks.
#[test]
fn the_page_of_the_checks_is_up_to_date() {
    let output = run(&["plugin", "check", "--list", "--markdown"]);
    expect(&output, 0);
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/plugin-check.md");
    let there = std::fs::read_to_string(page).unwrap_or_default();
    assert!(
        there == stdout(&output),
        "run: cargo run -- plugin check --list --markdown > docs/plugin-check.md"
    );
}

#[test]
fn crashes_and_hangs_are_rows() {
    let only = ["--only", "size-zero", "--only", "device-count"];
    for (knob, value, said) in [
        ("CRASH", "connect:1", "crashed: SIGABRT in connect (sending side)"),
        ("CRASH", "irecv:2", "crashed: SIGABRT in irecv (receiving side)"),
        ("HANG", "test:2", "hung for 1.5 s in test"),
        ("HANG", "listen:1", "hung for 1.5 s in listen (receiving side)"),
        ("ERROR", "isend:2:2", "isend answered 2 (ncclSystemError)"),
        ("ERROR", "accept:1:77", "accept answered 77, which is no code of NCCL's"),
    ] {
        let path = plugin("v8");
        let args = [&["plugin", "check", "-J", "--timeout", "1.5", &path][..], &only].concat();
        let report = document(&with(&[(knob, value)], &args), 1);
        assert_eq!(with_result(&report, "fail"), ["size-zero"], "{knob} {value}: {report}");
        assert!(seen(&report, "size-zero").starts_with(said), "{knob} {value}: {report}");
    }
}

#[test]
fn last_words_are_the_first_warning_since_the_last_call() {
    let seen_with = |knobs: &[(&str, &str)]| {
        let path = plugin("v8");
        let args = ["plugin", "check", "-J", "--timeout", "2", "--only", "size-zero", &path];
        let output = with(knobs, &args);
        expect(&output, 1);
        seen(&json(&output), "size-zero").to_owned()
    };
    for fault in [("ERROR", "isend:2:2"), ("CRASH", "isend:2")] {
        let said = seen_with(&[("WARN", "isend:2"), fault]);
        assert!(said.ends_with("; its last words: no slot for isend, 31 of 32.5"), "{fault:?}: {said}");
    }
    // An earlier call's warning explains nothing.
    let said = seen_with(&[("WARN", "isend:1"), ("ERROR", "isend:2:2")]);
    assert!(said.ends_with("isend answered 2 (ncclSystemError)"), "{said}");
    // Without a warning, the last line on stderr is taken.
    let said = seen_with(&[("PRINT", "init"), ("ERROR", "isend:2:2")]);
    assert!(said.ends_with("; its last words: init was called"), "{said}");
}

#[test]
fn what_is_no_plugin_is_a_sentence() {
    let v8 = plugin("v8");
    let missing = format!("{v8}.not");
    let version = format!("{v8}:11");
    let unknown = format!("{v8}:99");
    for (name, said) in [
        (env!("CARGO_MANIFEST_PATH"), "is not a library for this machine"),
        (missing.as_str(), "there is no file"),
        ("libc.so.6", "is a library, but no NCCL net plugin"),
        (version.as_str(), "has no v11 of the interface, but v8: ask for one of these"),
        (unknown.as_str(), "was asked for v99 of the interface, and v5 to v12 are known"),
        ("/", "is a folder"),
        ("none", "name a plugin"),
    ] {
        let output = run(&["plugin", "check", name]);
        expect(&output, 2);
        assert_eq!(stdout(&output), "");
        says(&output, said);
        assert_eq!(stderr(&output).lines().count(), 1, "{}", stderr(&output));
    }
}

#[test]
fn what_does_not_start_is_a_sentence() {
    for (knob, value, said) in [
        ("ERROR", "init:1:2", "does not start: init answered 2 (ncclSystemError)"),
        ("DEVICES", "0", "devices said that there are 0"),
        ("DEVICES", "-1", "devices said that there are -1"),
        ("DEVICES", "1025", "devices said that there are 1025: more than 1024"),
        ("CRASH", "init:1", "does not start: crashed: SIGABRT in init"),
        ("HANG", "init:1", "does not start: hung for 1 s in init"),
        ("SLOTS", "many", "init answered 5"),
    ] {
        let output = with(&[(knob, value)], &["plugin", "check", "--timeout", "1", &plugin("v11")]);
        fails(&output, 1, said);
        let row = stdout(&output)
            .lines()
            .any(|line| line.trim_start().starts_with("probe") && line.contains("FAIL"));
        assert!(row && stdout(&output).contains("# 0 passed, 1 failed"), "{}", stdout(&output));
    }
    let report = document(&with(&[("CRASH", "devices:1")], &["plugin", "check", "-J", &plugin("v11")]), 1);
    assert_eq!(report["failed"], 1);
    assert_eq!(report["results"][0]["id"], "probe");
    // The plugin's own reason.
    says(&with(&[("SLOTS", "many")], &["plugin", "check", &plugin("v11")]), "SLOTS is a number from 1 to 64");
    fails(&run(&["plugin", "check", "--device", "3", &plugin("v8")]), 1, "it has no device 3");
}

#[test]
fn senseless_options_are_usage_errors() {
    for args in [
        &["plugin", "check"][..],
        &["plugin", "check", "--only", "nothing", "x"],
        &["plugin", "check", "--timeout", "0", "x"],
    ] {
        expect(&run(args), 2);
    }
    expect(&run(&["plugin", "check-side", "size-zero", "x", "y", "--device", "0", "--limit", "1"]), 2);
}

#[test]
fn an_interrupt_prints_what_was_checked_and_leaves_nobody_behind() {
    let mut command =
        gputcp(&["plugin", "check", "-J", "--only", "device-count", "--only", "size-zero", &plugin("v8")]);
    command.env("GPUTCP_TEST_PLUGIN_HANG", "isend:1").process_group(0);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let running = Running::start(command);
    // Not by the check's name alone: a child that is not yet another program has this command's own line.
    let is_side = |line: &String| ["check-side", "size-zero"].iter().all(|word| line.contains(word));
    wait_until("the second check has begun", || children(running.pid()).iter().any(is_side));
    running.signal(rustix::process::Signal::INT);
    let began = Instant::now();
    // `output` fails if a process is left behind that holds the pipes.
    let output = running.output();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    let report = document(&output, 130);
    assert_eq!((&report["interrupted"], &report["passed"]), (&true.into(), &1.into()));
}
