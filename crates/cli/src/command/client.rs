//! `gputcp client HOST`: measures between this machine and a server.

use crate::session::Role;

use super::measure;
use crate::{
    args::ClientArgs,
    bootstrap::{DEFAULT_PORT, connect::Destination},
    failure::Failure,
    host::usage::available_memory_bytes,
    interrupt::Interrupt,
    measure::memory::Proposal,
    output::Talk,
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
    measure("client", &request, proposal, &destination, interrupt)
}
