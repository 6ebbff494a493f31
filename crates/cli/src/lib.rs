//! The `gputcp` command. Two processes find each other ([`bootstrap`]), move messages and time them
//! ([`measure`]), and report the results ([`report`]).
//!
//! The way of a command: [`args`] (the command line) → [`settings`] (the agreement of both ends) →
//! [`bootstrap`] → [`measure`] → [`report`] → [`output`]. [`conformance`] is the report of checking a
//! plugin, [`doctor`] that of looking at this machine. [`host`] knows this machine, [`interrupt`] is
//! Ctrl-C, [`failure`] the exit codes, [`version`] the build.

#![forbid(unsafe_code)]

pub mod args;
pub mod bootstrap;
pub mod command;
pub mod conformance;
pub mod doctor;
pub mod failure;
pub mod host;
pub mod interrupt;
pub mod measure;
pub mod output;
pub mod printable;
pub mod report;
pub mod session;
pub mod settings;
pub mod version;

use std::process::ExitCode;

use clap::Parser as _;

use self::{
    args::{Cli, Command, PluginCommand, talk::TalkArgs},
    failure::Failure,
    interrupt::Interrupt,
    output::{Output, Talk},
    settings::{agreed::DEFAULT_TIMEOUT, environment::Environment},
};

/// Runs the command: parses the command line, performs it, and turns its end into an exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let TalkArgs { quiet, verbose } = match &cli.command {
        Command::Loopback(args) => args.talk,
        Command::Server(args) => args.talk,
        Command::Client(args) => args.talk,
        Command::Doctor(args) => args.talk,
        Command::Plugin(command) => command.talk(),
    };
    let talk = Talk::new(quiet, verbose);
    let code = match run(cli.command, talk) {
        Ok(()) => 0,
        Err(failure) => {
            talk.error(&failure);
            failure.exit_code()
        }
    };
    // A plugin's output at the end of its process would come behind the result; the plugin may also hang or
    // crash there.
    if host::plugin::is_here() {
        gputcp_nccl_drive::leave(code.into());
    }
    ExitCode::from(code)
}

fn run(command: Command, talk: Talk) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::Run(format!("could not watch for signals: {error}"));
    let interrupt = Interrupt::new().map_err(failed)?;
    interrupt.watch_signals().map_err(failed)?;
    let environment = Environment::of_process();
    if matches!(command, Command::Loopback(_) | Command::Server(_) | Command::Client(_)) {
        host::trace::begin(&environment, talk)?;
    }
    match command {
        Command::Loopback(args) => command::loopback::run(args, &environment, &interrupt, talk),
        Command::Server(args) => command::server::run(args, &environment, &interrupt, talk),
        Command::Client(args) => command::client::run(args, &environment, &interrupt, talk),
        Command::Doctor(args) => command::doctor::run(&args, &interrupt),
        Command::Plugin(PluginCommand::List(args)) => command::plugin::list(&args, &interrupt, talk),
        Command::Plugin(PluginCommand::Check(args)) => {
            command::plugin::check::run(args, &environment, &interrupt, talk)
        }
        Command::Plugin(PluginCommand::CheckSide(args)) => command::plugin::check_side::run(&args),
    }
}

/// Prints the parser's message: help and version are results, the rest is a usage error.
fn explain(error: &clap::Error) -> ExitCode {
    let talk = Talk::new(false, 0);
    let text = error.render().to_string();
    if error.use_stderr() {
        talk.pass_on(text.trim_end());
        return ExitCode::from(Failure::Usage(String::new()).exit_code());
    }
    match (Output { timeout: DEFAULT_TIMEOUT }).print(&text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            talk.error(&failure);
            ExitCode::from(failure.exit_code())
        }
    }
}
