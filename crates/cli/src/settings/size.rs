//! Numbers as people type them: sizes with binary suffixes, seconds, windows.

use std::{ops::RangeInclusive, time::Duration};

use gputcp::transfer::Plan;

/// Parses a number of bytes: `4096`, `512K`, `64M`, `1G`, `64MiB`. The suffixes are binary: K is 1024.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return Err("a size is a whole number and K, M, G or T (binary), like 512K".into()),
    };
    let number: u64 =
        number.parse().map_err(|_| "a size is a whole number and K, M, G or T (binary), like 512K")?;
    let bytes = number.checked_mul(1 << shift).ok_or("that is more than any memory holds")?;
    if bytes == 0 { Err("a size is at least 1 byte".into()) } else { Ok(bytes) }
}

/// Returns a size as [`parse_size`] takes it, in the largest unit that says it exactly.
#[must_use]
pub fn show_size(bytes: u64) -> String {
    for (shift, suffix) in [(40, "T"), (30, "G"), (20, "M"), (10, "K")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{suffix}", bytes >> shift);
        }
    }
    bytes.to_string()
}

/// Parses a time in seconds, fractions allowed, between a tenth of a second and a day.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.trim().parse().map_err(|_| "a time is a number of seconds, like 10 or 0.5")?;
    if !(0.1..=86_400.0).contains(&seconds) {
        return Err("a time is between 0.1 and 86400 seconds".into());
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// The windows of a sender and of a receiver: how many chunks each keeps in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Windows {
    /// The sender's.
    pub send: u16,
    /// The receiver's.
    pub recv: u16,
}

impl Windows {
    /// Returns the windows that a connection of so many streams needs. With fewer than four chunks for each,
    /// streams idle while the next is announced. The receiver's is larger, so that a posted receive is always
    /// waiting.
    #[must_use]
    pub fn of_streams(streams: u16) -> Self {
        let recv = streams.saturating_mul(4).clamp(Plan::RECV_WINDOW as u16, gputcp_proto::frame::SLOTS_MAX);
        Self { send: recv / 4 * 3, recv }
    }
}

const _: () = assert!(Plan::SEND_WINDOW == Plan::RECV_WINDOW / 4 * 3);

/// Parses windows: one number for both sides, or `SEND,RECV`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_windows(text: &str) -> Result<Windows, String> {
    let one = |text: &str| -> Result<u16, String> {
        let slots = gputcp_proto::frame::SLOTS_MAX;
        match text.trim().parse() {
            Ok(window) if (1..=slots).contains(&window) => Ok(window),
            _ => Err(format!("a window is 1 to {slots} chunks, or SEND,RECV like 12,16")),
        }
    };
    let (send, recv) = text.split_once(',').unwrap_or((text, text));
    Ok(Windows { send: one(send)?, recv: one(recv)? })
}

/// Parses a count between `least` and `most` of the things called `what`.
///
/// # Errors
/// A sentence that says what is wrong.
pub fn parse_count(text: &str, what: &str, least: u32, most: u32) -> Result<u32, String> {
    match text.trim().parse() {
        Ok(count) if (least..=most).contains(&count) => Ok(count),
        _ => Err(format!("the number of {what} is between {least} and {most}")),
    }
}

/// Checks that a number that came over the network is one of those.
///
/// # Errors
/// A sentence that says which is out of range.
pub(super) fn within<T: Into<u64> + Copy>(
    what: &str,
    value: T,
    range: RangeInclusive<T>,
) -> Result<(), String> {
    let (value, least, most) = (value.into(), (*range.start()).into(), (*range.end()).into());
    if (least..=most).contains(&value) {
        Ok(())
    } else {
        Err(format!("{what} is {value}, but must be between {least} and {most}"))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn sizes() {
        assert_eq!(parse_size("512K"), Ok(512 << 10));
        assert_eq!(parse_size(" 64MiB "), Ok(64 << 20));
        assert_eq!(parse_size("7"), Ok(7));
        for bad in
            ["", "K", "0", "0M", "-1", "1.5M", "12KB5", "16777216T", "99999999999999999999", "1 M", "𝟙"]
        {
            assert!(parse_size(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn windows_grow_with_the_streams() {
        for (streams, send, recv) in [(1, 12, 16), (4, 12, 16), (6, 18, 24), (8, 24, 32), (64, 24, 32)] {
            assert_eq!(Windows::of_streams(streams), Windows { send, recv }, "{streams}");
        }
    }

    #[test]
    fn windows() {
        assert_eq!(parse_windows("8"), Ok(Windows { send: 8, recv: 8 }));
        assert_eq!(parse_windows("12,16"), Ok(Windows { send: 12, recv: 16 }));
        for bad in ["0", "33", "12,0", "12,16,20", "", ",", "a"] {
            assert!(parse_windows(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn seconds() {
        assert_eq!(parse_seconds("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "nan", "inf", "-1", "1e9", "x", ""] {
            assert!(parse_seconds(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn a_shown_size_reads_back(bytes in 1u64..) {
            prop_assert_eq!(parse_size(&show_size(bytes)), Ok(bytes));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".*") {
            let _ = (parse_size(&text), parse_seconds(&text), parse_windows(&text));
        }
    }
}
