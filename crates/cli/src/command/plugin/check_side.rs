//! `gputcp plugin check-side`: one side of a check. `gputcp plugin check` starts it.

use std::process::Command;

use gputcp_nccl_check::side::{self, Side};

use crate::{args::check::CheckSideArgs, failure::Failure};

/// Performs the side's part.
///
/// # Errors
/// [`Failure::Usage`] if it was not started by the checker.
pub fn run(args: &CheckSideArgs) -> Result<(), Failure> {
    let side = Side {
        check: args.check,
        sends: args.sends,
        plugin: args.plugin.clone(),
        version: args.version,
        dev: args.device,
        gpu: args.gpu.clone(),
        limit: args.limit,
        journal: args.journal.clone(),
    };
    match side::run(&side) {
        Err(why) => Err(Failure::Usage(format!("{why}: this is started by gputcp plugin check"))),
    }
}

/// Returns the command that performs a side.
pub(super) fn command(side: &Side) -> Command {
    use std::os::unix::process::CommandExt as _;
    let mut command = Command::new("/proc/self/exe");
    command.arg0("gputcp").args(["plugin", "check-side", "--device", &side.dev.to_string()]);
    command.arg("--limit").arg(side.limit.as_secs_f64().to_string());
    if let Some(version) = side.version {
        command.arg("--version").arg(version.to_string());
    }
    if let Some(gpu) = &side.gpu {
        command.arg("--gpu").arg(gpu);
    }
    if side.sends {
        command.arg("--sends");
    }
    command.args(["--", side.check.id, &side.plugin]).arg(&side.journal);
    // Ctrl-C in the terminal goes to the parent, which ends its sides.
    command.process_group(0);
    command
}
