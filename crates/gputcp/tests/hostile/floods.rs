//! Peers that never stop sending frames.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use gputcp::Error;
use gputcp_proto::{Violation, frame::Control};

use super::common::{TIMEOUT, TestMemory, close, options, sender_to_impostor};
use super::impostor::{Impostor, early, violation};

#[test]
fn a_sender_that_goes_on_behind_its_goodbye_is_refused() {
    for (frame, name) in
        [(early(0, 10), "short message"), (Control::Want { seq: 0 }.encode().to_vec(), "want")]
    {
        // Data sockets may end later: their segments are on the way.
        let found = violation(|peer| {
            peer.control.write_all(&[&Control::Goodbye.encode()[..], &frame].concat()).unwrap();
        });
        assert_eq!(found, Violation::AfterGoodbye { frame: name });
    }
}

/// Writes a frame again and again, until the connection ends.
fn flood(mut control: TcpStream, frame: [u8; Control::BYTES]) -> thread::JoinHandle<()> {
    thread::spawn(move || while control.write_all(&frame.repeat(4096)).is_ok() {})
}

/// Runs a part of a test that a fault would make endless.
#[track_caller]
fn within(bound: Duration, part: impl FnOnce() + Send + 'static) {
    let (done, wait_for_done) = std::sync::mpsc::channel();
    thread::spawn(move || {
        part();
        done.send(())
    });
    assert_eq!(wait_for_done.recv_timeout(bound), Ok(()), "it took longer than {bound:?}");
}

#[test]
fn a_flood_of_control_frames_puts_off_neither_a_test_nor_a_deadline_nor_another_connection() {
    for frame in [Control::Want { seq: 7 }, Control::Ping, Control::Pong] {
        let (impostor, mut receiver) = Impostor::connect();
        let flooding = flood(impostor.control.try_clone().unwrap(), frame.encode());
        within(Duration::from_secs(10), move || {
            let to = TestMemory::Host.buffer(1 << 20);
            let mut request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
            thread::sleep(Duration::from_millis(20));
            for _ in 0..20 {
                request = receiver.test(request).unwrap().not_yet().unwrap();
            }
            let (mut sends, mut recvs) = (vec![], vec![]);
            let (sender, other) = super::common::pair(&options(1));
            sends.push(sender);
            recvs.push(other);
            let plan = gputcp::transfer::Plan { chunk_bytes: 64 << 10, window: 4, timeout: TIMEOUT };
            let buffers = (&TestMemory::Host.buffer(1 << 20), &TestMemory::Host.buffer(1 << 20));
            super::common::move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[1 << 20])
                .unwrap();
            close(sends, recvs);
            let error = receiver.wait(request, Duration::from_millis(100)).unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        });
        flooding.join().unwrap();
        drop(impostor.data);
    }
}

#[test]
fn a_receiver_that_floods_its_sender_puts_off_neither_a_test_nor_a_deadline() {
    for frame in [Control::Ping, Control::Pong] {
        let (mut sender, control, _data) = sender_to_impostor(options(1), None);
        let flooding = flood(control, frame.encode());
        within(Duration::from_secs(10), move || {
            let from = TestMemory::Host.buffer(1 << 20);
            let mut request = sender.isend(&from, 0, 1 << 20).unwrap().unwrap();
            thread::sleep(Duration::from_millis(20));
            for _ in 0..20 {
                request = sender.test(request).unwrap().not_yet().unwrap();
            }
            let error = sender.wait(request, Duration::from_millis(100)).unwrap_err();
            assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
        });
        flooding.join().unwrap();
    }
}
