//! Memory: pages from the system, memory of GPUs and pinned for them, and the claims that govern access to
//! its parts.

mod available;
mod buffer;
mod claim;
mod hold;
mod joined;
mod layout;
mod pages;
pub(crate) mod socket;
mod table;

pub use buffer::Buffer;
pub use claim::{ReadClaim, WriteClaim};
pub(crate) use hold::{Hold, Residence};
pub use joined::Joined;
pub(crate) use layout::part_of;
pub use table::CLAIMS_MAX;
