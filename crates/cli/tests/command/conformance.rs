//! Checking plugins: the test plugin passes, and for each demand that it is told to violate, the check of that demand turns
//! red, and of all others those alone that are known to see it as well.

use std::{
    os::unix::process::CommandExt as _,
    process::Output,
    sync::Mutex,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{
    plugin::{plugin, with},
    process::{Running, children, expect, gputcp, run, stderr, stdout, wait_until},
};

/// A check, with the way to violate it if it is not the first one; the version to do so at, and the knobs besides that it
/// needs.
type Violation = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const VIOLATIONS: &[Violation] = &[
    // The one that takes longest: each listening side waits.
    ("listen-does-not-block", "v8", &[]),
    ("init-counts-references", "v11", &[]),
    ("init-counts-references", "v5", &[]),
    ("finalize-accepts-null", "v11", &[]),
    ("device-count", "v8", &[]),
    ("device-names-unique", "v8", &[]),
    ("properties-sane", "v11", &[]),
    ("properties-sane/dma-buf", "v5", &[]),
    ("properties-sane/pci-path-nowhere", "v8", &[]),
    ("properties-sane/pci-path-passing", "v11", &[]),
    ("properties-sane/table-name", "nameless", &[]),
    ("virtual-devices", "v11", &[("DEVICES", "2")]),
    ("handle-128-bytes", "v8", &[]),
    ("handle-128-bytes/connect", "v11", &[]),
    ("connect-accept-not-yet", "v8", &[]),
    ("dev-handle-null-pointer-accepted", "v7", &[]),
    ("accept-survives-strays", "v5", &[]),
    ("several-accepts", "v11", &[]),
    ("null-mhandle", "v8", &[]),
    ("deregister-in-flight", "v11", &[]),
    ("requests-32", "v5", &[]),
    ("requests-32/sends", "v8", &[("MAX_RECVS", "4")]),
    ("full-is-null-not-error", "v7", &[]),
    ("never-in-progress-code", "v8", &[]),
    ("irecv-overwrites-request-0x1", "v11", &[]),
    ("posted-order", "v8", &[]),
    ("grouped-tags", "v5", &[("MAX_RECVS", "4")]),
    ("grouped-tags", "v11", &[("MAX_RECVS", "8")]),
    ("size-zero", "v8", &[]),
    ("receive-larger-than-send", "v11", &[]),
    ("receive-larger-than-send/sizes", "v8", &[]),
    ("grouped-tags/sizes", "v8", &[("MAX_RECVS", "4")]),
    ("send-larger-than-receive", "v8", &[]),
    ("test-any-order", "v7", &[]),
    ("done-once", "v8", &[]),
    ("null-sizes", "v5", &[]),
    ("progress-without-test", "v11", &[]),
    ("slot-reuse", "v8", &[]),
    ("slot-reuse", "unpack", &[]),
    ("slot-reuse/unconsumed", "unpack", &[]),
    ("slot-reuse/unconsumed", "unpack", &[("SLOTS", "16")]),
    ("gpu-data-at-done", "v8", &[("GPU", "soft")]),
    ("iflush", "v11", &[("GPU", "soft")]),
    ("unpack-queue", "unpack", &[("GPU", "soft")]),
    ("close-with-dead-peer-does-not-hang", "v8", &[]),
    ("close-with-dead-peer-does-not-hang/done", "v8", &[]),
    ("close-with-dead-peer-does-not-hang/done-unsent", "v11", &[]),
    ("close-mid-transfer", "v11", &[]),
    ("close-mid-transfer/soon", "v8", &[]),
    ("close-mid-transfer/late", "v11", &[]),
    ("threads", "v8", &[]),
    ("data-integrity", "v5", &[]),
];

/// Plugins that are checked beside each other.
const AT_A_TIME: usize = 4;
/// In how many parts the other checks are tried.
const PARTS: usize = 6;

/// What other checks see as well, each time.
const ALSO: &[(&str, &[&str])] = &[
    // They flush what was received, and look at it.
    ("gpu-data-at-done", &["iflush"]),
    // Its receiver has failed: the sender's close finds its peer gone.
    ("close-with-dead-peer-does-not-hang", &["send-larger-than-receive"]),
];

/// What other checks see only if it comes to that: if sends wait for their receives, or if one side's close comes late.
const SOMETIMES: &[(&str, &[&str])] = &[
    (
        "posted-order",
        &[
            "requests-32",
            "full-is-null-not-error",
            "never-in-progress-code",
            "irecv-overwrites-request-0x1",
            "size-zero",
            "test-any-order",
            "slot-reuse",
            "threads",
            "data-integrity",
        ],
    ),
    ("close-with-dead-peer-does-not-hang", &["close-mid-transfer"]),
];

fn report(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no document: {error}: {}", stderr(output)))
}

/// The names of the checks with this result.
fn with_result<'report>(report: &'report Value, result: &str) -> Vec<&'report str> {
    let rows = report["results"].as_array().expect("results").iter();
    rows.filter(|row| row["result"] == result).map(|row| row["id"].as_str().expect("a name")).collect()
}

fn seen<'report>(report: &'report Value, id: &str) -> &'report str {
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
        ("v12", &[("DEVICES", "2")], [&["grouped-tags"], NO_GPU].concat()),
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
        let output = with(knobs, &["plugin", "check", "-J", "-m", "soft", &path]);
        expect(&output, 0);
        let report = report(&output);
        assert_eq!(report["schema"], "gputcp.plugin-check/1");
        assert_eq!(report["failed"], 0);
        let mut seen = with_result(&report, "skipped");
        let mut skipped = skipped;
        if !knobs.contains(&("DEVICES", "2")) {
            // One device, or a version that joins none.
            skipped.push("virtual-devices");
        }
        seen.sort_unstable();
        skipped.sort_unstable();
        assert_eq!(seen, skipped, "{version} {knobs:?}");
        // 2 s on a quiet machine, and more than 20 on one that builds meanwhile; a check that waits for its limit takes 10.
        assert!(began.elapsed() < Duration::from_secs(60), "{version} took {:?}", began.elapsed());
    }
}

#[test]
fn sixteen_requests_are_enough_and_noted() {
    let args = ["plugin", "check", "-J", "--only", "requests-32", &plugin("v8")];
    let output = with(&[("SLOTS", "16")], &args);
    expect(&output, 0);
    assert!(
        seen(&report(&output), "requests-32").contains("16 receives: fewer than 32"),
        "{}",
        stdout(&output)
    );
}

/// Of all other checks a part each, another one for the next violation.
#[test]
fn each_violation_turns_its_check_red_and_no_other() {
    let all = checks();
    violations(|number| {
        let sampled = all.iter().enumerate().filter(|(at, _)| at % PARTS == number % PARTS);
        Some(sampled.map(|(_, id)| id.as_str()).collect())
    });
}

#[test]
#[ignore = "takes a minute; the test above looks at a part of the same"]
fn each_violation_turns_its_check_red_and_no_other_of_all() {
    violations(|_| None);
}

/// Tries them all; each with some checks besides its own and those that are known to see it, or with every check.
fn violations<'ids>(others: impl Fn(usize) -> Option<Vec<&'ids str>> + Sync) {
    // A few at a time: they wait more than they work.
    let left = Mutex::new(VIOLATIONS.iter().enumerate());
    let next = || left.lock().expect("nobody fails while taking one").next();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                std::iter::from_fn(next).for_each(|(number, one)| violation(one, others(number)));
            });
        }
    });
}

/// Turns those checks red that are written here, and no other of those that are performed.
fn violation((violated, version, more): &Violation, others: Option<Vec<&str>>) {
    let path = plugin(version);
    let listed = |table: &[(&str, &'static [&'static str])]| {
        table.iter().find(|(id, _)| id == violated).map_or(&[][..], |(_, others)| *others)
    };
    let mut pinned = [&[check_of(violated)], listed(ALSO)].concat();
    let mut args = vec!["plugin", "check", "-J", "-m", "soft", "--timeout", "5", &path];
    for id in others.iter().flat_map(|others| pinned.iter().chain(others)) {
        args.extend(["--only", id]);
    }
    let output = with(&[&[("VIOLATE", *violated)], *more].concat(), &args);
    expect(&output, 1);
    let report = report(&output);
    let mut red = with_result(&report, "fail");
    red.retain(|id| !listed(SOMETIMES).contains(id));
    red.sort_unstable();
    pinned.sort_unstable();
    assert_eq!(red, pinned, "{violated} at {version}: {report}");
}

/// The names of all checks.
fn checks() -> Vec<String> {
    let list: Value =
        serde_json::from_slice(&run(&["plugin", "check", "--list", "-J"]).stdout).expect("a list");
    let names = list.as_array().expect("a list").iter();
    names.map(|check| check["id"].as_str().expect("a name").to_owned()).collect()
}

/// The check that a violation is of.
fn check_of(violated: &str) -> &str {
    violated.split('/').next().unwrap_or(violated)
}

#[test]
fn every_check_can_fail() {
    for id in checks() {
        assert!(VIOLATIONS.iter().any(|(violated, ..)| check_of(violated) == id), "nothing violates {id}");
    }
}

#[test]
fn one_violation_is_one_red_row_of_all() {
    let output = with(&[("VIOLATE", "null-sizes")], &["plugin", "check", &plugin("v8")]);
    expect(&output, 1);
    let text = stdout(&output);
    assert_eq!(text.matches(" FAIL ").count(), 1, "{text}");
    assert!(text.contains("test answered 4 (ncclInvalidArgument)"), "{text}");
    assert!(text.contains("expected: test takes NULL for sizes"), "{text}");
    assert!(text.lines().skip(1).all(|line| line.chars().count() <= 100), "{text}");
    assert!(stderr(&output).contains("1 of 35 checks failed"), "{}", stderr(&output));
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
        let output = with(&[(knob, value)], &args);
        expect(&output, 1);
        let report = report(&output);
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
        seen(&report(&output), "size-zero").to_owned()
    };
    for fault in [("ERROR", "isend:2:2"), ("CRASH", "isend:2")] {
        let said = seen_with(&[("WARN", "isend:2"), fault]);
        assert!(said.ends_with("; its last words: no slot for isend, 31 of 32.5"), "{fault:?}: {said}");
    }
    // The call before explains nothing, and stderr is all that there is.
    let said = seen_with(&[("WARN", "isend:1"), ("ERROR", "isend:2:2")]);
    assert!(said.ends_with("; its last words: something else"), "{said}");
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
        assert!(stderr(&output).contains(said), "{name}: {}", stderr(&output));
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
        expect(&output, 1);
        assert!(stderr(&output).contains(said), "{knob} {value}: {}", stderr(&output));
        let row = stdout(&output)
            .lines()
            .any(|line| line.trim_start().starts_with("probe") && line.contains("FAIL"));
        assert!(row && stdout(&output).contains("# 0 passed, 1 failed"), "{}", stdout(&output));
    }
    let output = with(&[("CRASH", "devices:1")], &["plugin", "check", "-J", &plugin("v11")]);
    expect(&output, 1);
    let report: Value = serde_json::from_slice(&output.stdout).expect("a document");
    assert_eq!(report["failed"], 1);
    assert_eq!(report["results"][0]["id"], "probe");
    // The plugin's own reason.
    let output = with(&[("SLOTS", "many")], &["plugin", "check", &plugin("v11")]);
    assert!(stderr(&output).contains("SLOTS is a number from 1 to 64"), "{}", stderr(&output));
    let output = run(&["plugin", "check", "--device", "3", &plugin("v8")]);
    expect(&output, 1);
    assert!(stderr(&output).contains("it has no device 3"), "{}", stderr(&output));
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
    expect(&output, 130);
    let report = report(&output);
    assert_eq!((&report["interrupted"], &report["passed"]), (&true.into(), &1.into()));
}
