//! Frames that a peer may not send, on either kind of socket.

use std::{io::Write, net::Shutdown, thread, time::Duration};

use gputcp::Error;
use gputcp_proto::{
    Violation,
    frame::{Announce, Control, SegmentHeader},
};

use super::common::{TIMEOUT, TestMemory, options, sender_to_impostor};
use super::impostor::{GOOD, Impostor, outcome, violation};

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
