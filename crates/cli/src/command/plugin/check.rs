//! `gputcp plugin check`: performs the checks one after another, so that none disturbs another's waits.

use std::{io::IsTerminal as _, time::Instant};

use gputcp_gpu::Device;
use gputcp_nccl_check::{
    Check, Outcome,
    checks::all,
    pair::{Broken, Checker},
    probe::{PROBE, Unfit},
};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::check_side;
use crate::{
    args::check::CheckArgs,
    conformance::{self, CheckedPlugin, Report, Row, page, table},
    failure::Failure,
    interrupt::Interrupt,
    output::{Output, Talk},
    report::json,
    settings::{
        Memory, agreed::DEFAULT_TIMEOUT, environment::Environment, memory::MemoryArg, plugin::PluginArg,
    },
};

/// Runs the subcommand.
///
/// # Errors
/// What kept it from its end, or that checks failed.
pub fn run(
    mut args: CheckArgs,
    environment: &Environment,
    interrupt: &Interrupt,
    talk: Talk,
) -> Result<(), Failure> {
    environment.complete_check(&mut args)?;
    let output = Output { timeout: DEFAULT_TIMEOUT };
    let chosen =
        |check: &&'static Check| args.only.is_empty() || args.only.iter().any(|only| only.id == check.id);
    let checks: Vec<&'static Check> = all().filter(chosen).collect();
    if args.list {
        return output.print(&match (args.json, args.markdown) {
            (true, _) => json::document(&conformance::list(&checks)),
            (false, true) => page::page(&checks),
            (false, false) => table::list(&checks),
        });
    }
    let Some(PluginArg::Of { name, version }) = args.plugin else {
        return Err(Failure::Usage("there is nothing to check: name a plugin".into()));
    };
    let limit = args.timeout.unwrap_or(conformance::DEFAULT_LIMIT);
    let gpu = gpu(args.memory);
    let checker =
        Checker { plugin: name.clone(), version, dev: args.device, gpu, limit, start: check_side::command };
    let go_on = || !interrupt.fired();
    let began = Instant::now();
    let print = |report: &Report| {
        output.print(&if args.json { json::document(report) } else { table::report(report) })
    };
    let probed = match checker.probe(go_on).map_err(broken)? {
        Ok(probed) => probed,
        Err(Unfit::NoPlugin(why)) => {
            return Err(Failure::Usage(format!("there is nothing to check: {why}")));
        }
        Err(Unfit::NoStart(why)) => {
            let mut report = Report::new(CheckedPlugin::unknown(name.clone(), args.device), limit);
            report.add(Row::new(&PROBE, &Outcome::Fail(why.clone()), began.elapsed()));
            report.took_s = began.elapsed().as_secs_f64();
            print(&report)?;
            return Err(Failure::Run(format!("the plugin {name} does not start: {why}")));
        }
    };
    let mut report = Report::new(CheckedPlugin::new(name, &probed, args.device), limit);
    let progress = progress(talk, checks.len());
    let mut failed = Vec::new();
    for &check in &checks {
        progress.set_message(check.id);
        let since = Instant::now();
        match checker.check(check, probed.version, &failed, go_on) {
            Ok(outcome) => {
                if matches!(outcome, Outcome::Fail(_)) {
                    failed.push(check.id);
                }
                report.add(Row::new(check, &outcome, since.elapsed()));
            }
            Err(Broken::Stopped) => {
                report.interrupted = true;
                break;
            }
            Err(error) => return Err(broken(error)),
        }
        progress.inc(1);
    }
    progress.finish_and_clear();
    report.took_s = began.elapsed().as_secs_f64();
    print(&report)?;
    interrupt.check()?;
    match report.failed {
        0 => Ok(()),
        count => Err(Failure::Run(format!("{count} of {} checks failed", report.results.len()))),
    }
}

/// Returns the GPU whose memory is used, as the checker calls it.
fn gpu(asked: Option<MemoryArg>) -> Option<String> {
    let first = || "0".to_owned();
    match asked {
        None => (Device::count() > 0).then(first),
        Some(MemoryArg { kind: Memory::Host, .. }) => None,
        Some(MemoryArg { kind: Memory::Soft, .. }) => Some("soft".into()),
        Some(MemoryArg { kind: Memory::Cuda, gpu }) => {
            Some(gpu.map_or_else(first, |selector| selector.as_str().to_owned()))
        }
    }
}

fn broken(error: Broken) -> Failure {
    match error {
        Broken::System(error) => Failure::Run(format!("could not run the processes of a check: {error}")),
        Broken::Stopped => Failure::Interrupted,
    }
}

fn progress(talk: Talk, checks: usize) -> ProgressBar {
    let visible = std::io::stderr().is_terminal() && !talk.is_quiet();
    let target = if visible { ProgressDrawTarget::stderr_with_hz(5) } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(Some(checks as u64), target);
    if let Ok(style) = ProgressStyle::with_template("{wide_bar} {pos}/{len} {msg:36}") {
        bar.set_style(style);
    }
    bar
}
