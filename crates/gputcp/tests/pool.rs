//! Many connections on few threads. Each test counts its process's holdings, so they run one after another.

mod common;

use std::{
    fs,
    sync::{Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, cpu, move_and_verify, options, pair, soon};
use gputcp::{Connector, IoPool, Options, Origin, RecvComm, SendComm, transfer::Plan};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const THREADS: usize = 2;
const PLAN: Plan = Plan { chunk_bytes: 128 << 10, window: 8, timeout: TIMEOUT };

/// Returns the lock with which the tests of this file run one at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    until_nothing_is_left();
    alone
}

fn of_pool(pool: &IoPool, streams: u16) -> Options {
    options(streams).with_pool(pool.clone())
}

fn pairs(options: &Options, count: usize) -> (Vec<SendComm>, Vec<RecvComm>) {
    (0..count).map(|_| pair(options)).unzip()
}

/// Returns how many threads of gputcp's there are: the test program has others, which come and go.
fn threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").unwrap();
    let names = tasks.filter_map(|task| fs::read_to_string(task.unwrap().path().join("comm")).ok());
    names.filter(|name| name.starts_with("gputcp")).count()
}

fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Waits until no thread of gputcp's is left.
fn until_nothing_is_left() {
    let until = soon();
    while threads() > 0 {
        assert!(Instant::now() < until, "{} threads are left", threads());
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn sixty_four_connections_move_data_on_two_threads_and_leave_none_behind() {
    let _alone = alone();
    let before = descriptors();
    let pool = IoPool::new(THREADS).unwrap();
    assert_eq!(threads(), 0, "threads were started before there was a connection");
    let (mut sends, mut recvs) = pairs(&of_pool(&pool, 2), 64);
    // And one for the control sockets.
    assert_eq!(threads(), THREADS + 1);
    for (which, (sends, recvs)) in sends.chunks_mut(16).zip(recvs.chunks_mut(16)).enumerate() {
        let place = if which % 2 == 0 { 1 << 20 } else { 300_001 };
        let bytes = 16 * place;
        let buffers = (&TestMemory::Host.buffer(bytes), &TestMemory::Host.buffer(bytes));
        let moved = move_and_verify(sends, recvs, buffers, (PLAN, PLAN), &[bytes, 4096, bytes]).unwrap();
        assert_eq!(moved.bytes, 2 * bytes + 4096);
        assert_eq!(threads(), THREADS + 1);
    }
    close(sends, recvs);
    drop(pool);
    until_nothing_is_left();
    assert_eq!(descriptors(), before);
}

/// Returns the cores of each of gputcp's threads, as the kernel shows them.
fn cores_of_threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").unwrap().map(|task| task.unwrap().path());
    let statuses = tasks.filter_map(|task| fs::read_to_string(task.join("status")).ok());
    let line = |status: &str, name: &str| {
        let line = status.lines().find(|line| line.starts_with(name));
        line.map_or_else(String::new, |line| line[name.len()..].trim().to_owned())
    };
    let ours = statuses.filter(|status| line(status, "Name:").starts_with("gputcp"));
    ours.map(|status| line(&status, "Cpus_allowed_list:")).collect()
}

#[test]
fn threads_start_as_streams_need_them_and_run_where_the_pool_was_made() {
    let _alone = alone();
    let pool = IoPool::new(8).unwrap();
    let everywhere = sched_getaffinity(None).unwrap();
    let first = (0..CpuSet::MAX_CPU).find(|&core| everywhere.is_set(core)).unwrap();
    let mut one = CpuSet::new();
    one.set(first);
    // The connecting thread is pinned, as NCCL's threads are to the cores near a GPU.
    sched_setaffinity(None, &one).unwrap();
    let options = of_pool(&pool, 1);
    let (mut listener, handle) = common::listen(&options);
    let mut connector = Connector::new(&handle, options).unwrap();
    let (mut sender, mut receiver) = (None, None);
    while sender.is_none() || receiver.is_none() {
        sender = sender.or_else(|| connector.poll().unwrap());
        receiver = receiver.or_else(|| listener.poll().unwrap());
    }
    sched_setaffinity(None, &everywhere).unwrap();
    // Each end has one stream; and one for the control sockets.
    let found = cores_of_threads();
    assert_eq!(found.len(), 3, "{found:?}");
    let pinned = found.iter().filter(|cores| **cores == first.to_string()).count();
    assert_eq!(pinned, if everywhere.count() > 1 { 0 } else { 3 }, "{found:?}");
    // No more threads are started than there are tasks; and a worker without tasks gets the next one first.
    close(vec![sender.unwrap()], vec![receiver.unwrap()]);
    let (sends, recvs) = pairs(&of_pool(&pool, 1), 1);
    assert_eq!(threads(), 3);
    let (more_sends, more_recvs) = pairs(&of_pool(&pool, 3), 3);
    assert_eq!(threads(), 9);
    close(sends.into_iter().chain(more_sends).collect(), recvs.into_iter().chain(more_recvs).collect());
}

#[test]
fn idle_connections_cost_no_cpu() {
    let _alone = alone();
    let pool = IoPool::new(THREADS).unwrap();
    let (mut sends, mut recvs) = pairs(&of_pool(&pool, 2), 32);
    let (from, to) = (TestMemory::Host.buffer(64 << 10), TestMemory::Host.buffer(64 << 10));
    // One of them has a receive open; and all have worked.
    let buffers = (&from, &to);
    move_and_verify(&mut sends, &mut recvs, buffers, (PLAN, PLAN), &[64 << 10]).unwrap();
    let open = recvs[7].irecv(&to, 0, 64 << 10).unwrap().unwrap();
    thread::sleep(Duration::from_millis(50));
    let before = cpu();
    thread::sleep(Duration::from_secs(1));
    let spent = cpu() - before;
    assert!(spent <= Duration::from_millis(20), "a second of idleness took {spent:?} of CPU");
    let send = sends[7].isend(&from, 0, 64 << 10).unwrap().unwrap();
    recvs[7].wait(open, TIMEOUT).unwrap();
    sends[7].wait(send, TIMEOUT).unwrap();
    close(sends, recvs);
}

#[test]
fn a_peer_that_reads_nothing_holds_up_no_other_connection() {
    let _alone = alone();
    // On a single thread, so that any wait in there is noticed.
    let pool = IoPool::new(1).unwrap();
    let stalled = common::Stalled::connect(of_pool(&pool, 2));
    let (mut sends, mut recvs) = pairs(&of_pool(&pool, 2), 4);
    let bytes = 8 << 20;
    let buffers = (&TestMemory::Host.buffer(bytes), &TestMemory::Host.buffer(bytes));
    let began = Instant::now();
    move_and_verify(&mut sends, &mut recvs, buffers, (PLAN, PLAN), &[bytes, 100, bytes]).unwrap();
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    // It was stalled all the while.
    assert!(stalled.bytes_written() < stalled.bytes, "the peer's buffers took everything");
    let began = Instant::now();
    let error = stalled.sender.leave(TIMEOUT).unwrap_err();
    assert_eq!(error.origin(), Origin::Caller, "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // Nothing touches its memory any more.
    assert!(stalled.from.write(0, stalled.bytes).is_ok());
    close(sends, recvs);
}

#[test]
fn hundreds_leave_at_once_and_no_thread_is_started_for_them() {
    let _alone = alone();
    let before = descriptors();
    let pool = IoPool::new(THREADS).unwrap();
    let (sends, recvs) = pairs(&of_pool(&pool, 1), 200);
    let began = Instant::now();
    // All senders first, so that none of them has heard a goodbye.
    sends.into_iter().for_each(|comm| comm.leave(TIMEOUT).unwrap());
    assert_eq!(threads(), THREADS + 1);
    recvs.into_iter().for_each(|comm| comm.leave(TIMEOUT).unwrap());
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    drop(pool);
    until_nothing_is_left();
    assert_eq!(descriptors(), before);
}

#[test]
fn whoever_was_left_and_does_not_say_goodbye_is_given_up() {
    let _alone = alone();
    let before = descriptors();
    let pool = IoPool::new(THREADS).unwrap();
    let (sender, mut receiver) = pair(&of_pool(&pool, 1));
    let to = TestMemory::Host.buffer(100);
    let request = receiver.irecv(&to, 0, 100).unwrap().unwrap();
    let began = Instant::now();
    sender.leave(Duration::from_millis(300)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(200), "{:?}", began.elapsed());
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert_eq!(error.origin(), Origin::Peer, "{error:?}");
    drop((receiver, pool));
    until_nothing_is_left();
    assert_eq!(descriptors(), before);
}

#[test]
fn a_pool_has_one_thread_at_least_and_sixty_four_at_most() {
    for threads in [0, 65, usize::MAX] {
        let error = IoPool::new(threads).unwrap_err();
        assert_eq!(error.origin(), Origin::Caller, "{error}");
        assert!(error.to_string().contains(&threads.to_string()), "{error}");
    }
}
