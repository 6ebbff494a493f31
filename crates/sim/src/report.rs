//! What came out of a run, and what must hold of it.

use crate::{end::End, settings::Settings};

/// What came out of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash over all that happened, in its order.
    pub trace: u64,
    /// How many events there were.
    pub events: u64,
    /// How long it took, in virtual time.
    pub virtual_ns: u64,
    /// Whether the fault of the settings happened.
    pub fault_hit: bool,
    /// Whether at the end neither side held a slot or a buffer.
    pub is_idle: bool,
    /// Whether at the end nothing was on its way to the receiver.
    pub wires_empty: bool,
    /// How often a buffer was written that a lane was working on (invariant I2).
    pub overwritten: u64,
    /// Bytes of finished sends.
    pub sent_bytes: u64,
    /// Bytes that came off the wires.
    pub landed_bytes: u64,
    /// Bytes that reached their destination.
    pub unpacked_bytes: u64,
    /// Bytes that were right there.
    pub verified_bytes: u64,
    /// Messages that came before their receives.
    pub arrived_early: u64,
    /// Segments per data socket, as the sender counts.
    pub segments_sent: Vec<u64>,
    /// Segments per data socket, as the receiver counts.
    pub segments_received: Vec<u64>,
    /// How the sender ended; `None` if it never did.
    pub sender: Option<End>,
    /// How the receiver ended; `None` if it never did.
    pub receiver: Option<End>,
}

impl Report {
    /// Whether all is as it must be after a run of these settings.
    ///
    /// # Errors
    /// What is not.
    pub fn check(&self, settings: &Settings) -> Result<(), String> {
        let (Some(sender), Some(receiver)) = (&self.sender, &self.receiver) else {
            return Err("an end waits for ever".to_owned());
        };
        if self.overwritten > 0 {
            return Err(format!(
                "{} times a buffer was written that a lane was working on",
                self.overwritten
            ));
        }
        let complete = |end: &End| *end == End::Complete;
        // The receiver is asked first: it must have everything before it agrees, so it never fails alone.
        if complete(sender) && !complete(receiver) {
            return Err("the sender is complete, the receiver is not".to_owned());
        }
        if complete(receiver) {
            self.reconcile(settings)?;
        }
        if !self.fault_hit && !complete(sender) {
            return Err("it failed without a fault".to_owned());
        }
        Ok(())
    }

    /// Sent = landed = unpacked = verified, and nothing is left anywhere.
    fn reconcile(&self, settings: &Settings) -> Result<(), String> {
        let asked: u64 = settings.messages.iter().sum();
        for (name, bytes) in [
            ("sent", self.sent_bytes),
            ("landed", self.landed_bytes),
            ("unpacked", self.unpacked_bytes),
            ("verified", self.verified_bytes),
        ] {
            if bytes != asked {
                return Err(format!("{asked} bytes were to be sent, {bytes} were {name}"));
            }
        }
        if self.segments_sent != self.segments_received {
            return Err("segments were lost or made up".to_owned());
        }
        if !self.is_idle {
            return Err("a slot, a buffer or a lane is still in use".to_owned());
        }
        // A sender that lost the receiver's goodbye may have said so to nobody.
        if !self.wires_empty && self.sender == Some(End::Complete) {
            return Err("bytes are left on a wire".to_owned());
        }
        Ok(())
    }
}
