//! The result of a run, and its check.

use crate::{end::End, settings::Settings};

/// The result of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// A hash over all events, in their order.
    pub trace: u64,
    /// The number of events.
    pub events: u64,
    /// The duration of the run, in virtual time.
    pub virtual_ns: u64,
    /// Whether the fault of the settings happened.
    pub fault_hit: bool,
    /// Whether at the end neither side held a slot or a buffer.
    pub is_idle: bool,
    /// Whether at the end nothing was on its way to the receiver.
    pub wires_empty: bool,
    /// The number of writes to buffers that a lane was working on (invariant I2).
    pub overwritten: u64,
    /// Bytes of finished sends.
    pub sent_bytes: u64,
    /// Bytes that came off the wires.
    pub landed_bytes: u64,
    /// Bytes that reached their destination.
    pub unpacked_bytes: u64,
    /// Bytes that were right at their destination.
    pub verified_bytes: u64,
    /// Messages that came before their receives.
    pub arrived_early: u64,
    /// Segments per data socket, as the sender counts.
    pub segments_sent: Vec<u64>,
    /// Segments per data socket, as the receiver counts.
    pub segments_received: Vec<u64>,
    /// The sender's outcome; `None` if it never ended.
    pub sender: Option<End>,
    /// The receiver's outcome; `None` if it never ended.
    pub receiver: Option<End>,
}

impl Report {
    /// Checks that all is as it must be after a run of these settings.
    ///
    /// # Errors
    /// A sentence about the first thing that is not.
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
        // The receiver is checked first: it must have everything before it agrees, so it never fails alone.
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

    /// Checks that sent = landed = unpacked = verified, and that nothing is left anywhere.
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
        // The last words of a sender that lost the receiver's goodbye may stay unread.
        if !self.wires_empty && self.sender == Some(End::Complete) {
            return Err("bytes are left on a wire".to_owned());
        }
        Ok(())
    }
}
