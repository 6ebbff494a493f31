//! The messages in the frames of a session, as JSON. Unknown fields are passed over, missing ones are
//! errors. Lengths are bounded by [`crate::session::Kind::bytes_max`], and every number is checked
//! where it is used.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{
    failure::Failure,
    host::{gpu::GpuFacts, identity::Identity, plugin::PluginFacts},
    printable::Reason,
    settings::{OneSided, Settings},
};

/// The speaker's introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The program's version.
    pub version: String,
    /// The machine.
    pub identity: Identity,
    /// The challenge for the other side's proof, in hexadecimal digits; none if this side has no key.
    #[serde(default)]
    pub challenge: Option<String>,
}

/// The answer to a challenge.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// The proof in hexadecimal digits.
    pub mac: String,
}

/// The server's refusal, with its reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refuse {
    /// A sentence.
    pub reason: Reason,
    /// Whether asking again soon may help.
    pub busy: bool,
}

/// The client's request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// The settings that both ends shall agree on.
    #[serde(flatten)]
    pub settings: Settings,
    /// Whether the software GPU will do for GPU memory where the server has no GPU.
    #[serde(default)]
    pub memory_automatic: bool,
    /// The name of the GPU that the server shall use.
    pub server_gpu: Option<String>,
    /// The client's plugin, if one is to carry the data.
    #[serde(default)]
    pub plugin: Option<PluginFacts>,
    /// The client's GPU; a server that has several and was told none takes another.
    pub client_gpu_uuid: Option<String>,
}

/// The server can do what the settings ask for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accept {
    /// The GPU that it uses.
    pub gpu: Option<GpuFacts>,
    /// The reason why it has none, where one was asked for if possible.
    pub no_gpu: Option<String>,
    /// The plugin that it uses, if one carries the data.
    #[serde(default)]
    pub plugin: Option<PluginFacts>,
    /// The one-sided transfers that it serves, if any were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub one_sided: Option<OneSided>,
    /// The depth of the messages, if one was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub depth: Option<u16>,
}

/// The addresses of one side's listeners.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handles {
    /// One 128-byte handle per connection, in hexadecimal digits; none if this side receives nothing.
    pub connections: Vec<String>,
    /// The listener for raw sockets.
    pub raw: Option<RawHandle>,
    /// The address of this side's endpoint, in hexadecimal digits, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
}

/// The address of the listener for raw sockets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawHandle {
    /// The address to connect to.
    pub address: SocketAddr,
    /// The token to present there, in hexadecimal digits.
    pub token: String,
}

/// All connections of the speaker are up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// The time that this took.
    pub setup_us: u64,
}

/// A run begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// The kind of run.
    pub work: Work,
    /// The message's length.
    pub bytes: u64,
    /// The run's number, which is part of its data's pattern; of a burst the number of its first message.
    pub iteration: u64,
    /// The number of messages that go there and back, or of those of a burst; else 1.
    pub rounds: u64,
}

impl Begin {
    /// Returns the bytes of all messages.
    #[must_use]
    pub const fn all_bytes(&self) -> u64 {
        self.bytes.saturating_mul(self.rounds)
    }

    /// Returns each message of a burst as a run of its own, with its place in the buffer.
    pub fn messages(self) -> impl Iterator<Item = (u64, Self)> {
        let alone = move |n| (n * self.bytes, Self { iteration: self.iteration + n, rounds: 1, ..self });
        (0..self.rounds).map(alone)
    }
}

/// The kind of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Work {
    /// A transfer through the transport.
    Transfer,
    /// The same bytes over raw sockets.
    Raw,
}

/// A flow's sender has made the data that it will send.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Filled {
    /// The key of the server's region, in hexadecimal digits, where the client is to read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// A flow's receiver is ready, and its clock runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Go {
    /// The key of the server's region, in hexadecimal digits, where the client is to write it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// The counts of a flow's sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// Bytes handed to the transport and completed.
    pub bytes: u64,
    /// Chunks, likewise.
    pub chunks: u64,
    /// CPU time of the sender's process during the flow.
    pub cpu_ns: u64,
    /// Counters of the sender's sockets after the flow.
    pub tcp: Option<TcpCounters>,
}

/// The counts of a flow's receiver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The time from its Go to the last unpacked byte.
    pub time_ns: u64,
    /// Bytes that arrived.
    pub landed: u64,
    /// Bytes that are at their place.
    pub unpacked: u64,
    /// Chunks.
    pub chunks: u64,
    /// CPU time of the receiver's process during the flow.
    pub cpu_ns: u64,
    /// Whether the data is right; absent if it was not verified.
    pub verified: Option<bool>,
    /// The first byte that is wrong, in words.
    pub mismatch: Option<String>,
    /// The time of each message of a burst, from the post of its first receive to its last unpacked byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub message_times_ns: Vec<u64>,
}

/// The end of the measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {}

/// A side's account of itself once everything is done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SideReport {
    /// The most memory that the process had resident.
    pub peak_resident_bytes: u64,
    /// The congestion control in force on its data sockets.
    pub congestion: Option<String>,
    /// Counters of the data sockets.
    pub tcp: Option<TcpCounters>,
    /// Connections that were not ours.
    pub strays: u64,
    /// Warnings about this side.
    pub warnings: Vec<String>,
}

/// The kernel's counters of a side's data sockets, over the whole session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
pub struct TcpCounters {
    /// Packets sent again.
    pub retransmits: u64,
    /// The median smoothed round-trip time, in microseconds.
    pub rtt_us: u32,
    /// The median congestion window, in packets.
    pub cwnd_packets: u32,
}

/// The client has all it wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bye {}

/// The speaker gives up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Abort {
    /// A sentence.
    pub reason: Reason,
    /// Its exit code.
    pub code: u8,
}

impl Abort {
    /// Returns the message that tells the other side about a failure here.
    #[must_use]
    pub fn of(failure: &Failure) -> Self {
        Self { reason: Reason::new(&failure.to_string()), code: failure.exit_code() }
    }
}

/// Returns bytes as hexadecimal digits.
#[must_use]
pub fn to_hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Parses `N` bytes from hexadecimal digits; `None` if the text is not exactly that.
#[must_use]
pub fn from_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != 2 * N {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = (digit(pair[0])? * 16 + digit(pair[1])?) as u8;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use crate::session::Kind;

    use super::*;

    #[test]
    fn hexadecimal_digits_read_back() {
        let bytes: [u8; 4] = [0, 0x1f, 0xa0, 0xff];
        assert_eq!(to_hex(&bytes), "001fa0ff");
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(from_hex::<4>("001fa0f"), None);
        assert_eq!(from_hex::<4>("001fa0fg"), None);
        assert_eq!(from_hex::<2>("é0"), None);
    }

    #[test]
    fn every_reason_fits_its_frame() {
        for text in ["\u{1}", "\"", "\\", "\u{10ffff}", "a", "é\n"] {
            let reason = Reason::new(&text.repeat(5000));
            for bytes in [
                serde_json::to_vec(&Abort { reason: reason.clone(), code: 255 }).unwrap(),
                serde_json::to_vec(&Refuse { reason, busy: false }).unwrap(),
            ] {
                assert!(bytes.len() as u32 <= Kind::Abort.bytes_max() / 2, "{text:?}: {}", bytes.len());
            }
        }
    }
}
