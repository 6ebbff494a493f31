//! The `gputcp` command: two processes find each other ([`bootstrap`]), move messages and time them ([`measure`]), and
//! say what came out ([`report`]).
//!
//! The way of a command: [`args`] what was typed → [`settings`] what both ends agree on → [`bootstrap`] → [`measure`] →
//! [`report`] → [`output`]. [`host`] knows this machine, [`interrupt`] is Ctrl-C, [`failure`] the exit codes.

#![forbid(unsafe_code)]

pub mod args;
pub mod bootstrap;
pub mod failure;
pub mod host;
pub mod interrupt;
pub mod output;
pub mod settings;
