//! One side of a check, in a process of its own: it loads the plugin and does its part.
//!
//! The side tells its end to the parent on the pipe that was its stdout. It leaves without cleaning up: the
//! plugin may still hold its memory.

use std::{
    convert::Infallible,
    fs::File,
    io::Write as _,
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::{Duration, Instant},
};

use gputcp_nccl_drive::leave;

use crate::{
    bench::BenchPlugin,
    checks::{Check, Run},
    journal::{Journal, number_this_thread},
    link::Link,
    logger,
    meeting::Bench,
    outcome::{Told, Word},
    raw::Raw,
    stop::Seen,
};

/// The task of a side.
#[derive(Debug, Clone)]
pub struct Side {
    /// The check.
    pub check: &'static Check,
    /// Whether this side connects.
    pub sends: bool,
    /// The plugin's path or name.
    pub plugin: String,
    /// The version to check; without one, the newest.
    pub version: Option<u32>,
    /// The device.
    pub dev: u32,
    /// The GPU whose memory is used: `soft`, or a real one's name.
    pub gpu: Option<String>,
    /// The time after which the side gives up.
    pub limit: Duration,
    /// The file that the side notes its calls in.
    pub journal: PathBuf,
}

/// Does a side's part, with the link to the other side on stdin and the pipe to the parent on stdout.
///
/// Ends the process without the plugin's exit handlers: they would run after the verdict.
///
/// # Errors
/// A sentence, if the parent did not provide what a side needs.
pub fn run(side: &Side) -> Result<Infallible, String> {
    // A side without its parent, which may end with its terminal, has no reader.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let failed = |what: &str| format!("{what} is not what a check's process is given");
    // The plugin's own output must not be taken for the verdict.
    let told = rustix::io::dup(rustix::stdio::stdout()).map_err(|_| failed("stdout"))?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).map_err(|_| failed("stderr"))?;
    let link = rustix::stdio::stdin().as_fd().try_clone_to_owned().map_err(|_| failed("stdin"))?;
    let journal = Journal::open(&side.journal).map_err(|_| failed("the journal"))?;
    number_this_thread(0);
    logger::note_in(journal.clone());
    let deadline = Instant::now() + side.limit;
    let told_to = File::from(told);
    let told = match journal.call("load", || Raw::load(&side.plugin, side.version)) {
        Ok(raw) => {
            let plugin = BenchPlugin::new(raw, side.dev, side.gpu.clone(), deadline, journal);
            Told::from(perform(side, plugin, link, deadline))
        }
        Err(seen) => Told::now(Word::Unloadable, seen),
    };
    let told = (&told_to).write_all(told.encode().as_bytes());
    told.map_err(|_| failed("stdout"))?;
    leave(0)
}

fn perform(side: &Side, mut plugin: BenchPlugin, link: OwnedFd, deadline: Instant) -> Seen {
    match side.check.run {
        Run::Alone(run) => run(&mut plugin),
        Run::Pair { receiving, sending } => {
            plugin.init()?;
            let link = Link::new(link, deadline, plugin.clone());
            let mut bench = Bench { plugin, link };
            let seen = if side.sends { sending(&mut bench) } else { receiving(&mut bench) };
            // The link stays open until the other side has read everything.
            std::mem::forget(bench);
            seen
        }
    }
}
