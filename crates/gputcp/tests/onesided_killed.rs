//! A peer is killed at a random moment of its transfers: each ends within the timeout, and survivors go on.
//!
//! `GPUTCP_ONESIDED_KILLS` sets how often, by default 12 times.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    time::{Duration, Instant},
};

use gputcp::{
    Buffer, Options,
    onesided::{Address, Block, Endpoint, Region, RemoteKey, Rights},
};

/// Set in the process that is killed.
const VICTIM: &str = "GPUTCP_ONESIDED_VICTIM";
/// The address and the key of a region that it uses meanwhile.
const TARGET: &str = "GPUTCP_ONESIDED_TARGET";
const BYTES: u64 = 16 << 20;
const TIMEOUT: Duration = Duration::from_secs(3);

fn options() -> Options {
    Options::default().with_streams(2).with_timeout(TIMEOUT)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads an address and a key, as two words.
fn parse(words: &[&str]) -> (Address, RemoteKey) {
    let bytes = |hex: &str| -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let key = RemoteKey::decode(bytes(words[1]).as_slice().try_into().unwrap()).unwrap();
    (Address::from_bytes(&bytes(words[0])).unwrap(), key)
}

/// Runs the process that is killed: it tells its address and key, serves, and uses another's region.
fn be_killed() {
    let endpoint = Endpoint::bind("127.0.0.1:0", options()).unwrap();
    let region = endpoint.register(&Buffer::host(BYTES).unwrap(), Rights::ReadWrite).unwrap();
    let mut out = std::io::stdout();
    writeln!(out, "\nvictim {} {}", hex(&endpoint.address().to_bytes()), hex(&region.key().encode()))
        .unwrap();
    out.flush().unwrap();
    let Ok(target) = std::env::var(TARGET) else {
        // Until its parent lets go, should that not kill it.
        let _ = std::io::stdin().read_line(&mut String::new());
        return;
    };
    let (address, key) = parse(&target.split(' ').collect::<Vec<_>>());
    let peer = endpoint.connect(&address).unwrap();
    for bytes in [100, BYTES, 1 << 18].into_iter().cycle() {
        let used =
            [peer.read([block(&region, &key, 0, bytes)]), peer.write([block(&region, &key, 0, bytes)])];
        let ended = used.into_iter().flatten().all(|transfer| transfer.wait(4 * TIMEOUT).is_err());
        if ended {
            return;
        }
    }
}

struct Victim {
    child: Child,
    address: Address,
    key: RemoteKey,
    _stdin: ChildStdin,
}

impl Victim {
    /// Starts one, which uses the target's region meanwhile.
    fn start(target: Option<(&Endpoint, &Region)>) -> Self {
        let target = target.map(|(endpoint, region)| {
            format!("{} {}", hex(&endpoint.address().to_bytes()), hex(&region.key().encode()))
        });
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "transfers_with_a_killed_peer_end_and_survivors_go_on", "--nocapture"])
            .env(VICTIM, "1")
            .envs(target.map(|target| (TARGET, target)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = lines.map_while(Result::ok).find(|line| line.starts_with("victim ")).unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let (address, key) = parse(&words[1..]);
        let stdin = child.stdin.take().unwrap();
        Self { child, address, key, _stdin: stdin }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn block<'a>(local: &'a Region, remote: &'a RemoteKey, at: u64, bytes: u64) -> Block<'a> {
    Block { local, local_offset: at, remote, remote_offset: 0, bytes }
}

#[test]
fn transfers_with_a_killed_peer_end_and_survivors_go_on() {
    if std::env::var_os(VICTIM).is_some() {
        return be_killed();
    }
    let kills = std::env::var("GPUTCP_ONESIDED_KILLS").map_or(12, |kills| kills.parse().expect("a number"));
    let mut rng = fastrand::Rng::with_seed(3);
    let hub = Endpoint::bind("127.0.0.1:0", options()).unwrap();
    let buffer = Buffer::host(2 * BYTES).unwrap();
    let local = hub.register(&buffer, Rights::ReadWrite).unwrap();
    let target = hub.register(&Buffer::host(BYTES).unwrap(), Rights::ReadWrite).unwrap();
    let survivor = Victim::start(None);
    let steady = hub.connect(&survivor.address).unwrap();
    for kill in 0..kills {
        let mut victim = Victim::start(Some((&hub, &target)));
        let peer = hub.connect(&victim.address).unwrap();
        let key = victim.key;
        let moment = Duration::from_micros(rng.u64(0..40_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(moment);
            victim.child.kill().unwrap();
            victim
        });
        let (mut done, began) = (0u32, Instant::now());
        let error = loop {
            let begun = if done.is_multiple_of(2) {
                peer.read([block(&local, &key, 0, BYTES)])
            } else {
                peer.write([block(&local, &key, 0, BYTES)])
            };
            match begun.and_then(|transfer| transfer.wait(4 * TIMEOUT)) {
                Ok(()) => done += 1,
                Err(error) => break error,
            }
            let alive = steady.read([block(&local, &survivor.key, BYTES, 1 << 16)]).unwrap();
            alive.wait(2 * TIMEOUT).unwrap();
        };
        let took = began.elapsed();
        assert!(took < moment + 2 * TIMEOUT, "kill {kill} at {moment:?}: {took:?}, {error}");
        assert!(peer.failure().is_some(), "kill {kill}: {error}");
        drop(killer.join().unwrap());
    }
    // No use of a region is left behind.
    local.deregister(TIMEOUT).unwrap();
    target.deregister(TIMEOUT).unwrap();
}
