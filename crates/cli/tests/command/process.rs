//! Processes of the command under test. Whatever happens to a test, its processes end with it.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    process::{Child, Command, ExitStatus, Output, Stdio},
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

/// The longest any of the commands here may take; far above what they take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The command, untouched by the variables of whoever runs the tests, and without GPUs, so that it does the same on every
/// machine.
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
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("it can be waited for") {
                return status;
            }
            assert!(Instant::now() < deadline, "the command did not end within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for the end; everything said meanwhile is read, so that it cannot get stuck on that.
    #[track_caller]
    pub(crate) fn output(mut self) -> Output {
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
        let status = self.wait();
        // Nobody else holds the pipes' other ends: no process may be left behind.
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

/// A server at a port of its own choice, and what it says.
pub(crate) struct Server {
    pub running: Running,
    pub(crate) port: String,
    lines: mpsc::Receiver<String>,
    said: Vec<String>,
}

impl Server {
    pub(crate) fn start(more: &[&str]) -> Self {
        Self::start_anywhere(&[&["-B", "127.0.0.1"], more].concat())
    }

    /// A server at every address of this machine, if nothing else is said.
    pub(crate) fn start_anywhere(args: &[&str]) -> Self {
        Self::start_with(&[], args)
    }

    /// The same with these variables.
    pub(crate) fn start_with(variables: &[(&str, &str)], args: &[&str]) -> Self {
        let mut command = gputcp(&["server", "-p", "0"]);
        command.envs(variables.iter().copied());
        command.args(args).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut running = Running::start(command);
        let stderr = running.child.stderr.take().expect("stderr is a pipe");
        let (give, lines) = mpsc::channel();
        thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let _ = give.send(line);
            }
        });
        let mut server = Self { running, port: String::new(), lines, said: Vec::new() };
        let line = server.hear("listening at ");
        let address = line.split("listening at ").nth(1).and_then(|rest| rest.split(';').next());
        let port = address.and_then(|address| address.rsplit(':').next());
        server.port = port.expect("the line names a port").to_owned();
        server
    }

    /// Waits until the server says something with these words.
    #[track_caller]
    pub(crate) fn hear(&mut self, words: &str) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line.contains(words) => return line,
                Ok(line) => self.said.push(line),
                Err(_) => panic!("the server never said {words:?}, but {:?}", self.said),
            }
        }
    }

    /// It still runs, and no thread of it has panicked.
    #[track_caller]
    pub(crate) fn is_well(&mut self) {
        self.said.extend(self.lines.try_iter());
        let ended = self.running.child.try_wait().expect("it can be waited for");
        let panicked = self.said.iter().any(|line| line.contains("panicked"));
        assert!(ended.is_none() && !panicked, "{ended:?}: {:#?}", self.said);
        // What was looked at is not kept: there may be very much of it.
        self.said.clear();
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

/// Open descriptors of a process.
pub(crate) fn descriptors(pid: rustix::process::Pid) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())).expect("the process is there").count()
}

/// Threads of a process.
pub(crate) fn threads(pid: rustix::process::Pid) -> usize {
    std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).expect("the process is there").count()
}
