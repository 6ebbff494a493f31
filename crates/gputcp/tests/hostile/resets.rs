//! Peers that reset their sockets.

use std::{io::Write, net::TcpStream, thread, time::Duration};

use gputcp::Error;
use gputcp_proto::frame::Control;

use super::common::{TIMEOUT, TestMemory};
use super::impostor::{Impostor, early};

/// As the kernel ends the sockets of a process that exits with something unread on them.
fn reset(socket: TcpStream) {
    socket2::SockRef::from(&socket).set_linger(Some(Duration::ZERO)).unwrap();
    drop(socket);
}

#[test]
fn a_sender_that_resets_its_sockets_after_its_goodbye_has_sent_what_it_sent() {
    // The receiver has announced nothing, or a receive, which the sender has left unread.
    for posted in [false, true] {
        let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
        // A reset forgets what is not sent yet, and that is not what this is about.
        impostor.control.set_nodelay(true).unwrap();
        let to = TestMemory::Host.buffer(100);
        let receive = posted.then(|| receiver.irecv(&to, 0, 100).unwrap().unwrap());
        let mut said = [early(0, 10), early(1, 20), Control::Goodbye.encode().to_vec()].concat();
        if !posted {
            // Half of it, while it is read, and the rest with the end.
            impostor.control.write_all(&said.drain(..40).collect::<Vec<_>>()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        impostor.control.write_all(&said).unwrap();
        drop(impostor.data);
        reset(impostor.control);
        let receive = receive.unwrap_or_else(|| receiver.irecv(&to, 0, 100).unwrap().unwrap());
        assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 10);
        thread::sleep(Duration::from_millis(50));
        let receive = receiver.irecv(&to, 0, 100).unwrap().unwrap();
        assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 20);
        let receive = receiver.irecv(&to, 0, 100).unwrap().unwrap();
        let error = receiver.wait(receive, TIMEOUT).unwrap_err();
        assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    }
}

#[test]
fn a_sender_that_resets_its_control_socket_without_a_goodbye_is_gone() {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
    impostor.control.write_all(&early(0, 10)).unwrap();
    thread::sleep(Duration::from_millis(20));
    reset(impostor.control);
    thread::sleep(Duration::from_millis(50));
    let to = TestMemory::Host.buffer(100);
    assert!(matches!(receiver.irecv(&to, 0, 100), Err(Error::PeerGone { .. })));
}
