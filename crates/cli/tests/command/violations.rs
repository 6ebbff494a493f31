//! Each violation of the test plugin turns its check red, and no other but those that are known to see it as
//! well. Where NCCL does not make the demand, the check is stricter than NCCL instead.

use std::sync::Mutex;

use serde_json::Value;

use crate::{
    conformance::with_result,
    plugin::{plugin, with},
    process::{document, run},
};

/// A check, with the way to violate it if it is not the first one. The version to do so at follows, then the
/// further knobs that it needs.
type Violation = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const VIOLATIONS: &[Violation] = &[
    // The one that takes longest: each listening side waits.
    ("listen-does-not-block", "v8", &[]),
    ("init-counts-references", "v11", &[]),
    ("finalize-accepts-null", "v11", &[]),
    ("device-count", "v8", &[]),
    ("device-names-unique", "v8", &[]),
    ("properties-sane", "v11", &[]),
    ("properties-sane/pci-path-nowhere", "v8", &[]),
    ("properties-sane/table-name", "nameless", &[]),
    ("virtual-devices", "v11", &[("DEVICES", "2")]),
    ("properties-sane/behind-many", "v11", &[]),
    ("connection-works", "v8", &[]),
    ("handle-128-bytes", "v8", &[]),
    ("handle-128-bytes/connect", "v11", &[]),
    ("connect-accept-not-yet", "v8", &[]),
    ("dev-handle-null-pointer-accepted", "v7", &[]),
    ("deregister-in-flight", "v11", &[]),
    ("requests-32", "v8", &[]),
    ("requests-32/sends", "v8", &[("MAX_RECVS", "4")]),
    ("full-is-null-not-error/sends", "v8", &[("MAX_RECVS", "4")]),
    ("never-in-progress-code", "v5", &[]),
    ("irecv-overwrites-request-0x1", "v11", &[]),
    ("posted-order", "v8", &[]),
    ("grouped-tags", "v5", &[("MAX_RECVS", "4")]),
    ("grouped-tags", "v11", &[("MAX_RECVS", "8")]),
    ("size-zero", "v8", &[]),
    ("receive-larger-than-send", "v11", &[]),
    ("receive-larger-than-send/sizes", "v8", &[]),
    ("grouped-tags/sizes", "v8", &[("MAX_RECVS", "4")]),
    ("send-larger-than-receive/overwrites", "v8", &[]),
    ("test-any-order", "v7", &[("MAX_RECVS", "4")]),
    ("done-once", "v8", &[]),
    ("null-sizes", "v5", &[]),
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
    ("close-after-done-loses-nothing", "v8", &[]),
    ("close-after-done-loses-nothing", "v11", &[]),
    ("threads", "v8", &[]),
    ("data-integrity", "v5", &[]),
];

/// The same of demands that NCCL does not make there: the check is stricter than NCCL, and none fails.
const BEYOND_NCCL: &[Violation] = &[
    ("init-counts-references", "v5", &[]),
    ("properties-sane/behind", "v11", &[]),
    ("properties-sane/dma-buf", "v5", &[]),
    ("properties-sane/pci-path-passing", "v11", &[]),
    ("accept-survives-strays", "v5", &[]),
    ("several-accepts", "v11", &[]),
    ("null-mhandle", "v8", &[]),
    ("deregister-in-flight/drops", "v8", &[]),
    ("full-is-null-not-error", "v7", &[]),
    ("full-is-null-not-error", "v5", &[("SLOTS", "16")]),
    ("never-in-progress-code", "v8", &[]),
    ("send-larger-than-receive", "v8", &[]),
    ("test-any-order", "v7", &[]),
    ("progress-without-test", "v11", &[]),
];

/// Plugins that are checked beside each other.
const AT_A_TIME: usize = 4;
/// The number of parts in which the other checks are tried.
const PARTS: usize = 6;

/// The other checks that see a violation as well, each time.
const ALSO: &[(&str, &[&str])] = &[
    // They flush what was received, and look at it.
    ("gpu-data-at-done", &["iflush"]),
];

/// The other checks that see a violation only if sends wait for their receives, or if one side's close
/// comes late.
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
            "close-after-done-loses-nothing",
            "threads",
            "data-integrity",
        ],
    ),
    ("close-with-dead-peer-does-not-hang", &["close-mid-transfer"]),
];

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

/// Tries all violations. Each runs with some checks besides its own and those that are known to see it, or
/// with every check.
fn violations<'ids>(others: impl Fn(usize) -> Option<Vec<&'ids str>> + Sync) {
    let red = VIOLATIONS.iter().map(|one| (one, "fail"));
    let beyond = BEYOND_NCCL.iter().map(|one| (one, "stricter"));
    // A few at a time: they wait more than they work.
    let left = Mutex::new(red.chain(beyond).enumerate());
    let next = || left.lock().expect("nobody fails while taking one").next();
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                std::iter::from_fn(next).for_each(|(number, (one, result))| {
                    violation(one, result, others(number));
                });
            });
        }
    });
}

/// Asserts that the checks that are written here have this result, and no other of those that are
/// performed.
fn violation((violated, version, more): &Violation, result: &str, others: Option<Vec<&str>>) {
    let path = plugin(version);
    let listed = |table: &[(&str, &'static [&'static str])]| {
        table.iter().find(|(id, _)| id == violated).map_or(&[][..], |(_, others)| *others)
    };
    let mut pinned = [&[check_of(violated)], listed(ALSO)].concat();
    let mut args = vec!["plugin", "check", "-J", "-m", "soft", &path];
    for id in others.iter().flat_map(|others| pinned.iter().chain(others)) {
        args.extend(["--only", id]);
    }
    let output = with(&[&[("VIOLATE", *violated)], *more].concat(), &args);
    let report = document(&output, i32::from(result == "fail"));
    let with = |result| {
        let mut ids = with_result(&report, result);
        ids.retain(|id| !listed(SOMETIMES).contains(id));
        ids.sort_unstable();
        ids
    };
    pinned.sort_unstable();
    assert_eq!(with(result), pinned, "{violated} at {version}: {report}");
    let other = if result == "fail" { "stricter" } else { "fail" };
    assert_eq!(with(other), [""; 0], "{violated} at {version}: {report}");
}

/// Returns the names of all checks.
fn checks() -> Vec<String> {
    let list: Value =
        serde_json::from_slice(&run(&["plugin", "check", "--list", "-J"]).stdout).expect("a list");
    let names = list.as_array().expect("a list").iter();
    names.map(|check| check["id"].as_str().expect("a name").to_owned()).collect()
}

/// Returns the check that a violation is of.
fn check_of(violated: &str) -> &str {
    violated.split('/').next().unwrap_or(violated)
}

#[test]
fn every_check_can_fail() {
    for id in checks() {
        let all = VIOLATIONS.iter().chain(BEYOND_NCCL);
        assert!(all.map(|(violated, ..)| check_of(violated)).any(|of| of == id), "nothing violates {id}");
    }
}
