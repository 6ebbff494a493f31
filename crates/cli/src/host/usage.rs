//! Memory and CPU time: what is left, and what this process has used.

use std::{fs, time::Duration};

use rustix::time::{ClockId, clock_gettime};

/// Returns the CPU time of this process so far, all its threads, to the nanosecond.
#[must_use]
pub fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Returns the most memory that this process has had resident, in bytes.
#[must_use]
pub fn peak_resident_bytes() -> u64 {
    kilobytes("/proc/self/status", "VmHWM:").unwrap_or(0)
}

/// Returns the memory that may still be allocated: the system's, or the control group's if that is less.
#[must_use]
pub fn available_memory_bytes() -> Option<u64> {
    let system = kilobytes("/proc/meminfo", "MemAvailable:");
    [system, available_in_group()].into_iter().flatten().min()
}

/// Returns the memory that the control group leaves. Its inactive file pages count as used there, but are
/// given up on demand.
fn available_in_group() -> Option<u64> {
    let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let (most, used) = (number("/sys/fs/cgroup/memory.max")?, number("/sys/fs/cgroup/memory.current")?);
    let stat = fs::read_to_string("/sys/fs/cgroup/memory.stat").ok()?;
    let cached =
        stat.lines().find_map(|line| line.strip_prefix("inactive_file "))?.trim().parse().unwrap_or(0);
    Some(most.saturating_sub(used.saturating_sub(cached)))
}

fn kilobytes(path: &str, key: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        assert!(peak_resident_bytes() > 0);
        assert!(available_memory_bytes().unwrap() > 0);
        let before = cpu_time();
        let sum: u64 = (0..1_000_000u64).map(std::hint::black_box).sum();
        assert!(sum > 0 && cpu_time() > before);
    }
}
