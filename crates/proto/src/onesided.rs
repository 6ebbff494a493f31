//! One-sided transfers: an initiator reads or writes a peer's memory, and the peer's program takes no part.
//!
//! # Two directions
//!
//! Two endpoints have a data connection each way, and a command connection each way. On a data connection
//! the *receiving* endpoint decides the order: it posts a receive, and then says which chunk it wants. The
//! other endpoint sends exactly one message for each such command, in the order of the commands.
//!
//! ```text
//! read:   initiator                                   peer
//!         posts a receive, Get(chunk, ranges) ───►    checks the ranges, sends them (or nothing: Refused)
//!
//! write:  initiator                                   peer
//!         Offer(chunk, ranges) ──────────────────►    checks the ranges, posts a receive
//!         sends the chunk              ◄── Pull(chunk)
//!                                      ◄── Done(chunk)    when the bytes are at their destination
//!
//! short write: Put(chunk, ranges), and the bytes behind it on the command connection; then Done(chunk)
//! ```
//!
//! A transfer is a list of blocks. It is cut into chunks ([`chunks`]): some ranges of one local and one
//! remote memory, up to a length. A [`Link`](link::Link) keeps a bounded number of chunks under way, and
//! takes the next from another transfer each time. So a short transfer waits for no long one.
//!
//! In the order of a request's way: a [`key`] names a region, and [`chunks`] cut a list. A [`command`] is a
//! chunk on the wire, and [`regions`] judge it.

pub mod chunks;
pub mod command;
pub mod key;
pub mod link;
pub mod regions;

#[cfg(test)]
mod tests;
