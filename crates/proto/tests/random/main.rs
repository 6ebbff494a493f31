//! The two sides of a connection at their real sizes, 16 and 32 slots, in random orders.

mod exchange;
mod groups;
mod window;
