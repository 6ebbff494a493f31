//! Messages after a pause of 2 ms, and eight in a row, between two processes: what a trace is to explain.
//!
//! `GPUTCP_TRACE=FILE cargo bench -p gputcp --bench pauses -- [wait|poll|raw] [host|soft]`, then
//! `scripts/trace_report.py FILE*`. With `wait` the callers sleep and the connection has threads of its own,
//! as in the command. With `poll` they test all the time over a pool of threads, as NCCL does over the
//! plugin. With `raw` the messages go over one bare socket.

use std::{
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use gputcp::{Buffer, Device, IoPool, Options, Progress, RecvComm, Result, SendComm, SoftOptions, Trace};

const SIZES: [u64; 5] = [8, 64 << 10, 256 << 10, 1 << 20, 4 << 20];
/// Messages in a row.
const ROW: u64 = 8;
const ROUNDS: u32 = 100;
const PAUSE: Duration = Duration::from_millis(2);
const TIMEOUT: Duration = Duration::from_secs(30);

fn main() {
    // Behind them comes the `--bench` of cargo.
    let args: Vec<_> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let word = |at: usize, default: &str| args.get(at).map_or(default, String::as_str).to_owned();
    let (how, memory) = (word(0, "wait"), word(1, "host"));
    let trace = Trace::of_environment().unwrap();
    if let Some(address) = args.get(2) {
        return send(&how, &memory, address, trace);
    }
    receive(&how, &memory, trace);
}

fn options(how: &str, memory: &str, trace: Option<Trace>) -> Options {
    let options = Options::default().with_device(device(memory)).with_trace(trace);
    if how == "wait" {
        return options;
    }
    // As the plugin has them on a machine of few cores.
    options.with_streams(1).with_pool(IoPool::new(2).unwrap()).tuned(|tuning| {
        tuning.eager_places = 8;
        tuning.inline_bytes = 256 << 10;
    })
}

fn device(memory: &str) -> Option<Device> {
    (memory == "soft").then(|| Device::soft(SoftOptions::default()))
}

fn buffer(memory: &str) -> Buffer {
    let bytes = ROW * SIZES[SIZES.len() - 1];
    device(memory).map_or_else(|| Buffer::host(bytes), |device| device.allocate(bytes)).unwrap()
}

/// Starts the sender's process, and receives.
fn receive(how: &str, memory: &str, trace: Option<Trace>) {
    let sender = |address: String| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args([how, memory, &address]).stdout(Stdio::piped()).spawn().unwrap()
    };
    if how == "raw" {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut child = sender(listener.local_addr().unwrap().to_string());
        receive_raw(listener.accept().unwrap().0, trace);
        assert!(child.wait().unwrap().success());
        return;
    }
    let mut listener = gputcp::listen("127.0.0.1:0", options(how, memory, trace)).unwrap();
    let mut child = sender(listener.handle().address.to_string());
    let mut comm = listener.accept(Instant::now() + TIMEOUT).unwrap();
    let buffer = buffer(memory);
    for (bytes, count) in batches() {
        for _ in 0..ROUNDS {
            let post = |at| comm.irecv(&buffer, at * bytes, bytes).unwrap().unwrap();
            let requests: Vec<_> = (0..count).map(post).collect();
            for request in requests {
                finish(how == "poll", request, &mut comm, RecvComm::test, RecvComm::wait);
            }
        }
    }
    comm.close(Instant::now() + TIMEOUT).unwrap();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        println!("{}", line.unwrap());
    }
    assert!(child.wait().unwrap().success());
}

fn send(how: &str, memory: &str, address: &str, trace: Option<Trace>) {
    if how == "raw" {
        return send_raw(TcpStream::connect(address).unwrap(), trace);
    }
    let mut comm = gputcp::connect(address, options(how, memory, trace)).unwrap();
    let buffer = buffer(memory);
    for (bytes, count) in batches() {
        for _ in 0..ROUNDS {
            thread::sleep(PAUSE);
            let post = |at| comm.isend(&buffer, at * bytes, bytes).unwrap().unwrap();
            let requests: Vec<_> = (0..count).map(post).collect();
            for request in requests {
                finish(how == "poll", request, &mut comm, SendComm::test, SendComm::wait);
            }
        }
    }
    comm.close(Instant::now() + TIMEOUT).unwrap();
}

type Tested<T, R> = Result<Progress<T, R>>;

fn finish<C, R, T>(
    polls: bool,
    mut request: R,
    comm: &mut C,
    test: impl Fn(&mut C, R) -> Tested<T, R>,
    wait: impl Fn(&mut C, R, Duration) -> Result<T>,
) {
    if !polls {
        wait(comm, request, TIMEOUT).unwrap();
        return;
    }
    while let Progress::NotYet(back) = test(comm, request).unwrap() {
        request = back;
        // NCCL's thread does so too.
        thread::yield_now();
    }
}

/// Returns the lengths of messages, alone and then in a row.
fn batches() -> impl Iterator<Item = (u64, u64)> {
    SIZES.into_iter().flat_map(|bytes| [(bytes, 1), (bytes, ROW)])
}

fn receive_raw(mut socket: TcpStream, trace: Option<Trace>) {
    let name = format!("raw {} to {}", socket.peer_addr().unwrap(), socket.local_addr().unwrap());
    let mut recorder = trace.map(|trace| trace.recorder(&name, false));
    let mut memory = vec![0; SIZES[SIZES.len() - 1] as usize];
    for (bytes, count) in batches() {
        for _ in 0..count * u64::from(ROUNDS) {
            let posted = gputcp::Recorder::now();
            let (first, rest) = memory[..bytes as usize].split_at_mut(1);
            socket.read_exact(first).unwrap();
            let first = gputcp::Recorder::now();
            socket.read_exact(rest).unwrap();
            let last = gputcp::Recorder::now();
            if let Some(recorder) = &mut recorder {
                recorder.message(bytes, posted, first, last);
            }
        }
    }
}

fn send_raw(mut socket: TcpStream, trace: Option<Trace>) {
    socket.set_nodelay(true).unwrap();
    let name = format!("raw {} to {}", socket.local_addr().unwrap(), socket.peer_addr().unwrap());
    let mut recorder = trace.map(|trace| trace.recorder(&name, true));
    let memory = vec![7; SIZES[SIZES.len() - 1] as usize];
    for (bytes, count) in batches() {
        for _ in 0..ROUNDS {
            thread::sleep(PAUSE);
            let posted = gputcp::Recorder::now();
            for _ in 0..count {
                let first = gputcp::Recorder::now();
                socket.write_all(&memory[..bytes as usize]).unwrap();
                if let Some(recorder) = &mut recorder {
                    recorder.message(bytes, posted, first, gputcp::Recorder::now());
                }
            }
        }
    }
}
