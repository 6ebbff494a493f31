//! A bounce buffer comes back when its unpack is finished, and not before.

use super::*;
use crate::{recv::RecvSide, window::Window};

/// Done when asked for the third time; lost when `broken`.
#[derive(Debug)]
struct Slow {
    asked: u32,
    broken: bool,
}

impl Completion for Slow {
    type Error = &'static str;

    fn is_done(&mut self) -> Result<bool, &'static str> {
        self.asked += 1;
        if self.broken { Err("the device was lost") } else { Ok(self.asked == 3) }
    }
}

struct Device {
    refuses: bool,
    loses: bool,
}

impl Unpack for Device {
    type Done = Slow;
    type Error = &'static str;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Slow, &'static str> {
        assert_eq!((index, landing.bytes()), (0, 10));
        if self.refuses { Err("no launch") } else { Ok(Slow { asked: 0, broken: self.loses }) }
    }
}

/// Returns a ring with one buffer in use, filling with a message of ten bytes.
fn filling() -> (Window<4>, RecvSide<16>, Slot, Filling) {
    let (mut ring, mut side) = (Window::new(), RecvSide::new(16, 4096, 64));
    let (receive, announce) = side.post(10, true).unwrap();
    let landing = side.begin_inline(announce.seq, 10).unwrap();
    let filling = Filling::new(ring.issue().unwrap(), landing);
    (ring, side, receive, filling)
}

#[test]
fn a_buffer_comes_back_when_its_unpack_is_finished() {
    let (mut ring, mut side, receive, filling) = filling();
    let filling = filling.advance(4).unwrap_err();
    assert_eq!((filling.index(), filling.have(), filling.missing()), (0, 4, 6));
    let filled = filling.advance(6).unwrap();
    let unpacking = filled.unpack(&mut Device { refuses: false, loses: false }).unwrap();
    let unpacking = unpacking.poll().unwrap().unwrap_err();
    assert_eq!(unpacking.completion().asked, 1);
    let unpacking = unpacking.poll().unwrap().unwrap_err();
    assert!(!side.is_complete(&receive), "landed is not placed");
    let (slot, placed) = unpacking.poll().unwrap().expect("finished");
    ring.release(slot);
    assert!(side.place(placed));
    assert_eq!(side.finish(receive).map(|received| received.bytes), Ok(10));
}

#[test]
fn a_lost_device_gives_nothing_back() {
    let (ring, side, receive, filling) = filling();
    let filled = filling.advance(10).unwrap();
    let unpacking = filled.unpack(&mut Device { refuses: false, loses: true }).unwrap();
    assert_eq!(unpacking.poll().err(), Some("the device was lost"));
    assert_eq!(ring.in_flight(), 1, "its buffer is never used again");
    assert!(!side.is_complete(&receive));
}

#[test]
fn a_refused_launch_is_an_error() {
    let (_ring, _side, _receive, filling) = filling();
    let filled = filling.advance(10).unwrap();
    assert_eq!(filled.unpack(&mut Device { refuses: true, loses: false }).err(), Some("no launch"));
}

#[test]
#[should_panic(expected = "past the segment's end")]
fn reading_past_a_segment_is_our_bug() {
    let (_ring, _side, _receive, filling) = filling();
    let _ = filling.advance(11);
}
