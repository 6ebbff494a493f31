//! Traces: each message's life is told at both ends, complete and in order, in a file that viewers take.

mod file;

#[path = "../common/mod.rs"]
mod common;

use std::{
    fs,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, options, pair, pair_of, soon};
use file::{Document, Life};
use gputcp::{IoPool, Part, Trace};

/// A folder of a test's own, which is gone afterwards.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("gputcp-trace-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(&self.0).unwrap().map(|entry| entry.unwrap().file_name());
        let mut names: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        names.sort();
        names
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Short, one segment, more than one segment on several streams, and none.
const LENGTHS: [u64; 5] = [8, 300_000, 2 << 20, 40_000, 0];

/// Waits until the file tells so of a message.
fn wait_until(trace: &Trace, seq: u64, told: impl Fn(&Life) -> bool) {
    let until = soon();
    loop {
        trace.flush();
        if Document::read(trace.path()).lives().get(&seq).is_some_and(&told) {
            return;
        }
        assert!(Instant::now() < until, "message {seq} is not told");
        thread::sleep(Duration::from_millis(1));
    }
}

/// Moves a message of each length, one after another, each received before it is sent, and returns the file.
fn moved(name: &str, memory: TestMemory, pool: Option<IoPool>) -> Document {
    let folder = Folder::new(name);
    let trace = Trace::to_file(folder.file("trace.json")).unwrap();
    let options = options(2).with_device(memory.device()).with_pool(pool).with_trace(trace.clone());
    let (mut sender, mut receiver) = pair(&options);
    let (from, to) = (memory.buffer(2 << 20), memory.buffer(2 << 20));
    for (seq, bytes) in LENGTHS.into_iter().enumerate() {
        let receive = receiver.irecv(&to, 0, bytes).unwrap().unwrap();
        wait_until(&trace, seq as u64, |life| life.heard > 0);
        let send = sender.isend(&from, 0, bytes).unwrap().unwrap();
        receiver.wait(receive, TIMEOUT).unwrap();
        sender.wait(send, TIMEOUT).unwrap();
    }
    // Whole at any time: a process may end without a close.
    trace.flush();
    let open = Document::read(trace.path());
    assert!(!open.has_ended() && open.lives().len() == LENGTHS.len());
    close(vec![sender], vec![receiver]);
    let document = Document::read(trace.path());
    assert!(document.has_ended());
    document
}

fn check(document: &Document, memory: TestMemory) {
    document.check_shape();
    assert_eq!(document.left_out(), 0);
    let lives = document.lives();
    assert_eq!(lives.len(), LENGTHS.len());
    for (seq, bytes) in LENGTHS.into_iter().enumerate() {
        let life = &lives[&(seq as u64)];
        life.check(bytes);
        let is_striped = bytes > 1 << 20;
        assert_eq!(life.tracks_written().len() > 1, is_striped, "{bytes}: {life:?}");
        assert!(life.announced < life.heard && life.heard < life.send.posted, "{life:?}");
        let is_staged = memory == TestMemory::Soft && bytes > 0;
        assert_eq!((life.staged.is_empty(), life.unpacked.is_empty()), (!is_staged, !is_staged), "{life:?}");
    }
}

#[test]
fn the_life_of_host_memory_is_complete_and_in_order() {
    check(&moved("host", TestMemory::Host, None), TestMemory::Host);
}

#[test]
fn the_life_of_device_memory_has_its_copies() {
    check(&moved("soft", TestMemory::Soft, None), TestMemory::Soft);
}

#[test]
fn a_pools_threads_record_the_same() {
    for memory in [TestMemory::Host, TestMemory::Soft] {
        check(&moved("pool", memory, Some(IoPool::new(2).unwrap())), memory);
    }
}

#[test]
fn an_early_message_is_read_before_its_receive_is_posted() {
    let folder = Folder::new("early");
    let trace = Trace::to_file(folder.file("trace.json")).unwrap();
    let (mut sender, mut receiver) = pair(&options(1).with_trace(trace.clone()));
    let (from, to) = (TestMemory::Host.buffer(100), TestMemory::Host.buffer(100));
    for (seq, bytes) in [(0, 100), (1, 0)] {
        let send = sender.isend(&from, 0, bytes).unwrap().unwrap();
        sender.wait(send, TIMEOUT).unwrap();
        wait_until(&trace, seq, |life| !life.read.is_empty());
        let receive = receiver.irecv(&to, 0, bytes).unwrap().unwrap();
        receiver.wait(receive, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
    let document = Document::read(trace.path());
    document.check_shape();
    for (seq, bytes) in [(0, 100), (1, 0)] {
        let life = &document.lives()[&seq];
        life.check_sums(bytes);
        life.check_sender();
        let [read] = &life.read[..] else { panic!("{life:?}") };
        assert!(read.until < life.receive.posted, "{life:?}");
        assert!(life.receive.posted < life.receive.done && life.receive.done < life.receive.seen, "{life:?}");
    }
}

#[test]
fn grouped_messages_go_by_the_receives_that_they_meet() {
    let folder = Folder::new("groups");
    let trace = Trace::to_file(folder.file("trace.json")).unwrap();
    let (mut sender, mut receiver) = pair(&options(2).with_max_receives(4).with_trace(trace.clone()));
    let each = 100_000;
    let (from, to) = (TestMemory::Host.buffer(each), TestMemory::Host.buffer(4 * each));
    let part = |at| Part { destination: &to, offset: at * each, bytes: each, tag: at as i32 };
    let posted = receiver.irecv_group(&[0, 1, 2, 3].map(part)).unwrap().unwrap();
    // In the reverse order, and of lengths that tell them apart.
    let mut sends = vec![];
    for tag in (0..4).rev() {
        let send = loop {
            if let Some(send) = sender.isend_tagged(&from, 0, each - tag, tag as i32).unwrap() {
                break send;
            }
        };
        sends.push(send);
    }
    receiver.wait_group(posted, TIMEOUT).unwrap();
    for send in sends {
        sender.wait(send, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
    let document = Document::read(trace.path());
    document.check_shape();
    let lives = document.lives();
    assert_eq!(lives.len(), 4);
    for tag in 0..4 {
        lives[&tag].check(each - tag);
    }
    let posts: Vec<_> = (0..4).map(|seq| lives[&seq].send.posted).collect();
    assert!(posts.is_sorted_by(|first, second| first > second), "{posts:?}");
}

#[test]
fn messages_in_a_row_overlap_and_are_told_apart() {
    let folder = Folder::new("row");
    let trace = Trace::to_file(folder.file("trace.json")).unwrap();
    let (mut sender, mut receiver) = pair(&options(2).with_trace(trace.clone()));
    let (from, to) = (TestMemory::Host.buffer(8 << 20), TestMemory::Host.buffer(8 << 20));
    let receives: Vec<_> =
        (0..8).map(|at| receiver.irecv(&to, at << 20, 1 << 20).unwrap().unwrap()).collect();
    let sends: Vec<_> = (0..8).map(|at| sender.isend(&from, at << 20, 1 << 20).unwrap().unwrap()).collect();
    for receive in receives {
        receiver.wait(receive, TIMEOUT).unwrap();
    }
    for send in sends {
        sender.wait(send, TIMEOUT).unwrap();
    }
    close(vec![sender], vec![receiver]);
    let document = Document::read(trace.path());
    document.check_shape();
    document.lives().values().for_each(|life: &Life| life.check(1 << 20));
}

#[test]
fn one_end_may_be_traced_alone_and_none_leaves_no_file() {
    let folder = Folder::new("alone");
    let plain = options(1);
    assert!(plain.trace.is_none());
    let (sender, receiver) = pair(&plain);
    close(vec![sender], vec![receiver]);
    assert!(folder.names().is_empty());

    let trace = Trace::to_file(folder.file("trace.json")).unwrap();
    let (sender, receiver) = pair_of(options(1).with_trace(trace.clone()), &plain);
    close(vec![sender], vec![receiver]);
    let document = Document::read(trace.path());
    document.check_shape();
    assert_eq!(document.ends(), ["send"]);
}

#[test]
fn a_name_has_the_process_where_it_is_asked_for_or_taken() {
    let folder = Folder::new("names");
    let process = std::process::id();
    let first = Trace::to_file(folder.file("trace")).unwrap();
    let second = Trace::to_file(folder.file("trace")).unwrap();
    let third = Trace::to_file(folder.file("of-%p")).unwrap();
    let names = [format!("of-{process}"), "trace".into(), format!("trace.{process}")];
    assert_eq!(folder.names(), names);
    drop((first, second, third));
    // It is free again.
    let until = soon();
    while Trace::to_file(folder.file("trace")).unwrap().path() != folder.file("trace") {
        assert!(Instant::now() < until);
        thread::sleep(Duration::from_millis(10));
    }
    let error = Trace::to_file(folder.file("no/such/folder")).unwrap_err().to_string();
    assert!(error.contains("write the trace") && error.contains("no/such/folder"), "{error}");
}
