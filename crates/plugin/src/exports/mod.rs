//! The plugin as C sees it.
//!
//! NCCL looks up [`tables`]; `forms` are the functions' signatures in each version, `calls` their bodies.
//! [`tuners`] are both for the tuner. No panic leaves it: each call runs behind `guard`.
//!
//! NCCL promises the memory behind each pointer, as the interface has it. Out-pointers have room for the
//! result. A comm or a request is one of ours that was not closed, and no thread uses a comm that is being
//! closed.

mod calls;
mod forms;
pub mod tables;
pub mod tuners;
