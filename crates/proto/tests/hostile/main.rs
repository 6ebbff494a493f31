//! A hostile peer at every state of the rules.
//!
//! It sends valid frames, frames that are off by one, extreme or changed, and noise. Debug assertions are on.
//! A plain model of the agreement decides which frames must be accepted.
//!
//! `gputcp_fuzz` has the variables for the duration and for repeating a case.

mod frames;
mod receiver;
mod sender;
