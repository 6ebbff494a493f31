//! Cores, NUMA nodes and clocks.

use std::thread;

use gputcp::CpuList;

use super::{Finding, counted, said};

/// The facts about the machine's cores.
#[derive(Debug, Clone, Default)]
pub struct Cpu {
    /// The cores that this process may use, by its affinity and its control group.
    pub usable: usize,
    /// The cores that are on.
    pub online: Option<usize>,
    /// The NUMA nodes.
    pub nodes: Option<usize>,
    /// The governor of the clocks, where the system has such.
    pub governor: Option<String>,
}

impl Cpu {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        Self {
            usable: thread::available_parallelism().map_or(1, std::num::NonZero::get),
            online: listed("/sys/devices/system/cpu/online"),
            nodes: listed("/sys/devices/system/node/online"),
            governor: said("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        }
    }

    /// Returns the findings about the cores.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        let nodes = self.nodes.map_or_else(String::new, |nodes| format!(", {}", counted(nodes, "NUMA node")));
        let cores = counted(self.usable, "core");
        let mut findings = vec![match self.online {
            Some(online) if self.usable < online => Finding::better(
                "cpu",
                format!(
                    "{cores} of {online} may be used here{nodes}; streams need one each at both ends, so lift the limit of the \
                     affinity or the control group"
                ),
            )
            .by(format!("taskset -pc 0-{} $$", online - 1)),
            _ => Finding::ok("cpu", format!("{cores}{nodes}")),
        }];
        if let Some(governor) = self.governor.as_deref().filter(|governor| *governor == "powersave") {
            let seen = format!("the governor of the clocks is {governor}; moving data keeps cores busy");
            findings
                .push(Finding::better("cpu clock", seen).by("sudo cpupower frequency-set -g performance"));
        }
        findings
    }
}

/// Returns the number of CPUs or nodes in a list of the system's.
fn listed(path: &str) -> Option<usize> {
    CpuList::parse(&said(path)?).map(|list| list.count())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn fewer_cores_than_there_are_could_be_better() {
        let all = Cpu { usable: 2, online: Some(2), nodes: Some(1), governor: None };
        assert_eq!(all.judge(), [Finding::ok("cpu", "2 cores, 1 NUMA node")]);
        let some = Cpu { usable: 1, governor: Some("powersave".into()), ..all };
        let verdicts: Vec<Severity> = some.judge().iter().map(|finding| finding.verdict).collect();
        assert_eq!(verdicts, [Severity::CouldBeBetter; 2]);
        assert_eq!(some.judge()[0].command.as_deref(), Some("taskset -pc 0-1 $$"));
        assert!(Cpu::look().usable >= 1);
    }
}
