//! Addresses, ports and the key, as they are typed.

use std::{os::unix::ffi::OsStrExt as _, path::PathBuf};

use clap::Args;
use gputcp::{Key, KeyFile};

use crate::{
    bootstrap::key,
    failure::Failure,
    host::bind::{Bind, Family},
    output::Talk,
    settings::environment::Environment,
};

/// Addresses and ports.
#[derive(Debug, Args)]
pub struct NetworkArgs {
    /// Port of the server [default: 12347]
    #[arg(short, long, value_parser = parse_port)]
    pub port: Option<u16>,
    /// Local address or network interface to use
    #[arg(short = 'B', long, value_name = "ADDRESS|IFACE", value_parser = Bind::parse)]
    pub bind: Option<Bind>,
    /// File with a key that both ends must have
    #[arg(long, value_name = "PATH")]
    pub key_file: Option<PathBuf>,
    /// IPv4 or IPv6.
    #[command(flatten)]
    pub family: FamilyArgs,
}

/// IPv4 or IPv6.
#[derive(Debug, Clone, Copy, Args)]
pub struct FamilyArgs {
    /// Use IPv4 only
    #[arg(short = '4', long)]
    pub ipv4: bool,
    /// Use IPv6 only
    #[arg(short = '6', long, conflicts_with = "ipv4")]
    pub ipv6: bool,
}

impl From<FamilyArgs> for Family {
    fn from(args: FamilyArgs) -> Self {
        match (args.ipv4, args.ipv6) {
            (true, _) => Self::V4,
            (_, true) => Self::V6,
            _ => Self::Any,
        }
    }
}

impl Environment {
    /// Fills in what the command line left open about addresses and ports.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub fn complete_network(&self, args: &mut NetworkArgs) -> Result<(), Failure> {
        self.complete_family(&mut args.family)?;
        self.fill(&mut args.port, &["GPUTCP_PORT", "UCCL_TCPX_BOOTSTRAP_PORT_BASE"], parse_port)?;
        self.fill(&mut args.bind, &["GPUTCP_BIND"], Bind::parse)?;
        self.fill(&mut args.bind, &["NCCL_SOCKET_IFNAME"], Bind::parse_nccl)?;
        self.fill(&mut args.key_file, &[KeyFile::PATH_VARIABLE], |path| Ok(path.into()))
    }

    /// Fills in IPv4 or IPv6, as NCCL says it.
    ///
    /// # Errors
    /// [`Failure::Usage`] if that is neither.
    pub fn complete_family(&self, args: &mut FamilyArgs) -> Result<(), Failure> {
        if args.ipv4 || args.ipv6 {
            return Ok(());
        }
        let is_ipv6 = self.first(&["NCCL_SOCKET_FAMILY"], |text| match text.trim() {
            "AF_INET" => Ok(false),
            "AF_INET6" => Ok(true),
            _ => Err("a family of addresses is AF_INET or AF_INET6".into()),
        })?;
        (args.ipv4, args.ipv6) = (is_ipv6 == Some(false), is_ipv6 == Some(true));
        Ok(())
    }

    /// Returns the key that both ends must have: in the file, or else in the variable `GPUTCP_KEY`.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it cannot be read, or is too short.
    pub fn key(&self, args: &NetworkArgs, talk: Talk) -> Result<Option<Key>, Failure> {
        match &args.key_file {
            Some(path) => key::read(path, talk).map(Some),
            None => {
                let value = self.get(KeyFile::KEY_VARIABLE).map(|value| Key::of(value.as_bytes()));
                value
                    .transpose()
                    .map_err(|what| Failure::Usage(format!("the variable {} {what}", KeyFile::KEY_VARIABLE)))
            }
        }
    }

    /// Returns the key that the parent of a `--child-of` process drew for the session with it.
    ///
    /// # Errors
    /// [`Failure::Usage`] if it is too short.
    pub fn session_key(&self) -> Result<Option<Key>, Failure> {
        let key = self.get(SESSION_KEY_VARIABLE).map(|value| Key::of(value.as_bytes())).transpose();
        key.map_err(|what| Failure::Usage(format!("the variable {SESSION_KEY_VARIABLE} {what}")))
    }
}

/// Parses a port. 0 lets the system choose, which only makes sense for a server that tells it.
fn parse_port(text: &str) -> Result<u16, String> {
    text.trim().parse().map_err(|_| "a port is between 0 and 65535".into())
}

/// The variable of the key between `loopback` and its child. Plugins in both processes may read the user's
/// own.
pub(crate) const SESSION_KEY_VARIABLE: &str = "GPUTCP_SESSION_KEY";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nccls_family_counts_where_no_flag_says_another() {
        let completed = |value: &str, mut args: FamilyArgs| {
            Environment::of(&[("NCCL_SOCKET_FAMILY", value)])
                .complete_family(&mut args)
                .map(|()| (args.ipv4, args.ipv6))
        };
        let none = FamilyArgs { ipv4: false, ipv6: false };
        assert_eq!(completed("AF_INET", none), Ok((true, false)));
        assert_eq!(completed("AF_INET6", none), Ok((false, true)));
        assert_eq!(completed("AF_INET6", FamilyArgs { ipv4: true, ..none }), Ok((true, false)));
        assert!(completed("AF_UNIX", none).unwrap_err().to_string().contains("AF_INET or AF_INET6"));
    }
}
