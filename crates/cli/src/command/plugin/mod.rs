//! `gputcp plugin`: what can be done with a NCCL net plugin besides moving data over it.

mod check;
mod check_side;

use crate::{
    args::{
        environment::Environment,
        plugin::{PluginArgs, PluginCommand},
    },
    failure::Failure,
    interrupt::Interrupt,
    output::Talk,
};

/// Runs the subcommand.
///
/// # Errors
/// What kept it from its end.
pub fn run(
    args: PluginArgs,
    environment: &Environment,
    interrupt: &Interrupt,
    talk: Talk,
) -> Result<(), Failure> {
    match args.command {
        PluginCommand::Check(args) => check::run(args, environment, interrupt, talk),
        PluginCommand::CheckSide(args) => check_side::run(&args),
    }
}
