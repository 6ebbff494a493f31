//! The host memory that can be had without calling the OOM killer: the machine's, or less under a control
//! group's limit.

use std::{fs, path::Path};

use crate::Error;

/// Returns the number of bytes that may be allocated now; all bytes, if the system does not report it.
///
/// A sixteenth is left for everything else: the socket buffers, page tables and threads of this very process
/// among it.
fn host_bytes() -> u64 {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| meminfo_available(&text));
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let least = groups.lines().filter_map(group_available).chain(machine).min().unwrap_or(u64::MAX);
    least - least / 16
}

/// Checks an allocation against the available memory.
///
/// # Errors
/// If `bytes` are more than may be allocated now.
pub(super) fn check(bytes: u64) -> Result<(), Error> {
    let available = host_bytes();
    if bytes > available { Err(Error::OutOfMemory { asked: bytes, available }) } else { Ok(()) }
}

/// Reads `MemAvailable` of /proc/meminfo, in bytes.
fn meminfo_available(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Returns the bytes that the control group of one line of /proc/self/cgroup, and the groups above it, leave.
fn group_available(line: &str) -> Option<u64> {
    let mut parts = line.splitn(3, ':').skip(1);
    let (controllers, path) = (parts.next()?, parts.next()?);
    let files = match controllers {
        "" => &UNIFIED,
        _ if controllers.split(',').any(|name| name == "memory") => &LEGACY,
        _ => return None,
    };
    let root = Path::new(files.root);
    let group = root.join(path.trim_start_matches('/'));
    // In a container the path may name a group that is mounted elsewhere: the root is read in any case.
    group.ancestors().take_while(|at| at.starts_with(root)).filter_map(|at| group_room(at, files)).min()
}

/// Returns the bytes that one group leaves: its limit less its use, where cached files do not count.
fn group_room(group: &Path, files: &GroupFiles) -> Option<u64> {
    let number = |name| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
    // "max" is no number: a group without a limit gives `None`.
    let limit: u64 = number(files.limit)?;
    let used: u64 = number(files.used)?;
    let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
    Some(limit.saturating_sub(used.saturating_sub(stat_field(&stat, files.cached))))
}

fn stat_field(text: &str, name: &str) -> u64 {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value).unwrap_or(0)
}

struct GroupFiles {
    root: &'static str,
    limit: &'static str,
    used: &'static str,
    cached: &'static str,
}

/// Control groups v2, and v1 with its own hierarchy for memory.
const UNIFIED: GroupFiles = GroupFiles {
    root: "/sys/fs/cgroup",
    limit: "memory.max",
    used: "memory.current",
    cached: "inactive_file",
};
const LEGACY: GroupFiles = GroupFiles {
    root: "/sys/fs/cgroup/memory",
    limit: "memory.limit_in_bytes",
    used: "memory.usage_in_bytes",
    cached: "total_inactive_file",
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_meminfo() {
        let text = "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(meminfo_available(text), Some(23_000_000 * 1024));
        assert_eq!(meminfo_available("MemTotal: 1 kB\n"), None);
    }

    #[test]
    fn reads_a_group() {
        let dir = std::env::temp_dir().join(format!("gputcp-group-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("memory.max"), "1000\n").unwrap();
        fs::write(dir.join("memory.current"), "700\n").unwrap();
        assert_eq!(group_room(&dir, &UNIFIED), Some(300));
        fs::write(dir.join("memory.stat"), "anon 5\ninactive_file 600\n").unwrap();
        assert_eq!(group_room(&dir, &UNIFIED), Some(900));
        fs::write(dir.join("memory.max"), "max\n").unwrap();
        assert_eq!(group_room(&dir, &UNIFIED), None);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn this_machine_has_some() {
        assert!(host_bytes() > 1 << 20);
        assert_eq!(group_available("3:cpu,cpuacct:/x"), None);
    }
}
