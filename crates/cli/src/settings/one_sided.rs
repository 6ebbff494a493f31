//! One-sided transfers: as they are typed, as both ends agree on them, and the options that go with them.

use std::fmt;

use clap::Args;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    agreed::{MESSAGE_BYTES_MAX, Settings},
    asked::MeasureArgs,
    environment::Environment,
    kinds::{Flow, Transport},
    plugin::PluginArg,
    size::{parse_count, parse_size, show_size, within},
};
use crate::failure::Failure;

/// One-sided transfers as they are typed.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "One-sided transfers")]
pub struct OneSidedArgs {
    /// Measure one-sided transfers instead of messages: read from the server's memory, or write to it
    #[arg(long, value_name = "read|write", value_parser = Operation::parse)]
    pub op: Option<Operation>,
    /// Blocks of a transfer [default: 1024]
    #[arg(long, value_name = "N", value_parser = parse_blocks)]
    pub blocks: Option<u32>,
    /// Bytes of a block [default: 64K]
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    pub block_size: Option<u64>,
    /// Put the blocks at pseudo-random places of both ends, with room between them
    #[arg(long)]
    pub scatter: bool,
}

/// The operation of one-sided transfers; the client begins each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// The client reads the server's memory.
    Read,
    /// The client writes to the server's memory.
    Write,
}

/// One-sided transfers as both ends agree on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OneSided {
    /// The operation.
    pub op: Operation,
    /// The blocks of a transfer.
    pub blocks: u32,
    /// The bytes of a block.
    pub block_bytes: u64,
    /// Whether the blocks are at pseudo-random places of both ends, with room between them; else they are
    /// neighbours.
    pub scatter: bool,
}

impl Operation {
    /// Parses the name of an operation.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "read" => Ok(Self::Read),
            "write" => Ok(Self::Write),
            _ => Err("an operation is read or write".into()),
        }
    }

    /// Returns its name for several.
    #[must_use]
    pub const fn many(self) -> &'static str {
        match self {
            Self::Read => "reads",
            Self::Write => "writes",
        }
    }

    /// Returns the way of its data.
    #[must_use]
    pub const fn flow(self) -> Flow {
        match self {
            Self::Read => Flow::Backward,
            Self::Write => Flow::Forward,
        }
    }
}

impl OneSided {
    /// Returns the transfers that were asked for, if any were.
    ///
    /// # Errors
    /// [`Failure::Usage`] saying which option does not go with them.
    pub fn asked(asked: &MeasureArgs) -> Result<Option<Self>, Failure> {
        let args = &asked.one_sided;
        let Some(op) = args.op else {
            if args.blocks.is_some() || args.block_size.is_some() || args.scatter {
                return Err(Failure::Usage(
                    "--blocks, --block-size and --scatter say what a one-sided transfer moves: give --op read or --op write \
                     as well"
                        .into(),
                ));
            }
            return Ok(None);
        };
        if let Some(conflict) = conflict(asked) {
            return Err(Failure::Usage(conflict.into()));
        }
        let (blocks, block_bytes) = (args.blocks.unwrap_or(BLOCKS), args.block_size.unwrap_or(BLOCK_BYTES));
        let all = Self { op, blocks, block_bytes, scatter: args.scatter };
        if all.region_bytes() > MESSAGE_BYTES_MAX {
            return Err(Failure::Usage(format!(
                "{blocks} blocks of {} are beyond any memory: choose fewer or smaller ones",
                show_size(block_bytes)
            )));
        }
        Ok(Some(all))
    }

    /// Returns the bytes that a transfer moves.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.block_bytes.saturating_mul(self.blocks.into())
    }

    /// Returns the distance from the start of a block to that of the next place for one.
    #[must_use]
    pub const fn stride_bytes(&self) -> u64 {
        if self.scatter { self.block_bytes.saturating_mul(2) } else { self.block_bytes }
    }

    /// Returns the length of each end's region: all places, each with the room behind it.
    #[must_use]
    pub fn region_bytes(&self) -> u64 {
        self.stride_bytes().saturating_mul(self.blocks.into())
    }

    /// Returns as how many bytes the making and the verifying of a region count: a GPU does each block by a
    /// launch of its own.
    #[must_use]
    pub fn work_bytes(&self) -> u64 {
        self.region_bytes().saturating_mul(2).saturating_add(u64::from(self.blocks) * LAUNCH_BYTES)
    }

    /// Checks every number, and what must go with them: these came over the network.
    ///
    /// # Errors
    /// A sentence that says which is out of range.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), String> {
        within("the number of blocks", self.blocks, 1..=BLOCKS_MAX)?;
        within("the block size", self.block_bytes, 1..=MESSAGE_BYTES_MAX)?;
        within(
            "the length of all blocks, with the room between them",
            self.region_bytes(),
            1..=MESSAGE_BYTES_MAX,
        )?;
        let fits = settings.sizes == [self.bytes()]
            && settings.flow == self.op.flow()
            && settings.transport == Transport::Sockets
            && settings.channels == 1;
        if fits {
            return Ok(());
        }
        Err(format!(
            "a one-sided {} of {} bytes goes one way, over one connection of the built-in sockets",
            self.op,
            self.bytes()
        ))
    }
}

/// Returns the sentence about an option that does not go with `--op`, if there is one.
fn conflict(asked: &MeasureArgs) -> Option<&'static str> {
    let is_sized = asked.size.is_some() || asked.begin.is_some() || asked.end.is_some();
    let has_plugin = matches!(asked.plugin.plugin, Some(PluginArg::Of { .. }));
    let sentences = [
        (
            is_sized,
            "--op moves --blocks of --block-size, so a message size or a sweep has no meaning: drop one of the two",
        ),
        (
            asked.reverse || asked.bidir,
            "--op says which way the data goes, read to the client and write to the server: drop --reverse and --bidir",
        ),
        (
            asked.latency,
            "--latency sends messages there and back, which one-sided transfers do not: drop it, the columns p50 and p99 \
             have the time of a transfer",
        ),
        (has_plugin, "a NCCL net plugin has no one-sided transfers: drop --plugin or --op"),
        (
            asked.channels.is_some_and(|channels| channels > 1),
            "one-sided transfers use one connection each way: drop --channels, and raise --streams instead",
        ),
        (
            asked.chunk.is_some() || asked.window.is_some(),
            "one-sided transfers have chunks and windows of their own: drop --chunk and --window",
        ),
    ];
    sentences.into_iter().find_map(|(is_so, sentence)| is_so.then_some(sentence))
}

impl Environment {
    /// Fills in the one-sided transfers. The operation's variable counts only where no flag contradicts it.
    ///
    /// # Errors
    /// [`Failure::Usage`] naming the variable whose value is bad.
    pub(super) fn complete_one_sided(&self, args: &mut MeasureArgs) -> Result<(), Failure> {
        if conflict(args).is_none() {
            self.fill(&mut args.one_sided.op, &["GPUTCP_OP"], Operation::parse)?;
        }
        if args.one_sided.op.is_some() {
            self.fill(&mut args.one_sided.blocks, &["GPUTCP_BLOCKS"], parse_blocks)?;
            self.fill(&mut args.one_sided.block_size, &["GPUTCP_BLOCK_SIZE"], parse_size)?;
        }
        Ok(())
    }
}

impl From<Operation> for gputcp::onesided::Operation {
    fn from(op: Operation) -> Self {
        match op {
            Operation::Read => Self::Read,
            Operation::Write => Self::Write,
        }
    }
}

impl fmt::Display for Operation {
    /// Writes the name as JSON has it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

fn parse_blocks(text: &str) -> Result<u32, String> {
    parse_count(text, "blocks", 1, BLOCKS_MAX)
}

/// With blocks of [`BLOCK_BYTES`] as many bytes as a message has.
const BLOCKS: u32 = 1024;
/// A page of 16 tokens of a cache, for some models.
const BLOCK_BYTES: u64 = 64 << 10;
/// A list of that many is prepared in a moment, and checked in some seconds.
const BLOCKS_MAX: u32 = 1 << 20;
/// The bytes that are made or verified in the time of some launches, at 256 MiB a second.
const LAUNCH_BYTES: u64 = 32 << 10;

#[cfg(test)]
mod tests;
