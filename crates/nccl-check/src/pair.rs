//! The processes of a check: both sides, started, watched and ended. A crash or a hang becomes an outcome.

use std::{
    fs::File,
    io::{self, Read as _},
    os::{
        fd::{AsFd, OwnedFd},
        unix::{net::UnixStream, process::ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use gputcp_nccl_drive::foreign::one_line;

use crate::{
    checks::Check,
    journal::Read,
    judge::{End, Ended, judge},
    outcome::{Outcome, Told, Word},
    probe::{PROBE, Probed, Unfit},
    side::Side,
};

/// Checks one plugin.
#[derive(Debug)]
pub struct Checker<Start> {
    /// The plugin's path or name.
    pub plugin: String,
    /// The version to check; without one, the newest.
    pub version: Option<u32>,
    /// The device.
    pub dev: u32,
    /// The GPU whose memory is used: `soft`, or a real one's name.
    pub gpu: Option<String>,
    /// The time that a check may take.
    pub limit: Duration,
    /// The command that performs a side, by calling [`crate::side::run`].
    pub start: Start,
}

/// The reason why a check came to no outcome.
#[derive(Debug)]
pub enum Broken {
    /// The system refused to start or watch a process of the check.
    System(io::Error),
    /// The caller asked to stop.
    Stopped,
}

impl<Start: Fn(&Side) -> Command> Checker<Start> {
    /// Finds out whether the plugin can be checked.
    ///
    /// # Errors
    /// [`Broken`] if there is no answer; [`Unfit`] within if the plugin cannot be checked.
    pub fn probe(&self, go_on: impl Fn() -> bool) -> Result<Result<Probed, Unfit>, Broken> {
        let ends = self.watch(&PROBE, &go_on)?;
        if let Some(Ended { end: End::Told(told), .. }) = ends.first() {
            match told.word {
                Word::Unloadable => return Ok(Err(Unfit::NoPlugin(told.seen.clone()))),
                Word::Pass => return Ok(Probed::read(&told.seen).ok_or_else(no_sense)),
                _ => {}
            }
        }
        match judge(self.limit, &ends) {
            Outcome::Fail(why) => Ok(Err(Unfit::NoStart(why))),
            Outcome::Pass(_) | Outcome::Stricter(_) | Outcome::Skipped(_) => Ok(Err(no_sense())),
        }
    }

    /// Performs a check with a plugin of this version, unless it would only repeat one of the earlier
    /// failures.
    ///
    /// # Errors
    /// [`Broken`].
    pub fn check(
        &self,
        check: &'static Check,
        version: u32,
        failed: &[&str],
        go_on: impl Fn() -> bool,
    ) -> Result<Outcome, Broken> {
        if version < check.scope.since {
            return Ok(Outcome::Skipped(format!("a demand from version {} on", check.scope.since)));
        }
        if let Some(why) = check.consequence_of(failed) {
            return Ok(Outcome::Skipped(why));
        }
        Ok(judge(self.limit, &self.watch(check, &go_on)?))
    }

    /// Starts the sides, and watches them to their ends.
    fn watch(&self, check: &'static Check, go_on: &dyn Fn() -> bool) -> Result<Vec<Ended>, Broken> {
        let (one, other) = UnixStream::pair().map_err(Broken::System)?;
        let mut processes = vec![self.spawn(check, false, one).map_err(Broken::System)?];
        if check.is_pair() {
            processes.push(self.spawn(check, true, other).map_err(Broken::System)?);
        }
        let began = Instant::now();
        // The time of a side's failure: the other side then has no reason to stay.
        let mut failed: Option<Instant> = None;
        loop {
            for process in &mut processes {
                process.look().map_err(Broken::System)?;
                if process.end.as_ref().is_some_and(Ended::ends_the_check) {
                    failed.get_or_insert_with(Instant::now);
                }
            }
            if processes.iter().all(|process| process.end.is_some()) {
                break;
            }
            if !go_on() {
                return Err(Broken::Stopped);
            }
            let over = began.elapsed() > self.limit;
            if over || failed.is_some_and(|since| since.elapsed() > GRACE && !check.survives()) {
                for process in processes.iter_mut().filter(|process| process.end.is_none()) {
                    process.give_up(over).map_err(Broken::System)?;
                }
                break;
            }
            thread::sleep(LOOK_EVERY);
        }
        Ok(processes.iter_mut().filter_map(|process| process.end.take()).collect())
    }

    fn spawn(&self, check: &'static Check, sends: bool, link: UnixStream) -> io::Result<Process> {
        let journal = Read::new()?;
        let side = Side {
            check,
            sends,
            plugin: self.plugin.clone(),
            version: self.version,
            dev: self.dev,
            gpu: self.gpu.clone(),
            // The side gives up before the parent does, and tells the reason.
            limit: self.limit.mul_f64(0.8),
            journal: journal.path(),
        };
        let mut command = (self.start)(&side);
        command.stdin(OwnedFd::from(link)).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        let pipe = |pipe: Option<OwnedFd>| -> io::Result<Pipe> {
            let fd = pipe.ok_or(io::ErrorKind::BrokenPipe)?;
            rustix::io::ioctl_fionbio(fd.as_fd(), true)?;
            Ok(Pipe { file: File::from(fd), last: Vec::new() })
        };
        let told = pipe(child.stdout.take().map(OwnedFd::from))?;
        let stderr = pipe(child.stderr.take().map(OwnedFd::from))?;
        Ok(Process { child, journal, told, stderr, sends, dies: check.survives() && sends, end: None })
    }
}

impl Check {
    /// Returns whether the sending side dies, and the receiving side goes on without it.
    fn survives(&self) -> bool {
        self.id == "close-with-dead-peer-does-not-hang"
    }
}

/// A side's process. Dropping it ends it.
struct Process {
    child: Child,
    journal: Read,
    told: Pipe,
    stderr: Pipe,
    sends: bool,
    dies: bool,
    end: Option<Ended>,
}

impl Process {
    /// Reads the process's output, and notices its end.
    fn look(&mut self) -> io::Result<()> {
        self.told.drain();
        self.stderr.drain();
        if self.end.is_none()
            && let Some(status) = self.child.try_wait()?
        {
            self.told.drain();
            self.stderr.drain();
            let end = match Told::decode(&self.told.text()) {
                Some(told) if matches!(told.word, Word::Fail | Word::Stricter) => {
                    End::Told(self.with_last_words(told))
                }
                Some(told) => End::Told(told),
                None if self.dies && status.signal() == Some(SIGKILL) => End::Gone,
                None => End::Crashed(self.crashed(status)),
            };
            self.end = Some(self.ended(end));
        }
        Ok(())
    }

    fn ended(&self, end: End) -> Ended {
        Ended { end, beyond: self.journal.is_beyond() }
    }

    /// Ends the process; `over` if the check's time is over.
    fn give_up(&mut self, over: bool) -> io::Result<()> {
        let running = self.running();
        self.child.kill()?;
        self.child.wait()?;
        let end = if over { End::Hung(format!("hung {running}")) } else { End::Gone };
        self.end = Some(self.ended(end));
        Ok(())
    }

    fn crashed(&mut self, status: ExitStatus) -> String {
        let running = self.running();
        let how = match (status.signal(), status.code()) {
            (Some(signal), _) => format!("crashed: {} {running}", signal_name(signal)),
            (None, Some(code)) => format!("ended its process with exit code {code} {running}"),
            (None, None) => format!("ended its process {running}"),
        };
        match self.last_words() {
            Some(words) => format!("{how}; its last words: {words}"),
            None => how,
        }
    }

    /// Returns the logger's first warning since the side's last call; if there is none, the last line on
    /// stderr.
    fn last_words(&self) -> Option<String> {
        let said = self.stderr.text();
        let line = || said.lines().rev().find(|line| !line.trim().is_empty()).map(last_words);
        self.journal.words().map(|words| last_words(&words)).or_else(line)
    }

    fn with_last_words(&self, told: Told) -> Told {
        match self.last_words() {
            Some(words) => Told { seen: format!("{}; its last words: {words}", told.seen), ..told },
            None => told,
        }
    }

    fn running(&self) -> String {
        let side = if self.sends { "sending" } else { "receiving" };
        match &self.journal.running()[..] {
            [] => format!("outside of any call ({side} side)"),
            functions => format!("in {} ({side} side)", functions.join(" and ")),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A side leads a process group of its own: the plugin's processes end with it.
        if let Some(group) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A side's output, read without waiting: a process that the side left behind may hold the pipe.
struct Pipe {
    file: File,
    last: Vec<u8>,
}

impl Pipe {
    fn drain(&mut self) {
        let mut bytes = [0; 4096];
        // Reads have a bound, as a side may write without end.
        for _ in 0..16 {
            match self.file.read(&mut bytes) {
                Ok(read @ 1..) => self.last.extend_from_slice(&bytes[..read]),
                _ => break,
            }
        }
        let surplus = self.last.len().saturating_sub(LAST_BYTES);
        self.last.drain(..surplus);
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.last).into_owned()
    }
}

fn no_sense() -> Unfit {
    Unfit::NoStart("what its process said makes no sense".into())
}

fn last_words(line: &str) -> String {
    one_line(&line.trim().chars().take(200).collect::<String>())
}

fn signal_name(number: i32) -> String {
    let name = match number {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        SIGKILL => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

const SIGKILL: i32 = 9;
/// The time between two looks at a check's processes.
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// The time that a side has to tell its end after the other side has failed.
const GRACE: Duration = Duration::from_millis(500);
/// The bytes that are kept: a verdict, or a plugin's last words.
const LAST_BYTES: usize = 4096;
