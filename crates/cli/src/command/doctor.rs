//! `gputcp doctor`: looks at this machine, and says what keeps it from being fast. Changes nothing.

use crate::{
    args::doctor::DoctorArgs,
    doctor::{
        Report, cpu::Cpu, export::Export, gpu::Gpus, interfaces::Interfaces, limits::Limits,
        loopback::Loopback, nixl::Nixl, tcp::Tcp,
    },
    failure::Failure,
    host::identity::Identity,
    interrupt::Interrupt,
    output::Output,
    report::json,
    settings::agreed::DEFAULT_TIMEOUT,
};

/// Runs the subcommand. Problems that are found are results, no failure.
///
/// # Errors
/// If the report cannot be written, or the user pressed Ctrl-C.
pub fn run(args: &DoctorArgs, interrupt: &Interrupt) -> Result<(), Failure> {
    let output = Output { timeout: DEFAULT_TIMEOUT };
    if args.nccl {
        return output.print(&Export::look().lines());
    }
    if args.nixl {
        return output.print(&Nixl::look().lines());
    }
    // libcuda writes to stdout what it likes.
    Output::keep_stdout()?;
    let (cpu, interfaces) = (Cpu::look(), Interfaces::look());
    let mut findings = cpu.judge();
    findings.extend(Gpus::look().judge());
    findings.extend(interfaces.judge());
    findings.extend(Tcp::look(interfaces.fastest_mbit()).judge());
    findings.extend(Limits::look().judge());
    interrupt.check()?;
    findings.extend(Loopback::measure(cpu.usable).judge());
    interrupt.check()?;
    let report = Report::new(Identity::of_this_host().host, findings);
    output.print(&if args.json { json::document(&report) } else { report.text() })
}
