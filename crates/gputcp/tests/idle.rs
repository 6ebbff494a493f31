//! Waiting costs no core. Alone in its process: the CPU time of the whole process is counted.

mod common;

use std::{thread, time::Duration};

use common::{TIMEOUT, TestMemory, close, cpu, options, pair};

#[test]
fn an_idle_connection_sleeps() {
    let (mut sender, mut receiver) = pair(&options(4));
    let to = TestMemory::Host.buffer(100);
    let request = receiver.irecv(&to, 0, 100).unwrap().unwrap();
    let before = cpu();
    let waiting = thread::spawn(move || {
        receiver.wait(request, TIMEOUT).unwrap();
        receiver
    });
    thread::sleep(Duration::from_millis(500));
    let spent = cpu() - before;
    assert!(spent < Duration::from_millis(100), "waiting half a second took {spent:?} of CPU");
    let send = sender.isend(&TestMemory::Host.buffer(100), 0, 100).unwrap().unwrap();
    sender.wait(send, TIMEOUT).unwrap();
    close(vec![sender], vec![waiting.join().unwrap()]);
}
