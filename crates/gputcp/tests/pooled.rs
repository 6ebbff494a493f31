//! The tests of connections with threads of their own, on those of a pool: both ends share two threads.
#![expect(clippy::duplicate_mod, reason = "each test file has the common part as its own module")]

#[path = "early.rs"]
mod early;
#[path = "endings.rs"]
mod endings;
#[path = "groups.rs"]
mod groups;
#[path = "hostile/main.rs"]
mod hostile;
#[path = "moves.rs"]
mod moves;
#[path = "silence.rs"]
mod silence;
#[path = "soak.rs"]
mod soak;
