//! The system's TCP: congestion control, and how large it lets a socket's buffers grow.

use super::{Finding, bytes, said};

/// The facts about the kernel's TCP.
#[derive(Debug, Clone, Default)]
pub struct Tcp {
    /// The congestion control that sockets have if they ask for none.
    pub usual: Option<String>,
    /// The congestion controls that the kernel has loaded.
    pub available: Vec<String>,
    /// The congestion controls that a process without privileges may ask for.
    pub allowed: Vec<String>,
    /// The largest receive buffer that the kernel tunes itself to, in bytes.
    pub recv_most: Option<u64>,
    /// The largest send buffer, likewise.
    pub send_most: Option<u64>,
    /// The fastest interface's speed, in Mbit/s.
    pub fastest_mbit: Option<u64>,
}

impl Tcp {
    /// Looks. The speed comes from looking at the interfaces.
    #[must_use]
    pub fn look(fastest_mbit: Option<u64>) -> Self {
        let setting = |name: &str| said(format!("/proc/sys/net/ipv4/{name}"));
        let words = |name: &str| {
            setting(name).unwrap_or_default().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        // Three numbers: the least, the usual, the most.
        let most = |name: &str| words(name).get(2)?.parse().ok();
        Self {
            usual: setting("tcp_congestion_control"),
            available: words("tcp_available_congestion_control"),
            allowed: words("tcp_allowed_congestion_control"),
            recv_most: most("tcp_rmem"),
            send_most: most("tcp_wmem"),
            fastest_mbit,
        }
    }

    /// Returns the findings about TCP.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        vec![
            self.judge_congestion(),
            self.judge_buffer("receive buffers", "tcp_rmem", "4096 131072", self.recv_most),
            self.judge_buffer("send buffers", "tcp_wmem", "4096 16384", self.send_most),
        ]
    }

    fn judge_congestion(&self) -> Finding {
        const TOPIC: &str = "congestion control";
        let Some(usual) = &self.usual else {
            return Finding::better(TOPIC, "unknown: /proc/sys/net cannot be read here");
        };
        let have = format!("{usual}, available {}", self.available.join(" "));
        let has = |list: &[String], name: &str| list.iter().any(|each| each == name);
        if !has(&self.available, "cubic") {
            let seen = format!("{have}; between processes of one machine cubic was 1.7 times as fast as bbr");
            return Finding::better(TOPIC, seen).by("sudo modprobe tcp_cubic");
        }
        if usual != "cubic" && !has(&self.allowed, "cubic") {
            let allowed = [self.allowed.as_slice(), &["cubic".to_owned()]].concat().join(" ");
            let seen = format!("{have}; cubic, faster between processes of one machine, is for root only");
            let command = format!("sudo sysctl -w net.ipv4.tcp_allowed_congestion_control=\"{allowed}\"");
            return Finding::better(TOPIC, seen).by(command);
        }
        Finding::ok(TOPIC, format!("{have}; GPUTCP_CONGESTION or --congestion takes another one"))
    }

    fn judge_buffer(&self, topic: &str, setting: &str, first: &str, most: Option<u64>) -> Finding {
        let Some(most) = most else {
            return Finding::better(topic, format!("unknown: net.ipv4.{setting} cannot be read here"));
        };
        let wanted = self.fastest_mbit.map_or(0, |mbit| mbit.saturating_mul(BYTES_PER_MBIT));
        if most >= wanted {
            return Finding::ok(topic, format!("grow to {}", bytes(most)));
        }
        let wanted = wanted.next_power_of_two();
        let seen = format!(
            "grow to {}, where one stream at the fastest interface's rate over 1 ms takes {}",
            bytes(most),
            bytes(wanted)
        );
        Finding::better(topic, seen).by(format!("sudo sysctl -w net.ipv4.{setting}=\"{first} {wanted}\""))
    }
}

/// A round trip of 1 ms at 1 Mbit/s is 125 bytes; the kernel counts its own structures too, so twice as much.
const BYTES_PER_MBIT: u64 = 250;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn usual() -> Tcp {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        Tcp {
            usual: Some("cubic".into()),
            available: words("reno cubic"),
            allowed: words("reno cubic"),
            recv_most: Some(6 << 20),
            send_most: Some(4 << 20),
            fastest_mbit: Some(10_000),
        }
    }

    #[test]
    fn what_linux_has_at_first_is_enough_for_ten_gigabits_and_not_for_a_hundred() {
        assert!(
            usual().judge().iter().all(|finding| finding.verdict == Severity::Ok),
            "{:?}",
            usual().judge()
        );
        let fast = Tcp { fastest_mbit: Some(100_000), ..usual() };
        let found = fast.judge();
        assert_eq!(found[0].verdict, Severity::Ok);
        assert_eq!(
            found[1].command.as_deref(),
            Some("sudo sysctl -w net.ipv4.tcp_rmem=\"4096 131072 33554432\"")
        );
        assert_eq!(
            found[2].command.as_deref(),
            Some("sudo sysctl -w net.ipv4.tcp_wmem=\"4096 16384 33554432\"")
        );
    }

    #[test]
    fn cubic_must_be_there_and_allowed() {
        let bbr = Tcp { usual: Some("bbr".into()), available: vec!["bbr".into()], ..usual() };
        assert_eq!(bbr.judge()[0].command.as_deref(), Some("sudo modprobe tcp_cubic"));
        let forbidden = Tcp { usual: Some("bbr".into()), allowed: vec!["bbr".into()], ..usual() };
        assert_eq!(
            forbidden.judge()[0].command.as_deref(),
            Some("sudo sysctl -w net.ipv4.tcp_allowed_congestion_control=\"bbr cubic\"")
        );
        assert_eq!(Tcp::default().judge()[0].verdict, Severity::CouldBeBetter);
    }
}
