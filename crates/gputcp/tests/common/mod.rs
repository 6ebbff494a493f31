//! Connections over loopback, both ends in this process.
#![allow(
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "shared by test programs that use different parts"
)]

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use gputcp::{
    Connector, Handle, IoPool, Listener, Options, RecvComm, Result, SendComm, SendRequest,
    transfer::{Message, Moved, Plan, Receiver, Sender},
};
use gputcp_gpu::{Buffer, Device, Pattern, SoftOptions};
use gputcp_proto::{
    frame::{Announce, Control, Join, JoinVerdict, Token, Welcome},
    key::Proof,
};

pub const TIMEOUT: Duration = Duration::from_secs(20);

pub fn soon() -> Instant {
    Instant::now() + TIMEOUT
}

pub fn options(streams: u16) -> Options {
    let eager_places = gputcp_proto::frame::EAGER_PLACES_MAX;
    Options::default()
        .with_streams(streams)
        .with_timeout(Duration::from_secs(10))
        .with_pool(pool())
        .tuned(|tuning| tuning.eager_places = eager_places)
}

/// Returns the pool of all connections, in the test program whose connections have one.
fn pool() -> Option<IoPool> {
    static POOL: OnceLock<IoPool> = OnceLock::new();
    let pooled = env!("CARGO_CRATE_NAME") == "pooled";
    pooled.then(|| POOL.get_or_init(|| IoPool::new(2).unwrap()).clone())
}

pub fn soft() -> Device {
    Device::soft(SoftOptions::default())
}

/// Returns where a test listens: at one address, or at another one each time in the test program that makes
/// thousands of connections a second. A port at one address is not free for a minute after a connection ends.
pub fn somewhere() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let first = Ipv4Addr::LOCALHOST.to_bits();
    let many = env!("CARGO_CRATE_NAME") == "random_peers";
    let at = if many { NEXT.fetch_add(1, Ordering::Relaxed) % LOOPBACK_ADDRESSES } else { 0 };
    SocketAddr::from((Ipv4Addr::from_bits(first + at), 0))
}

/// All of 127.0.0.0/8 are this machine's; so many suffice.
const LOOPBACK_ADDRESSES: u32 = 1 << 20;

pub fn listen(options: &Options) -> (Listener, Handle) {
    let listener = Listener::bind(somewhere(), options.clone()).unwrap();
    let handle = listener.handle();
    (listener, handle)
}

/// Connects two ends with different settings.
pub fn pair_of(send: Options, recv: &Options) -> (SendComm, RecvComm) {
    let (mut listener, handle) = listen(recv);
    let connecting = thread::spawn(move || Connector::new(&handle, send)?.connect(soon()));
    let receiver = listener.accept(soon()).unwrap();
    (connecting.join().unwrap().unwrap(), receiver)
}

/// Returns the first frame of a bare sender with one data socket on its control socket.
pub fn join(handle: &Handle) -> Join {
    Join {
        listen_token: handle.token,
        comm_token: Token([9; 16]),
        index: 0,
        streams: 1,
        slots: 32,
        segment_bytes: 64 << 10,
        piece_bytes: 64 << 10,
        inline_bytes: 4096,
        eager_places: 0,
        max_receives: 1,
        proof: Proof::NONE,
    }
}

pub fn pair(options: &Options) -> (SendComm, RecvComm) {
    pair_of(options.clone(), options)
}

/// Where a test's memory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TestMemory {
    Host,
    Soft,
}

impl TestMemory {
    pub fn buffer(self, bytes: u64) -> Buffer {
        match self {
            Self::Host => Buffer::host(bytes).unwrap(),
            Self::Soft => soft().allocate(bytes).unwrap(),
        }
    }

    pub fn device(self) -> Option<Device> {
        (self == Self::Soft).then(soft)
    }
}

/// Moves messages of these lengths from the start of one buffer to that of another and verifies each.
pub fn move_and_verify(
    sends: &mut [SendComm],
    recvs: &mut [RecvComm],
    buffers: (&Buffer, &Buffer),
    plans: (Plan, Plan),
    lengths: &[u64],
) -> Result<Moved> {
    let messages: Vec<_> = lengths.iter().map(|&bytes| (0, 0, bytes)).collect();
    move_at_and_verify(sends, recvs, buffers, plans, &messages)
}

/// Moves messages, each given by its start in the source and in the destination and by its length. Verifies
/// each, and that the bytes around it in the destination stay as they were.
pub fn move_at_and_verify(
    sends: &mut [SendComm],
    recvs: &mut [RecvComm],
    (from, to): (&Buffer, &Buffer),
    (send_plan, recv_plan): (Plan, Plan),
    messages: &[(u64, u64, u64)],
) -> Result<Moved> {
    let mut total = Moved::default();
    let pattern = |iteration: usize| Pattern { seed: 7, iteration: iteration as u64 };
    thread::scope(|scope| {
        let (go, wait_for_go) = std::sync::mpsc::channel();
        let (verified, wait_for_verified) = std::sync::mpsc::channel();
        let connections = sends.len();
        let sending = scope.spawn(move || -> Result<()> {
            let mut sender = Sender::new(send_plan, connections);
            for (iteration, &(offset, _, bytes)) in messages.iter().enumerate() {
                if wait_for_go.recv().is_err() {
                    break;
                }
                from.fill(pattern(iteration), offset, bytes)?;
                sender.send(sends, Message { buffer: from, offset, bytes })?;
                if wait_for_verified.recv().is_err() {
                    break;
                }
            }
            Ok(())
        });
        let mut receiver = Receiver::new(recv_plan, recvs.len());
        let received: Result<()> = (|| {
            for (iteration, &(_, offset, bytes)) in messages.iter().enumerate() {
                let around = [(0, offset), (offset + bytes, to.bytes() - offset - bytes)];
                let guard = Pattern { seed: 8, iteration: iteration as u64 };
                around.iter().try_for_each(|&(start, bytes)| to.fill(guard, start, bytes))?;
                let receiving = receiver.post(recvs, Message { buffer: to, offset, bytes })?;
                go.send(()).unwrap();
                let moved = receiver.finish(recvs, receiving)?;
                total.chunks += moved.chunks;
                total.bytes += moved.bytes;
                let what = format!("message {iteration} of {bytes} bytes at {offset}");
                assert_eq!(to.verify(pattern(iteration), offset, bytes)?, Ok(()), "{what}");
                for (start, bytes) in around {
                    assert_eq!(to.verify(guard, start, bytes)?, Ok(()), "around {what}");
                }
                verified.send(()).ok();
            }
            Ok(())
        })();
        drop((go, verified));
        sending.join().unwrap()?;
        received
    })?;
    Ok(total)
}

/// Returns the first frame of a bare receiver on its control socket.
pub fn welcome(options: &Options) -> Welcome {
    Welcome {
        verdict: JoinVerdict::Accepted,
        slots: 32,
        inline_bytes: 64 << 10,
        eager_places: 0,
        max_receives: options.max_receives,
        proof: Proof::NONE,
    }
}

/// Connects a sender to a receiver made of bare sockets. Returns its control socket and its data sockets.
pub fn sender_to_impostor(
    options: Options,
    recv_buffer_bytes: Option<usize>,
) -> (SendComm, TcpStream, Vec<TcpStream>) {
    let welcome = welcome(&options);
    sender_welcomed(options, recv_buffer_bytes, &welcome)
}

/// Does the same with this welcome.
pub fn sender_welcomed(
    options: Options,
    recv_buffer_bytes: Option<usize>,
    welcome: &Welcome,
) -> (SendComm, TcpStream, Vec<TcpStream>) {
    let stranger = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    if let Some(bytes) = recv_buffer_bytes {
        // Set before it listens: the sockets that it accepts inherit it.
        stranger.set_recv_buffer_size(bytes).unwrap();
    }
    stranger.bind(&somewhere().into()).unwrap();
    stranger.listen(8).unwrap();
    let stranger = std::net::TcpListener::from(stranger);
    let (_, real) = listen(&options);
    let streams = options.streams;
    let handle = Handle::at(stranger.local_addr().unwrap(), real.token);
    let connecting =
        thread::spawn(move || Connector::new(&handle, options).unwrap().connect(soon()).unwrap());
    // The sockets come in any order: the control socket's join has index 0.
    let mut sockets: Vec<(u16, TcpStream)> = (0..=streams)
        .map(|_| {
            let mut socket = stranger.accept().unwrap().0;
            let mut join = [0; Join::BYTES];
            socket.read_exact(&mut join).unwrap();
            (Join::decode(&join).unwrap().index, socket)
        })
        .collect();
    sockets.sort_by_key(|(index, _)| *index);
    let mut sockets = sockets.into_iter().map(|(_, socket)| socket);
    let mut control = sockets.next().unwrap();
    control.write_all(&welcome.encode()).unwrap();
    (connecting.join().unwrap(), control, sockets.collect())
}

/// A sender with all its messages in flight to a peer that has asked for them and reads nothing.
pub struct Stalled {
    pub sender: SendComm,
    pub from: Buffer,
    pub bytes: u64,
    _requests: Vec<SendRequest>,
    _sockets: (TcpStream, Vec<TcpStream>),
}

impl Stalled {
    pub fn connect(options: Options) -> Self {
        let (count, each) = (16, 4 << 20);
        let options = options.tuned(|tuning| tuning.send_buffer_bytes = Some(64 << 10));
        let (mut sender, mut control, data) = sender_to_impostor(options, Some(64 << 10));
        let from = TestMemory::Host.buffer(count * each);
        for seq in 0..count {
            let announce = Announce { seq, capacity: each, inline_bytes: 64 << 10, done: 0, mark: None };
            control.write_all(&Control::Announce(announce).encode()).unwrap();
        }
        // Long ones, and short ones that travel on the control socket.
        let requests = (0..count).map(|at| {
            let bytes = if at % 2 == 0 { each } else { 10_000 };
            sender.isend(&from, at * each, bytes).unwrap().unwrap()
        });
        let _requests = requests.collect();
        Self { sender, bytes: count * each, from, _requests, _sockets: (control, data) }
    }

    pub fn bytes_written(&self) -> u64 {
        self.sender.bytes_written()
    }
}

/// Returns the CPU time that the process has had.
pub fn cpu() -> Duration {
    // utime and stime of /proc/self/stat (proc(5)), in ticks of 10 ms.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    Duration::from_millis(10 * ticks)
}

pub fn close(sends: Vec<SendComm>, recvs: Vec<RecvComm>) {
    // Each on a thread of its own: a close waits for its peer, and the two lists may be in different orders.
    thread::scope(|scope| {
        sends.into_iter().for_each(|comm| drop(scope.spawn(move || comm.close(soon()).unwrap())));
        recvs.into_iter().for_each(|comm| drop(scope.spawn(move || comm.close(soon()).unwrap())));
    });
}

/// The resources of a process that can leak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holdings {
    pub descriptors: usize,
    pub threads: usize,
    pub resident_kib: u64,
}

pub fn holdings() -> Holdings {
    let count = |path| std::fs::read_dir(path).unwrap().count();
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    Holdings {
        descriptors: count("/proc/self/fd"),
        threads: count("/proc/self/task"),
        resident_kib: resident.trim().trim_end_matches(" kB").parse().unwrap(),
    }
}
