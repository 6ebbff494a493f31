//! Two hosts on one machine: a pair of network namespaces joined by a virtual cable. What crosses a network must work
//! there, and a cable that is cut in the middle of a transfer must end both sides in time.
//!
//! Needs root and `ip` (Debian: iproute2). Where those are missing each test says that it was skipped.

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Two namespaces, `left` at 10.199.0.1 and `right` at 10.199.0.2. Gone when dropped.
struct Cable {
    left: String,
    right: String,
}

impl Cable {
    /// `None`, and a word why, where namespaces cannot be made.
    fn lay(name: &str) -> Option<Self> {
        let id = format!("{name}{}", std::process::id());
        let cable = Self { left: format!("gputcp-l-{id}"), right: format!("gputcp-r-{id}") };
        let (left, right) = (&cable.left, &cable.right);
        let made = ip(&format!("netns add {left}")) && ip(&format!("netns add {right}"));
        if !made {
            println!("skipped: no network namespaces here (they need root and iproute2)");
            return None;
        }
        for line in [
            format!("-n {left} link add cable type veth peer name cable netns {right}"),
            format!("-n {left} addr add 10.199.0.1/24 dev cable"),
            format!("-n {right} addr add 10.199.0.2/24 dev cable"),
            format!("-n {left} -6 addr add fd99::1/64 dev cable nodad"),
            format!("-n {right} -6 addr add fd99::2/64 dev cable nodad"),
            format!("-n {left} link set cable up"),
            format!("-n {right} link set cable up"),
        ] {
            assert!(ip(&line), "ip {line}");
        }
        Some(cable)
    }

    fn cut(&self) {
        assert!(ip(&format!("-n {} link set cable down", self.left)));
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.left));
        ip(&format!("netns del {}", self.right));
    }
}

fn ip(line: &str) -> bool {
    let run = Command::new("ip").args(line.split_whitespace()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// A gputcp in one of the namespaces. Killed when dropped.
struct Running(Child);

impl Running {
    fn start(namespace: &str, args: &str) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_gputcp")])
            .args(args.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CUDA_VISIBLE_DEVICES", "")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Its exit status, what it printed and what it said, once it has ended.
    fn end(mut self, within: Duration) -> (ExitStatus, String, String) {
        let until = Instant::now() + within;
        let status = loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "still running after {within:?}");
            std::thread::sleep(Duration::from_millis(20));
        };
        let (mut printed, mut said) = (String::new(), String::new());
        self.0.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        self.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (status, printed, said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_transfer_between_two_hosts_works() {
    let Some(cable) = Cable::lay("works") else { return };
    for (address, family) in [("10.199.0.1", "-4"), ("fd99::1", "-6")] {
        let server = Running::start(&cable.left, &format!("server --once -B {address}"));
        let client =
            Running::start(&cable.right, &format!("client {address} {family} -s 8M -n 3 -J --no-ceiling"));
        let (status, printed, said) = client.end(Duration::from_secs(60));
        assert!(status.success(), "{said}");
        let (server_status, _, server_said) = server.end(Duration::from_secs(20));
        assert!(server_status.success(), "{server_said}");
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["results"][0]["verified"], true, "{printed}");
        assert_eq!(report["results"][0]["bytes_unpacked"], 3 * (8 << 20), "{printed}");
    }
}

#[test]
fn a_cut_cable_ends_both_sides_within_the_timeout() {
    let Some(cable) = Cable::lay("cut") else { return };
    let server = Running::start(&cable.left, "server --once -B 10.199.0.1 --timeout 3");
    let client = Running::start(&cable.right, "client 10.199.0.1 -s 4M -t 60 --timeout 3 --no-ceiling");
    std::thread::sleep(Duration::from_secs(2));
    cable.cut();
    let cut = Instant::now();
    // The timeout bounds each wait, and a side may be in the last of two when it starts.
    let (status, _, said) = client.end(Duration::from_secs(12));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.199.0.1"), "names the peer: {said}");
    let (status, _, said) = server.end(Duration::from_secs(12));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.199.0.2"), "names the peer: {said}");
    println!("both sides had ended {:?} after the cut", cut.elapsed());
}

#[test]
fn no_route_is_said_so() {
    let Some(cable) = Cable::lay("route") else { return };
    let client = Running::start(&cable.right, "client 10.98.0.1 -s 4M -n 1 --timeout 3");
    let (status, _, said) = client.end(Duration::from_secs(20));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.98.0.1") && said.to_lowercase().contains("unreachable"), "{said}");
}
