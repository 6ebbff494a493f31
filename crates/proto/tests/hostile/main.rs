//! A peer that says anything, at every state of the rules: valid frames, frames that are off by one, extreme or changed, and
//! noise. Debug assertions are on; what is accepted is held against a model of what was agreed.
//!
//! `gputcp_fuzz` says how long, and how to have a case again.

mod frames;
mod receiver;
mod sender;
