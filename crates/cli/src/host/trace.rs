//! The process's trace: the file that the variable `GPUTCP_TRACE` names, for the life of each message.

use std::sync::OnceLock;

use gputcp::Trace;

use crate::{failure::Failure, output::Talk, settings::environment::Environment};

/// Begins the trace, if the variable asks for one.
///
/// # Errors
/// [`Failure::Usage`] if its file cannot be made.
pub fn begin(environment: &Environment, talk: Talk) -> Result<(), Failure> {
    let Some(path) = environment.get(Trace::VARIABLE) else { return Ok(()) };
    let failed = |error| Failure::Usage(format!("{error} (the variable {})", Trace::VARIABLE));
    let trace = Trace::to_file(path).map_err(failed)?;
    talk.note(&format!("the life of each message is written to {}", trace.path().display()));
    // A process runs one command.
    let _ = TRACE.set(trace);
    Ok(())
}

/// Returns the trace, if one has begun.
#[must_use]
pub fn of_process() -> Option<&'static Trace> {
    TRACE.get()
}

static TRACE: OnceLock<Trace> = OnceLock::new();
