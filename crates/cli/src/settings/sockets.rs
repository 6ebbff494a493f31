//! What the built-in transport alone is told: each option's flag, its variable, its name on the wire, and its bounds.

use std::ops::RangeInclusive;

use clap::Args;
use gputcp::SLABS_MAX;
use gputcp_proto::frame::SEGMENT_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    environment::Environment,
    size::{parse_count, parse_size, show_size, within},
};
use crate::failure::Failure;

/// The options of [`Transport::Sockets`](super::kinds::Transport::Sockets), both as typed and as agreed on. `None` leaves
/// the choice to the transport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Args, Serialize, Deserialize, JsonSchema)]
#[command(next_help_heading = "Transfer")]
pub struct SocketSettings {
    /// Bytes per segment: what one socket carries at a time [default: 512K; 2M between GPUs]
    #[arg(id = "segment", long, value_name = "SIZE", value_parser = parse_segment)]
    pub segment_bytes: Option<u32>,
    /// Segments in the pinned ring that a stream stages or bounces through [default: 4; 3 between GPUs]
    #[arg(long, value_name = "N", value_parser = parse_slabs)]
    #[serde(default)]
    pub slabs: Option<u16>,
    /// Congestion control of the data sockets: auto, or a name the kernel knows [default: auto]
    #[arg(long, value_name = "NAME", value_parser = parse_congestion)]
    pub congestion: Option<String>,
    /// Fixed send buffer of the data sockets [default: the kernel tunes it]
    #[arg(id = "sndbuf", long, value_name = "SIZE", value_parser = parse_socket_buffer)]
    pub send_buffer_bytes: Option<u32>,
    /// Fixed receive buffer of the data sockets [default: the kernel tunes it]
    #[arg(id = "rcvbuf", long, value_name = "SIZE", value_parser = parse_socket_buffer)]
    pub recv_buffer_bytes: Option<u32>,
}

impl SocketSettings {
    /// Fills in what the command line left open.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub(super) fn complete(&mut self, environment: &Environment) -> Result<(), Failure> {
        environment.fill(&mut self.segment_bytes, &["GPUTCP_SEGMENT"], parse_segment)?;
        environment.fill(&mut self.slabs, &["GPUTCP_SLABS"], parse_slabs)?;
        environment.fill(&mut self.congestion, &["GPUTCP_CONGESTION"], parse_congestion)?;
        environment.fill(&mut self.send_buffer_bytes, &["GPUTCP_SNDBUF"], parse_socket_buffer)?;
        environment.fill(&mut self.recv_buffer_bytes, &["GPUTCP_RCVBUF"], parse_socket_buffer)
    }

    /// Checks every value: these came over the network.
    ///
    /// # Errors
    /// A sentence that says which is out of range.
    pub(super) fn check(&self) -> Result<(), String> {
        if let Some(bytes) = self.segment_bytes {
            within("the segment size", bytes, SEGMENT_BYTES)?;
        }
        if let Some(slabs) = self.slabs {
            within("the number of slabs", slabs, 1..=SLABS_MAX)?;
        }
        for bytes in [self.send_buffer_bytes, self.recv_buffer_bytes].into_iter().flatten() {
            within("a socket buffer", bytes, SOCKET_BUFFER_BYTES)?;
        }
        match &self.congestion {
            Some(name) if !is_congestion_name(name) => Err(format!(
                "the congestion control's name must be 1 to {CONGESTION_CHARS_MAX} characters of a to z, 0 to 9, - and _"
            )),
            _ => Ok(()),
        }
    }
}

fn parse_segment(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_size(text)?) {
        Ok(bytes) if SEGMENT_BYTES.contains(&bytes) => Ok(bytes),
        _ => Err(format!(
            "a segment has between {} and {}",
            show_size(u64::from(*SEGMENT_BYTES.start())),
            show_size(u64::from(*SEGMENT_BYTES.end()))
        )),
    }
}

fn parse_slabs(text: &str) -> Result<u16, String> {
    parse_count(text, "slabs", 1, u32::from(SLABS_MAX)).map(|count| count as u16)
}

fn parse_socket_buffer(text: &str) -> Result<u32, String> {
    match u32::try_from(parse_size(text)?) {
        Ok(bytes) if SOCKET_BUFFER_BYTES.contains(&bytes) => Ok(bytes),
        _ => Err("a socket buffer has between 4K and 1G".into()),
    }
}

/// A congestion control's name, or `auto`. The kernel's names are short words (TCP_CA_NAME_MAX is 16).
fn parse_congestion(text: &str) -> Result<String, String> {
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if text.is_empty() || text.len() > 15 || !text.bytes().all(word) {
        return Err("a congestion control is auto, or a name like cubic or bbr".into());
    }
    Ok(text.to_owned())
}

/// Whether a congestion control can have this name at all.
fn is_congestion_name(name: &str) -> bool {
    let fits = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, b'-' | b'_');
    (1..=CONGESTION_CHARS_MAX).contains(&name.len()) && name.bytes().all(fits)
}

/// A congestion control's longest name: the kernel's TCP_CA_NAME_MAX with its end.
const CONGESTION_CHARS_MAX: usize = 15;
/// The kernel stores twice the value in an int (socket(7)).
const SOCKET_BUFFER_BYTES: RangeInclusive<u32> = 4096..=0x3fff_ffff;
