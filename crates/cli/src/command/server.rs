//! `gputcp server`: serves clients one after another until interrupted. A failed one is reported, and the
//! next accepted.

use std::time::{Duration, Instant};

use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use super::hello;
use crate::{
    args::ServerArgs,
    bootstrap::{DEFAULT_PORT, acceptor::Acceptor, link::Link},
    failure::Failure,
    host::plugin::NetPlugin,
    interrupt::Interrupt,
    measure::server::{Served, serve},
    output::{Output, Talk},
    settings::{agreed::DEFAULT_TIMEOUT, environment::Environment},
};

/// Runs the subcommand.
///
/// # Errors
/// What ended it: with `--once`, what the one client's session failed for.
pub fn run(
    mut args: ServerArgs,
    environment: &Environment,
    interrupt: &Interrupt,
    talk: Talk,
) -> Result<(), Failure> {
    if let Some(parent) = args.child_of {
        belong_to(parent)?;
    }
    environment.complete_network(&mut args.network)?;
    environment.complete_plugin(&mut args.plugin)?;
    let plugin = NetPlugin::open(&args.plugin, args.timeout.unwrap_or(DEFAULT_TIMEOUT), talk)?;
    let port = args.network.port.unwrap_or(DEFAULT_PORT);
    let key = match args.child_of {
        Some(_) => environment.session_key()?,
        None => environment.key(&args.network, talk)?,
    };
    let is_open = key.is_none();
    let acceptor = Acceptor::open(args.network.bind.as_ref(), args.network.family.into(), port, key)?;
    let address = acceptor.address();
    if args.child_of.is_some() {
        Output { timeout: DEFAULT_TIMEOUT }.print(&format!("{}\n", address.port()))?;
    } else {
        talk.note(&format!("listening at {address}; end with Ctrl-C"));
        if is_open && !address.ip().is_loopback() {
            talk.warn(
                "everyone who reaches this port can run measurements here; give both ends a --key-file, or bind to a trusted \
                 interface with --bind",
            );
        }
    }
    // A parent that does not call is gone.
    let limit = args.child_of.map(|_| Instant::now() + DEFAULT_TIMEOUT);
    let hello = hello();
    loop {
        let outcome = match acceptor.next(&hello, interrupt, limit) {
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(failure) => Err(failure),
            Ok((link, _)) => session(link, args.timeout, plugin.as_ref(), &acceptor, talk),
        };
        if args.once || outcome == Err(Failure::Interrupted) {
            return outcome;
        }
        if let Err(failure) = outcome {
            talk.error(&failure);
        }
    }
}

fn session(
    mut link: Link,
    timeout: Option<Duration>,
    plugin: Option<&NetPlugin>,
    acceptor: &Acceptor,
    talk: Talk,
) -> Result<(), Failure> {
    let before = acceptor.strays();
    let Served { messages, received, sent } =
        serve(&mut link, timeout, plugin, || acceptor.strays() - before)?;
    let peer = link.peer().to_owned();
    drop(link);
    let mut moved = Vec::new();
    for (bytes, what) in [(received, "received"), (sent, "sent")] {
        if bytes > 0 {
            moved.push(format!("{:.3} GB {what}", bytes as f64 / 1e9));
        }
    }
    let strays = match acceptor.strays() {
        0 => String::new(),
        count => format!("; {count} stray connections dropped so far"),
    };
    talk.note(&format!("served {peer}: {messages} messages, {}{strays}", moved.join(", ")));
    Ok(())
}

/// Ends with the parent, whatever happens to it.
fn belong_to(parent: i32) -> Result<(), Failure> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| Failure::Run(format!("could not tie this process to its parent: {error}")))?;
    // It may have ended before that.
    if getppid().map(rustix::process::Pid::as_raw_pid) == Some(parent) {
        Ok(())
    } else {
        Err(Failure::Run(format!("the parent process {parent} is gone")))
    }
}
