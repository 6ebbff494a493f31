//! The calling side: a table of any version, called in the newest version's shape. Nothing is judged here.
//!
//! A table's [`Functions`] may be missing, each of them. [`Functions::calls`] demands those that NCCL calls
//! without looking: [`Calls`]. `forms` chooses the arguments that a function's version takes.

mod calls;
mod forms;
mod functions;

pub use self::{
    calls::Calls,
    forms::{
        Accept, Connect, GetProperties, Init, Irecv, Isend, Listen, MakeVDevice, Receives, RegMr, TooLong,
    },
    functions::Functions,
};
