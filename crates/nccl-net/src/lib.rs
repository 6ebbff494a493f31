//! NCCL's net plugin interface, versions 5 to 12, for both sides of it and without dependencies.
//!
//! - [`layout`]: the types of functions, the structs and numbers, as C has them, and the tables of tuners.
//! - [`call`]: a table of any version, called in the newest version's shape.
//! - [`mod@export`]: the tables of all versions, made from one implementation in the newest version's shape.
//! - [`versions`]: the tables and properties of each version, found in a library or exported by one.
//! - [`Properties`]: a device's properties in any version.
//! - [`ResultCode`]: the codes that the functions return.
//!
//! # Add a version
//!
//! Write `versions/v13.rs` like its neighbours, and add a line to the list in `versions/mod.rs`. Calls,
//! exports, the driver and both plugins follow from the list. A function whose signature changed gets its
//! type in [`layout::functions`] and an arm each in `call/forms.rs` and `export/forms.rs`. The layout test
//! compares the result with a C compiler's.

pub mod call;
pub mod export;
pub mod layout;
mod properties;
mod result;
pub mod versions;

pub use self::{
    properties::{Properties, VirtualDevice},
    result::ResultCode,
};
