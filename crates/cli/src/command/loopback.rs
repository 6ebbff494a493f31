//! `gputcp loopback`: this process is the client, and starts a server process of its own executable. Each
//! side's CPU time and memory are thus its own.

use std::{
    io::{self, BufRead as _, BufReader, Read as _},
    os::{
        fd::AsFd as _,
        unix::process::{CommandExt as _, ExitStatusExt as _},
    },
    process::{Child, Command, ExitStatus, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::session::Role;
use gputcp::Key;
use rustix::{
    event::PollFlags,
    process::{Pid, PidfdFlags, pidfd_open},
};

use super::measure;
use crate::{
    args::{LoopbackArgs, network::SESSION_KEY_VARIABLE, talk::TalkArgs},
    bootstrap::{connect::Destination, key},
    failure::Failure,
    host::{bind::Family, usage::available_memory_bytes},
    interrupt::{Interrupt, poll_until},
    measure::memory::Proposal,
    output::Talk,
    printable::printable,
    settings::{
        environment::Environment,
        plugin::{PluginArg, PluginArgs},
        request::MeasureRequest,
    },
};

/// Runs the subcommand.
///
/// # Errors
/// What kept it from its end.
pub fn run(
    args: LoopbackArgs,
    environment: &Environment,
    interrupt: &Interrupt,
    talk: Talk,
) -> Result<(), Failure> {
    let request = MeasureRequest::new(args.measure, environment)?;
    let proposal = Proposal::of(&request, talk)?;
    let (roles, available) = ([Role::Client, Role::Server], available_memory_bytes());
    proposal.settings.check_memory("this host", &roles, available).map_err(Failure::Usage)?;
    let timeout = request.settings.timeout();
    let mut family_args = args.family;
    environment.complete_family(&mut family_args)?;
    let family = Family::from(family_args);
    // No other process of this machine can slip in between the two.
    let key = key::random()?;
    let mut server = ServerProcess::start(family, &request.asked.plugin, &key, args.talk, talk)?;
    let port = server.port(interrupt)?;
    let destination = Destination {
        host: family.loopback().to_string(),
        port,
        bind: None,
        family,
        timeout,
        key: Some(key),
        talk,
    };
    measure("loopback", &request, proposal, &destination, interrupt)?;
    let status = server.end(timeout)?;
    if status.success() {
        return Ok(());
    }
    Err(Failure::Run(format!("the measurement is complete, but its server process ended with {status}")))
}

/// The server's process. Dropping it ends and reaps it.
struct ServerProcess {
    child: Child,
    stderr: Option<JoinHandle<()>>,
    talk: Talk,
}

impl ServerProcess {
    fn start(
        family: Family,
        plugin: &PluginArgs,
        key: &Key,
        talk_args: TalkArgs,
        talk: Talk,
    ) -> Result<Self, Failure> {
        let mut command = Command::new("/proc/self/exe");
        command.arg0("gputcp").args(["server", "--once", "--port", "0"]);
        command.arg("--bind").arg(family.loopback().to_string());
        // By a flag: it beats the variable that the process inherits.
        command.arg(if family.loopback().is_ipv4() { "--ipv4" } else { "--ipv6" });
        // Other users cannot read a process's variables; its arguments they can.
        command.env(SESSION_KEY_VARIABLE, key.text().unwrap_or_default());
        command.arg("--child-of").arg(std::process::id().to_string());
        // By flags: they beat the variables that the process inherits.
        command.arg("--plugin").arg(plugin.plugin.as_ref().map_or_else(|| "none".into(), PluginArg::typed));
        if let Some(device) = &plugin.plugin_device {
            command.arg("--plugin-device").arg(device);
        }
        match talk_args.verbose {
            0 => command.arg("--quiet"),
            level => command.arg(format!("-{}", "v".repeat(usize::from(level.min(3))))),
        };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // Ctrl-C in the terminal goes to this process's group only: the session is ended in good order.
        command.process_group(0);
        let failed = |error: io::Error| Failure::Run(format!("could not start the server process: {error}"));
        let mut child = command.spawn().map_err(failed)?;
        let stderr = child.stderr.take();
        let mut process = Self { child, stderr: None, talk };
        if let Some(stderr) = stderr {
            let pass_on = move || {
                for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                    talk.pass_on(&format!("server: {}", printable(&String::from_utf8_lossy(&line))));
                }
            };
            process.stderr =
                Some(thread::Builder::new().name("server stderr".into()).spawn(pass_on).map_err(failed)?);
        }
        Ok(process)
    }

    /// Reads the port that it listens at, which is the only thing it says on its stdout.
    fn port(&mut self, interrupt: &Interrupt) -> Result<u16, Failure> {
        let failed = |what: &str| Failure::Run(format!("the server process {what} instead of its port"));
        let stdout = self.child.stdout.as_mut().ok_or_else(|| failed("has no stdout"))?;
        let deadline = Instant::now() + START;
        let mut said = Vec::new();
        while !said.ends_with(b"\n") {
            if !interrupt.wait_one(stdout.as_fd(), PollFlags::IN, deadline)? {
                return Err(failed("said nothing"));
            }
            let mut byte = [0];
            match stdout.read(&mut byte) {
                Ok(1) if said.len() < 8 => said.extend_from_slice(&byte),
                Ok(0) => return Err(failed("ended")),
                _ => return Err(failed("said something else")),
            }
        }
        let text = String::from_utf8_lossy(&said);
        text.trim().parse().map_err(|_| failed("said something else"))
    }

    /// Waits for its end, and its exit code.
    fn end(mut self, timeout: Duration) -> Result<ExitStatus, Failure> {
        let failed =
            |error: io::Error| Failure::Run(format!("could not wait for the server process: {error}"));
        let ended = || -> io::Result<bool> {
            let pid = Pid::from_child(&self.child);
            let process = pidfd_open(pid, PidfdFlags::empty())?;
            let mut fds = [rustix::event::PollFd::new(&process, PollFlags::IN)];
            poll_until(&mut fds, Some(Instant::now() + timeout))
        };
        if ended().map_err(failed)? {
            return self.child.wait().map_err(failed);
        }
        Err(Failure::Run(format!("the server process did not end within {timeout:?} and was killed")))
    }
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // After a failed session it is told, and ends by itself; it gets a moment to say why.
        let deadline = Instant::now() + GRACE;
        while matches!(self.child.try_wait(), Ok(None)) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if let Ok(Some(status)) = self.child.try_wait()
            && status.signal().is_some()
        {
            // A crashed process says nothing itself.
            self.talk.pass_on(&format!("server: the server process was ended by a {status}"));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(stderr) = self.stderr.take() {
            let _ = stderr.join();
        }
    }
}

/// The bound for a process to start and open a port.
const START: Duration = Duration::from_secs(10);
const GRACE: Duration = Duration::from_secs(1);
