//! The options of the built-in transport alone: the flag of each, its variable, its name on the wire, its
//! bounds.

use std::{ops::RangeInclusive, str::FromStr as _};

use clap::Args;
use gputcp::{CongestionControl, SLABS_MAX};
use gputcp_proto::frame::SEGMENT_BYTES;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    congestion::Congestion,
    environment::Environment,
    size::{parse_count, parse_size, show_size, within},
};
use crate::failure::Failure;

/// The options of [`Transport::Sockets`](super::kinds::Transport::Sockets), both as typed and as agreed on.
/// `None` leaves the choice to the transport.
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
    #[arg(long, value_name = "NAME", value_parser = Congestion::from_str)]
    pub congestion: Option<Congestion>,
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
        environment.fill(&mut self.congestion, &["GPUTCP_CONGESTION"], Congestion::from_str)?;
        environment.fill(&mut self.send_buffer_bytes, &["GPUTCP_SNDBUF"], parse_socket_buffer)?;
        environment.fill(&mut self.recv_buffer_bytes, &["GPUTCP_RCVBUF"], parse_socket_buffer)
    }

    /// Returns the congestion control to ask for; `None` leaves the system's.
    #[must_use]
    pub const fn congestion_control(&self) -> Option<&CongestionControl> {
        match &self.congestion {
            Some(Congestion::Named(name)) => Some(name),
            Some(Congestion::Auto) | None => None,
        }
    }

    /// Checks every number: these came over the network.
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
        Ok(())
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

/// The kernel stores twice the value in an int (socket(7)).
const SOCKET_BUFFER_BYTES: RangeInclusive<u32> = 4096..=0x3fff_ffff;
