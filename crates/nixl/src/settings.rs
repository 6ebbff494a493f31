//! Settings of an agent's backend: NIXL's parameters, and else variables of the environment.
//!
//! A parameter `streams` is the variable `GPUTCP_STREAMS`, and so on. An empty value counts as unset: NIXL's
//! programs get a list of all parameters with empty values, and give it back.

use std::{
    env,
    ffi::{CStr, OsString},
    net::{IpAddr, SocketAddr},
    ops::RangeInclusive,
    path::Path,
    str::FromStr,
    time::Duration,
};

use gputcp::{
    CongestionControl, Handle, IoPool, Key, KeyFile, Options,
    interfaces::{self, Pattern, Wanted},
};
use gputcp_proto::frame::STREAMS_MAX;

use crate::log;

/// The settings of one agent's backend.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) options: Options,
    /// The addresses to listen at, of one family.
    pub(crate) ips: Vec<IpAddr>,
    /// The first port to try; else the system chooses.
    pub(crate) port: Option<u16>,
    pub(crate) vram: Vram,
}

/// The devices behind NIXL's VRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Vram {
    /// Real ones, by their CUDA ordinals.
    Cuda,
    /// Software GPUs, whose memory is the host's: for tests.
    Soft,
}

/// The parameters that there are.
pub(crate) const PARAMETERS: [&CStr; 9] = [
    c"streams",
    c"threads",
    c"interface",
    c"address",
    c"port",
    c"key_file",
    c"timeout",
    c"congestion",
    c"vram",
];

impl Settings {
    /// Reads the parameters, and the environment's variables for the others.
    ///
    /// # Errors
    /// A sentence that names the bad one.
    pub(crate) fn read(parameters: &[(String, String)]) -> Result<Self, String> {
        Self::of(parameters, |name| env::var_os(name))
    }

    fn of(parameters: &[(String, String)], get: impl Fn(&str) -> Option<OsString>) -> Result<Self, String> {
        let known: Vec<_> = PARAMETERS.iter().filter_map(|name| name.to_str().ok()).collect();
        if let Some((name, _)) = parameters.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            let known = known.join(", ");
            return Err(format!("there is no parameter {}: there are {known}", name.escape_debug()));
        }
        let source = Source { parameters, get };
        let usual = Options::default();
        let streams = source.one("streams", |text| count(text, 1..=STREAMS_MAX))?.unwrap_or(usual.streams);
        let threads = source.one("threads", |text| count(text, 1..=IoPool::THREADS_MAX))?;
        let pool = IoPool::new(threads.unwrap_or_else(|| usize::from(streams).min(IoPool::THREADS_MAX)));
        let pool = pool.map_err(|error| error.to_string())?;
        let congestion = source.one("congestion", |text| {
            let name: CongestionControl = text.parse()?;
            name.check_usable().map_err(|_| "this machine lets no socket use it".to_owned())?;
            Ok(name)
        })?;
        let options = usual
            .with_streams(streams)
            .with_pool(pool)
            .with_key(source.key()?)
            .with_timeout(source.one("timeout", seconds)?.unwrap_or(TIMEOUT))
            .tuned(|tuning| tuning.congestion = congestion);
        Ok(Self {
            options,
            ips: source.ips()?,
            port: source.one("port", |text| count(text, 1..=u16::MAX))?,
            vram: source
                .one("vram", |text| match text {
                    "cuda" => Ok(Vram::Cuda),
                    "soft" => Ok(Vram::Soft),
                    _ => Err("VRAM is \"cuda\" or \"soft\"".into()),
                })?
                .unwrap_or(Vram::Cuda),
        })
    }
}

struct Source<'a, F> {
    parameters: &'a [(String, String)],
    get: F,
}

impl<F: Fn(&str) -> Option<OsString>> Source<'_, F> {
    /// Returns the value of a setting: the parameter's, or else the variable's.
    fn one<T>(&self, name: &str, parse: impl Fn(&str) -> Result<T, String>) -> Result<Option<T>, String> {
        let bad = |kind: &str, name: &str, value: &str, why: String| {
            let shown: String = value.chars().take(40).flat_map(char::escape_debug).collect();
            format!("the {kind} {name} is \"{shown}\", but {why}; correct or unset it")
        };
        let set = |(known, value): &&(String, String)| known == name && !value.trim().is_empty();
        if let Some((_, value)) = self.parameters.iter().find(set) {
            let parsed = parse(value.trim()).map(Some);
            return parsed.map_err(|why| bad("parameter", name, value, why));
        }
        let variable = format!("GPUTCP_{}", name.to_uppercase());
        let Some(value) = (self.get)(&variable).filter(|value| !value.is_empty()) else { return Ok(None) };
        let text = value.to_str().ok_or_else(|| bad("variable", &variable, "…", "it is no text".into()))?;
        parse(text.trim()).map(Some).map_err(|why| bad("variable", &variable, text, why))
    }

    /// Returns the addresses to listen at: those that are set, those of the interfaces that are named, or the
    /// fastest interface's.
    fn ips(&self) -> Result<Vec<IpAddr>, String> {
        let list = |text: &str| {
            let ips: Result<Vec<IpAddr>, _> = text.split(',').map(|ip| ip.trim().parse()).collect();
            ips.map_err(|_| "it is no list of addresses".to_owned())
        };
        if let Some(ips) = self.one("address", list)? {
            return Ok(ips);
        }
        let pattern = self.one("interface", Pattern::parse)?;
        let found = interfaces::choose(&Wanted {
            pattern: pattern.as_ref(),
            family: None,
            pattern_setting: "the parameter interface or GPUTCP_INTERFACE",
            family_setting: "",
        })?;
        // Of several that are as fast, the first.
        let fastest = found.iter().rev().max_by_key(|(name, _)| interfaces::speed_mbit(name));
        let Some((_, fastest)) = fastest else { return Err("there is no interface".into()) };
        if pattern.is_none() {
            return Ok(vec![fastest.ip()]);
        }
        let alike = found.iter().map(|(_, address)| address).filter(|ip| ip.is_ipv4() == fastest.is_ipv4());
        Ok(alike.map(SocketAddr::ip).take(Handle::ADDRESSES_MAX).collect())
    }

    /// Returns the key of the file that is named, or of the variable `GPUTCP_KEY`. Its value is never shown.
    fn key(&self) -> Result<Option<Key>, String> {
        let file =
            self.one("key_file", |path| KeyFile::read(Path::new(path)).map(|file| (file, path.to_owned())))?;
        if let Some((file, path)) = file {
            if file.is_open_to_others {
                log::say(&format!("the key file {path} can be read by others: `chmod 600` it"));
            }
            return Ok(Some(file.key));
        }
        let key = (self.get)(KeyFile::KEY_VARIABLE).filter(|value| !value.is_empty());
        let key = key.map(|value| Key::of(value.as_encoded_bytes())).transpose();
        key.map_err(|what| format!("the variable {} {what}", KeyFile::KEY_VARIABLE))
    }
}

fn count<T: FromStr + PartialOrd + std::fmt::Display>(
    text: &str,
    range: RangeInclusive<T>,
) -> Result<T, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is a whole number from {} to {}", range.start(), range.end()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a time is between 0.1 and 86400 seconds".into())
}

/// The stall timeout, if none is set: as the library's.
const TIMEOUT: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)], variables: &[(&str, &str)]) -> Result<Settings, String> {
        let parameters: Vec<_> =
            parameters.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect();
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Settings::of(&parameters, |name| find(name).map(|(_, value)| value.into()))
    }

    #[test]
    fn a_parameter_wins_over_the_variable_and_an_empty_one_is_unset() {
        let variables =
            [("GPUTCP_STREAMS", "3"), ("GPUTCP_TIMEOUT", "2.5"), ("GPUTCP_ADDRESS", "127.0.0.2, 127.0.0.3")];
        let both = read(&[("streams", "2"), ("timeout", ""), ("vram", "soft")], &variables).unwrap();
        assert_eq!((both.options.streams, both.options.timeout), (2, Duration::from_millis(2500)));
        assert_eq!((both.port, both.vram), (None, Vram::Soft));
        assert_eq!(both.ips, [[127, 0, 0, 2], [127, 0, 0, 3]].map(IpAddr::from));
        let key = read(&[], &[("GPUTCP_KEY", "a key of some length")]).unwrap();
        assert!(key.options.key.is_some());
    }

    #[test]
    fn a_bad_value_names_its_setting() {
        for (name, value) in [
            ("streams", "0"),
            ("threads", "many"),
            ("interface", "^"),
            ("address", "here"),
            ("port", "65536"),
            ("timeout", "NaN"),
            ("congestion", "nosuch"),
            ("vram", "1"),
        ] {
            let why = read(&[(name, value)], &[]).unwrap_err();
            assert!(why.starts_with(&format!("the parameter {name} is \"{value}\", but ")), "{why}");
            let variable = format!("GPUTCP_{}", name.to_uppercase());
            let why = read(&[], &[(&variable, value)]).unwrap_err();
            assert!(why.starts_with(&format!("the variable {variable} is \"{value}\", but ")), "{why}");
        }
        let why = read(&[("key_file", "/nowhere")], &[]).unwrap_err();
        assert!(why.contains("key_file") && why.contains("/nowhere"), "{why}");
        let why = read(&[("interface", "=nosuch")], &[]).unwrap_err();
        assert!(why.contains("GPUTCP_INTERFACE") && why.contains("lo"), "{why}");
    }

    #[test]
    fn an_unknown_parameter_is_refused_with_those_there_are() {
        let why = read(&[("stream", "4")], &[]).unwrap_err();
        assert!(why.contains("no parameter stream:") && why.contains("streams, threads"), "{why}");
    }
}
