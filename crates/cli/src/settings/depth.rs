//! Messages in flight, and the bursts by which they are measured: how long these are, and what does not go
//! with them.

use super::{
    agreed::Settings,
    asked::MeasureArgs,
    kinds::Flow,
    size::{Windows, parse_count, within},
};
use crate::failure::Failure;

impl Settings {
    /// Returns how many messages a run of `bytes` each has: 1, or those of a burst. A burst is long enough to
    /// make its start cheap. Each of its messages has its own place, so that all of them can be verified.
    #[must_use]
    pub fn messages(&self, bytes: u64) -> u64 {
        match self.depth {
            0 | 1 => 1,
            depth => {
                let blocks = self.one_sided.map_or(1, |one_sided| u64::from(one_sided.blocks.max(1)));
                let most = (BURST_BYTES / bytes.max(1)).min(BLOCKS_MAX / blocks);
                most.clamp(depth.into(), MESSAGES_MAX)
            }
        }
    }

    /// Returns whether bursts are measured in the place of single messages.
    #[must_use]
    pub const fn has_bursts(&self) -> bool {
        self.depth > 1
    }

    /// Returns the name of what is timed, for several.
    #[must_use]
    pub const fn many(&self) -> &'static str {
        if self.has_bursts() { "bursts" } else { self.many_alone() }
    }

    /// Returns the name of what is timed or what bursts are of, for several.
    #[must_use]
    pub const fn many_alone(&self) -> &'static str {
        match (self.one_sided, self.flow) {
            (Some(one_sided), _) => one_sided.op.many(),
            (None, Flow::RoundTrip) => "round trips",
            (None, _) => "messages",
        }
    }

    /// Checks the depth, and what must go with it: it came over the network.
    ///
    /// # Errors
    /// A sentence that says what is out of range.
    pub(super) fn check_depth(&self) -> Result<(), String> {
        within("the depth", self.depth, 1..=DEPTH_MAX)?;
        if self.has_bursts() && self.flow == Flow::RoundTrip {
            return Err("round trips have one message in flight".into());
        }
        if let Some(one_sided) = &self.one_sided {
            let blocks = one_sided.blocks;
            if u64::from(blocks) * u64::from(self.depth) > BLOCKS_MAX {
                return Err(format!(
                    "{} transfers of {blocks} blocks in flight are more than {BLOCKS_MAX} blocks: lower --depth, or --blocks",
                    self.depth
                ));
            }
            return Ok(());
        }
        let window = self.send_window.min(self.recv_window);
        if self.has_bursts() && window < chunks(self.depth, self.channels) {
            return Err(format!(
                "{} messages in flight are at least as many chunks, and a window of {window} has fewer: raise --window \
                 (GPUTCP_WINDOW), or lower --depth",
                self.depth
            ));
        }
        Ok(())
    }
}

/// Returns the depth that was asked for.
///
/// # Errors
/// [`Failure::Usage`] saying which option does not go with it.
pub(super) fn asked(asked: &MeasureArgs) -> Result<u16, Failure> {
    match (asked.depth.unwrap_or(1), conflict(asked)) {
        (depth @ 2.., Some(sentence)) => Err(Failure::Usage(sentence.replace("{depth}", &depth.to_string()))),
        (depth, _) => Ok(depth),
    }
}

/// Returns the sentence about an option that does not go with a depth above 1, if there is one.
pub(super) fn conflict(asked: &MeasureArgs) -> Option<&'static str> {
    asked.latency.then_some(
        "--latency waits for each answer before it sends again, so --depth {depth} has no meaning: drop one of the two",
    )
}

/// Returns the windows with which so many messages are in flight, as far as `most` allows.
pub(super) fn windows(Windows { send, recv }: Windows, depth: u16, channels: u16, most: u16) -> Windows {
    let least = chunks(depth, channels).min(most);
    Windows { send: send.max(least), recv: recv.max(least) }
}

/// Parses a depth.
///
/// # Errors
/// A sentence that says which there are.
pub(super) fn parse_depth(text: &str) -> Result<u16, String> {
    parse_count(text, "messages in flight", 1, u32::from(DEPTH_MAX)).map(|count| count as u16)
}

/// Returns how many chunks of each connection are in flight where each message is one.
fn chunks(depth: u16, channels: u16) -> u16 {
    depth.div_ceil(channels.max(1))
}

/// Returns the depth, and the length of a burst, where an older program names none.
pub(crate) fn one<T: From<u8>>() -> T {
    T::from(1)
}

/// The most messages in flight: every transport has as many requests (NCCL's plugins of old versions 16).
const DEPTH_MAX: u16 = 16;
/// The bytes of a burst. The start of one costs a round trip and what the rings hold: of 1 GiB it is a
/// hundredth on the fastest links known.
const BURST_BYTES: u64 = 1 << 30;
/// The most blocks of a burst of one-sided transfers, whose lists are prepared and kept: some hundred MB.
const BLOCKS_MAX: u64 = 1 << 20;
/// The most messages of a burst: short ones are over in a moment, and each is made and verified for itself.
const MESSAGES_MAX: u64 = 256;

#[cfg(test)]
mod tests;
