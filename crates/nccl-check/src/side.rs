//! One side of a check, in a process of its own: it loads the plugin, does its part, and tells the parent on the pipe that
//! was its stdout how it ended. It leaves without cleaning up: the plugin may still hold its memory.

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
    bench::Plugin,
    checks::{Check, Run},
    journal::{Journal, number_this_thread},
    link::Link,
    logger,
    meeting::Bench,
    outcome::{Told, Word},
    raw::Raw,
    stop::Seen,
};

/// What a side is to do.
#[derive(Debug, Clone)]
pub struct Side {
    /// The check.
    pub check: &'static Check,
    /// Whether it is the one that connects.
    pub sends: bool,
    /// The plugin's path or name.
    pub plugin: String,
    /// The version to check; the newest without.
    pub version: Option<u32>,
    /// The device.
    pub dev: u32,
    /// The GPU whose memory is used: `soft`, or a real one's name.
    pub gpu: Option<String>,
    /// How long it may take before it gives up.
    pub limit: Duration,
    /// Where it writes what it calls.
    pub journal: PathBuf,
}

/// Does a side's part, with the link to the other side on stdin and the pipe to the parent on stdout.
///
/// Ends the process, without what the plugin has it do at its end: that would come after the verdict.
///
/// # Errors
/// A sentence, if the parent did not provide what a side needs.
pub fn run(side: &Side) -> Result<Infallible, String> {
    // The parent is gone with its terminal, perhaps: nobody waits for this side any more.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let failed = |what: &str| format!("{what} is not what a check's process is given");
    // What the plugin prints must not be taken for the verdict.
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
            let plugin = Plugin::new(raw, side.dev, side.gpu.clone(), deadline, journal);
            Told::from(perform(side, plugin, link, deadline))
        }
        Err(seen) => Told::now(Word::Unloadable, seen),
    };
    let told = (&told_to).write_all(told.encode().as_bytes());
    told.map_err(|_| failed("stdout"))?;
    leave(0)
}

fn perform(side: &Side, mut plugin: Plugin, link: OwnedFd, deadline: Instant) -> Seen {
    match side.check.run {
        Run::Alone(run) => run(&mut plugin),
        Run::Pair { receiving, sending } => {
            plugin.init()?;
            let link = Link::new(link, deadline, plugin.clone());
            let mut bench = Bench { plugin, link };
            let seen = if side.sends { sending(&mut bench) } else { receiving(&mut bench) };
            // The link stays open until the other side has been told everything.
            std::mem::forget(bench);
            seen
        }
    }
}
