//! Settings from the environment: the names and meanings of the command's flags, and NCCL's own for
//! interfaces.
//!
//! A bad value is a sentence that names its variable; an empty one counts as unset.

mod machine;
mod variables;

use std::{env, ffi::OsString, path::PathBuf, time::Duration};

use gputcp::{
    CongestionControl, IoPool, Key, Options, SLABS_MAX, Trace,
    interfaces::{Family, Pattern},
};
use gputcp_proto::frame::{EAGER_PLACES_MAX, RECEIVES_MAX, STREAMS_MAX};

use self::{
    machine::{cores, streams_on, threads_on},
    variables::{Variables, count, seconds, segment, switch},
};

/// The values that users can set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// Data sockets per connection (`GPUTCP_STREAMS`; else NCCL's threads × sockets per thread).
    pub(crate) streams: u16,
    /// Threads that carry the data of all connections of the process (`GPUTCP_THREADS`).
    pub(crate) threads: usize,
    /// Short messages that may come before their receives are posted, per connection (`GPUTCP_EAGER`).
    pub(crate) eager_places: u16,
    /// Receives that NCCL may group in one request (`GPUTCP_MAX_RECEIVES`).
    pub(crate) max_receives: u16,
    /// Congestion control (`GPUTCP_CONGESTION`).
    pub(crate) congestion: Congestion,
    /// The longest segments in bytes (`GPUTCP_SEGMENT`).
    pub(crate) segment_bytes: u32,
    /// Slabs per data socket (`GPUTCP_SLABS`).
    pub(crate) slabs: u16,
    /// The longest time that unacknowledged data may stay in flight, and a peer may take to say goodbye
    /// (`GPUTCP_TIMEOUT`).
    pub(crate) timeout: Duration,
    /// The speed that devices report, in Mbit/s, whatever the system's value (`GPUTCP_SPEED`).
    pub(crate) speed_mbit: Option<u32>,
    /// Whether unset variables of NCCL's are set to values that suit this network (`GPUTCP_NCCL_DEFAULTS`).
    pub(crate) nccl_defaults: bool,
    /// Whether the plugin guides NCCL's choices for collectives over this network (`GPUTCP_TUNER`).
    pub(crate) tuner: bool,
    /// The interfaces to use (`NCCL_SOCKET_IFNAME`).
    pub(crate) interfaces: Option<Pattern>,
    /// The family of addresses to use (`NCCL_SOCKET_FAMILY`).
    pub(crate) family: Option<Family>,
    /// The side that joins interfaces to one device (`GPUTCP_MERGE`, and whether NCCL was asked to).
    pub(crate) merging: Merging,
    /// The key that every end of a job must have (`GPUTCP_KEY_FILE`, else `GPUTCP_KEY`).
    pub(crate) key: Option<Key>,
    /// The file with the key, if others than its owner may read it.
    pub(crate) open_key_file: Option<PathBuf>,
    /// The file for the life of each message (`GPUTCP_TRACE`).
    pub(crate) trace: Option<PathBuf>,
}

/// The congestion control of the sockets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Congestion {
    /// Cubic to an address of this very machine, where it was measured to be faster; else the system's.
    Auto,
    /// The one of this name.
    Named(CongestionControl),
}

/// The side that joins interfaces to one device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Merging {
    /// This plugin: it joins those of the highest speed.
    Ours,
    /// NCCL: it joins those that it wants, as its own variables ask for it.
    Nccl,
    /// Neither.
    Nobody,
}

impl Settings {
    /// Returns the settings of the process.
    pub(crate) fn of_process() -> Result<Self, String> {
        Self::read(|name| env::var_os(name))
    }

    fn read(get: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let variables = Variables(get);
        let usual = Options::default();
        let streams = variables.one("GPUTCP_STREAMS", |text| count(text, "streams", 1..=STREAMS_MAX))?;
        let threads =
            variables.one("GPUTCP_THREADS", |text| count(text, "threads", 1..=IoPool::THREADS_MAX))?;
        let streams = streams.map_or_else(|| variables.sockets_of_nccl(), |streams| Ok(Some(streams)))?;
        let (key, open_key_file) = variables.key()?;
        let slabs = variables.one("GPUTCP_SLABS", |text| count(text, "slabs", 1..=SLABS_MAX))?;
        Ok(Self {
            streams: streams.unwrap_or_else(|| streams_on(cores())),
            threads: threads.unwrap_or_else(|| threads_on(cores())),
            eager_places: variables
                .one("GPUTCP_EAGER", |text| count(text, "eager messages", 0..=EAGER_PLACES_MAX))?
                .unwrap_or(EAGER_PLACES_MAX),
            max_receives: variables
                .one("GPUTCP_MAX_RECEIVES", |text| count(text, "receives of one request", 1..=RECEIVES_MAX))?
                .unwrap_or(usual.max_receives),
            congestion: variables.one("GPUTCP_CONGESTION", Congestion::parse)?.unwrap_or(Congestion::Auto),
            segment_bytes: variables.one("GPUTCP_SEGMENT", segment)?.unwrap_or(usual.tuning.segment_bytes),
            slabs: slabs.unwrap_or(usual.tuning.slabs),
            timeout: variables.one("GPUTCP_TIMEOUT", seconds)?.unwrap_or(usual.timeout),
            speed_mbit: variables.one("GPUTCP_SPEED", |text| count(text, "Mbit/s", 1..=SPEED_MAX))?,
            nccl_defaults: variables.one("GPUTCP_NCCL_DEFAULTS", switch)?.unwrap_or(true),
            tuner: variables.one("GPUTCP_TUNER", switch)?.unwrap_or(true),
            interfaces: variables.one("NCCL_SOCKET_IFNAME", Pattern::parse)?,
            family: variables.one("NCCL_SOCKET_FAMILY", family)?,
            merging: variables.merging()?,
            key,
            open_key_file,
            trace: variables.path(Trace::VARIABLE),
        })
    }
}

impl Congestion {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        let name: CongestionControl = text.parse()?;
        name.check_usable().map_err(|_| {
            "this machine lets no socket use it (see net.ipv4.tcp_allowed_congestion_control)".to_owned()
        })?;
        Ok(Self::Named(name))
    }
}

/// Parses a family as NCCL names it.
fn family(text: &str) -> Result<Family, String> {
    match text {
        "AF_INET" => Ok(Family::V4),
        "AF_INET6" => Ok(Family::V6),
        _ => Err("a family of addresses is AF_INET or AF_INET6".into()),
    }
}

/// The highest speed that can be set: 100 Tbit/s.
const SPEED_MAX: u32 = 100_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, String> {
        let find = |name: &str| pairs.iter().find(|(known, _)| *known == name);
        Settings::read(|name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn what_is_set_holds_and_the_rest_is_usual() {
        let usual = read(&[("GPUTCP_STREAMS", "")]).unwrap();
        assert!((1..=4).contains(&usual.streams) && (2..=16).contains(&usual.threads));
        assert_eq!((usual.congestion.clone(), usual.speed_mbit), (Congestion::Auto, None));
        let set = [
            ("GPUTCP_STREAMS", "5"),
            ("GPUTCP_THREADS", "64"),
            ("GPUTCP_MAX_RECEIVES", "8"),
            ("GPUTCP_CONGESTION", "auto"),
            ("GPUTCP_SEGMENT", "1MiB"),
            ("GPUTCP_SLABS", " 3 "),
            ("GPUTCP_TIMEOUT", "2.5"),
            ("GPUTCP_SPEED", "25000"),
        ];
        let found = read(&set).unwrap();
        assert_eq!((found.streams, found.threads, found.max_receives), (5, 64, 8));
        assert_eq!((found.segment_bytes, found.slabs), (1 << 20, 3));
        assert_eq!((found.timeout, found.speed_mbit), (Duration::from_millis(2500), Some(25_000)));
        assert_eq!((found.congestion, found.interfaces), (usual.congestion, usual.interfaces));
        assert!(usual.key.is_none() && usual.family.is_none());
        let tuner = |pairs| read(pairs).unwrap().tuner;
        assert!(usual.tuner && tuner(&[("GPUTCP_TUNER", "1")]) && !tuner(&[("GPUTCP_TUNER", "0")]));
        assert_eq!(
            read(&[("GPUTCP_CONGESTION", "reno")]).unwrap().congestion,
            Congestion::Named("reno".parse().unwrap())
        );
    }

    #[test]
    fn nccls_sockets_count_where_no_streams_are_asked_for() {
        let streams = |pairs| read(pairs).unwrap().streams;
        assert_eq!(streams(&[("NCCL_SOCKET_NTHREADS", "4"), ("NCCL_NSOCKS_PERTHREAD", "3")]), 12);
        assert_eq!(streams(&[("NCCL_NSOCKS_PERTHREAD", "7")]), 7);
        assert_eq!(streams(&[("NCCL_SOCKET_NTHREADS", "64"), ("GPUTCP_STREAMS", "2")]), 2);
        let family = read(&[("NCCL_SOCKET_FAMILY", "AF_INET6")]).unwrap().family.unwrap();
        assert!(family.admits("::1".parse().unwrap()) && !family.admits("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn one_of_the_two_joins_interfaces() {
        use Merging::{Nccl, Nobody, Ours};
        const LEVEL: &str = "NCCL_NET_MERGE_LEVEL";
        for (pairs, expected) in [
            (&[][..], Ours),
            (&[("GPUTCP_MERGE", "0")], Nobody),
            (&[(LEVEL, "LOC")], Nobody),
            (&[(LEVEL, "PHB")], Nccl),
            (&[(LEVEL, "PHB"), ("GPUTCP_MERGE", "0")], Nccl),
            (&[(LEVEL, "PHB"), ("GPUTCP_MERGE", "1")], Ours),
            (&[(LEVEL, "LOC"), ("GPUTCP_MERGE", "1")], Ours),
            (&[("NCCL_NET_FORCE_MERGE", "eth0,eth1"), (LEVEL, "LOC")], Nccl),
        ] {
            assert_eq!(read(pairs).unwrap().merging, expected, "{pairs:?}");
        }
    }

    #[test]
    fn a_key_comes_from_its_file_or_else_from_its_variable_and_is_never_shown() {
        let said = read(&[("GPUTCP_KEY", "a key of some length")]).unwrap();
        assert_eq!(said.key.as_ref().and_then(Key::text), Some("a key of some length"));
        assert!(!format!("{said:?}").contains("some length"));
        let short = read(&[("GPUTCP_KEY", "short")]).unwrap_err();
        assert!(short.starts_with("the variable GPUTCP_KEY has a key of 5 bytes"), "{short}");
        let missing = read(&[("GPUTCP_KEY_FILE", "/nowhere"), ("GPUTCP_KEY", "a key of some length")]);
        let why = missing.unwrap_err();
        assert!(why.starts_with("the key file /nowhere cannot be read"), "{why}");
        assert!(why.ends_with("(the variable GPUTCP_KEY_FILE)"), "{why}");
    }

    #[test]
    fn a_bad_value_names_its_variable() {
        for (name, value) in [
            ("GPUTCP_STREAMS", "0"),
            ("GPUTCP_STREAMS", "65"),
            ("GPUTCP_THREADS", "0"),
            ("GPUTCP_THREADS", "65"),
            ("GPUTCP_CONGESTION", "no such"),
            ("GPUTCP_CONGESTION", "nosuch"),
            ("GPUTCP_SEGMENT", "4095"),
            ("GPUTCP_SEGMENT", "9999999999M"),
            ("GPUTCP_SEGMENT", "1x"),
            ("GPUTCP_SLABS", "17"),
            ("GPUTCP_TIMEOUT", "NaN"),
            ("GPUTCP_SPEED", "fast"),
            ("NCCL_SOCKET_IFNAME", "^"),
            ("NCCL_SOCKET_FAMILY", "AF_UNIX"),
            ("GPUTCP_MERGE", "yes"),
            ("GPUTCP_TUNER", "off"),
            ("NCCL_SOCKET_NTHREADS", "0"),
        ] {
            let why = read(&[(name, value)]).unwrap_err();
            assert!(why.starts_with(&format!("the variable {name} is \"{value}\", but ")), "{why}");
            assert!(why.ends_with("; correct or unset it"), "{why}");
        }
        let many = read(&[("NCCL_SOCKET_NTHREADS", "16"), ("NCCL_NSOCKS_PERTHREAD", "5")]).unwrap_err();
        assert!(many.contains("asks for 80 sockets") && many.ends_with("or set GPUTCP_STREAMS"), "{many}");
        let hostile = read(&[("GPUTCP_STREAMS", "\x1b[31m4")]).unwrap_err();
        assert!(!hostile.contains('\x1b'), "{hostile}");
    }
}
