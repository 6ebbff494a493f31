//! Peers that break the protocol byte by byte, and strays that never spoke it. Neither can crash, stall or
//! fool this side.

mod common;

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpStream},
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, join, listen, options, sender_to_impostor, soon};
use gputcp::{Error, Options, RecvComm};
use gputcp_gpu::Pattern;
use gputcp_proto::{
    Violation,
    frame::{Announce, Control, Join, SegmentHeader, Token, Welcome},
};

/// A sender made of bare sockets: control first, then one data socket.
struct Impostor {
    control: TcpStream,
    data: TcpStream,
}

impl Impostor {
    fn connect() -> (Self, RecvComm) {
        Self::connect_with(0, 32)
    }

    fn connect_with(eager_places: u16, slots: u16) -> (Self, RecvComm) {
        let (mut listener, handle) = listen(&options(1).tuned(|tuning| tuning.slots = slots));
        let sockets: Vec<_> = (0..2u16)
            .map(|index| {
                let mut socket = TcpStream::connect(handle.address).unwrap();
                let join = Join { index, eager_places, ..join(&handle) };
                socket.write_all(&join.encode()).unwrap();
                socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
                socket
            })
            .collect();
        let receiver = listener.accept(soon()).unwrap();
        let [mut control, data] = <[TcpStream; 2]>::try_from(sockets).unwrap();
        let mut welcome = [0; Welcome::BYTES];
        control.read_exact(&mut welcome).unwrap();
        Welcome::decode(&welcome).unwrap();
        (Self { control, data }, receiver)
    }

    fn announced(&mut self) -> Announce {
        let mut frame = [0; Control::BYTES];
        self.control.read_exact(&mut frame).unwrap();
        match Control::decode(&frame).unwrap() {
            Control::Announce(announce) => announce,
            other => panic!("{other:?}"),
        }
    }
}

/// Lets an impostor misbehave while a receive of 1 MiB is posted, and returns the receiver's error.
fn outcome(misbehave: impl FnOnce(&mut Impostor)) -> Error {
    let (mut impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(1 << 20);
    let request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    assert_eq!(impostor.announced().capacity, 1 << 20);
    misbehave(&mut impostor);
    let began = Instant::now();
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(began.elapsed() < Duration::from_secs(5), "{error} took {:?}", began.elapsed());
    error
}

fn violation(misbehave: impl FnOnce(&mut Impostor)) -> Violation {
    match outcome(misbehave) {
        Error::PeerMisbehaved { violation, .. } => violation,
        other => panic!("{other:?}"),
    }
}

const GOOD: SegmentHeader = SegmentHeader { seq: 0, offset: 0, total: 1 << 20, bytes: 64 << 10 };

#[test]
fn a_wrong_sequence_number_ends_the_connection() {
    let header = SegmentHeader { seq: 1, ..GOOD };
    let found = violation(|peer| peer.data.write_all(&header.encode()).unwrap());
    assert_eq!(found, Violation::Sequence { seq: 1 });
}

#[test]
fn garbage_on_a_data_socket_ends_the_connection() {
    let found = violation(|peer| peer.data.write_all(b"GET / HTTP/1.1\r\nHost: example\r\n\r\n").unwrap());
    assert!(matches!(found, Violation::Magic { .. }), "{found:?}");
}

#[test]
fn garbage_on_the_control_socket_ends_the_connection() {
    let found = violation(|peer| peer.control.write_all(&[0xff; 64]).unwrap());
    assert!(matches!(found, Violation::Magic { .. }), "{found:?}");
}

#[test]
fn segments_out_of_place_end_the_connection() {
    for header in [
        SegmentHeader { offset: 1, ..GOOD },
        SegmentHeader { offset: u64::MAX, ..GOOD },
        SegmentHeader { bytes: u32::MAX, ..GOOD },
        SegmentHeader { bytes: 0, ..GOOD },
        SegmentHeader { total: 0, bytes: 0, ..GOOD },
    ] {
        let found = violation(|peer| peer.data.write_all(&header.encode()).unwrap());
        assert!(matches!(found, Violation::Segment { .. }), "{header:?} gave {found:?}");
    }
    let header = SegmentHeader { total: u64::MAX, ..GOOD };
    let found = violation(|peer| peer.data.write_all(&header.encode()).unwrap());
    assert!(matches!(found, Violation::Overflow { .. }), "{found:?}");
}

#[test]
fn a_segment_twice_ends_the_connection() {
    let found = violation(|peer| {
        for _ in 0..2 {
            peer.data.write_all(&GOOD.encode()).unwrap();
            peer.data.write_all(&vec![1; 64 << 10]).unwrap();
        }
    });
    assert_eq!(found, Violation::Twice { seq: 0, offset: 0 });
}

#[test]
fn an_inline_message_that_was_not_asked_for_ends_the_connection() {
    let inline = |seq, bytes| Control::Inline { seq, bytes }.encode();
    let found = violation(|peer| peer.control.write_all(&inline(5, 10)).unwrap());
    assert_eq!(found, Violation::Sequence { seq: 5 });
    // Longer than the 4096 bytes agreed.
    let found = violation(|peer| peer.control.write_all(&inline(0, 5000)).unwrap());
    assert!(matches!(found, Violation::Overflow { capacity: 4096, .. }), "{found:?}");
    let found = violation(|peer| {
        peer.control
            .write_all(
                &Control::Announce(Announce { seq: 0, capacity: 1, inline_bytes: 0, done: 0, mark: None })
                    .encode(),
            )
            .unwrap()
    });
    assert!(matches!(found, Violation::Field { .. }), "{found:?}");
}

#[test]
fn goodbyes_without_end_end_the_connection() {
    let found = violation(|peer| peer.control.write_all(&Control::Goodbye.encode().repeat(2)).unwrap());
    assert!(matches!(found, Violation::Field { frame: "goodbye", .. }), "{found:?}");
}

#[test]
fn a_peer_that_vanishes_anywhere_is_noticed() {
    let halves: [fn(&mut Impostor); 5] = [
        |peer| peer.control.shutdown(Shutdown::Both).unwrap(),
        |peer| peer.data.shutdown(Shutdown::Both).unwrap(),
        |peer| {
            peer.data.write_all(&GOOD.encode()[..10]).unwrap();
            peer.data.shutdown(Shutdown::Both).unwrap();
        },
        |peer| {
            peer.data.write_all(&GOOD.encode()).unwrap();
            peer.data.write_all(&[1; 1000]).unwrap();
            peer.data.shutdown(Shutdown::Both).unwrap();
        },
        |peer| {
            peer.control.write_all(&Control::Inline { seq: 0, bytes: 100 }.encode()).unwrap();
            peer.control.shutdown(Shutdown::Both).unwrap();
        },
    ];
    for (which, vanish) in halves.into_iter().enumerate() {
        let error = outcome(vanish);
        assert!(matches!(error, Error::PeerGone { .. }), "{which}: {error:?}");
    }
}

#[test]
fn an_aborts_text_is_made_harmless() {
    let text = "no \x1b[31mred\x1b[0m\r\nlines";
    let error = outcome(|peer| {
        peer.control.write_all(&Control::Abort { bytes: text.len() as u32 }.encode()).unwrap();
        peer.control.write_all(text.as_bytes()).unwrap();
    });
    let said = error.to_string();
    assert!(matches!(error, Error::PeerAborted { .. }) && !said.chars().any(char::is_control), "{said:?}");
}

#[test]
fn a_receiver_that_announces_what_it_may_not_is_refused() {
    for (seqs, wanted) in [(vec![1u64], "due"), ((0..33).collect(), "still unmatched")] {
        let (mut sender, mut control, _data) = sender_to_impostor(options(1), None);
        for seq in seqs {
            control
                .write_all(
                    &Control::Announce(Announce { seq, capacity: 10, inline_bytes: 0, done: 0, mark: None })
                        .encode(),
                )
                .unwrap();
        }
        let from = TestMemory::Host.buffer(10);
        let error = (0..1000)
            .find_map(|_| {
                thread::sleep(Duration::from_millis(5));
                // A send that finds the connection still good would go out: ask now and then instead.
                sender.isend(&from, 0, 0).err()
            })
            .unwrap();
        assert!(error.to_string().contains(wanted), "{error}");
    }
}

#[test]
fn a_receiver_that_announces_more_inline_bytes_than_it_may_is_refused() {
    // Less was agreed, by this end or by both; or the receive is shorter.
    for (agreed, capacity, inline_bytes) in [(0, 100, 100), (4096, 8192, 8192), (4096, 99, 100)] {
        let opts =
            options(1).with_device(TestMemory::Soft.device()).tuned(|tuning| tuning.inline_bytes = agreed);
        let (mut sender, mut control, _data) = sender_to_impostor(opts, None);
        let announce = Announce { seq: 0, capacity, inline_bytes, done: 0, mark: None };
        control.write_all(&Control::Announce(announce).encode()).unwrap();
        let from = TestMemory::Soft.buffer(8192);
        let posted = sender.isend(&from, 0, capacity);
        let error = posted.and_then(|request| sender.wait(request.unwrap(), TIMEOUT)).unwrap_err();
        let Error::PeerMisbehaved { violation, .. } = &error else { panic!("{error:?}") };
        let value = u64::from(inline_bytes);
        assert_eq!(violation, &Violation::Field { frame: "announcement", field: "inline length", value });
    }
}

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
    common::move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[8 << 20; 4]).unwrap();
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

#[test]
fn a_slow_peer_is_waited_for_and_a_silent_one_is_not() {
    let (impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(128 << 10);
    let mut request = |offset| receiver.irecv(&to, offset, 64 << 10).unwrap().unwrap();
    let (first, second) = (request(0), request(64 << 10));
    let timeout = Duration::from_millis(300);
    let mut data = impostor.data.try_clone().unwrap();
    // Three times as long as the timeout in all, but never silent for as long.
    let trickle = thread::spawn(move || {
        let header = SegmentHeader { total: 64 << 10, ..GOOD };
        data.write_all(&header.encode()).unwrap();
        for _ in 0..16 {
            thread::sleep(Duration::from_millis(60));
            data.write_all(&[3; 4 << 10]).unwrap();
        }
    });
    assert_eq!(receiver.wait(first, timeout).unwrap().bytes, 64 << 10);
    trickle.join().unwrap();
    let began = Instant::now();
    let error = receiver.wait(second, timeout).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(began.elapsed() < 4 * timeout, "{:?}", began.elapsed());
    impostor.control.shutdown(Shutdown::Both).ok();
}

#[test]
fn a_message_of_which_half_has_come_holds_up_nobody_and_is_gone_on_with() {
    let (mut impostor, mut receiver) = Impostor::connect();
    let to = TestMemory::Host.buffer(4096);
    let mut request = receiver.irecv(&to, 0, 4096).unwrap().unwrap();
    let bytes: Vec<u8> = (0..4096u32).map(|at| (at % 251) as u8).collect();
    let seq = impostor.announced().seq;
    impostor.control.write_all(&Control::Inline { seq, bytes: 4096 }.encode()).unwrap();
    for piece in bytes.chunks(1000) {
        let began = Instant::now();
        for _ in 0..20 {
            request = receiver.test(request).unwrap().not_yet().unwrap();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        impostor.control.write_all(piece).unwrap();
    }
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 4096);
    let mut landed = vec![0; 4096];
    to.read(0, 4096).unwrap().copy_to(0, &mut landed);
    assert_eq!(landed, bytes);
}

#[test]
fn a_peer_that_does_not_read_holds_up_neither_a_send_nor_a_test() {
    // Room for a few of the messages only, on either side.
    let opts = options(1).tuned(|tuning| tuning.send_buffer_bytes = Some(8 << 10));
    let (mut sender, mut control, _data) = sender_to_impostor(opts, Some(8 << 10));
    let (count, bytes) = (32, 16 << 10);
    for seq in 0..count {
        let announce = Announce { seq, capacity: bytes, inline_bytes: bytes as u32, done: 0, mark: None };
        control.write_all(&Control::Announce(announce).encode()).unwrap();
    }
    let from = TestMemory::Host.buffer(count * bytes);
    from.fill(Pattern { seed: 1, iteration: 2 }, 0, count * bytes).unwrap();
    let began = Instant::now();
    let mut requests: Vec<_> =
        (0..count).map(|at| sender.isend(&from, at * bytes, bytes).unwrap().unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    let last = requests.pop().unwrap();
    let last = sender
        .test(last)
        .unwrap()
        .not_yet()
        .expect("the last of half a mebibyte fitted buffers of a few KiB");
    requests.push(last);
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // It reads after all, and finds every message whole.
    let mut all = Vec::new();
    for _ in 0..count {
        let mut frame = [0; Control::BYTES];
        control.read_exact(&mut frame).unwrap();
        assert_eq!(
            Control::decode(&frame).unwrap(),
            Control::Inline { seq: all.len() as u64 / bytes, bytes: bytes as u32 }
        );
        let start = all.len();
        all.resize(start + bytes as usize, 0);
        control.read_exact(&mut all[start..]).unwrap();
    }
    for request in requests {
        assert_eq!(sender.wait(request, TIMEOUT).unwrap().bytes, bytes);
    }
    let to = TestMemory::Host.buffer(count * bytes);
    to.write(0, count * bytes).unwrap().copy_from(0, &all);
    assert_eq!(to.verify(Pattern { seed: 1, iteration: 2 }, 0, count * bytes).unwrap(), Ok(()));
}

/// Returns the error of a receiver that has posted nothing, and to which an impostor sends early messages.
fn outcome_of_early(misbehave: impl FnOnce(&mut Impostor)) -> Error {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 1);
    misbehave(&mut impostor);
    let to = TestMemory::Host.buffer(64);
    // While the test has the memory no receive is posted: each attempt only asks whether the connection has
    // failed.
    let _claim = to.write(0, 64).unwrap();
    let until = soon();
    loop {
        match receiver.irecv(&to, 0, 64) {
            Err(Error::Usage(_)) => {}
            Err(error) => return error,
            Ok(request) => panic!("a receive was posted into memory in use: {request:?}"),
        }
        assert!(Instant::now() < until, "the misbehaviour was never noticed");
        thread::sleep(Duration::from_millis(1));
    }
}

fn early(seq: u64, bytes: u32) -> Vec<u8> {
    let mut message = Control::Inline { seq, bytes }.encode().to_vec();
    message.resize(message.len() + bytes as usize, 7);
    message
}

#[test]
fn early_messages_without_a_place_end_the_connection() {
    let violation = |misbehave: fn(&mut Impostor)| match outcome_of_early(misbehave) {
        Error::PeerMisbehaved { violation, .. } => violation,
        other => panic!("{other:?}"),
    };
    let one_too_many = violation(|peer| {
        (0..9).for_each(|seq| peer.control.write_all(&early(seq, 10)).unwrap());
    });
    assert_eq!(one_too_many, Violation::Sequence { seq: 8 });
    // Longer than the 4096 bytes agreed, and not the first: that may have its receive by then.
    let too_long = violation(|peer| peer.control.write_all(&early(1, 5000)).unwrap());
    assert_eq!(too_long, Violation::Overflow { seq: 1, total: 5000, capacity: 4096 });
    let twice = violation(|peer| {
        (0..2).for_each(|_| peer.control.write_all(&early(3, 10)).unwrap());
    });
    assert_eq!(twice, Violation::Twice { seq: 3, offset: 0 });
}

#[test]
fn an_early_message_for_a_finished_receive_ends_the_connection() {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
    impostor.control.write_all(&early(0, 10)).unwrap();
    let to = TestMemory::Host.buffer(64);
    let request = receiver.irecv(&to, 0, 64).unwrap().unwrap();
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 10);
    impostor.control.write_all(&early(0, 10)).unwrap();
    // The background reader may have read it already.
    let posted = receiver.irecv(&to, 0, 64);
    let error = posted.and_then(|request| receiver.wait(request.unwrap(), TIMEOUT)).unwrap_err();
    assert!(
        matches!(error, Error::PeerMisbehaved { violation: Violation::Sequence { seq: 0 }, .. }),
        "{error:?}"
    );
}

#[test]
fn wants_of_anything_do_no_harm() {
    let (mut impostor, mut receiver) = Impostor::connect_with(8, 32);
    for seq in [0, 5, u64::MAX, 1] {
        impostor.control.write_all(&Control::Want { seq }.encode()).unwrap();
    }
    let to = TestMemory::Host.buffer(64);
    let request = receiver.irecv(&to, 0, 64).unwrap().unwrap();
    assert_eq!(impostor.announced().seq, 0);
    impostor.control.write_all(&early(0, 10)).unwrap();
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, 10);
}

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
            let (sender, other) = common::pair(&options(1));
            sends.push(sender);
            recvs.push(other);
            let plan = gputcp::transfer::Plan { chunk_bytes: 64 << 10, window: 4, timeout: TIMEOUT };
            let buffers = (&TestMemory::Host.buffer(1 << 20), &TestMemory::Host.buffer(1 << 20));
            common::move_and_verify(&mut sends, &mut recvs, buffers, (plan, plan), &[1 << 20]).unwrap();
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
