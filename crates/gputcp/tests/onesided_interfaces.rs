//! Endpoints of several interfaces: both carry their share, each way, between two hosts joined by two cables.
//! It needs root and iproute2; where they are missing it says that it was skipped.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::SocketAddr,
    process::{Child, Command, Stdio},
    time::Duration,
};

use gputcp::{
    Buffer, Options,
    onesided::{Address, Block, Endpoint, RemoteKey, Rights},
};

/// Set in the processes of the two hosts: the addresses to listen on, or those and the peer's words.
const LEFT: &str = "GPUTCP_TEST_LEFT";
const RIGHT: &str = "GPUTCP_TEST_RIGHT";
const TEST: &str = "both_interfaces_carry_their_share_each_way";
const BYTES: u64 = 64 << 20;
const SOON: Duration = Duration::from_secs(30);

struct Hosts {
    left: String,
    right: String,
}

impl Hosts {
    /// Joins two hosts by two cables: 10.198.n.1 at the left and 10.198.n.2 at the right.
    fn join() -> Option<Self> {
        let id = std::process::id();
        let hosts = Self { left: format!("gputcp-ol-{id}"), right: format!("gputcp-or-{id}") };
        let (left, right) = (&hosts.left, &hosts.right);
        if !(ip(&format!("netns add {left}")) && ip(&format!("netns add {right}"))) {
            println!("skipped: no network namespaces here (they need root and iproute2)");
            return None;
        }
        for n in 0..2 {
            for line in [
                format!("-n {left} link add cable{n} type veth peer name cable{n} netns {right}"),
                format!("-n {left} addr add 10.198.{n}.1/24 dev cable{n}"),
                format!("-n {right} addr add 10.198.{n}.2/24 dev cable{n}"),
                format!("-n {left} link set cable{n} up"),
                format!("-n {right} link set cable{n} up"),
            ] {
                assert!(ip(&line), "ip {line}");
            }
        }
        Some(hosts)
    }

    /// Starts this test in a host.
    fn start(host: &str, variable: &str, words: &str) -> Child {
        Command::new("ip")
            .args(["netns", "exec", host])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", TEST, "--nocapture"])
            .env(variable, words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap()
    }

    /// Returns the bytes that have left the left host, and those that have come, by each cable.
    fn counts(&self) -> [[u64; 2]; 2] {
        [0, 1].map(|n| {
            ["tx", "rx"].map(|way| {
                let file = format!("/sys/class/net/cable{n}/statistics/{way}_bytes");
                let read = Command::new("ip").args(["netns", "exec", &self.left, "cat", &file]).output();
                String::from_utf8(read.unwrap().stdout).unwrap().trim().parse().unwrap()
            })
        })
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        ip(&format!("netns del {}", self.left));
        ip(&format!("netns del {}", self.right));
    }
}

fn ip(line: &str) -> bool {
    let ip = Command::new("ip").args(line.split(' ')).stderr(Stdio::null()).status();
    ip.is_ok_and(|status| status.success())
}

fn endpoint(addresses: &str) -> Endpoint {
    let addresses: Vec<SocketAddr> = addresses.split(',').map(|address| address.parse().unwrap()).collect();
    Endpoint::bind_all(&addresses, Options::default().with_streams(2)).unwrap()
}

/// Serves a region until its parent lets go.
fn serve(addresses: &str) {
    let endpoint = endpoint(addresses);
    let buffer = Buffer::host(BYTES).unwrap();
    buffer.copy_from_host(0, &vec![7; BYTES as usize]).unwrap();
    let region = endpoint.register(&buffer, Rights::ReadWrite).unwrap();
    say(&[&endpoint.address().to_bytes(), &region.key().encode()]);
    let _ = std::io::stdin().read_line(&mut String::new());
}

/// Reads the peer's region, waits for a word, and writes it.
fn transfer(words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    let endpoint = endpoint(words[0]);
    let buffer = Buffer::host(BYTES).unwrap();
    let region = endpoint.register(&buffer, Rights::ReadWrite).unwrap();
    let peer = endpoint.connect(&Address::from_bytes(&bytes(words[1])).unwrap()).unwrap();
    let key = RemoteKey::decode(bytes(words[2]).as_slice().try_into().unwrap()).unwrap();
    let block = || Block { local: &region, local_offset: 0, remote: &key, remote_offset: 0, bytes: BYTES };
    peer.read([block()]).unwrap().wait(SOON).unwrap();
    say(&[]);
    std::io::stdin().read_line(&mut String::new()).unwrap();
    peer.write([block()]).unwrap().wait(SOON).unwrap();
    region.deregister(SOON).unwrap();
    let mut found = vec![0; BYTES as usize];
    buffer.copy_to_host(0, &mut found).unwrap();
    assert!(found.iter().all(|&byte| byte == 7));
    say(&[]);
}

fn say(parts: &[&[u8]]) {
    let hex = |bytes: &&[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let words: Vec<String> = parts.iter().map(hex).collect();
    let mut out = std::io::stdout();
    writeln!(out, "\nsaid {}", words.join(" ")).unwrap();
    out.flush().unwrap();
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn both_interfaces_carry_their_share_each_way() {
    match (std::env::var(LEFT), std::env::var(RIGHT)) {
        (Ok(addresses), _) => return serve(&addresses),
        (_, Ok(words)) => return transfer(&words),
        _ => {}
    }
    let Some(hosts) = Hosts::join() else { return };
    let mut left = Hosts::start(&hosts.left, LEFT, "10.198.0.1:0,10.198.1.1:0");
    let mut lines = BufReader::new(left.stdout.take().unwrap()).lines().map_while(Result::ok);
    let words = lines.find(|line| line.starts_with("said ")).unwrap();
    let words = format!("10.198.0.2:0,10.198.1.2:0 {}", words.trim_start_matches("said "));
    let mut right = Hosts::start(&hosts.right, RIGHT, &words);
    let mut lines = BufReader::new(right.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut before = hosts.counts();
    // The peer reads, which leaves the left host; then it writes.
    for way in [0, 1] {
        assert!(lines.any(|line| line.starts_with("said ")), "the right host has failed");
        let after = hosts.counts();
        let shares = [0, 1].map(|n| (after[n][way] - before[n][way]) as f64 / BYTES as f64);
        assert!(shares.iter().all(|share| *share > 0.25), "way {way}: {shares:?}");
        before = after;
        if way == 0 {
            right.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
        }
    }
    assert!(right.wait().unwrap().success());
    drop(left.stdin.take());
    assert!(left.wait().unwrap().success());
}
