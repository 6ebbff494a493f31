//! Invariant I4: nothing is allocated after connect. Allocations are counted over a whole process, so over
//! all threads of both ends.
//!
//! A test harness has threads that allocate. A connection that ends frees its memory, some of it behind its
//! close. So this program has no harness, and each case runs in a process of its own, which has one
//! connection. All cases run at the same time, so that threads of the connection start late, as on a busy
//! machine.

mod common;

use std::{
    alloc::System,
    env, fs,
    process::{self, Command, ExitCode, Stdio},
    sync::Barrier,
    thread,
    time::Duration,
};

use common::{TIMEOUT, TestMemory, options, pair};
use gputcp::{
    IoPool, Options, Part, Trace,
    transfer::{Message, Plan, Receiver, Sender},
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, Stats, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The variable that names the case which a process is to count.
const CASE: &str = "GPUTCP_TEST_CASE";
const NAME: &str = "a_transfer_allocates_nothing";
/// How often each case runs.
const ROUNDS: usize = 4;
const KINDS: [(&str, Kind); 2] = [("transfer", transfer), ("groups", groups)];
const PLACES: [(&str, TestMemory); 2] = [("host", TestMemory::Host), ("soft", TestMemory::Soft)];
const DRIVERS: [(&str, bool); 2] = [("alone", false), ("pooled", true)];
/// Whether the life of each message is written to a file.
const TRACES: [(&str, bool); 2] = [("plain", false), ("traced", true)];

/// Connects, and returns what is allocated and freed between connect and close.
type Kind = fn(TestMemory, Options) -> Stats;

fn main() -> ExitCode {
    if let Ok(case) = env::var(CASE) {
        return count(&case);
    }
    let args: Vec<_> = env::args().skip(1).collect();
    let is_asked = |name: &str| args.iter().any(|arg| arg == name);
    let mut filters = args.iter().filter(|arg| !arg.starts_with('-')).peekable();
    if is_asked("--ignored") || filters.peek().is_some() && !filters.any(|filter| NAME.contains(filter)) {
        return ExitCode::SUCCESS;
    }
    if is_asked("--list") {
        println!("{NAME}: test");
        return ExitCode::SUCCESS;
    }
    let failed: Vec<_> = (0..ROUNDS).flat_map(|_| failures()).collect();
    failed.iter().for_each(|said| eprintln!("{said}"));
    println!("test {NAME} ... {}", if failed.is_empty() { "ok" } else { "FAILED" });
    ExitCode::from(u8::from(!failed.is_empty()))
}

/// Runs each case in its process, all at once, and returns what the failed ones say.
fn failures() -> Vec<String> {
    let cases = KINDS.iter().flat_map(|(kind, _)| {
        PLACES.iter().flat_map(move |(place, _)| {
            DRIVERS.iter().flat_map(move |(driver, _)| {
                TRACES.iter().map(move |(trace, _)| format!("{kind} {place} {driver} {trace}"))
            })
        })
    });
    let start = |case: String| {
        let mut command = Command::new(env::current_exe().unwrap());
        command.env(CASE, &case).stderr(Stdio::piped());
        (case, command.spawn().unwrap())
    };
    let running: Vec<_> = cases.map(start).collect();
    let outcomes = running.into_iter().map(|(case, child)| (case, child.wait_with_output().unwrap()));
    let failed = outcomes.filter(|(_, output)| !output.status.success());
    failed
        .map(|(case, output)| {
            format!("{case}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr))
        })
        .collect()
}

/// Counts one case in this process.
fn count(case: &str) -> ExitCode {
    // The counter counts: filling a vector shows.
    let region = Region::new(ALLOCATOR);
    std::hint::black_box(vec![1_u64]);
    assert_eq!(region.change().allocations, 1);

    let [kind, place, driver, traced] = *case.split(' ').collect::<Vec<_>>() else {
        panic!("no case: {case}")
    };
    let (kind, place, pooled) = (named(&KINDS, kind), named(&PLACES, place), named(&DRIVERS, driver));
    let pool = pooled.then(|| IoPool::new(2).unwrap());
    let path = env::temp_dir().join(format!("gputcp-no-allocation-{}", process::id()));
    let trace = named(&TRACES, traced).then(|| Trace::to_file(&path).unwrap());
    if let Some(trace) = trace.clone() {
        // Its own thread writes every 50 ms, which may be after the count.
        thread::spawn(move || {
            loop {
                trace.flush();
                thread::sleep(Duration::from_millis(1));
            }
        });
    }
    let counted = kind(place, options(2).with_device(place.device()).with_pool(pool).with_trace(trace));
    if let Ok(written) = fs::read(&path) {
        fs::remove_file(&path).unwrap();
        assert!(written.len() > 10_000, "the trace has {} bytes", written.len());
    }
    if (counted.allocations, counted.reallocations, counted.deallocations) == (0, 0, 0) {
        return ExitCode::SUCCESS;
    }
    eprintln!("{counted:?}");
    ExitCode::FAILURE
}

fn named<T: Copy>(table: &[(&str, T)], name: &str) -> T {
    table.iter().find(|(known, _)| *known == name).unwrap_or_else(|| panic!("no case has {name}")).1
}

/// Counts what whole messages allocate and free.
fn transfer(place: TestMemory, options: Options) -> Stats {
    let (chunk_bytes, bytes) = (64 << 10, 8 << 20);
    let (sender, receiver) = pair(&options);
    let (mut sends, mut recvs) = ([sender], [receiver]);
    let (from, to) = (place.buffer(bytes), place.buffer(bytes));
    let mut sending = Sender::new(Plan { chunk_bytes, window: 12, timeout: TIMEOUT }, 1);
    let mut receiving = Receiver::new(Plan { chunk_bytes, window: 16, timeout: TIMEOUT }, 1);
    let lengths = [bytes, 1000, bytes, 0, chunk_bytes + 1, bytes];
    let barrier = Barrier::new(2);
    let counted = thread::scope(|scope| {
        let (sends, from, sending, barrier) = (&mut sends, &from, &mut sending, &barrier);
        scope.spawn(move || {
            barrier.wait();
            for bytes in lengths {
                sending.send(sends, Message { buffer: from, offset: 0, bytes }).unwrap();
            }
            // Its end frees what the thread had: that comes after the count.
            barrier.wait();
        });
        barrier.wait();
        let region = Region::new(ALLOCATOR);
        for bytes in lengths {
            let posted = receiving.post(&mut recvs, Message { buffer: &to, offset: 0, bytes }).unwrap();
            receiving.finish(&mut recvs, posted).unwrap();
        }
        let counted = region.change();
        barrier.wait();
        counted
    });
    assert_eq!(recvs[0].bytes_placed(), lengths.iter().sum::<u64>());
    counted
}

/// Counts what grouped receives allocate and free.
fn groups(place: TestMemory, options: Options) -> Stats {
    let (mut sender, mut receiver) = pair(&options.with_max_receives(8));
    let each = 100_000;
    let (from, to) = (place.buffer(each), place.buffer(8 * each));
    let part = |at| Part { destination: &to, offset: at * each, bytes: each, tag: at as i32 };
    let group = [0, 1, 2, 3, 4, 5, 6, 7].map(part);
    let region = Region::new(ALLOCATOR);
    for bytes in [each, 0, 8, each] {
        let posted = receiver.irecv_group(&group).unwrap().unwrap();
        let mut sent = [const { None }; 8];
        for tag in (0..8).rev() {
            while sent[tag].is_none() {
                sent[tag] = sender.isend_tagged(&from, 0, bytes, tag as i32).unwrap();
            }
        }
        let received = receiver.wait_group(posted, TIMEOUT).unwrap();
        assert!(received.parts().iter().all(|part| part.bytes == bytes));
        for request in sent.into_iter().flatten() {
            sender.wait(request, TIMEOUT).unwrap();
        }
    }
    region.change()
}
