//! The kinds that a session chooses between: of memory, of unpacking, of carriers, of directions.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The kind of memory that is moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Memory {
    /// Plain host memory, received in place.
    Host,
    /// The software GPU's.
    Soft,
    /// A GPU's.
    Cuda,
}

/// The way a received chunk reaches its destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Unpack {
    /// One launch per chunk over its fragments.
    Kernel,
    /// A copy per fragment.
    Copy,
    /// Gathered on the CPU, then one copy.
    Host,
    /// No unpack: the destination is host memory, received in place.
    None,
    /// No unpack: a plugin writes to the destination itself.
    #[serde(rename = "in-place")]
    InPlace,
}

/// The carrier of the data.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// The built-in transport.
    #[default]
    Sockets,
    /// A NCCL net plugin on either end.
    Plugin,
}

/// The way that the messages go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Flow {
    /// Client to server.
    Forward,
    /// Server to client.
    Backward,
    /// Both at once.
    Both,
    /// There and back, one after the other.
    RoundTrip,
}

impl Memory {
    /// Parses the name of a kind.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "host" => Ok(Self::Host),
            "soft" => Ok(Self::Soft),
            "cuda" => Ok(Self::Cuda),
            _ => Err("memory is host, soft, cuda, or cuda: and a GPU".into()),
        }
    }
}

impl Unpack {
    /// Parses the name of a mode.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "kernel" => Ok(Self::Kernel),
            "copy" | "d2d" => Ok(Self::Copy),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err("unpacking is done by kernel, copy (or d2d), host, or none".into()),
        }
    }
}

impl Flow {
    /// Returns whether the client sends.
    #[must_use]
    pub const fn forward(self) -> bool {
        !matches!(self, Self::Backward)
    }

    /// Returns the number of directions in which a side moves data.
    #[must_use]
    pub const fn directions(self) -> u64 {
        match self {
            Self::Forward | Self::Backward => 1,
            Self::Both | Self::RoundTrip => 2,
        }
    }

    /// Returns whether the server sends.
    #[must_use]
    pub const fn backward(self) -> bool {
        !matches!(self, Self::Forward)
    }
}

impl fmt::Display for Memory {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Unpack {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl fmt::Display for Transport {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}
