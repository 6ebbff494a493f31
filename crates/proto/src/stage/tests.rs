//! A staging buffer is written when its copy is finished, and comes back when all of it was written.

use super::*;
use crate::{
    frame::Announce,
    send::{Carrier, SendSide},
    window::Window,
};

/// Done when asked for the second time.
#[derive(Debug)]
struct Slow(u32);

impl Completion for Slow {
    type Error = &'static str;

    fn is_done(&mut self) -> Result<bool, &'static str> {
        self.0 += 1;
        Ok(self.0 == 2)
    }
}

struct Device {
    refuses: bool,
}

impl Stage for Device {
    type Done = Slow;
    type Error = &'static str;

    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Slow, &'static str> {
        assert_eq!((index, segment.bytes()), (0, 10));
        if self.refuses { Err("no copy") } else { Ok(Slow(0)) }
    }
}

/// Returns a ring with one buffer in use, a send of ten bytes, and its segment.
fn dealt() -> (Window<4>, Slot, SendSide<16>, Slot, Segment) {
    let (mut ring, mut side) = (Window::new(), SendSide::new(16, 4096, 16));
    let buffer = ring.issue().unwrap();
    let send = side.post(10, false).unwrap();
    side.announced(&Announce { seq: 0, capacity: 10, inline_bytes: 0, done: 0, mark: None }).unwrap();
    let segment = side.deal(Carrier::Any).unwrap().unwrap();
    (ring, buffer, side, send, segment)
}

#[test]
fn a_buffer_comes_back_when_it_was_written() {
    let (mut ring, buffer, mut side, send, segment) = dealt();
    let staging = Staging::start(buffer, segment, &mut Device { refuses: false }).unwrap();
    let staging = staging.poll().unwrap().expect_err("the copy is not finished");
    assert_eq!(staging.completion().0, 1);
    let staged = staging.poll().unwrap().expect("the copy is finished");
    assert_eq!((staged.index(), staged.segment().bytes(), staged.have_written()), (0, 10, 0));
    let staged = staged.written(4).unwrap_err();
    assert_eq!(staged.have_written(), 4);
    let (buffer, segment) = staged.written(6).unwrap();
    ring.release(buffer);
    assert!(side.written(segment));
    assert_eq!(side.finish(send).map(|sent| sent.bytes), Ok(10));
}

#[test]
fn a_refused_copy_is_an_error() {
    let (_ring, buffer, _side, _send, segment) = dealt();
    assert_eq!(Staging::start(buffer, segment, &mut Device { refuses: true }).err(), Some("no copy"));
}

#[test]
#[should_panic(expected = "past the segment's end")]
fn writing_past_a_segment_is_our_bug() {
    let (_ring, buffer, _side, _send, segment) = dealt();
    let staging = Staging::start(buffer, segment, &mut Device { refuses: false }).unwrap();
    let staging = staging.poll().unwrap().expect_err("the copy is not finished");
    let _ = staging.poll().unwrap().expect("the copy is finished").written(11);
}
