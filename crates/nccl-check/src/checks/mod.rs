//! The checks: one for each demand of NCCL's on a plugin.
//!
//! Most checks have two sides in two processes: the receiving side listens, the sending side connects. A side
//! keeps to calls that the most modest plugins take, unless its check is about others. It asks for the oldest
//! request first, and has few in flight.
//!
//! Some demands go beyond NCCL's, as they make a better plugin. A plugin that does not meet one of those is
//! told so, and has not failed.

mod after_done;
mod close;
mod codes;
mod connect;
mod data;
mod first;
mod full;
mod gpu;
mod memory;
mod order;
mod progress;
mod requests;
mod sizes;
mod slots;
mod start;
mod strays;
mod threads;

use crate::{bench::BenchPlugin, meeting::Bench, source::Source, stop::Seen};

/// A demand, and how it is checked.
#[derive(Debug)]
pub struct Check {
    /// The check's name: small letters, digits and dashes.
    pub id: &'static str,
    /// The demand on the plugin.
    pub expected: &'static str,
    /// NCCL's reason for the demand.
    pub because: &'static str,
    /// The lines of NCCL's sources that state the demand, or rely on it.
    pub sources: &'static [Source],
    /// Where the demand holds, and whether NCCL has it too.
    pub scope: Scope,
    pub(crate) run: Run,
}

/// Where a demand holds.
#[derive(Debug)]
pub struct Scope {
    /// NCCL's own way, where the demand goes beyond NCCL's.
    pub stricter: Option<&'static str>,
    /// The first version of the interface that has the demand.
    pub since: u32,
    /// The checks whose failure this one would only repeat, besides `connection-works`.
    pub(crate) after: &'static [&'static str],
}

impl Scope {
    /// A demand of NCCL's own on all versions, whatever other checks found.
    pub(crate) const ALL: Self = Self { stricter: None, since: 5, after: &[] };
}

/// The sides that take part.
#[derive(Debug)]
pub(crate) enum Run {
    /// One process, which starts the plugin itself.
    Alone(fn(&mut BenchPlugin) -> Seen),
    /// Two processes, in which the plugin is started.
    Pair { receiving: fn(&mut Bench) -> Seen, sending: fn(&mut Bench) -> Seen },
}

/// Returns all checks, in the order of a plugin's life.
pub fn all() -> impl Iterator<Item = &'static Check> {
    BY_PART.iter().copied().flatten()
}

impl Check {
    /// Returns whether the check has two sides.
    #[must_use]
    pub const fn is_pair(&self) -> bool {
        matches!(self.run, Run::Pair { .. })
    }

    /// Returns the check of this name.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Self> {
        all().find(|check| check.id == id)
    }

    /// Returns why the check's failure would be a consequence, if the cause is among the failed checks.
    #[must_use]
    pub fn consequence_of(&self, failed: &[&str]) -> Option<String> {
        let cause = |id: &str| failed.contains(&id);
        if self.is_pair() && self.id != CONNECTION && cause(CONNECTION) {
            return Some(format!("no connection can be made: see {CONNECTION}"));
        }
        let cause = self.scope.after.iter().find(|id| cause(id))?;
        Some(format!("it would only repeat the failure of {cause}"))
    }
}

const BY_PART: &[&[Check]] = &[
    start::CHECKS,
    first::CHECKS,
    connect::CHECKS,
    strays::CHECKS,
    memory::CHECKS,
    requests::CHECKS,
    full::CHECKS,
    codes::CHECKS,
    order::CHECKS,
    sizes::CHECKS,
    progress::CHECKS,
    slots::CHECKS,
    gpu::CHECKS,
    close::CHECKS,
    after_done::CHECKS,
    threads::CHECKS,
    data::CHECKS,
];

/// The check that all checks with two sides rest on.
const CONNECTION: &str = "connection-works";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain_and_different() {
        for (index, check) in all().enumerate() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(check.id.bytes().all(plain), "{}", check.id);
            assert!(all().take(index).all(|other| other.id != check.id), "{}", check.id);
            assert_eq!(Check::named(check.id).map(|found| found.id), Some(check.id));
        }
    }

    #[test]
    fn every_demand_rests_on_lines_of_nccl() {
        for check in all() {
            assert!(!check.sources.is_empty(), "{}", check.id);
            for Source { tag, file, lines: (first, last) } in check.sources {
                assert!(tag.starts_with("v2.") && file.contains('.'), "{}: {tag} {file}", check.id);
                assert!(0 < *first && first <= last && last - first < 60, "{}: {file}", check.id);
            }
        }
    }

    #[test]
    fn a_consequence_names_its_cause_and_comes_after_it() {
        for (index, check) in all().enumerate() {
            let causes: Vec<&str> = all().take(index).map(|other| other.id).collect();
            assert!(check.scope.after.iter().all(|id| causes.contains(id)), "{}", check.id);
            assert!(check.consequence_of(&[]).is_none());
            assert!(check.consequence_of(&[check.id]).is_none(), "{}", check.id);
            let connected = check.is_pair() && check.id != CONNECTION;
            assert_eq!(check.consequence_of(&[CONNECTION]).is_some(), connected, "{}", check.id);
        }
        let strays = Check::named("accept-survives-strays").unwrap();
        assert!(
            strays.consequence_of(&["connect-accept-not-yet"]).unwrap().contains("connect-accept-not-yet")
        );
    }
}
