//! The plugin as C sees it: [`tables`] are what NCCL looks up, `forms` the functions' signatures in each version, `calls` what
//! they do. [`tuners`] are both for the tuner. No panic leaves it: each call runs behind `guard`.
//!
//! What a pointer leads to is NCCL's promise, as the interface has it: out-pointers have room for what is written, a comm or
//! request is one of ours that was not closed, and nobody uses a comm that is being closed.

mod calls;
mod forms;
pub mod tables;
pub mod tuners;
