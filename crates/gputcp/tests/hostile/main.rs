//! Peers that break the protocol byte by byte, and strays that never spoke it. Neither can crash, stall or
//! fool this side.

#[path = "../common/mod.rs"]
mod common;
mod early;
mod floods;
mod frames;
mod impostor;
mod listening;
mod resets;
mod slow;
