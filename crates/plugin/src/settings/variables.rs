//! The source of settings: variables of the environment, ours and NCCL's, and the rules for their values.

use std::{ffi::OsString, fmt, os::unix::ffi::OsStrExt as _, path::PathBuf, time::Duration};

use gputcp::{Key, KeyFile};
use gputcp_proto::frame::{SEGMENT_BYTES, STREAMS_MAX};

use super::Merging;

/// A source of values by name.
pub(super) struct Variables<F>(pub(super) F);

impl<F: Fn(&str) -> Option<OsString>> Variables<F> {
    pub(super) fn one<T>(
        &self,
        name: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, String> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let parsed =
            value.to_str().ok_or_else(|| "that is no text".to_owned()).and_then(|text| parse(text.trim()));
        parsed.map(Some).map_err(|why| {
            let shown: String =
                value.to_string_lossy().chars().take(40).flat_map(char::escape_default).collect();
            format!("the variable {name} is \"{shown}\", but {why}; correct or unset it")
        })
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.get(name).map(PathBuf::from)
    }

    fn get(&self, name: &str) -> Option<OsString> {
        (self.0)(name).filter(|value| !value.is_empty())
    }

    /// Returns NCCL's sockets per connection: its threads × the sockets of each.
    ///
    /// If one of the two is unset, it counts as 1.
    pub(super) fn sockets_of_nccl(&self) -> Result<Option<u16>, String> {
        let (threads, each) = ("NCCL_SOCKET_NTHREADS", "NCCL_NSOCKS_PERTHREAD");
        let one = |name| self.one(name, |text| count(text, "sockets", 1..=STREAMS_MAX));
        let (by, sockets) = (one(threads)?, one(each)?);
        if by.is_none() && sockets.is_none() {
            return Ok(None);
        }
        let product = by.unwrap_or(1) * sockets.unwrap_or(1);
        if product > STREAMS_MAX {
            return Err(format!(
                "{threads} × {each} asks for {product} sockets, but a connection has at most {STREAMS_MAX}: lower one of them, \
                 or set GPUTCP_STREAMS"
            ));
        }
        Ok(Some(product))
    }

    /// Returns the side that joins: ours if asked for, or by default; NCCL if its variables ask for that.
    ///
    /// NCCL would also join, unasked, all interfaces that it sees on one PCI function, and it sees all
    /// virtual ones on one.
    pub(super) fn merging(&self) -> Result<Merging, String> {
        let ours = self.one("GPUTCP_MERGE", |text| match text {
            "0" => Ok(false),
            "1" => Ok(true),
            _ => Err("it is 1 to join the fastest interfaces to one more device, or 0".into()),
        })?;
        let level = self.get("NCCL_NET_MERGE_LEVEL");
        let is_apart = level.as_ref().is_some_and(|level| level == "LOC");
        let is_nccls = self.get("NCCL_NET_FORCE_MERGE").is_some() || (level.is_some() && !is_apart);
        Ok(match ours {
            Some(true) => Merging::Ours,
            _ if is_nccls => Merging::Nccl,
            None if !is_apart => Merging::Ours,
            _ => Merging::Nobody,
        })
    }

    /// Returns the key, and the file that it was read from if others may read that too. A key's value is
    /// never shown.
    pub(super) fn key(&self) -> Result<(Option<Key>, Option<PathBuf>), String> {
        if let Some(path) = self.get(KeyFile::PATH_VARIABLE).map(PathBuf::from) {
            let file = KeyFile::read(&path);
            let file = file.map_err(|why| format!("{why} (the variable {})", KeyFile::PATH_VARIABLE))?;
            return Ok((Some(file.key), file.is_open_to_others.then_some(path)));
        }
        let key = self.get(KeyFile::KEY_VARIABLE).map(|value| Key::of(value.as_bytes())).transpose();
        Ok((key.map_err(|what| format!("the variable {} {what}", KeyFile::KEY_VARIABLE))?, None))
    }
}

pub(super) fn count<T>(text: &str, what: &str, range: std::ops::RangeInclusive<T>) -> Result<T, String>
where
    T: std::str::FromStr + PartialOrd + fmt::Display,
{
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("{what} are a whole number from {} to {}", range.start(), range.end()))
}

/// Parses bytes in the command's form, like `512K`; the suffixes are binary.
pub(super) fn segment(text: &str) -> Result<u32, String> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        _ => None,
    };
    let bytes = shift.and_then(|shift| number.parse::<u32>().ok()?.checked_mul(1 << shift));
    bytes.filter(|bytes| SEGMENT_BYTES.contains(bytes)).ok_or_else(|| {
        let (least, most) = (SEGMENT_BYTES.start() >> 10, SEGMENT_BYTES.end() >> 20);
        format!("a segment has between {least}K and {most}M, like 512K")
    })
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err("a switch is 0 or 1".into()),
    }
}

pub(super) fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.1..=86_400.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "a time is between 0.1 and 86400 seconds".into())
}
