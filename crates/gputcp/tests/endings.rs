//! Invariant I7: however one side ends, the other's waits end in time, with an error that names the side and
//! the cause.

mod common;

use std::{
    thread,
    time::{Duration, Instant},
};

use common::{TIMEOUT, TestMemory, close, listen, options, pair, pair_of, soon};
use gputcp::{Connector, Error, Handle, Origin};
use gputcp_gpu::{Device, SoftOptions};

/// Long before any of these tests' deadlines.
const AT_ONCE: Duration = Duration::from_secs(3);

#[test]
fn a_dropped_sender_ends_the_receivers_wait_and_says_why() {
    let (sender, mut receiver) = pair(&options(2));
    let to = TestMemory::Host.buffer(1 << 20);
    let request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    let began = Instant::now();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        drop(sender);
    });
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::PeerAborted { .. }), "{error:?}");
    assert!(error.to_string().contains("dropped"), "{error}");
    assert!(began.elapsed() < AT_ONCE);
    // Every later call fails with the same error, at once.
    assert_eq!(receiver.irecv(&to, 0, 1).unwrap_err().to_string(), error.to_string());
}

#[test]
fn a_dropped_receiver_ends_the_senders_wait() {
    let (mut sender, mut receiver) = pair(&options(2));
    let from = TestMemory::Host.buffer(64 << 20);
    let to = TestMemory::Host.buffer(64 << 20);
    let _receive = receiver.irecv(&to, 0, 64 << 20).unwrap().unwrap();
    let request = sender.isend(&from, 0, 64 << 20).unwrap().unwrap();
    let began = Instant::now();
    drop(receiver);
    let error = sender.wait(request, TIMEOUT).unwrap_err();
    assert_eq!(error.origin(), Origin::Peer, "{error:?}");
    assert!(began.elapsed() < AT_ONCE);
}

#[test]
fn a_cancelled_wait_ends_both_sides() {
    let (mut sender, mut receiver) = pair(&options(2));
    let to = TestMemory::Host.buffer(1 << 20);
    let request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    let send = sender.isend(&to, 0, 1);
    assert!(send.is_err(), "a range that is being received to was lent to a sender");
    let canceller = receiver.canceller();
    thread::spawn(move || {
        thread::sleep(Duration::from_millis(50));
        canceller.cancel("the user pressed Ctrl-C");
    });
    let began = Instant::now();
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::Cancelled { .. }), "{error:?}");
    let from = TestMemory::Host.buffer(1);
    // The bytes that the socket takes before the abort is read count as sent: the announced receive, and
    // eager places.
    let mut send = || sender.isend(&from, 0, 1).and_then(|request| sender.wait(request.unwrap(), TIMEOUT));
    let told = (0..100).find_map(|_| send().err()).unwrap();
    assert!(told.to_string().contains("pressed Ctrl-C"), "{told}");
    assert!(began.elapsed() < AT_ONCE);
}

#[test]
fn a_silent_peer_is_given_up_after_the_timeout_and_is_told() {
    let (mut sender, mut receiver) = pair(&options(1));
    let to = TestMemory::Host.buffer(100);
    let request = receiver.irecv(&to, 0, 100).unwrap().unwrap();
    let began = Instant::now();
    let error = receiver.wait(request, Duration::from_millis(300)).unwrap_err();
    assert!(matches!(error, Error::Timeout { .. }), "{error:?}");
    assert!(error.to_string().contains("127.0.0.1"), "{error}");
    assert!((Duration::from_millis(290)..AT_ONCE).contains(&began.elapsed()));
    thread::sleep(Duration::from_millis(100));
    let error = sender.isend(&to, 0, 1).map(|_| ()).unwrap_err();
    assert!(matches!(error, Error::PeerAborted { .. }), "{error:?}");
}

#[test]
fn a_message_longer_than_its_receive_is_the_callers_fault_and_fails_both() {
    for bytes in [101, 100_000] {
        let (mut sender, mut receiver) = pair(&options(2));
        let (from, to) = (TestMemory::Host.buffer(1 << 20), TestMemory::Host.buffer(1 << 20));
        let receive = receiver.irecv(&to, 0, 100).unwrap().unwrap();
        thread::sleep(Duration::from_millis(50));
        let error = match sender.isend(&from, 0, bytes) {
            Ok(request) => sender.wait(request.unwrap(), TIMEOUT).unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.origin(), Origin::Caller, "{error:?}");
        let told = receiver.wait(receive, TIMEOUT).unwrap_err();
        assert!(told.to_string().contains("met a receive of 100 bytes"), "{told}");
    }
}

#[test]
fn a_peer_that_closes_in_good_order_ends_the_waits_for_what_never_comes() {
    let (sender, mut receiver) = pair(&options(2));
    let to = TestMemory::Host.buffer(1 << 20);
    let request = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    let closing = thread::spawn(move || sender.close(soon()));
    let began = Instant::now();
    let error = receiver.wait(request, TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { open: 1, .. }), "{error:?}");
    assert!(began.elapsed() < AT_ONCE);
    drop(receiver);
    assert!(closing.join().unwrap().is_err(), "the receiver never said goodbye");

    let (mut sender, receiver) = pair(&options(2));
    let request = sender.isend(&to, 0, 1 << 20).unwrap().unwrap();
    let closing = thread::spawn(move || receiver.close(soon()));
    let error = sender.wait(request, TIMEOUT).unwrap_err();
    assert!(matches!(error, Error::PeerClosed { .. }), "{error:?}");
    drop(sender);
    assert!(closing.join().unwrap().is_err());
}

#[test]
fn closing_with_requests_in_flight_is_refused() {
    let (mut sender, _receiver) = pair(&options(1));
    let _request = sender.isend(&TestMemory::Host.buffer(1), 0, 1).unwrap().unwrap();
    assert_eq!(sender.close(soon()).unwrap_err().origin(), Origin::Caller);
}

#[test]
fn nobody_listening_is_said_at_once_and_names_the_place() {
    let handle = {
        let (listener, handle) = listen(&options(1));
        drop(listener);
        handle
    };
    let began = Instant::now();
    let error =
        Connector::new(&handle, options(2)).and_then(|connector| connector.connect(soon())).unwrap_err();
    assert!(matches!(error, Error::Refused { .. }), "{error:?}");
    assert!(error.to_string().contains(&handle.address.to_string()), "{error}");
    assert!(began.elapsed() < AT_ONCE);
}

#[test]
fn a_listener_that_never_answers_is_given_up() {
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (_, real) = listen(&options(1));
    let handle = Handle::at(silent.local_addr().unwrap(), real.token);
    let connector = Connector::new(&handle, options(2)).unwrap();
    let error = connector.connect(Instant::now() + Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, Error::Timeout { what: "connecting", .. }), "{error:?}");
}

#[test]
fn a_stale_handle_is_refused_with_the_reason() {
    let (mut listener, handle) = listen(&options(1));
    let (_, other) = listen(&options(1));
    let stale = Handle { token: other.token, ..handle };
    let connecting = thread::spawn(move || Connector::new(&stale, options(2))?.connect(soon()));
    let error = listener.accept(Instant::now() + Duration::from_millis(500)).unwrap_err();
    assert!(matches!(error, Error::NoPeer { .. }), "{error:?}");
    let error = connecting.join().unwrap().unwrap_err();
    assert!(error.to_string().contains("another listener"), "{error}");
    assert!(listener.strays() >= 1);
}

#[test]
fn not_yet_is_no_error_on_either_side() {
    let (mut listener, handle) = listen(&options(2));
    assert!(listener.poll().unwrap().is_none());
    let mut connector = Connector::new(&handle, options(2)).unwrap();
    let (mut sender, mut receiver) = (None, None);
    let until = soon();
    while sender.is_none() || receiver.is_none() {
        assert!(Instant::now() < until);
        sender = sender.or_else(|| connector.poll().unwrap());
        receiver = receiver.or_else(|| listener.poll().unwrap());
    }
    close(vec![sender.unwrap()], vec![receiver.unwrap()]);
}

#[test]
fn one_listener_accepts_many_connections_at_once() {
    let (mut listener, handle) = listen(&options(1));
    let connecting: Vec<_> = (0..8)
        .map(|_| thread::spawn(move || Connector::new(&handle, options(3)).unwrap().connect(soon()).unwrap()))
        .collect();
    let receivers: Vec<_> = (0..8).map(|_| listener.accept(soon()).unwrap()).collect();
    close(connecting.into_iter().map(|thread| thread.join().unwrap()).collect(), receivers);
    assert_eq!(listener.strays(), 0);
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let good = options(1);
    for (bad, word) in [
        (good.clone().with_streams(0), "streams"),
        (good.clone().with_streams(65), "streams"),
        (good.clone().tuned(|tuning| tuning.slots = 0), "slots"),
        (good.clone().tuned(|tuning| tuning.slots = 33), "slots"),
        (good.clone().tuned(|tuning| tuning.segment_bytes = 1), "segment"),
        (good.clone().tuned(|tuning| tuning.inline_bytes = 1 << 20), "inline"),
        (good.clone().tuned(|tuning| tuning.slabs = 0), "slabs"),
        (good.clone().with_timeout(Duration::ZERO), "timeout"),
    ] {
        let error = gputcp::Listener::bind("127.0.0.1:0".parse().unwrap(), bad).unwrap_err();
        assert!(error.origin() == Origin::Caller && error.to_string().contains(word), "{error}");
    }
}

#[test]
fn an_unknown_congestion_control_is_refused_by_name() {
    let (_listener, handle) = listen(&options(1));
    let options = options(1).tuned(|tuning| tuning.congestion = "nosuch".parse().ok());
    let error = Connector::new(&handle, options).unwrap_err();
    assert!(error.to_string().contains("nosuch"), "{error}");
}

#[test]
fn device_memory_needs_a_connection_with_lanes() {
    let (mut sender, mut receiver) = pair(&options(1));
    let memory = TestMemory::Soft.buffer(100);
    assert_eq!(sender.isend(&memory, 0, 100).unwrap_err().origin(), Origin::Caller);
    assert_eq!(receiver.irecv(&memory, 0, 100).unwrap_err().origin(), Origin::Caller);
    // Neither took a slot or spoiled the connection.
    close(vec![sender], vec![receiver]);
}

#[test]
fn device_memory_beyond_what_the_slabs_take_is_refused() {
    let opts = options(1).with_device(TestMemory::Soft.device()).tuned(|tuning| tuning.segment_bytes = 4096);
    let (mut sender, mut receiver) = pair(&opts);
    let longest = 4096 * 4096;
    let memory = TestMemory::Soft.buffer(longest + 1);
    assert_eq!(sender.isend(&memory, 0, longest + 1).unwrap_err().origin(), Origin::Caller);
    assert_eq!(receiver.irecv(&memory, 0, longest + 1).unwrap_err().origin(), Origin::Caller);
    let to = TestMemory::Soft.buffer(longest);
    let request = receiver.irecv(&to, 0, longest).unwrap().unwrap();
    let sent = sender.isend(&memory, 0, longest).unwrap().unwrap();
    assert_eq!(receiver.wait(request, TIMEOUT).unwrap().bytes, longest);
    sender.wait(sent, TIMEOUT).unwrap();
    close(vec![sender], vec![receiver]);
}

#[test]
fn ipv6_works_like_ipv4() {
    let Ok(mut listener) = gputcp::Listener::bind("[::1]:0".parse().unwrap(), options(1)) else {
        println!("skipped: no IPv6 loopback here");
        return;
    };
    let handle = Handle::decode(&listener.handle().encode()).unwrap();
    let connecting =
        thread::spawn(move || Connector::new(&handle, options(2)).unwrap().connect(soon()).unwrap());
    let receiver = listener.accept(soon()).unwrap();
    close(vec![connecting.join().unwrap()], vec![receiver]);
}

#[test]
fn the_connectors_settings_for_the_wire_hold() {
    let send = options(1).with_streams(3).tuned(|tuning| tuning.segment_bytes = 8192);
    let (sender, receiver) = pair_of(send, &options(1));
    assert_eq!((sender.tcp_info().len(), receiver.tcp_info().len()), (3, 3));
    close(vec![sender], vec![receiver]);
}

#[test]
fn a_lost_device_ends_both_sides_and_both_say_so() {
    let bytes = 32 << 20;
    let frail = || Some(Device::soft(SoftOptions { lost_after: Some(3), ..SoftOptions::default() }));
    let sound = || TestMemory::Soft.device();
    for (at_sender, at_receiver) in [(frail(), sound()), (sound(), frail())] {
        let is_sender = matches!(&at_sender, Some(device) if format!("{device:?}").contains("Some(3)"));
        let send = options(2).with_device(at_sender);
        let recv = options(2).with_device(at_receiver);
        let (mut sender, mut receiver) = pair_of(send, &recv);
        let (from, to) = (TestMemory::Soft.buffer(bytes), TestMemory::Soft.buffer(bytes));
        let began = Instant::now();
        let (sent, received) = thread::scope(|scope| {
            let sending = scope.spawn(|| {
                let request = sender.isend(&from, 0, bytes)?.unwrap();
                sender.wait(request, TIMEOUT)
            });
            let request = receiver.irecv(&to, 0, bytes).unwrap().unwrap();
            let received = receiver.wait(request, TIMEOUT);
            (sending.join().unwrap(), received)
        });
        let (own, told) = if is_sender {
            (sent.unwrap_err(), received.unwrap_err())
        } else {
            (received.unwrap_err(), sent.unwrap_err())
        };
        assert!(matches!(&own, Error::Device(error) if **error == gputcp_gpu::Error::LaneLost), "{own:?}");
        assert!(matches!(told, Error::PeerAborted { .. }), "{told:?}");
        assert!(told.to_string().contains(&own.to_string()), "{told}");
        assert!(began.elapsed() < AT_ONCE);
    }
}

#[test]
fn what_was_sent_arrives_after_its_sender_has_left() {
    let (mut sender, mut receiver) = pair(&options(2));
    let from = TestMemory::Host.buffer(1 << 20);
    let to = TestMemory::Host.buffer(1 << 20);
    let pattern = gputcp_gpu::Pattern { seed: 3, iteration: 4 };
    from.fill(pattern, 0, 1 << 20).unwrap();
    let receive = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    let send = sender.isend(&from, 0, 1 << 20).unwrap().unwrap();
    sender.wait(send, TIMEOUT).unwrap();
    let began = Instant::now();
    // The receiver has not said goodbye, and does not for a while.
    sender.leave(Duration::from_secs(10)).unwrap();
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    thread::sleep(Duration::from_millis(50));
    assert_eq!(receiver.wait(receive, TIMEOUT).unwrap().bytes, 1 << 20);
    assert_eq!(to.verify(pattern, 0, 1 << 20), Ok(Ok(())));
    receiver.leave(Duration::from_secs(10)).unwrap();
}

#[test]
fn whoever_leaves_with_requests_in_flight_resets_the_connection() {
    let (sender, mut receiver) = pair(&options(1));
    let to = TestMemory::Host.buffer(1 << 20);
    let _receive = receiver.irecv(&to, 0, 1 << 20).unwrap().unwrap();
    let began = Instant::now();
    let error = receiver.leave(Duration::from_secs(10)).unwrap_err();
    assert_eq!(error.origin(), Origin::Caller, "{error:?}");
    // No thread touches its memory any more.
    assert!(to.write(0, 1 << 20).is_ok());
    drop(sender);
    assert!(began.elapsed() < AT_ONCE);
}
