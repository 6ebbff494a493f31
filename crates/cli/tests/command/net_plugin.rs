//! libnccl-net-gputcp.so: it passes every check in every version, moves data, and says which of its
//! settings are wrong.

use std::{
    process::{Command, Output},
    sync::OnceLock,
};

use crate::{
    built::built,
    conformance::with_result,
    process::{Server, document, expect, fails, finish, json, run_with, says, small, stdout},
};

/// Builds the plugin, and returns its file.
pub(crate) fn ours() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| {
        let path = built().join("libnccl_net_gputcp.so");
        path.into_os_string().into_string().expect("a path of text")
    })
}

/// Checks that have nothing to check in the plugin as it comes: the first is of grouped receives.
const ALWAYS: &[&str] = &["grouped-tags", "gpu-data-at-done", "iflush", "unpack-queue", "virtual-devices"];
const FINALIZE: &str = "finalize-accepts-null";
const OVERWRITES: &str = "irecv-overwrites-request-0x1";

#[test]
fn no_check_fails_in_any_version() {
    let versions: [(u32, &[&str]); 8] = [
        (5, &[FINALIZE, OVERWRITES, "dev-handle-null-pointer-accepted"]),
        (6, &[FINALIZE, OVERWRITES, "dev-handle-null-pointer-accepted"]),
        (7, &[FINALIZE, OVERWRITES]),
        (8, &[FINALIZE, OVERWRITES]),
        (9, &[FINALIZE]),
        (10, &[FINALIZE]),
        (11, &[]),
        (12, &[]),
    ];
    ours();
    // Two at a time: they wait more than they work.
    let halves = versions.split_at(versions.len() / 2);
    std::thread::scope(|scope| {
        for half in [halves.0, halves.1] {
            scope.spawn(move || {
                half.iter().for_each(|(version, skipped)| check(&[], *version, &[ALWAYS, skipped].concat()))
            });
        }
    });
}

/// Performs all checks, of which exactly these have nothing to check.
fn check(variables: &[(&str, &str)], version: u32, skipped: &[&str]) {
    let path = format!("{}:v{version}", ours());
    let report = document(&run_with(variables, &["plugin", "check", "-J", "-m", "soft", &path]), 0);
    let mut seen = with_result(&report, "skipped");
    let mut skipped = skipped.to_vec();
    seen.sort_unstable();
    skipped.sort_unstable();
    assert_eq!((report["failed"].as_u64(), seen), (Some(0), skipped), "v{version}");
    // Where a demand goes beyond NCCL's, it is met as well.
    assert_eq!(report["stricter"], 0, "v{version}: {report}");
}

#[test]
fn grouped_receives_pass_every_check_too() {
    let skipped = &ALWAYS[1..];
    check(&[GROUPED], 11, skipped);
    check(&[GROUPED], 8, &[&[FINALIZE, OVERWRITES], skipped].concat());
}

/// Runs the plugin's example over the loopback.
fn receives(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(built().join("examples/receives"));
    command.args(args).env("NCCL_SOCKET_IFNAME", "=lo").envs(variables.iter().copied());
    let output = finish(command);
    expect(&output, 0);
    output
}

/// One thread and several that ask, one thread and several that carry the data.
#[test]
fn messages_land_whole_with_both_ends_in_one_process() {
    for (version, asking, carrying, streams) in
        [(6, 1, "1", "1"), (8, 4, "1", "3"), (11, 1, "4", "2"), (12, 4, "4", "4")]
    {
        let variables = [("GPUTCP_THREADS", carrying), ("GPUTCP_STREAMS", streams)];
        let output = receives(&["exchange", &version.to_string(), &asking.to_string()], &variables);
        let landed = format!("{} messages landed whole", asking * 1500);
        assert!(stdout(&output).contains(&landed), "{}", stdout(&output));
    }
}

#[test]
fn every_check_passes_with_one_thread_and_with_four() {
    for threads in ["1", "4"] {
        check(&[("GPUTCP_THREADS", threads), ("GPUTCP_STREAMS", "4")], 11, ALWAYS);
    }
}

#[test]
fn groups_land_where_their_tags_say_with_both_ends_in_one_process() {
    for version in ["8", "11"] {
        let output = receives(&["check", version], &[GROUPED]);
        assert!(stdout(&output).contains("40 groups of 8 landed"), "{}", stdout(&output));
    }
}

const GROUPED: (&str, &str) = ("GPUTCP_MAX_RECEIVES", "8");

#[test]
fn data_moves_every_way() {
    for (streams, more) in [
        ("1", &[][..]),
        ("4", &["-R", "--chunk", "70001"]),
        ("2", &["--bidir", "--channels", "2"]),
        ("2", &["--window", "16", "--chunk", "4K"]),
    ] {
        let args = [&["loopback", "-J", "-m", "host", "--plugin", ours(), "--no-ceiling"], more].concat();
        for variables in [&[("GPUTCP_STREAMS", streams)][..], &[("GPUTCP_STREAMS", streams), GROUPED]] {
            let output = run_with(variables, &small(&args));
            expect(&output, 0);
            for row in json(&output)["results"].as_array().expect("results") {
                assert_eq!(row["verified"], true, "{more:?}, {variables:?}");
            }
        }
    }
}

#[test]
fn devices_are_the_interfaces_that_are_asked_for() {
    let output =
        run_with(&[("NCCL_SOCKET_IFNAME", "=lo"), ("GPUTCP_SPEED", "25000")], &["plugin", "list", ours()]);
    expect(&output, 0);
    let text = stdout(&output);
    let rows: Vec<Vec<&str>> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| line.split_whitespace().collect())
        .collect();
    assert_eq!(rows.len(), 1, "{text}");
    assert_eq!(rows[0][..4], ["0", "lo", "25", "host"], "{text}");
}

#[test]
fn both_ends_need_the_same_key() {
    // Both processes of a loopback inherit what the plugin reads.
    let key = [("GPUTCP_KEY", "an example of a key")];
    let args = small(&["loopback", "-J", "-m", "host", "--plugin", ours(), "--no-ceiling"]);
    let output = run_with(&key, &args);
    expect(&output, 0);
    assert_eq!(json(&output)["results"][0]["verified"], true);
    // The sessions agree on a key, the plugins do not.
    let server = Server::start_with(&key, &["-B", "127.0.0.1", "--plugin", ours()]);
    let file = std::env::temp_dir().join(format!("plugin-{}.key", std::process::id()));
    std::fs::write(&file, key[0].1).expect("a file");
    let path = file.to_str().expect("it is text");
    let mut client =
        server.client(&small(&["-m", "host", "--plugin", ours(), "--no-ceiling", "--key-file", path]));
    client.env("GPUTCP_KEY", "another key altogether");
    let output = finish(client);
    std::fs::remove_file(&file).expect("it was there");
    fails(&output, 5, "give both ends the same (the key is GPUTCP_KEY_FILE's)");
}

#[test]
fn a_bad_setting_is_a_sentence() {
    for (variable, value, said) in [
        (
            "GPUTCP_STREAMS",
            "0",
            "the variable GPUTCP_STREAMS is \"0\", but streams are a whole number from 1 to 64",
        ),
        (
            "GPUTCP_THREADS",
            "65",
            "the variable GPUTCP_THREADS is \"65\", but threads are a whole number from 1 to 64",
        ),
        (
            "GPUTCP_CONGESTION",
            "nosuch",
            "the variable GPUTCP_CONGESTION is \"nosuch\", but this machine lets no socket use it",
        ),
        (
            "GPUTCP_MAX_RECEIVES",
            "9",
            "the variable GPUTCP_MAX_RECEIVES is \"9\", but receives of one request are a whole number from 1 to 8",
        ),
        ("GPUTCP_SEGMENT", "1", "the variable GPUTCP_SEGMENT is \"1\", but a segment has between 4K and 64M"),
        ("NCCL_SOCKET_FAMILY", "AF_UNIX", "but a family of addresses is AF_INET or AF_INET6"),
        ("GPUTCP_KEY", "short", "the variable GPUTCP_KEY has a key of 5 bytes, where at least 16 are needed"),
        ("GPUTCP_KEY_FILE", "/nowhere", "the key file /nowhere cannot be read"),
        ("NCCL_SOCKET_IFNAME", "nowhere", "there is no interface that NCCL_SOCKET_IFNAME means"),
    ] {
        let output = run_with(&[(variable, value)], &["plugin", "list", ours()]);
        expect(&output, 1);
        assert_eq!(stdout(&output), "");
        says(&output, said);
    }
}
