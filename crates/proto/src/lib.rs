//! The rules of gputcp: which steps may happen, in which order, and the meaning of each byte on the wire.
//!
//! There is no socket, thread, clock or GPU here (invariant I5), so every rule can be tested by walking all
//! its schedules. The folders above this crate supply the world: `gpu` the memory and the lanes, `transport`
//! the sockets and threads.
//!
//! In the order of a message's way:
//!
//! - [`window`]: slots and sequence numbers. A [`window::Slot`] is the right to have one request in flight.
//! - [`plan`]: a message is cut into chunks (one request each), a chunk into segments (one header on the wire
//!   each).
//! - [`stage`]: a source that the socket cannot read is copied to a staging buffer first.
//! - [`send`]: the sender's side. Posted sends meet announced receives and are dealt out as segments.
//! - `group`: the match of messages and receives by tag.
//! - [`frame`] and [`handle`]: the bytes on the wire.
//! - [`key`]: the proof that both ends share a key.
//! - [`announce`]: the times at which the sender is told of posted receives.
//! - [`recv`]: the receiver's side: which bytes may land where, once each.
//! - [`bounce`]: the life of a bounce buffer, from filling to the finished unpack.
//! - [`layout`]: the places of a message's bytes in a buffer, as a list of ranges.
//! - [`liveness`]: whether the peer still does its duty.
//! - [`onesided`]: reads and writes of a peer's memory, on top of connections.
//! - [`connection`]: all of these as the two ends of a connection, without sockets, threads and clock.
//!
//! # The way that compiles
//!
//! One segment arrives through a bounce buffer, and one leaves through a staging buffer. The examples of code
//! that must not compile use the same names, so each fails for its one wrong line.
//! ```
//! use gputcp_proto::{bounce::*, recv::*, send::*, stage::*, window::*};
//!
//! fn arrive<U: Unpack>(
//!     ring: &mut Window<4>,
//!     side: &mut RecvSide<16>,
//!     landing: Landing,
//!     unpack: &mut U,
//! ) -> Result<bool, U::Error> {
//!     let bytes = landing.bytes();
//!     let slot = ring.issue().expect("a free bounce buffer");
//!     let filled = Filling::new(slot, landing).advance(bytes).expect("the socket gave all bytes at once");
//!     let mut unpacking = filled.unpack(unpack)?;
//!     let (slot, placed) = loop {
//!         match unpacking.poll()? {
//!             Ok(finished) => break finished,
//!             Err(running) => unpacking = running,
//!         }
//!     };
//!     ring.release(slot);
//!     Ok(side.place(placed))
//! }
//!
//! fn leave<S: Stage>(
//!     ring: &mut Window<4>,
//!     side: &mut SendSide<16>,
//!     segment: Segment,
//!     stage: &mut S,
//! ) -> Result<bool, S::Error> {
//!     let bytes = segment.bytes();
//!     let mut staging = Staging::start(ring.issue().expect("a free staging buffer"), segment, stage)?;
//!     let staged = loop {
//!         match staging.poll()? {
//!             Ok(staged) => break staged,
//!             Err(running) => staging = running,
//!         }
//!     };
//!     let (slot, segment) = staged.written(bytes).expect("the socket took all bytes at once");
//!     ring.release(slot);
//!     Ok(side.written(segment))
//! }
//! ```
//!
//! # The four classic mistakes do not compile
//!
//! A buffer that is released before its unpack is finished: an unpacking buffer is no slot.
//! ```compile_fail,E0308
//! # use gputcp_proto::{bounce::*, window::*};
//! # fn f<D: Completion>(ring: &mut Window<4>, unpacking: Unpacking<D>) {
//! ring.release(unpacking);
//! # }
//! ```
//! A buffer that is unpacked twice.
//! ```compile_fail,E0382
//! # use gputcp_proto::{bounce::*, window::*};
//! # fn f<U: Unpack>(filled: Filled, unpack: &mut U) {
//! let unpacking = filled.unpack(unpack);
//! let again = filled.unpack(unpack);
//! # }
//! ```
//! A socket that writes into it meanwhile: an unpacking buffer has no `advance`.
//! ```compile_fail,E0599
//! # use gputcp_proto::bounce::*;
//! # fn f<D: Completion>(unpacking: Unpacking<D>) {
//! unpacking.advance(4096);
//! # }
//! ```
//! More requests than slots: without a slot there is nothing to fill.
//! ```compile_fail,E0308
//! # use gputcp_proto::{bounce::*, recv::Landing, window::*};
//! # fn f(ring: &mut Window<16>, landing: Landing) {
//! let _ = Filling::new(ring.issue(), landing); // an Option<Slot> is no Slot
//! # }
//! ```
//! A tag of one's own: sequence numbers are minted, never chosen.
//! ```compile_fail,E0423
//! # use gputcp_proto::window::*;
//! let _ = Seq(99);
//! ```
//! A sequence number that is used twice.
//! ```compile_fail,E0599
//! # use gputcp_proto::window::*;
//! # fn f(slot: Slot) {
//! let _ = slot.clone();
//! # }
//! ```
//! Bytes that are called delivered while they are in a bounce buffer. [`recv::RecvSide::place`] takes a
//! proof, which only the end of an unpack or the last byte received in place gives.
//! ```compile_fail,E0308
//! # use gputcp_proto::{bounce::*, recv::*};
//! # fn f(side: &mut RecvSide<16>, filled: Filled) {
//! side.place(filled);
//! # }
//! ```
//! A staging buffer that is written to the socket before the copy into it is done.
//! ```compile_fail,E0599
//! # use gputcp_proto::{bounce::Completion, stage::*};
//! # fn f<D: Completion>(staging: Staging<D>) {
//! let _ = staging.written(1);
//! # }
//! ```
//! A staging buffer that is reused before it was written to the socket.
//! ```compile_fail,E0308
//! # use gputcp_proto::{stage::*, window::*};
//! # fn f(ring: &mut Window<4>, staged: Staged) {
//! ring.release(staged);
//! # }
//! ```
//! A segment whose bytes land twice.
//! ```compile_fail,E0382
//! # use gputcp_proto::{bounce::*, recv::*, window::*};
//! # fn f(slot: Slot, landing: Landing) {
//! let in_place = InPlace::new(landing);
//! let filling = Filling::new(slot, landing);
//! # }
//! ```
//! The fourth mistake, a stream and a launcher made per chunk, is a matter of the `gpu` crate. There, lanes
//! are made only at connect; its documentation holds that test.

#![forbid(unsafe_code)]

pub mod announce;
pub mod bounce;
pub mod connection;
pub mod frame;
mod group;
pub mod handle;
pub mod key;
pub mod layout;
pub mod liveness;
pub mod onesided;
pub mod plan;
pub mod recv;
pub mod send;
pub mod stage;
mod streams;
pub mod violation;
pub mod window;

pub use violation::Violation;
