//! A sender that closes the moment its last send is done loses nothing. All bytes that it sent are received,
//! however the last bytes, the ends of the streams and the goodbye meet the receiver's tests.

mod common;

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use common::{TestMemory, listen, options, soon};
use gputcp::{Connector, Error, IoPool, Options, Part, Progress, RecvComm, SendComm};
use gputcp_gpu::Buffer;

/// The messages that are sent over each connection.
#[derive(Debug, Clone, Copy)]
struct Shape {
    messages: usize,
    bytes: u64,
    /// Receives in one request.
    grouped: bool,
    /// Whether the receiver sleeps for its requests instead of polling.
    waits: bool,
}

const ONE: Shape = Shape { messages: 1, bytes: 1 << 20, grouped: false, waits: false };

#[test]
fn one_message_of_1_mib() {
    lose_nothing(&options(1), ONE);
    lose_nothing(&options(2), ONE);
    lose_nothing(&options(2), Shape { waits: true, ..ONE });
}

#[test]
fn one_message_of_1_mib_through_a_pool() {
    let pool = Some(IoPool::new(2).unwrap());
    lose_nothing(&options(1).with_pool(pool.clone()), ONE);
    lose_nothing(&options(2).with_pool(pool), ONE);
}

#[test]
fn a_window_of_messages() {
    lose_nothing(&options(2), Shape { messages: 32, ..ONE });
    lose_nothing(&options(2), Shape { messages: 8, bytes: 128 << 10, ..ONE });
}

#[test]
fn messages_that_go_to_eager_places() {
    for bytes in [0, 8, 4096] {
        lose_nothing(&options(2), Shape { messages: 8, bytes, ..ONE });
    }
}

#[test]
fn receives_in_groups() {
    let options = options(2).with_max_receives(8).tuned(|tuning| tuning.eager_places = 0);
    for waits in [false, true] {
        let shape = Shape { messages: 8, bytes: 128 << 10, grouped: true, waits };
        lose_nothing(&options, shape);
    }
}

#[test]
fn device_memory() {
    let with_device = |streams| options(streams).with_device(TestMemory::Soft.device());
    lose_nothing(&with_device(2), ONE);
    lose_nothing(&with_device(2), Shape { waits: true, ..ONE });
}

/// Moves the shape over [`connections`], one after another, with every core kept busy.
fn lose_nothing(options: &Options, shape: Shape) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    let _busy_once = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let connections = connections();
    let place = if options.device.is_some() { TestMemory::Soft } else { TestMemory::Host };
    let (source, destination) = (place.buffer(shape.all()), place.buffer(shape.all()));
    let over = AtomicBool::new(false);
    let lost = thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let lost: Vec<_> = (0..connections)
            .filter_map(|at| {
                let (mut listener, handle) = listen(options);
                let mine = options.clone();
                let connecting = scope.spawn(move || Connector::new(&handle, mine)?.connect(soon()));
                let mut receiver = listener.accept(soon()).unwrap();
                let sender = connecting.join().unwrap().unwrap();
                let sending = scope.spawn(|| send(sender, &source, shape));
                let received = receive(&mut receiver, &destination, shape);
                sending.join().unwrap().unwrap();
                received.map(|()| receiver.leave(TIMEOUT).unwrap()).err().map(|error| (at, error.to_string()))
            })
            .collect();
        over.store(true, Ordering::Relaxed);
        lost
    });
    assert!(
        lost.is_empty(),
        "{} of {connections} connections of {shape:?} lost receives: {:?}",
        lost.len(),
        lost.first()
    );
}

/// Sends all and says goodbye at the moment at which the last `test` finds its send done.
fn send(mut comm: SendComm, source: &Buffer, shape: Shape) -> Result<(), Error> {
    let mut requests = Vec::new();
    for at in 0..shape.messages as u64 {
        loop {
            match comm.isend_tagged(source, at * shape.bytes, shape.bytes, at as i32)? {
                Some(request) => break requests.push(request),
                None => thread::yield_now(),
            }
        }
    }
    for mut request in requests {
        while let Progress::NotYet(again) = comm.test(request)? {
            request = again;
        }
    }
    comm.leave(TIMEOUT)
}

fn receive(comm: &mut RecvComm, destination: &Buffer, shape: Shape) -> Result<(), Error> {
    let Shape { messages, bytes, grouped, waits } = shape;
    if grouped {
        let part = |at: usize| Part { destination, offset: at as u64 * bytes, bytes, tag: at as i32 };
        let parts: Vec<_> = (0..messages).map(part).collect();
        let mut group = comm.irecv_group(&parts)?.unwrap();
        if waits {
            return comm.wait_group(group, TIMEOUT).map(drop);
        }
        while let Progress::NotYet(again) = comm.test_group(group)? {
            group = again;
        }
        return Ok(());
    }
    let mut requests = Vec::new();
    for at in 0..messages as u64 {
        requests.push(comm.irecv(destination, at * bytes, bytes)?.unwrap());
    }
    for mut request in requests {
        if waits {
            comm.wait(request, TIMEOUT)?;
            continue;
        }
        while let Progress::NotYet(again) = comm.test(request)? {
            request = again;
        }
    }
    Ok(())
}

/// Returns how many connections of each shape are made: `GPUTCP_CLOSINGS` for a longer run.
fn connections() -> usize {
    std::env::var("GPUTCP_CLOSINGS").map_or(30, |count| count.parse().unwrap())
}

impl Shape {
    const fn all(self) -> u64 {
        let bytes = self.messages as u64 * self.bytes;
        if bytes == 0 { 1 } else { bytes }
    }
}

const TIMEOUT: Duration = Duration::from_secs(10);
