//! The subcommands.

pub mod client;
pub mod doctor;
pub mod loopback;
pub mod plugin;
pub mod server;

use crate::{
    bootstrap::{connect::Destination, message::Hello},
    failure::Failure,
    host::identity::Identity,
    interrupt::Interrupt,
    measure::{client::Measurement, damage::Damage, memory::Proposal},
    output::Output,
    report::printer::Printer,
    settings::request::MeasureRequest,
};

/// Returns this process's introduction.
fn hello() -> Hello {
    Hello { version: env!("CARGO_PKG_VERSION").into(), identity: Identity::of_this_host(), challenge: None }
}

/// Greets the server, and makes the measurement with it.
fn measure(
    command: &'static str,
    request: &MeasureRequest,
    proposal: Proposal,
    destination: &Destination,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    let hello = hello();
    let (link, theirs) = destination.greet(&hello, interrupt)?;
    Measurement {
        command,
        request,
        proposal,
        here: hello.identity,
        there: theirs.identity,
        printer: Printer { output: Output { timeout: destination.timeout }, format: request.format },
        talk: destination.talk,
        damage: Damage { iteration: request.asked.damage },
    }
    .make(link)
}
