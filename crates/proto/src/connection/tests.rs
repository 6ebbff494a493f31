//! Defects that the simulator found, each as short as it can be. It tests the rest.

use std::{cell::Cell, convert::Infallible, rc::Rc, time::Duration};

use super::{
    End, Failure, Inbox, Receiver, Sender, Settings, SocketError, Write,
    receiver::{self, Receive, Work},
    sender::{Send, Wrote},
};
use crate::{
    bounce::{Completion, Unpack},
    frame::{Announce, Control, SegmentHeader},
    recv::Landing,
};

/// The completion of work that a test finishes.
#[derive(Debug, Clone, Default)]
struct Done(Rc<Cell<bool>>);

impl Completion for Done {
    type Error = Infallible;

    fn is_done(&mut self) -> Result<bool, Infallible> {
        Ok(self.0.get())
    }
}

impl Unpack for Done {
    type Done = Self;
    type Error = Infallible;

    fn launch(&mut self, _: usize, _: &Landing) -> Result<Self, Infallible> {
        Ok(self.clone())
    }
}

const TIMEOUT: Duration = Duration::from_secs(1);
/// The looks of a timeout.
const LOOKS: u32 = 10;

fn settings() -> Settings {
    Settings {
        depth: 4,
        peer_depth: 4,
        streams: 1,
        segment_bytes: 4096,
        piece_bytes: 4096,
        inline_bytes: 1000,
        eager_places: 0,
        eager_bytes: 0,
        max_receives: 1,
        buffers: Some(2),
        timeout: TIMEOUT,
    }
}

/// Looks for three times the timeout, while nothing moves and nothing comes.
fn wait(end: &mut impl End) {
    for _ in 0..3 * LOOKS {
        assert!(end.look(TIMEOUT / LOOKS, 0, None).is_ok());
    }
}

/// Writes all frames that there are, and returns them.
fn frames<E: End>(end: &mut E) -> Vec<Control> {
    let mut frames = vec![];
    let mut buffer = [0; Control::BYTES];
    while end.effects().write {
        match end.next_write(&mut buffer) {
            Ok(Write::Frames(bytes)) => {
                frames.push(Control::decode(&buffer).expect("a whole frame"));
                end.wrote(bytes);
            }
            Ok(Write::Nothing) => break,
            _ => panic!("only frames are left"),
        }
    }
    frames
}

#[test]
fn a_caller_that_pauses_behind_a_finished_unpack_blames_no_peer() {
    let mut end = Receiver::<Done>::new(&settings());
    let receive = Receive { capacity: 4096, is_bounced: true, tag: 0 };
    let posted = end.post(receive).expect("a free slot");
    let mut stream = receiver::Stream::new(0);
    let header = SegmentHeader { seq: 0, offset: 0, total: 4096, bytes: 4096 }.encode();
    let Work::Header(into) = stream.work() else { panic!("a header comes first") };
    into.copy_from_slice(&header);
    stream.got(header.len());
    let mut done = Done::default();
    let mut launched = false;
    while !launched {
        match stream.work() {
            Work::Bounce(_) => stream.got(4096),
            Work::Unpack(filled) => {
                let Ok(unpacking) = filled.unpack(&mut done);
                stream.launched(unpacking);
                launched = true;
            }
            _ => _ = end.step(&mut stream, Duration::ZERO),
        }
    }
    let Ok(_) = end.step(&mut stream, Duration::ZERO);
    done.0.set(true);
    for _ in 0..3 * LOOKS {
        let Ok(()) = end.look(TIMEOUT / LOOKS, 4096, None);
        end.heard(Control::Pong, &mut Inbox::new());
    }
    assert_eq!(end.effects().failure, None);
    assert!(matches!(end.finish(posted.slot), Ok(Ok(received)) if received.bytes == 4096));
}

#[test]
fn a_receiver_that_has_all_does_not_miss_its_peer() {
    let mut end = Receiver::<Done>::new(&settings());
    let posted = end.post(Receive { capacity: 100, is_bounced: false, tag: 0 }).expect("a free slot");
    let mut inbox = Inbox::new();
    end.heard(Control::Inline { seq: 0, bytes: 0 }, &mut inbox);
    let (short, _) = inbox.message().expect("it has begun");
    let Ok(_) = end.step_short(short);
    inbox.end_message();
    end.heard(Control::Goodbye, &mut inbox);
    let mut stream = receiver::Stream::new(0);
    stream.got(0);
    let Ok(_) = end.step(&mut stream, Duration::ZERO);
    end.control_closed(None);
    wait(&mut end);
    assert_eq!(end.effects().failure, None);
    assert!(matches!(end.finish(posted.slot), Ok(Ok(_))));
}

#[test]
fn a_sender_that_has_sent_all_does_not_miss_a_peer_that_has_closed() {
    let mut end = Sender::<Done>::new(&settings());
    let mut inbox = Inbox::new();
    let slot =
        end.post(Send { bytes: 100, is_staged: false, tag: 0, is_prompt: false }).expect("a free slot");
    write_short(&mut end, &mut inbox);
    let Ok(Write::Message(mut message)) = end.next_write(&mut []) else { panic!("a short message goes") };
    message.wrote(Control::BYTES + 100);
    end.wrote_message(message, Wrote::Some);
    end.heard(Control::Goodbye, &mut inbox);
    end.control_closed(None);
    wait(&mut end);
    assert_eq!(end.effects().failure, None);
    assert!(end.finish(slot).is_ok());
}

#[test]
fn a_peer_is_asked_for_an_answer_behind_a_message_that_is_being_written() {
    let mut end = Sender::<Done>::new(&settings());
    let mut inbox = Inbox::new();
    let _slot =
        end.post(Send { bytes: 100, is_staged: false, tag: 0, is_prompt: false }).expect("a free slot");
    write_short(&mut end, &mut inbox);
    let Ok(Write::Message(mut message)) = end.next_write(&mut []) else { panic!("a short message goes") };
    message.wrote(50);
    end.wrote_message(message, Wrote::NoRoom);
    for moved in 0..6 {
        let Ok(()) = end.look(TIMEOUT / LOOKS, 0, Some(moved));
    }
    end.room();
    let Ok(Write::Message(mut message)) = end.next_write(&mut []) else { panic!("the rest goes first") };
    message.wrote(Control::BYTES + 50);
    end.wrote_message(message, Wrote::Some);
    assert_eq!(frames(&mut end), [Control::Ping]);
}

#[test]
fn the_last_words_come_behind_the_reason() {
    let mut end = Receiver::<Done>::new(&settings());
    end.heard(Control::Goodbye, &mut Inbox::new());
    end.heard(Control::Goodbye, &mut Inbox::new());
    assert!(matches!(end.next_write(&mut []), Ok(Write::Nothing)), "its reason is not taken");
    let effects = end.effects();
    assert!(effects.write && matches!(effects.failure, Some(Failure::Violation(_))));
    assert!(matches!(end.next_write(&mut []), Ok(Write::Abort)));
}

#[test]
fn a_peer_that_has_closed_gets_no_answer() {
    let mut end = Sender::<Done>::new(&settings());
    let mut inbox = Inbox::new();
    end.close().expect("nothing is in flight");
    assert_eq!(frames(&mut end), [Control::Goodbye]);
    // In one read: the socket is closed already.
    end.heard(Control::Ping, &mut inbox);
    end.heard(Control::Goodbye, &mut inbox);
    end.control_closed(None);
    assert_eq!(frames(&mut end), []);
    assert_eq!(end.effects().failure, None);
}

#[test]
fn a_sign_of_life_that_meets_a_closed_socket_is_no_loss() {
    let mut end = Sender::<Done>::new(&settings());
    let mut inbox = Inbox::new();
    end.close().expect("nothing is in flight");
    assert_eq!(frames(&mut end), [Control::Goodbye]);
    end.heard(Control::Ping, &mut inbox);
    assert!(matches!(end.next_write(&mut [0; Control::BYTES]), Ok(Write::Frames(_))));
    end.write_failed(SocketError::Closed);
    end.heard(Control::Goodbye, &mut inbox);
    end.control_closed(None);
    assert_eq!(end.effects().failure, None);
}

/// Has the peer announce a receive that takes a short message.
fn write_short(end: &mut Sender<Done>, inbox: &mut Inbox<Done>) {
    let announce = Announce { seq: 0, capacity: 100, inline_bytes: 100, done: 0, mark: None };
    end.heard(Control::Announce(announce), inbox);
    assert!(end.effects().write);
}
