//! Interfaces by name, in the form of NCCL_SOCKET_IFNAME: `eth,ib` (prefixes), `=eth0` (exactly), `^docker`
//! (all but).

/// A set of interfaces by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    names: Vec<String>,
    exact: bool,
    all_but: bool,
}

impl Pattern {
    /// Parses a pattern; `=` may follow `^`, as in NCCL.
    ///
    /// # Errors
    /// The end of a sentence, if it names no interface.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (all_but, rest) = text.strip_prefix('^').map_or((false, text), |rest| (true, rest));
        let (exact, rest) = rest.strip_prefix('=').map_or((false, rest), |rest| (true, rest));
        // NCCL has a port behind a colon, which means nothing here.
        let name = |entry: &str| entry.split(':').next().unwrap_or_default().trim().to_owned();
        let names: Vec<String> = rest.split(',').map(name).filter(|name| !name.is_empty()).collect();
        if names.is_empty() {
            return Err("that is no list of interfaces".into());
        }
        Ok(Self { names, exact, all_but })
    }

    /// Returns whether an interface of this name is in the set.
    #[must_use]
    pub fn admits(&self, interface: &str) -> bool {
        let means =
            |name: &String| if self.exact { interface == name } else { interface.starts_with(name.as_str()) };
        self.names.iter().any(means) != self.all_but
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_nccl_means() {
        for (pattern, interface, admitted) in [
            ("eth", "eth1", true),
            ("eth,ib", "ib0", true),
            ("eth,ib", "lo", false),
            ("=eth", "eth1", false),
            ("=eth1:1234,ib0", "eth1", true),
            ("^docker,lo", "lo", false),
            ("^docker,lo", "eth0", true),
            ("^=eth1", "eth10", true),
            ("^=eth1", "eth1", false),
        ] {
            assert_eq!(Pattern::parse(pattern).unwrap().admits(interface), admitted, "{pattern} {interface}");
        }
        for bad in ["^", "=", ",", "^=,"] {
            assert!(Pattern::parse(bad).is_err(), "{bad}");
        }
    }
}
