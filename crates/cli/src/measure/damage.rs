//! Damage done on purpose: after the data was made and before it is sent, or to a read that has come. It
//! shows that verification sees a single wrong bit.

use gputcp_gpu::Buffer;

use crate::{
    bootstrap::message::{Begin, Work},
    failure::Failure,
};

/// The message to damage, if any.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Damage {
    /// The message's iteration number.
    pub iteration: Option<u64>,
}

impl Damage {
    /// Flips one bit at `at`, if this is the message.
    ///
    /// # Errors
    /// If the buffer is in use.
    pub fn apply(self, buffer: &Buffer, at: u64, begin: &Begin) -> Result<(), Failure> {
        if self.iteration != Some(begin.iteration) || begin.work == Work::Raw {
            return Ok(());
        }
        let Some(view) = buffer.host_view() else { return Ok(()) };
        let mut byte = [0];
        let claimed = |error: gputcp_gpu::ClaimError| Failure::Run(error.to_string());
        view.read(at, 1).map_err(claimed)?.copy_to(0, &mut byte);
        view.write(at, 1).map_err(claimed)?.copy_from(0, &[byte[0] ^ 0x10]);
        Ok(())
    }
}
