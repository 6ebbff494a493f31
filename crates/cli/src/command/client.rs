//! `gputcp client HOST`: measures between this machine and a server.

use crate::session::Role;

use super::hello;
use crate::{
    args::ClientArgs,
    bootstrap::{DEFAULT_PORT, connect::Destination},
    failure::Failure,
    host::usage::available_memory_bytes,
    interrupt::Interrupt,
    measure::{client::Measurement, damage::Damage, memory::Proposal},
    output::{Output, Talk},
    report::printer::Printer,
    settings::{environment::Environment, request::MeasureRequest},
};

/// Runs the subcommand.
///
/// # Errors
/// What kept it from its end.
pub fn run(
    mut args: ClientArgs,
    environment: &Environment,
    interrupt: &Interrupt,
    talk: Talk,
) -> Result<(), Failure> {
    environment.complete_network(&mut args.network)?;
    let damage = Damage { iteration: args.measure.damage };
    let request = MeasureRequest::new(args.measure, environment)?;
    let port = args.network.port.unwrap_or(DEFAULT_PORT);
    if port == 0 {
        return Err(Failure::Usage(
            "a client needs to know the server's port, which is never 0: correct --port".into(),
        ));
    }
    let timeout = request.settings.timeout();
    let proposal = Proposal::of(&request, talk)?;
    let available = available_memory_bytes();
    proposal.settings.check_memory("this host", &[Role::Client], available).map_err(Failure::Usage)?;
    let key = environment.key(&args.network, talk)?;
    let destination = Destination {
        host: args.host,
        port,
        bind: args.network.bind,
        family: args.network.family.into(),
        timeout,
        key,
        talk,
    };
    let hello = hello();
    let (link, theirs) = destination.greet(&hello, interrupt)?;
    Measurement {
        command: "client",
        request: &request,
        proposal,
        here: hello.identity,
        there: theirs.identity,
        printer: Printer { output: Output { timeout }, format: request.format },
        talk,
        damage,
    }
    .make(link)
}
