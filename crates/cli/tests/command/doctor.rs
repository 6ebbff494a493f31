//! `gputcp doctor`: findings as lines or JSON, and lines that a shell can run.

use std::process::{Command, Stdio};

use crate::process::{document, expect, finish, run, stderr, stdout};

#[test]
fn every_line_is_a_verdict_and_nothing_else_is_said() {
    let output = run(&["doctor"]);
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
    let text = stdout(&output);
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].starts_with("# gputcp ") && lines[0].contains(": doctor, on "), "{text}");
    let last = lines.len() - 1;
    for line in &lines[1..last] {
        assert!(
            ["ok  ", "could be better  ", "problem  "].iter().any(|word| line.starts_with(word)),
            "{line}"
        );
    }
    assert!(lines[last].starts_with("# ") && lines[last].contains(" ok, "), "{text}");
    for topic in ["cpu", "gpu", "lo", "congestion control", "open files", "loopback"] {
        assert!(lines.iter().any(|line| line.contains(&format!("  {topic} "))), "{topic} is missing: {text}");
    }
}

#[test]
fn the_document_says_the_same() {
    let document = document(&run(&["doctor", "-J"]), 0);
    assert_eq!(document["schema"], "gputcp.doctor/1");
    let findings = document["findings"].as_array().expect("findings");
    let problems = findings.iter().filter(|finding| finding["verdict"] == "problem").count();
    assert_eq!(document["problems"], problems);
    for finding in findings {
        let verdict = finding["verdict"].as_str().expect("a word");
        assert!(["ok", "could-be-better", "problem"].contains(&verdict), "{finding}");
        assert!(finding["topic"].is_string() && finding["seen"].is_string(), "{finding}");
    }
    // The measurement is a measurement.
    let loopback = findings.iter().find(|finding| finding["topic"] == "loopback").expect("the loopback");
    assert!(loopback["seen"].as_str().is_some_and(|seen| seen.contains(" GB/s over ")), "{loopback}");
}

#[test]
fn a_shell_can_run_the_lines_for_nccl() {
    let output = run(&["doctor", "--nccl"]);
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
    let mut shell = Command::new("sh");
    shell.args([
        "-euc",
        "eval \"$1\"; printf '%s %s' \"$NCCL_NET\" \"$NCCL_NET_PLUGIN\"",
        "sh",
        &stdout(&output),
    ]);
    shell.env_clear().stdin(Stdio::null());
    let output = finish(shell);
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
    let said = stdout(&output);
    let plugin = said.strip_prefix("gputcp ").unwrap_or_else(|| panic!("{said}"));
    assert!(plugin == "gputcp" || std::path::Path::new(plugin).is_file(), "{plugin}");
}

#[test]
fn a_shell_can_run_the_lines_for_nixl() {
    let output = run(&["doctor", "--nixl"]);
    expect(&output, 0);
    assert_eq!(stderr(&output), "");
    let mut shell = Command::new("sh");
    shell.args(["-euc", "eval \"$1\"", "sh", &stdout(&output)]).env_clear().stdin(Stdio::null());
    let output = finish(shell);
    expect(&output, 0);
    assert_eq!((stdout(&output), stderr(&output)), (String::new(), String::new()));
}

#[test]
fn one_form_at_a_time() {
    expect(&run(&["doctor", "--nccl", "-J"]), 2);
    expect(&run(&["doctor", "--nccl", "--nixl"]), 2);
}
