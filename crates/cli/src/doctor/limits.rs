//! The limits that the system sets a process: open files, locked and shared memory.

use rustix::process::{Resource, getrlimit};

use super::{Finding, bytes};

/// The limits in force.
#[derive(Debug, Clone, Copy, Default)]
pub struct Limits {
    /// Open files: what holds, and what it may be raised to. None where there is no limit.
    pub files: (Option<u64>, Option<u64>),
    /// Locked memory, in bytes.
    pub locked: Option<u64>,
    /// The size of /dev/shm, in bytes; none where there is none.
    pub shared: Option<u64>,
}

impl Limits {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let (files, locked) = (getrlimit(Resource::Nofile), getrlimit(Resource::Memlock));
        let shared = rustix::fs::statvfs("/dev/shm").ok();
        Self {
            files: (files.current, files.maximum),
            locked: locked.current,
            shared: shared.and_then(|room| room.f_blocks.checked_mul(room.f_frsize)),
        }
    }

    /// Returns the findings about the limits.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        vec![self.judge_files(), self.judge_locked(), self.judge_shared()]
    }

    /// Returns the limit of open files to ask for, if the present one is low.
    #[must_use]
    pub fn wanted_files(&self) -> Option<u64> {
        let (now, most) = self.files;
        let wanted = FILES_GOOD.min(most.unwrap_or(u64::MAX));
        now.filter(|&now| now < FILES_OF_A_JOB && wanted > now).map(|_| wanted)
    }

    fn judge_files(&self) -> Finding {
        let Some(now) = self.files.0 else { return Finding::ok("open files", "unlimited") };
        if now >= FILES_OF_A_JOB {
            return Finding::ok("open files", format!("{now} for a process"));
        }
        let seen = format!(
            "{now} for a process, where NCCL's connections to 63 peers need about {FILES_OF_A_JOB}; raise the limit"
        );
        let finding = if now < FILES_LEAST { Finding::problem } else { Finding::better };
        let finding = finding("open files", seen);
        match self.wanted_files() {
            Some(wanted) => finding.by(format!("ulimit -n {wanted}")),
            None => finding.by(format!("sudo prlimit --nofile={FILES_GOOD} --pid $$")),
        }
    }

    fn judge_locked(&self) -> Finding {
        let most = self.locked.map_or_else(|| "unlimited".to_owned(), bytes);
        Finding::ok("locked memory", format!("{most}; gputcp locks none, a GPU's driver counts its own"))
    }

    fn judge_shared(&self) -> Finding {
        const TOPIC: &str = "/dev/shm";
        match self.shared {
            Some(size) if size >= SHARED_OF_A_JOB => Finding::ok(TOPIC, bytes(size)),
            size => Finding::better(
                TOPIC,
                format!(
                    "{}; NCCL's shared memory between the GPUs of a machine may not fit, enlarge it (docker run --shm-size 1g)",
                    size.map_or_else(|| "there is none".to_owned(), bytes)
                ),
            )
            .by("sudo mount -o remount,size=1G /dev/shm"),
        }
    }
}

/// 63 peers × 2 channels × 2 directions × (4 data sockets + a control socket + a listener): 63 × 2 × 2 × 6
/// = 1512. As many again are for rings, trees, libraries and Python.
const FILES_OF_A_JOB: u64 = 3072;
/// Less than this ends a job of a few machines.
const FILES_LEAST: u64 = 512;
/// A limit that costs nothing and is enough for hundreds of peers.
const FILES_GOOD: u64 = 65_536;
/// 8 GPUs × 16 channels × 4 MiB, twice.
const SHARED_OF_A_JOB: u64 = 1 << 30;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn files_are_judged_by_what_a_job_needs() {
        for (files, verdict, command) in [
            ((None, None), Severity::Ok, None),
            ((Some(65_536), None), Severity::Ok, None),
            ((Some(1024), Some(1 << 20)), Severity::CouldBeBetter, Some("ulimit -n 65536")),
            ((Some(1024), Some(4096)), Severity::CouldBeBetter, Some("ulimit -n 4096")),
            ((Some(256), Some(256)), Severity::Problem, Some("sudo prlimit --nofile=65536 --pid $$")),
        ] {
            let finding = Limits { files, ..Limits::default() }.judge_files();
            assert_eq!((finding.verdict, finding.command.as_deref()), (verdict, command), "{files:?}");
        }
    }

    #[test]
    fn little_shared_memory_could_be_better() {
        for (shared, verdict) in [
            (None, Severity::CouldBeBetter),
            (Some(64 << 20), Severity::CouldBeBetter),
            (Some(1 << 30), Severity::Ok),
        ] {
            assert_eq!(Limits { shared, ..Limits::default() }.judge_shared().verdict, verdict);
        }
        assert!(Limits::look().files.0.is_none_or(|files| files > 0));
    }
}
