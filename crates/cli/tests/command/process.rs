//! Processes of the command under test. They end with their test, however it ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    ops::{Deref, DerefMut},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

/// The longest any of the commands here may take; far above what they take.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(60);

/// Returns the command, untouched by the variables of the caller, and without GPUs, so that it does the
/// same on every machine.
pub(crate) fn gputcp(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gputcp"));
    for (name, _) in std::env::vars_os() {
        if ["GPUTCP_", "UCCL_", "NCCL_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command.env("CUDA_VISIBLE_DEVICES", "");
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs it to its end, which must come in time.
pub(crate) fn finish(mut command: Command) -> Output {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Running::start(command).output()
}

pub(crate) fn run(args: &[&str]) -> Output {
    finish(gputcp(args))
}

/// Runs the command with these variables.
pub(crate) fn run_with(variables: &[(&str, &str)], args: &[&str]) -> Output {
    let mut command = gputcp(args);
    command.envs(variables.iter().copied());
    finish(command)
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("stderr is text")
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("stdout is text")
}

/// Checks an exit code, with everything that was said beside it.
#[track_caller]
pub(crate) fn expect(output: &Output, code: i32) {
    assert_eq!(output.status.code(), Some(code), "stdout: {}\nstderr: {}", stdout(output), stderr(output));
}

/// Checks that stderr has these words.
#[track_caller]
pub(crate) fn says(output: &Output, words: &str) {
    assert!(stderr(output).contains(words), "{words:?} is missing: {}", stderr(output));
}

/// Checks an exit code, and that stderr has these words.
#[track_caller]
pub(crate) fn fails(output: &Output, code: i32, words: &str) {
    expect(output, code);
    says(output, words);
}

/// Returns the JSON document on stdout, which has nothing else.
#[track_caller]
pub(crate) fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("no document: {error}: {}", stderr(output)))
}

/// Checks an exit code, and returns the JSON document on stdout.
#[track_caller]
pub(crate) fn document(output: &Output, code: i32) -> Value {
    expect(output, code);
    json(output)
}

/// A process that is killed if its test forgets it.
pub(crate) struct Running {
    pub(crate) child: Child,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        Self { child: command.spawn().expect("the command starts") }
    }

    pub(crate) fn pid(&self) -> rustix::process::Pid {
        rustix::process::Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        rustix::process::kill_process(self.pid(), signal).expect("the process is there");
    }

    #[track_caller]
    pub(crate) fn wait(&mut self) -> ExitStatus {
        self.wait_within(TIMEOUT)
    }

    #[track_caller]
    fn wait_within(&mut self, bound: Duration) -> ExitStatus {
        let deadline = Instant::now() + bound;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the command did not end within {bound:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[track_caller]
    pub(crate) fn output(self) -> Output {
        self.output_within(TIMEOUT)
    }

    /// Waits for the end; everything said meanwhile is read, so that it cannot get stuck on that.
    #[track_caller]
    pub(crate) fn output_within(mut self, bound: Duration) -> Output {
        let read = |pipe: Option<Box<dyn std::io::Read + Send>>| {
            let (give, take) = mpsc::channel();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                if let Some(mut pipe) = pipe {
                    let _ = pipe.read_to_end(&mut bytes);
                }
                let _ = give.send(bytes);
            });
            take
        };
        let out = read(self.child.stdout.take().map(|pipe| Box::new(pipe) as _));
        let err = read(self.child.stderr.take().map(|pipe| Box::new(pipe) as _));
        let status = self.wait_within(bound);
        // No other process holds the pipes' other ends: none may be left behind.
        let all = |pipe: mpsc::Receiver<Vec<u8>>| {
            pipe.recv_timeout(Duration::from_secs(10)).expect("a process was left behind that holds the pipe")
        };
        Output { status, stdout: all(out), stderr: all(err) }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process whose stderr is heard while it runs.
pub(crate) struct Heard {
    running: Running,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Heard {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stderr(Stdio::piped());
        let mut running = Running::start(command);
        let stderr = running.child.stderr.take().expect("stderr is a pipe");
        let (give, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = give.send(line);
            }
        });
        Self { running, lines, said: Vec::new() }
    }

    /// Waits until the process says something with these words.
    #[track_caller]
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let deadline = Instant::now() + TIMEOUT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Ok(line) = self.lines.recv_timeout(left) else {
                panic!("the process never said {words:?}, but {:?}", self.said)
            };
            self.said.push(line.clone());
            if line.contains(words) {
                return line;
            }
        }
    }

    /// Waits for the end, and gives all that was said.
    #[track_caller]
    pub(crate) fn output(mut self) -> Output {
        let mut output = self.running.output();
        loop {
            match self.lines.recv_timeout(Duration::from_secs(10)) {
                Ok(line) => self.said.push(line),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {
                    panic!("a process was left behind that holds the pipe")
                }
            }
        }
        output.stderr = self.said.iter().flat_map(|line| [line, "\n"]).collect::<String>().into_bytes();
        output
    }
}

impl Deref for Heard {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.running
    }
}

impl DerefMut for Heard {
    fn deref_mut(&mut self) -> &mut Running {
        &mut self.running
    }
}

/// Starts a client, and returns it in the middle of its timed messages. Its progress says so, however long
/// it took to come there.
#[track_caller]
pub(crate) fn measuring(mut command: Command) -> Heard {
    command.args(["-i", "0.1"]).stdout(Stdio::piped());
    let mut client = Heard::start(command);
    client.hear(" so far");
    client
}

/// Waits until this holds of a process.
#[track_caller]
pub(crate) fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + TIMEOUT;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {TIMEOUT:?}: {what}");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Returns a number in a line of a process's status (proc(5)).
pub(crate) fn status(pid: rustix::process::Pid, name: &str, radix: u32) -> u64 {
    let path = format!("/proc/{}/status", pid.as_raw_nonzero());
    let status = std::fs::read_to_string(path).expect("the process is there");
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_whitespace().next()).unwrap_or("0");
    u64::from_str_radix(number, radix).expect("a number")
}

/// Waits until a process handles Ctrl-C: one that comes before ends it without an exit code.
#[track_caller]
pub(crate) fn wait_for_handler(pid: rustix::process::Pid) {
    let interrupt = 1 << (rustix::process::Signal::INT.as_raw() - 1);
    wait_until("it handles SIGINT", || status(pid, "SigCgt", 16) & interrupt != 0);
}

/// Returns the command lines of a process's children.
pub(crate) fn children(pid: rustix::process::Pid) -> Vec<String> {
    let tasks =
        std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("the process is there");
    let lists = tasks.flatten().filter_map(|task| std::fs::read_to_string(task.path().join("children")).ok());
    let children: Vec<_> =
        lists.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).collect();
    children
        .iter()
        .filter_map(|child| std::fs::read_to_string(format!("/proc/{child}/cmdline")).ok())
        .collect()
}

/// A server at a port of its own choice, and what it says.
pub(crate) struct Server {
    pub running: Heard,
    pub(crate) port: String,
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_anywhere(&[&["-B", "127.0.0.1"], more].concat())
    }

    /// Starts a server at every address of this machine, unless `args` say otherwise.
    pub(crate) fn start_anywhere(args: &[&str]) -> Self {
        Self::start_with(&[], args)
    }

    /// Starts a server with these variables.
    pub(crate) fn start_with(variables: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = gputcp(&["server", "-p", "0"]);
        command.envs(variables.iter().copied());
        command.args(args).stdout(Stdio::null());
        let mut running = Heard::start(command);
        let line = running.hear("listening at ");
        let address = line.split("listening at ").nth(1).and_then(|rest| rest.split(';').next());
        let port = address.and_then(|address| address.rsplit(':').next());
        Self { running, port: port.expect("the line names a port").to_owned() }
    }

    /// Waits until the server says something with these words.
    #[track_caller]
    pub(crate) fn hear(&mut self, words: &str) -> String {
        self.running.hear(words)
    }

    /// Checks that it still runs, and that no thread of it has panicked.
    #[track_caller]
    pub(crate) fn is_well(&mut self) {
        let Heard { running, said, lines, .. } = &mut self.running;
        said.extend(lines.try_iter());
        let ended = running.child.try_wait().expect("it can be waited for");
        let panicked = said.iter().any(|line| line.contains("panicked"));
        assert!(ended.is_none() && !panicked, "{ended:?}: {said:#?}");
        // Very much may be said in a long run: it is not kept.
        said.clear();
    }

    pub(crate) fn client(&self, args: &[&str]) -> Command {
        let mut command = gputcp(&["client", "127.0.0.1", "-p", &self.port]);
        command.args(args);
        command
    }
}

/// Small and quick: what most tests measure.
pub(crate) const SMALL: &[&str] = &["-s", "1M", "-n", "3", "-w", "1", "-P", "2"];

pub(crate) fn small<'a>(args: &[&'a str]) -> Vec<&'a str> {
    args.iter().chain(SMALL).copied().collect()
}

/// Returns the number of open descriptors of a process.
pub(crate) fn descriptors(pid: rustix::process::Pid) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("the process is there").count()
}

/// Returns the number of threads of a process.
pub(crate) fn threads(pid: rustix::process::Pid) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("the process is there").count()
}
