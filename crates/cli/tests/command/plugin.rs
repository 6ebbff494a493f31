//! The main job over a NCCL net plugin: the test plugin, whole, and with each fault that a plugin can have.

use std::{
    os::unix::process::ExitStatusExt as _,
    process::{Output, Stdio},
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::built::built;
use crate::process::{
    Running, Server, document, expect, fails, finish, gputcp, json, run_with, says, small, stderr, stdout,
    wait_for_handler,
};

/// Builds the test plugin, and returns its file.
pub(crate) fn plugin(version: &str) -> String {
    let path = built().join(format!("examples/libnccl_net_test_{version}.so"));
    path.into_os_string().into_string().expect("a path of text")
}

/// Runs the command with knobs of the test plugin.
pub(crate) fn with(knobs: &[(&str, &str)], args: &[&str]) -> Output {
    let names: Vec<String> = knobs.iter().map(|(knob, _)| format!("GPUTCP_TEST_PLUGIN_{knob}")).collect();
    let variables: Vec<_> =
        names.iter().zip(knobs).map(|(name, (_, value))| (name.as_str(), *value)).collect();
    run_with(&variables, args)
}

fn loopback(version: &str, knobs: &[(&str, &str)], more: &[&str]) -> Output {
    let path = plugin(version);
    with(knobs, &small(&[&["loopback", "-J", "--plugin", &path, "--timeout", "5"], more].concat()))
}

/// Checks that it moved and verified everything, and returns the report.
#[track_caller]
fn verified(output: &Output) -> Value {
    let report = document(output, 0);
    for row in report["results"].as_array().expect("results") {
        let both = if ["both", "round-trip"].contains(&row["way"].as_str().expect("a way")) { 2 } else { 1 };
        let bytes =
            row["iterations"].as_u64().expect("a count") * both * row["bytes"].as_u64().expect("a size");
        assert_eq!(row["verified"], true);
        for key in ["bytes_sent", "bytes_landed", "bytes_unpacked"] {
            assert_eq!(row[key], bytes, "{key}");
        }
        assert!(row["tcp"].is_null(), "nobody knows a plugin's sockets");
    }
    report
}

#[test]
fn every_direction_goes_through_a_plugin() {
    for more in [
        &[][..],
        &["-m", "soft"],
        &["-m", "soft", "--unpack", "none"],
        &["-R"],
        &["--bidir", "--channels", "2"],
        &["--window", "1", "--chunk", "4097"],
        &["--no-ceiling"],
        &["--latency", "-n", "100", "-s", "4K"],
    ] {
        let report = match more {
            ["--latency", ..] => {
                let path = plugin("v8");
                verified(&with(&[], &[&["loopback", "-J", "--plugin", &path], more].concat()))
            }
            _ => verified(&loopback("v8", &[], more)),
        };
        let config = &report["config"];
        assert_eq!(config["transport"], "plugin");
        for side in ["client", "server"] {
            assert_eq!(config["plugins"][side]["name"], "GpuTcpTest");
            assert_eq!(config["plugins"][side]["version"], 8);
            assert_eq!(config["plugins"][side]["device"], "loopback0");
        }
        let soft = more.contains(&"soft") && !more.contains(&"none");
        assert_eq!(report["results"][0]["unpack"], if soft { "in-place" } else { "none" });
    }
}

#[test]
fn plugins_that_are_hard_to_please_are_pleased() {
    for (version, knobs) in [
        ("v5", &[("FIFO", "1"), ("SLOTS", "16")][..]),
        ("v7", &[("SIZES", "wrong"), ("NOT_YET", "3")]),
        ("v11", &[("SIZES", "missing"), ("SLOTS", "4")]),
        ("v8", &[("DELAY_US", "300"), ("DEVICES", "3"), ("SLOTS", "1")]),
    ] {
        verified(&loopback(version, knobs, &[]));
    }
    let path = plugin("v8");
    let asked = format!("{path}:v8");
    let args = small(&["loopback", "-J", "--plugin", &asked, "--plugin-device", "2"]);
    let report = verified(&with(&[("DEVICES", "3")], &args));
    assert_eq!(report["config"]["plugins"]["server"]["device"], "loopback2");
}

#[test]
fn what_lies_in_an_unpack_queue_is_unpacked() {
    for mode in ["kernel", "copy", "host"] {
        let knobs = [("GPU", "soft"), ("FIFO", "1"), ("SIZES", "wrong"), ("SLOTS", "16")];
        let report = verified(&loopback("unpack", &knobs, &["-m", "soft", "--unpack", mode]));
        assert_eq!(report["results"][0]["unpack"], mode);
        assert_eq!(report["config"]["plugins"]["server"]["device_type"], "unpack");
    }
    for more in [&["--bidir", "-m", "soft"][..], &["-m", "host"], &["-m", "soft", "--unpack", "none"]] {
        verified(&loopback("unpack", &[("GPU", "soft")], more));
    }
}

#[test]
fn a_queue_that_leaves_fragments_out_fails_the_run() {
    let knobs = [("GPU", "soft"), ("VIOLATE", "unpack-queue")];
    let output = loopback("unpack", &knobs, &["-m", "soft"]);
    says(&output, "bytes came with");
    assert_ne!(output.status.code(), Some(0));
}

#[test]
fn a_plugin_that_completes_its_table_in_init_is_driven() {
    for version in ["v5", "v8", "v10", "v12", "unpack"] {
        let report = verified(&loopback(version, &[("LATE", "1"), ("GPU", "soft")], &["-m", "soft"]));
        assert_eq!(report["config"]["plugins"]["server"]["name"], "GpuTcpTest", "{version}");
    }
    let failed = loopback("v11", &[("LATE", "1"), ("ERROR", "init:1:3")], &[]);
    says(&failed, "failed in init with code 3");
}

#[test]
fn a_speed_that_no_plugin_knows_is_ten_gigabits() {
    for speed in ["-1", "0", "-2147483648"] {
        let report = verified(&loopback("v8", &[("SPEED", speed)], &[]));
        assert_eq!(report["config"]["plugins"]["server"]["speed_mbit"], 10_000, "{speed}");
    }
}

#[test]
fn a_plugin_that_fails_is_named_with_its_call() {
    for (fault, words, code) in [
        ("init:1:3", "failed in init with code 3 (ncclInternalError)", 1),
        ("devices:1:99", "failed in devices with code 99, which is none of NCCL's", 1),
        ("listen:1:5", "failed in listen with code 5 (ncclInvalidUsage)", 5),
        ("connect:1:6", "failed in connect with code 6 (ncclRemoteError)", 5),
        ("regMr:1:1", "failed in regMr with code 1 (ncclUnhandledCudaError)", 1),
        ("isend:5:3", "failed in isend with code 3", 1),
        ("irecv:5:3", "failed in irecv with code 3", 5),
        ("test:9:2", "failed in test with code 2 (ncclSystemError)", 5),
        ("closeSend:1:2", "failed in closeSend with code 2", 1),
    ] {
        let output = loopback("v8", &[("ERROR", fault)], &["--no-ceiling"]);
        let said = stderr(&output);
        assert!(said.contains(words) && said.contains("GpuTcpTest (v8)"), "{fault}: {said}");
        expect(&output, code);
    }
    let none = loopback("v8", &[("DEVICES", "0")], &[]);
    expect(&none, 2);
    let words = "the plugin GpuTcpTest finds no device that it can use: see what it says with -v";
    says(&none, words);
    let absurd = loopback("v8", &[("DEVICES", "-1")], &[]);
    fails(&absurd, 1, "answers devices with -1 devices");
}

#[test]
fn what_a_plugin_says_is_told_with_its_arguments() {
    let failing = |warn| loopback("v8", &[("WARN", warn), ("ERROR", "isend:3:3")], &["--no-ceiling"]);
    let said = stderr(&failing("isend:3"));
    assert!(said.contains("(ncclInternalError); its last words: no slot for isend, 31 of 32.5\n"), "{said}");
    // An earlier call's warning explains nothing.
    let said = stderr(&failing("init:1"));
    assert!(said.contains("(ncclInternalError); see what it says with -v\n"), "{said}");
    let listed = with(&[("WARN", "init:1")], &["plugin", "list", "-v", &plugin("v11")]);
    let said = stderr(&listed);
    assert!(said.contains("WARN plugin: test.cc:7 no slot for init, 31 of 32.5\n"), "{said}");
    expect(&listed, 0);
}

#[test]
fn a_plugin_that_never_returns_ends_the_command() {
    for call in ["load", "init:1", "isend:4", "test:7", "closeSend:1"] {
        let path = plugin("v8");
        let args = small(&["loopback", "--plugin", &path, "--no-ceiling", "--timeout", "1"]);
        let output = with(&[("HANG", call)], &args);
        let name = call.split(':').next().expect("a name").trim_end_matches("Send");
        let name = if name == "load" { "dlopen" } else { name };
        let words = format!("has not returned from {name}");
        says(&output, &words);
        assert_ne!(output.status.code(), Some(0));
    }
}

#[test]
fn what_a_plugin_prints_is_no_result() {
    let path = plugin("v8");
    for call in ["init:1", "test:7", "closeSend:1"] {
        let output = loopback("v8", &[("PRINT", call)], &["--no-ceiling"]);
        verified(&output);
        says(&output, " was called");
    }
    let listed = with(&[("PRINT", "init")], &["plugin", "list", "-J", &path]);
    json(&listed);
}

#[test]
fn a_plugin_that_ends_the_process_is_no_success() {
    let path = plugin("v8");
    for call in ["load", "init", "devices"] {
        let output = with(&[("EXIT", call)], &["plugin", "list", &path]);
        let words = match call {
            "load" => format!("the plugin {path} ended this process in dlopen"),
            call => format!("the plugin GpuTcpTest (v8) ended this process in {call}"),
        };
        says(&output, &words);
        expect(&output, 1);
    }
    for call in ["init:1", "isend:4", "test:7", "closeSend:1"] {
        let output = loopback("v8", &[("EXIT", call)], &["--no-ceiling"]);
        let words = "the plugin GpuTcpTest (v8) ended this process";
        says(&output, words);
        assert_ne!(output.status.code(), Some(0));
    }
}

#[test]
fn a_plugin_that_dies_of_a_signal_is_named_with_its_call() {
    let path = plugin("v8");
    for (crash, words) in [
        ("load:1:11", format!("the plugin {path} died of SIGSEGV in dlopen: it is broken")),
        ("init:1", "the plugin GpuTcpTest (v8) died of SIGABRT in init: it is broken".into()),
        ("devices:1:11", "the plugin GpuTcpTest (v8) died of SIGSEGV in devices: it is broken".into()),
        (
            "getProperties:1:8",
            "the plugin GpuTcpTest (v8) died of SIGFPE in getProperties: it is broken".into(),
        ),
    ] {
        let output = with(&[("CRASH", crash)], &["plugin", "list", &path]);
        fails(&output, 1, &words);
        assert_eq!(
            (stderr(&output).lines().count(), stdout(&output).as_str()),
            (1, ""),
            "{}",
            stderr(&output)
        );
    }
    for (crash, call, code) in
        [("isend:4:11", "isend", 1), ("closeSend:1:7", "close", 1), ("accept:1", "accept", 5)]
    {
        let output = loopback("v11", &[("CRASH", crash)], &["--no-ceiling"]);
        let words = format!(" in {call}: it is broken, ask its authors");
        let who = if code == 5 { "server: gputcp: the plugin" } else { "gputcp: the plugin" };
        let named = |line: &str| line.starts_with(who) && line.ends_with(&words);
        assert!(stderr(&output).lines().any(named), "{crash}: {}", stderr(&output));
        expect(&output, code);
    }
}

#[test]
fn a_plugin_whose_own_thread_ends_the_process_is_told_of() {
    for (knob, words) in [
        (
            "CRASH",
            "SIGABRT ended this process on a thread that was in no call to the plugin GpuTcpTest (v8): one of",
        ),
        ("EXIT", "the plugin GpuTcpTest (v8) ended this process on a thread of its own: it is broken"),
    ] {
        let output =
            loopback("v8", &[(knob, "isend:4"), ("BESIDE", "1"), ("DELAY_US", "100000")], &["--no-ceiling"]);
        says(&output, words);
        expect(&output, 1);
    }
}

#[test]
fn a_server_says_what_its_plugin_died_of_and_its_client_ends() {
    let path = plugin("v8");
    let knobs = [("GPUTCP_TEST_PLUGIN_CRASH", "accept:1:11")];
    let mut server = Server::start_with(&knobs, &["-B", "127.0.0.1", "--plugin", &path]);
    expect(&finish(server.client(&small(&["--plugin", &path, "--timeout", "5"]))), 5);
    server
        .hear("gputcp: the plugin GpuTcpTest (v8) died of SIGSEGV in accept: it is broken, ask its authors");
    assert_eq!(server.running.wait().code(), Some(1));
}

#[test]
fn a_signal_from_elsewhere_is_nobodys_fault() {
    let mut server = Server::start(&["--plugin", &plugin("v8")]);
    server.running.signal(Signal::SEGV);
    assert_eq!(server.running.wait().signal(), Some(Signal::SEGV.as_raw()));
}

#[test]
fn pointers_that_lead_nowhere_are_sentences() {
    for (nowhere, words) in [
        ("table-name", "(v8) has a pointer to no memory for its name: it is broken"),
        ("name", "answers getProperties with a pointer to no memory for the name of device 0: it is broken"),
        ("devices", "the plugin GpuTcpTest (v8) died of SIGSEGV in devices: it is broken"),
    ] {
        fails(&with(&[("NOWHERE", nowhere)], &["plugin", "list", &plugin("v8")]), 1, words);
    }
    let path = [("VIOLATE", "properties-sane/pci-path-nowhere")];
    says(&with(&path, &["plugin", "list", &plugin("v8")]), "for the PCI path of device 0");
    // A device that the host drives needs none; an unpack queue is found by it.
    verified(&loopback("v8", &[("NOWHERE", "device-handle")], &[]));
    let queue = [("NOWHERE", "device-handle"), ("GPU", "soft")];
    says(
        &loopback("unpack", &queue, &["-m", "soft", "--no-ceiling"]),
        "no unpack queue, where its device has one",
    );
}

#[test]
fn a_list_is_interrupted_at_once() {
    let path = plugin("v8");
    let mut command = gputcp(&["plugin", "list", &path]);
    command.env("GPUTCP_TEST_PLUGIN_HANG", "load").stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut listing = Running::start(command);
    wait_for_handler(listing.pid());
    let began = Instant::now();
    listing.signal(Signal::INT);
    assert_eq!(listing.wait().code(), Some(130));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn what_makes_no_sense_is_a_usage_error() {
    let path = plugin("v8");
    let old = format!("{path}:v6");
    let sixteen = plugin("v7");
    for (args, words) in [
        (&["loopback", "--plugin", "/no/such.so"][..], "there is no file /no/such.so"),
        (&["loopback", "--plugin", &old], "has no v6 of the interface, but v8"),
        (&["loopback", "--plugin", &path, "-m", "cuda"], "takes no GPU memory on its device loopback0"),
        (&["loopback", "--plugin", &sixteen, "--window", "17"], "no more than 16 requests at a time"),
        (
            &["loopback", "--plugin", &path, "--plugin-device", "eth7"],
            "has no device eth7: it has 0 (loopback0)",
        ),
        (&["plugin", "list", "none"], "name a plugin"),
        (&["server", "--plugin", "libc.so.6"], "no NCCL net plugin"),
    ] {
        fails(&with(&[], args), 2, words);
    }
}

#[test]
fn a_server_loads_no_code_that_it_was_not_started_with() {
    let path = plugin("v8");
    let mut plain = Server::start(&[]);
    let refused = finish(plain.client(&small(&["--plugin", &path])));
    fails(&refused, 5, "start it with --plugin as well");
    plain.hear("start it with --plugin as well");
    // One that has a plugin serves both kinds.
    let both = Server::start(&["--plugin", &path]);
    for plugin in [&["--plugin", &path][..], &["--plugin", "none"]] {
        expect(&finish(both.client(&small(plugin))), 0);
    }
}

#[test]
fn variables_name_a_plugin_and_a_list_shows_it() {
    let path = plugin("unpack");
    let mut command = gputcp(&small(&["loopback", "-J"]));
    command.env("UCCL_TCPX_PLUGIN_PATH", &path);
    verified(&finish(command));
    let listed = with(&[("DEVICES", "2"), ("GPU", "soft")], &["plugin", "list", &path]);
    expect(&listed, 0);
    let text = stdout(&listed);
    assert!(
        text.contains("v11, v8, v7") && text.contains("loopback1") && text.contains("host+cuda"),
        "{text}"
    );
    let listed = with(&[("DEVICES", "2"), ("GPU", "soft")], &["plugin", "list", "-J", &format!("{path}:7")]);
    let document = json(&listed);
    assert_eq!((&document["version"], &document["devices"][1]["index"]), (&7.into(), &1.into()));
    assert_eq!(document["devices"][0]["device_type"], "unpack");
}

#[test]
fn columns_stay_apart_whatever_devices_are_called() {
    for (name, columns) in [("eth", 3), (&*"long".repeat(100), 400), ("装置", 4)] {
        let listed = with(&[("DEVICES", "11"), ("NAME", name)], &["plugin", "list", &plugin("v8")]);
        expect(&listed, 0);
        let text = stdout(&listed);
        let last = text.lines().last().expect("a device");
        assert_eq!(last, format!("10  {name}10  100   host      1      65536  host  -"));
        // As wide on a terminal as the name with the longest number.
        let head = text.lines().nth(1).expect("the columns' names");
        assert_eq!(
            head,
            format!("#   name{}  Gb/s  pointers  recvs  comms  type  PCI path", " ".repeat(columns + 2 - 4))
        );
        let first = format!("0   {name}0   100   host      1      65536  host  -");
        assert!(text.lines().any(|line| line == first), "{text}");
    }
}
