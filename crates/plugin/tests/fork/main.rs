//! A rank that forks after it has connected.
//!
//! The child keeps no copy of its connections, cannot use the plugin, and can end in any way without ending
//! them. The rank is this program, started again for the test [`rank`] with its orders in variables.
#![expect(unsafe_code, reason = "a rank forks")]

#[path = "../../../test-plugin/built.rs"]
mod built;

use std::{
    env,
    io::{BufRead, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use gputcp::contract::{RecvEnd as _, SendEnd as _};
use gputcp_gpu::Buffer;
use gputcp_nccl_drive::{
    Library, Plugin,
    transport::{Connector, Listener, Options, RecvComm, SendComm},
};
use gputcp_nccl_net::layout::constants::HANDLE_BYTES;

const TIMEOUT_S: u64 = 4;
const BYTES: u64 = 1 << 20;
const LONG: Duration = Duration::from_secs(60);

#[test]
fn the_peer_of_a_killed_rank_hears_of_it_though_a_forked_child_lives() {
    let (mut rank, mut heard, mut comm) = start("lives");
    receive(&mut comm).unwrap();
    let child = line(&mut heard);
    rank.kill().unwrap();
    rank.wait().unwrap();
    let began = Instant::now();
    let error = receive(&mut comm).unwrap_err();
    // SAFETY: the rank's child, which sleeps.
    unsafe { libc::kill(child.parse().unwrap(), libc::SIGKILL) };
    assert!(began.elapsed() < Duration::from_secs(TIMEOUT_S), "{error} after {:?}", began.elapsed());
}

#[test]
fn a_child_that_uses_the_plugin_is_refused_and_harms_nothing() {
    for how in ["uses", "exits"] {
        let (mut rank, mut heard, mut comm) = start(how);
        for _ in 0..6 {
            receive(&mut comm).unwrap();
        }
        assert_eq!(line(&mut heard), "0", "how the child that {how} ended");
        rank.kill().unwrap();
        rank.wait().unwrap();
    }
}

/// Starts a rank that connects to this process and sends one message before it forks, and five when the child
/// has ended.
fn start(how: &str) -> (Child, BufReader<ChildStdout>, RecvComm) {
    // SAFETY: variables of a process whose other threads read none meanwhile: both tests set the same.
    unsafe {
        env::set_var("NCCL_SOCKET_IFNAME", "lo");
        env::set_var("GPUTCP_TIMEOUT", TIMEOUT_S.to_string());
    }
    let path = built::built().join("libnccl_net_gputcp.so");
    let plugin = plugin(path.to_str().unwrap());
    let mut listener = listen(&plugin).unwrap();
    let handle: String = listener.handle().iter().map(|byte| format!("{byte:02x}")).collect();
    let mut rank = Command::new(env::current_exe().unwrap())
        .args(["rank", "--exact", "--nocapture"])
        .envs([("GPUTCP_RANK_HANDLE", handle.as_str()), ("GPUTCP_RANK_HOW", how)])
        .env("GPUTCP_RANK_PLUGIN", &path)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let heard = BufReader::new(rank.stdout.take().unwrap());
    let comm = listener.accept(Instant::now() + LONG).unwrap();
    (rank, heard, comm)
}

/// Returns the rank's next line for this test, which begins with a star.
fn line(heard: &mut BufReader<ChildStdout>) -> String {
    loop {
        let mut line = String::new();
        assert!(heard.read_line(&mut line).unwrap() > 0, "the rank ended");
        if let Some((_, said)) = line.split_once("* ") {
            return said.trim().to_owned();
        }
    }
}

fn plugin(path: &str) -> Arc<Plugin> {
    Library::open(path).unwrap().plugin(Some(8)).unwrap()
}

fn listen(plugin: &Arc<Plugin>) -> gputcp::Result<Listener> {
    Listener::open(plugin, &plugin.devices()[0], Options::default())
}

fn receive(comm: &mut RecvComm) -> gputcp::Result<()> {
    let request = comm.irecv(&Buffer::host(BYTES).unwrap(), 0, BYTES)?.expect("a slot");
    comm.wait(request, LONG).map(drop)
}

fn send(comm: &mut SendComm) {
    let request = comm.isend(&Buffer::host(BYTES).unwrap(), 0, BYTES).unwrap().expect("a slot");
    comm.wait(request, LONG).unwrap();
}

/// Runs the rank, in a process of its own that the other tests start. Without their variables there is
/// nothing to do.
#[test]
fn rank() {
    let (Ok(handle), Ok(how)) = (env::var("GPUTCP_RANK_HANDLE"), env::var("GPUTCP_RANK_HOW")) else { return };
    let plugin = plugin(&env::var("GPUTCP_RANK_PLUGIN").unwrap());
    let byte = |at: usize| u8::from_str_radix(&handle[2 * at..2 * at + 2], 16).unwrap();
    let handle: [u8; HANDLE_BYTES] = std::array::from_fn(byte);
    let connector = Connector::new(&plugin, &plugin.devices()[0], &handle, Options::default());
    let mut comm = connector.connect(Instant::now() + LONG).unwrap();
    send(&mut comm);
    // SAFETY: the child sleeps, or calls the plugin, which the test tries, and ends.
    let child = unsafe { libc::fork() };
    if child == 0 {
        match how.as_str() {
            "lives" => thread::sleep(LONG),
            "uses" => {
                let from = Buffer::host(1).unwrap();
                let refused = listen(&plugin).is_err() && comm.isend(&from, 0, 1).is_err();
                // SAFETY: ends the child.
                unsafe { libc::_exit(i32::from(!refused)) };
            }
            // The child ends with all destructors, of the connection too.
            _ => {
                drop(comm);
                // SAFETY: ends the child, handlers of `atexit` included.
                unsafe { libc::exit(0) };
            }
        }
        // SAFETY: ends the child.
        unsafe { libc::_exit(9) };
    }
    if how == "lives" {
        println!("\n* {child}");
    } else {
        let mut status = 0;
        // SAFETY: our own child.
        unsafe { libc::waitpid(child, &raw mut status, 0) };
        for _ in 0..5 {
            send(&mut comm);
        }
        println!("\n* {status}");
    }
    thread::sleep(LONG);
}
