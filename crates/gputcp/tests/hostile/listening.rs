//! Strays, thieves and old versions at a listener.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use gputcp::Options;
use gputcp_proto::frame::{Join, Token, Welcome};

use super::common::{TIMEOUT, TestMemory, close, join, listen, options, soon};

#[test]
fn strays_disturb_neither_the_listener_nor_a_running_transfer() {
    let opts = options(2);
    let (mut listener, handle) = listen(&opts);
    // Nothing; garbage; half a join; a whole join with the wrong token; one more with an absurd field.
    let mut strays = Vec::new();
    let mut stray = |bytes: &[u8]| {
        let mut socket = TcpStream::connect(handle.address).unwrap();
        socket.write_all(bytes).unwrap();
        strays.push(socket);
    };
    let good = join(&handle);
    let alien = Join { listen_token: Token([0; 16]), ..good };
    for _ in 0..20 {
        stray(b"");
        stray(&[0x41; 200]);
        stray(&good.encode()[..40]);
        stray(&alien.encode());
        stray(&{
            let mut bytes = good.encode();
            bytes[40] = 0xff;
            bytes
        });
    }
    let connecting =
        thread::spawn(move || gputcp::Connector::new(&handle, options(2)).unwrap().connect(soon()).unwrap());
    let began = Instant::now();
    let receiver = listener.accept(soon()).unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "an honest sender waited {:?}", began.elapsed());
    let (mut sends, mut recvs) = (vec![connecting.join().unwrap()], vec![receiver]);
    // The honest one did not wait for the rest to be looked at.
    assert!(listener.poll().unwrap().is_none());
    assert!(listener.strays() >= 60, "{} strays were counted", listener.strays());

    // More of them while data flows, on the listener's port.
    let flood = thread::spawn(move || {
        for _ in 0..200 {
            if let Ok(mut socket) = TcpStream::connect(handle.address) {
                let _ = socket.write_all(b"hello?");
            }
        }
    });
    let plan = gputcp::transfer::Plan { chunk_bytes: 64 << 10, window: 12, timeout: TIMEOUT };
    let buffers = (&TestMemory::Host.buffer(8 << 20), &TestMemory::Host.buffer(8 << 20));
    super::common::move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[8 << 20; 4]).unwrap();
    flood.join().unwrap();
    close(sends, recvs);
}

#[test]
fn a_socket_that_says_the_same_place_twice_cannot_steal_it() {
    let (mut listener, handle) = listen(&options(1));
    let join = Join { streams: 2, ..join(&handle) };
    let mut sockets: Vec<_> = [0u16, 1, 1, 2]
        .into_iter()
        .map(|index| {
            let mut socket = TcpStream::connect(handle.address).unwrap();
            socket.write_all(&Join { index, ..join }.encode()).unwrap();
            // One after another, so that the thief is the second.
            thread::sleep(Duration::from_millis(20));
            assert!(index == 2 || listener.poll().unwrap().is_none());
            socket
        })
        .collect();
    let receiver = listener.accept(soon()).unwrap();
    assert_eq!(listener.strays(), 1);
    sockets[2].set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    let mut answer = [0; Welcome::BYTES];
    sockets[2].read_exact(&mut answer).unwrap();
    assert_eq!(Welcome::decode(&answer).unwrap().verdict, gputcp_proto::frame::JoinVerdict::BadSettings);
    drop(receiver);
}

#[test]
fn a_connector_that_asks_for_longer_rings_than_the_listener_takes_is_refused() {
    const MIB: u32 = 1 << 20;
    let answer = |opts: Options, asked: fn(Join) -> Join| {
        let (mut listener, handle) = listen(&opts);
        let mut socket = TcpStream::connect(handle.address).unwrap();
        socket.write_all(&asked(join(&handle)).encode()).unwrap();
        assert!(listener.accept(Instant::now() + Duration::from_millis(100)).is_err());
        socket.set_nonblocking(true).unwrap();
        let mut answer = [0; Welcome::BYTES];
        socket.read_exact(&mut answer).ok().map(|()| Welcome::decode(&answer).unwrap().verdict)
    };
    let long = |join: Join| Join { streams: 17, segment_bytes: 64 * MIB, ..join };
    // 17 × 64 MiB × the listener's slabs, pinned where there is a GPU.
    let device = options(1).with_device(TestMemory::Soft.device()).tuned(|tuning| tuning.slabs = 1);
    let refused = Some(gputcp_proto::frame::JoinVerdict::BadSettings);
    assert_eq!(answer(device.clone(), long), refused);
    let most = |join: Join| Join { streams: 64, segment_bytes: 64 * MIB, ..join };
    assert_eq!(answer(device.clone().tuned(|tuning| tuning.slabs = 16), most), refused);
    // A gibibyte is taken, as much as this end would ask for itself, and anything where there are no rings.
    let gibibyte = |join: Join| Join { streams: 16, segment_bytes: 64 * MIB, ..join };
    assert_eq!(answer(device.clone(), gibibyte), None, "the other sockets are waited for");
    let as_long = device.with_streams(17).tuned(|tuning| tuning.segment_bytes = 64 * MIB);
    assert_eq!(answer(as_long, long), None);
    assert_eq!(answer(options(1), most), None);
}

#[test]
fn an_old_version_is_told_so() {
    let (mut listener, handle) = listen(&options(1));
    let mut socket = TcpStream::connect(handle.address).unwrap();
    let mut join = join(&handle).encode();
    join[4] = 77;
    socket.write_all(&join).unwrap();
    let deadline = Instant::now() + Duration::from_millis(300);
    assert!(listener.accept(deadline).is_err());
    let mut answer = [0; Welcome::BYTES];
    socket.read_exact(&mut answer).unwrap();
    assert_eq!(Welcome::decode(&answer).unwrap().verdict, gputcp_proto::frame::JoinVerdict::WrongVersion);
}
