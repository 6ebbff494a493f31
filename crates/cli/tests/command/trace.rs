//! `GPUTCP_TRACE`: both processes of a measurement write the life of each message, and so does the plugin.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;
use serde_json::Value;

use crate::{
    net_plugin::ours,
    process::{Running, TIMEOUT, expect, fails, finish, gputcp, run_with, says, stdout},
};

/// A folder for traces, which is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gputcp-command-trace-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> String {
        self.0.join("trace").into_os_string().into_string().unwrap()
    }

    fn files(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn events(path: &Path) -> Vec<Value> {
    let document: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    assert_eq!(document["otherData"]["left_out"], 0);
    document["traceEvents"].as_array().unwrap().clone()
}

/// Returns the messages of each end of each connection, and checks that the two ends tell the same.
fn matched(files: &[PathBuf]) -> BTreeMap<String, usize> {
    let mut ends: BTreeMap<(String, String), BTreeMap<u64, u64>> = BTreeMap::new();
    let (mut from, mut to) = (BTreeSet::new(), BTreeSet::new());
    for path in files {
        let events = events(path);
        let text = |event: &Value, name: &str| event["args"][name].as_str().unwrap().to_owned();
        let named = events.iter().filter(|event| event["name"] == "gputcp_connection");
        let names: BTreeMap<u64, (String, String)> = named
            .map(|event| (event["pid"].as_u64().unwrap(), (text(event, "connection"), text(event, "end"))))
            .collect();
        for name in names.values() {
            ends.entry(name.clone()).or_default();
        }
        for event in &events {
            match event["ph"].as_str().unwrap() {
                "e" => {
                    let number = |name: &str| event["args"][name].as_u64().unwrap();
                    let end = ends.get_mut(&names[&event["pid"].as_u64().unwrap()]).unwrap();
                    assert_eq!(end.insert(number("seq"), number("bytes")), None);
                }
                "s" => assert!(from.insert(event["id"].to_string())),
                "f" => assert!(to.insert(event["id"].to_string())),
                _ => {}
            }
        }
    }
    assert_eq!(from, to);
    let mut counts = BTreeMap::new();
    for ((name, end), messages) in &ends {
        let other = if end == "send" { "receive" } else { "send" };
        assert_eq!(Some(messages), ends.get(&(name.clone(), other.into())), "{name}");
        counts.insert(name.clone(), messages.len());
    }
    counts
}

#[test]
fn two_processes_tell_the_same_and_the_report_reads_them() {
    let folder = Folder::new("two");
    let file = folder.file();
    let measured = ["loopback", "-m", "soft", "-s", "2M", "--chunk", "1M", "-n", "4", "-w", "1", "-P", "2"];
    let output = run_with(&[("GPUTCP_TRACE", &file)], &measured);
    expect(&output, 0);
    says(&output, &format!("the life of each message is written to {file}"));
    let files = folder.files();
    assert_eq!(files.len(), 2, "{files:?}");
    let counts = matched(&files);
    let (raw, engine): (Vec<_>, Vec<_>) = counts.iter().partition(|(name, _)| name.starts_with("raw "));
    // Two sockets of the ceiling; five messages of two chunks.
    assert_eq!((raw.len(), engine.len()), (2, 1), "{counts:?}");
    assert_eq!(*engine[0].1, 10);

    let mut report = Command::new("python3");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/trace_report.py");
    if Command::new("python3").arg("--version").output().is_err() {
        println!("skipped: no python3");
        return;
    }
    let merged = folder.0.join("merged.json");
    report.arg(script).args(&files).arg("--merge").arg(&merged);
    let output = finish(report);
    expect(&output, 0);
    let text = stdout(&output);
    let has = |words: [&str; 2]| text.lines().any(|line| words.iter().all(|word| line.contains(word)));
    assert!(has(["1M gputcp", "10"]) || has(["1M gputcp", "row"]), "{text}");
    assert!(has(["raw", "0/"]) && !text.contains('#'), "{text}");
    let whole: usize = files.iter().map(|path| events(path).len()).sum();
    let document: Value = serde_json::from_slice(&fs::read(&merged).unwrap()).unwrap();
    assert_eq!(document["traceEvents"].as_array().unwrap().len(), whole);
}

#[test]
fn the_plugin_writes_a_file_beside_the_commands() {
    let folder = Folder::new("plugin");
    let measured = ["loopback", "-m", "host", "-s", "300K", "-n", "4", "-w", "1", "--no-ceiling"];
    let args = [&measured[..], &["--plugin", ours()]].concat();
    let variables = [("GPUTCP_TRACE", &*folder.file()), ("NCCL_SOCKET_IFNAME", "=lo")];
    expect(&run_with(&variables, &args), 0);
    // Two of the command, which carries nothing itself, and two of the plugin.
    let files = folder.files();
    assert_eq!(files.len(), 4, "{files:?}");
    let counts = matched(&files);
    assert_eq!(counts.values().collect::<Vec<_>>(), [&5], "{counts:?}");
}

#[test]
fn a_killed_process_leaves_a_whole_file() {
    let folder = Folder::new("killed");
    let mut command = gputcp(&["loopback", "-m", "host", "-s", "64K", "-t", "60", "--no-ceiling", "-q"]);
    command.env("GPUTCP_TRACE", folder.file()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut running = Running::start(command);
    let has_messages = |path: &PathBuf| {
        let document: Option<Value> = serde_json::from_slice(&fs::read(path).unwrap()).ok();
        let events = document.and_then(|document| document["traceEvents"].as_array().cloned());
        events.is_some_and(|events| events.iter().any(|event| event["ph"] == "e"))
    };
    let until = Instant::now() + TIMEOUT;
    while folder.files().len() < 2 || !folder.files().iter().all(has_messages) {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(50));
    }
    running.signal(Signal::KILL);
    running.wait();
    // Its own file is not written any more; its child's is, until that has noticed.
    let whole = folder.files().into_iter().filter(has_messages).map(|path| events(&path));
    let closed = whole.map(|events| events.iter().filter(|event| event["name"] == "closed").count());
    let closed: Vec<_> = closed.collect();
    assert!(!closed.is_empty() && closed.contains(&0), "{closed:?}");
}

#[test]
fn a_file_that_cannot_be_made_is_an_error_of_usage() {
    let variables = [("GPUTCP_TRACE", "/no/such/folder/trace")];
    let output = run_with(&variables, &["loopback", "-m", "host", "-n", "1"]);
    fails(&output, 2, "write the trace /no/such/folder/trace");
    says(&output, "the variable GPUTCP_TRACE");
}
