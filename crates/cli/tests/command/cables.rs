//! Two network namespaces joined by virtual cables, and commands in them.

use std::process::{Command, Stdio};

use crate::process::Running;

/// Two namespaces. Cable n, called `cable0` and so on at both ends, is 10.199.n.1 at the left and
/// 10.199.n.2 at the right. Gone when dropped.
pub(crate) struct Cables {
    pub(crate) left: String,
    pub(crate) right: String,
    count: usize,
}

impl Cables {
    /// Lays the cables. Returns `None`, and says why, where namespaces cannot be made.
    pub(crate) fn lay(name: &str, count: usize) -> Option<Self> {
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

    /// Starts a gputcp in one of the namespaces.
    pub(crate) fn start(&self, namespace: &str, variables: &[(&str, &str)], args: &str) -> Running {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", namespace, env!("CARGO_BIN_EXE_gputcp")])
            .args(args.split_whitespace());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("CUDA_VISIBLE_DEVICES", "").envs(variables.iter().copied());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        Running::start(command)
    }

    pub(crate) fn cut(&self) {
        assert!(run("ip", &format!("-n {} link set cable0 down", self.left)));
    }

    /// Limits the rate through each cable, either way. Returns whether that can be done here.
    pub(crate) fn limit(&self, mbit: u32) -> bool {
        let limit = |end: &str, n: usize| {
            let tbf = format!("root tbf rate {mbit}mbit burst 256kb latency 50ms");
            run("tc", &format!("-n {end} qdisc add dev cable{n} {tbf}"))
        };
        (0..self.count).all(|n| limit(&self.left, n) && limit(&self.right, n))
    }

    /// Returns the number of bytes that have left through a cable at its right end.
    pub(crate) fn sent_from_the_right(&self, n: usize) -> u64 {
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
