//! Two network namespaces joined by virtual cables, and commands in them.
#![allow(dead_code, unreachable_pub, reason = "shared by test programs that use different parts")]

use std::{
    io::Read,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

/// Two namespaces. Cable n, called `cable0` and so on at both ends, is 10.199.n.1 at the left and
/// 10.199.n.2 at the right. Gone when dropped.
pub struct Cables {
    pub left: String,
    pub right: String,
    count: usize,
}

impl Cables {
    /// Lays the cables. Returns `None`, and says why, where namespaces cannot be made.
    pub fn lay(name: &str, count: usize) -> Option<Self> {
        let id = format!("{name}{}", std::process::id());
        let cables = Self { left: format!("gputcp-l-{id}"), right: format!("gputcp-r-{id}"), count };
        let (left, right) = (&cables.left, &cables.right);
        let made = run("ip", &format!("netns add {left}")) && run("ip", &format!("netns add {right}"));
        if !made {
            println!("skipped: no network namespaces here (they need root and iproute2)");
            return None;
        }
        for end in [left, right] {
            assert!(run("ip", &format!("-n {end} link set lo up")), "the loopback of {end}");
        }
        for n in 0..count {
            for line in [
                format!("-n {left} link add cable{n} type veth peer name cable{n} netns {right}"),
                format!("-n {left} addr add 10.199.{n}.1/24 dev cable{n}"),
                format!("-n {right} addr add 10.199.{n}.2/24 dev cable{n}"),
                format!("-n {left} -6 addr add fd99:{n}::1/64 dev cable{n} nodad"),
                format!("-n {right} -6 addr add fd99:{n}::2/64 dev cable{n} nodad"),
                format!("-n {left} link set cable{n} up"),
                format!("-n {right} link set cable{n} up"),
            ] {
                assert!(run("ip", &line), "ip {line}");
            }
        }
        Some(cables)
    }

    pub fn cut(&self) {
        assert!(run("ip", &format!("-n {} link set cable0 down", self.left)));
    }

    /// Limits the rate through each cable, either way. Returns whether that can be done here.
    pub fn limit(&self, mbit: u32) -> bool {
        (0..self.count).all(|n| {
            [&self.left, &self.right].iter().all(|end| {
                run(
                    "tc",
                    &format!(
                        "-n {end} qdisc add dev cable{n} root tbf rate {mbit}mbit burst 256kb latency 50ms"
                    ),
                )
            })
        })
    }

    /// Returns the number of bytes that have left through a cable at its right end.
    pub fn sent_from_the_right(&self, n: usize) -> u64 {
        let file = format!("/sys/class/net/cable{n}/statistics/tx_bytes");
        let read = Command::new("ip").args(["netns", "exec", &self.right, "cat", &file]).output().unwrap();
        String::from_utf8(read.stdout).unwrap().trim().parse().unwrap()
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        run("ip", &format!("netns del {}", self.left));
        run("ip", &format!("netns del {}", self.right));
    }
}

fn run(program: &str, line: &str) -> bool {
    let run = Command::new(program).args(line.split_whitespace()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// A gputcp in one of the namespaces. Killed when dropped.
pub struct Running(Child);

impl Running {
    pub fn start(namespace: &str, variables: &[(&str, &str)], args: &str) -> Self {
        let child = Command::new("ip")
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_gputcp")])
            .args(args.split_whitespace())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CUDA_VISIBLE_DEVICES", "")
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Waits for its end, and returns its exit status, its stdout and its stderr.
    pub fn end(mut self, within: Duration) -> (ExitStatus, String, String) {
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
