//! The name of a congestion control: one rule for flags, variables, the wire and the library.

use std::{fmt, io, str::FromStr, sync::Arc};

use rustix::net::{AddressFamily, SocketType, socket, sockopt};

/// A congestion control by the kernel's name: 1 to 15 characters of a to z, 0 to 9, `-` and `_`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CongestionControl(Arc<str>);

impl CongestionControl {
    /// Returns cubic, which was faster than bbr where both ends are one machine.
    #[must_use]
    pub fn cubic() -> Self {
        Self("cubic".into())
    }

    /// Returns the kernel's name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tries the congestion control on a socket that is not connected.
    ///
    /// # Errors
    /// The kernel's refusal if sockets of this process may not use it.
    pub fn check_usable(&self) -> io::Result<()> {
        let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
        Ok(sockopt::set_tcp_congestion(socket, &self.0)?)
    }
}

impl FromStr for CongestionControl {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
        if (1..=CHARS_MAX).contains(&name.len()) && name.bytes().all(fits) {
            return Ok(Self(name.into()));
        }
        Err(format!(
            "a congestion control's name has 1 to {CHARS_MAX} characters of a to z, 0 to 9, - and _, like cubic or bbr"
        ))
    }
}

impl fmt::Display for CongestionControl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// The kernel's TCP_CA_NAME_MAX is 16, with its end.
const CHARS_MAX: usize = 15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_a_short_word_of_the_kernels() {
        for good in ["cubic", "bbr", "dctcp-2", "bpf_cubic", "fifteen_letters"] {
            assert_eq!(good.parse::<CongestionControl>().unwrap().as_str(), good);
        }
        for bad in ["", "Cubic", "no such", "bbr\0", "sixteen_letters_", "ku\u{308}bik"] {
            assert!(bad.parse::<CongestionControl>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_the_kernel_does_not_have_is_not_usable() {
        assert!("nosuch".parse::<CongestionControl>().unwrap().check_usable().is_err());
        assert!("reno".parse::<CongestionControl>().unwrap().check_usable().is_ok());
    }
}
