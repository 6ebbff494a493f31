//! Messages over a NCCL net plugin: the test plugin, through its C interface, of every version that it comes
//! in.

#[path = "../../test-plugin/built.rs"]
mod built;

use std::{
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use built::built;
use gputcp::{
    Error, Origin, Result,
    contract::{RecvEnd as _, SendEnd as _},
    transfer::{Message, Plan, Receiver, Sender},
};
use gputcp_gpu::{Buffer, Device, Pattern, SoftOptions, UnpackMode};
use gputcp_nccl_drive::{
    Library, Plugin,
    transport::{Connector, Listener, Options, RecvComm, SendComm},
};

const PLAN: Plan = Plan { chunk_bytes: 100_000, window: 16, timeout: Duration::from_secs(20) };

fn library(version: &str) -> Library {
    let path = built().join(format!("examples/libnccl_net_test_{version}.so"));
    Library::open(path.to_str().unwrap()).unwrap()
}

fn start(version: &str) -> Arc<Plugin> {
    library(version).plugin(None).unwrap()
}

fn pair(plugin: &Arc<Plugin>, options: &Options) -> (SendComm, RecvComm) {
    let (send, recv) = try_pair(plugin, options);
    (send.unwrap(), recv.unwrap())
}

fn try_pair(plugin: &Arc<Plugin>, options: &Options) -> (Result<SendComm>, Result<RecvComm>) {
    let deadline = Instant::now() + Duration::from_secs(20);
    let device = plugin.device(None).unwrap();
    let mut listener = Listener::open(plugin, device, options.clone()).unwrap();
    let connector = Connector::new(plugin, device, &listener.handle(), options.clone());
    thread::scope(|scope| {
        let connecting = scope.spawn(move || connector.connect(deadline));
        let receiving = listener.accept(deadline);
        (connecting.join().unwrap(), receiving)
    })
}

/// Moves one buffer's bytes to another of the same length.
fn move_message(sends: &mut [SendComm], source: &Buffer, recvs: &mut [RecvComm], destination: &Buffer) {
    let bytes = source.bytes();
    thread::scope(|scope| {
        let mut sender = Sender::new(PLAN, sends.len());
        scope.spawn(move || {
            let message = Message { buffer: source, offset: 0, bytes };
            assert_eq!(sender.send(sends, message).unwrap().bytes, bytes);
        });
        let mut receiver = Receiver::new(PLAN, recvs.len());
        let message = Message { buffer: destination, offset: 0, bytes };
        let receiving = receiver.post(recvs, message).unwrap();
        assert_eq!(receiver.finish(recvs, receiving).unwrap().bytes, bytes);
    });
}

/// Moves messages of this length over two connections, and verifies them.
fn move_and_verify(plugin: &Arc<Plugin>, bytes: u64) {
    let (first, second) = (pair(plugin, &Options::default()), pair(plugin, &Options::default()));
    let (mut sends, mut recvs) = ([first.0, second.0], [first.1, second.1]);
    let (source, destination) = (Buffer::host(bytes).unwrap(), Buffer::host(bytes).unwrap());
    for iteration in 0..3 {
        let pattern = Pattern { seed: 9, iteration };
        source.fill(pattern, 0, bytes).unwrap();
        move_message(&mut sends, &source, &mut recvs, &destination);
        assert_eq!(destination.verify(pattern, 0, bytes), Ok(Ok(())), "{plugin:?}");
    }
    let placed: u64 = recvs.iter().map(RecvComm::bytes_placed).sum();
    assert_eq!(placed, 3 * bytes);
    sends.into_iter().for_each(|comm| comm.close().unwrap());
    recvs.into_iter().for_each(|comm| comm.close().unwrap());
}

#[test]
fn every_version_moves_messages() {
    for version in ["v5", "v7", "v8", "v11", "unpack"] {
        let plugin = start(version);
        assert_eq!(
            plugin.version(),
            match version {
                "v5" => 5,
                "v7" => 7,
                "v8" => 8,
                _ => 11,
            }
        );
        for bytes in [1, 99_999, 5_000_123] {
            move_and_verify(&plugin, bytes);
        }
    }
}

#[test]
fn what_a_library_has_is_found_newest_first_or_as_asked() {
    let library = library("unpack");
    assert_eq!(library.versions(), [11, 8, 7]);
    assert_eq!(library.plugin(Some(7)).unwrap().version(), 7);
    let refused = library.plugin(Some(6)).unwrap_err().to_string();
    assert!(refused.contains("has no v6 of the interface, but v11, v8, v7"), "{refused}");
    let plugin = library.plugin(None).unwrap();
    assert!(plugin.device(Some("7")).unwrap_err().to_string().contains("has no device 7: it has 0 ("));
    assert_eq!(plugin.device(Some("0")).unwrap().index, 0);
    let name = plugin.devices()[0].name.to_uppercase();
    assert_eq!(plugin.device(Some(&name)).unwrap().index, 0);
}

#[test]
fn a_plugin_that_takes_no_gpu_memory_takes_the_software_gpus_as_the_hosts() {
    let plugin = start("v8");
    let gpu = Device::soft(SoftOptions::default());
    let options = Options { gpu: Some(gpu.clone()), unpack: UnpackMode::Kernel, ..Options::default() };
    let (mut send, mut recv) = pair(&plugin, &options);
    let (source, destination) = (gpu.allocate(1000).unwrap(), gpu.allocate(1000).unwrap());
    let pattern = Pattern { seed: 1, iteration: 1 };
    source.fill(pattern, 0, 1000).unwrap();
    let receiving = recv.irecv(&destination, 0, 1000).unwrap().unwrap();
    let sending = send.isend(&source, 0, 1000).unwrap().unwrap();
    assert_eq!(send.wait(sending, PLAN.timeout).unwrap().bytes, 1000);
    assert_eq!(recv.wait(receiving, PLAN.timeout).unwrap().bytes, 1000);
    assert!(!recv.unpacks());
    assert_eq!(destination.verify(pattern, 0, 1000), Ok(Ok(())));
}

#[test]
fn no_more_is_outstanding_than_every_plugin_takes() {
    let plugin = start("v8");
    let (mut send, mut recv) = pair(&plugin, &Options::default());
    let buffer = Buffer::host(40).unwrap();
    let requests: Vec<_> = (0..20).map_while(|at| recv.irecv(&buffer, at, 1).unwrap()).collect();
    assert_eq!(requests.len(), 16);
    // A dropped request keeps its memory until the connection has ended.
    drop(requests);
    assert!(buffer.write(0, 1).is_err());
    let refused = recv.close().unwrap_err();
    assert!(matches!(refused, Error::Usage(_)), "{refused}");
    assert!(buffer.write(0, 40).is_ok());
    drop(send.isend(&buffer, 0, 1));
}

#[test]
fn silence_and_a_dead_peer_end_a_wait() {
    let plugin = start("v8");
    let (send, mut recv) = pair(&plugin, &Options::default());
    let buffer = Buffer::host(8).unwrap();
    let request = recv.irecv(&buffer, 0, 8).unwrap().unwrap();
    let began = Instant::now();
    let silent = recv.wait(request, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(silent, Error::Timeout { .. }) && began.elapsed() < Duration::from_secs(5), "{silent}");

    let (gone, mut recv2) = pair(&plugin, &Options::default());
    let request = recv2.irecv(&Buffer::host(8).unwrap(), 0, 8).unwrap().unwrap();
    drop(gone);
    let dead = recv2.wait(request, Duration::from_secs(20)).unwrap_err();
    assert_eq!(dead.origin(), Origin::Peer, "{dead}");
    drop(send);
}

#[test]
fn a_canceller_ends_a_wait() {
    let plugin = start("v8");
    let (_send, mut recv) = pair(&plugin, &Options::default());
    let request = recv.irecv(&Buffer::host(8).unwrap(), 0, 8).unwrap().unwrap();
    let canceller = recv.canceller();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(30));
        canceller.cancel("enough");
    });
    let ended = recv.wait(request, Duration::from_secs(20)).unwrap_err();
    assert_eq!(ended.to_string(), "cancelled: enough");
    thread.join().unwrap();
}

/// Runs itself anew with the plugin's knobs, which are variables that the plugin reads once.
#[test]
fn what_lies_scattered_is_unpacked_before_its_slot_goes_back() {
    const KNOB: &str = "GPUTCP_TEST_PLUGIN_GPU";
    if std::env::var_os(KNOB).is_none() {
        let this = std::env::current_exe().unwrap();
        let name = "what_lies_scattered_is_unpacked_before_its_slot_goes_back";
        let mut again = Command::new(this);
        again.args(["--exact", name, "--nocapture"]).env(KNOB, "soft").env("GPUTCP_TEST_PLUGIN_FIFO", "1");
        assert!(again.status().unwrap().success());
        return;
    }
    let plugin = start("unpack");
    // Unpacks that begin and end late: a slot given back too early is filled anew under them.
    let late = SoftOptions { lateness: Duration::from_millis(1), seed: 3, ..SoftOptions::default() };
    let gpu = Device::soft(late);
    let bytes = 24 * PLAN.chunk_bytes + 77;
    let (source, destination) = (gpu.allocate(bytes).unwrap(), gpu.allocate(bytes).unwrap());
    for (iteration, unpack) in (0..).zip([UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host]) {
        let options = Options { gpu: Some(gpu.clone()), unpack, ..Options::default() };
        let (send, recv) = pair(&plugin, &options);
        assert!(recv.unpacks());
        let (mut send, mut recv) = ([send], [recv]);
        let pattern = Pattern { seed: 2, iteration };
        source.fill(pattern, 0, bytes).unwrap();
        move_message(&mut send, &source, &mut recv, &destination);
        assert_eq!(destination.verify(pattern, 0, bytes), Ok(Ok(())), "{unpack}");
        let ([send], [recv]) = (send, recv);
        assert_eq!((recv.bytes_landed(), recv.bytes_placed()), (bytes, bytes));
        send.close().unwrap();
        recv.close().unwrap();
    }
    let none = Options { gpu: Some(gpu), unpack: UnpackMode::None, ..Options::default() };
    let refused = try_pair(&plugin, &none).1.unwrap_err();
    assert!(refused.to_string().contains("kernel, copy or host"), "{refused}");
}
