//! What the two ends of a measurement say to each other over the bootstrap connection, and when.
//!
//! The client orchestrates, the server carries. One frame is a 16-byte header and a payload whose meaning belongs to the
//! program (JSON, or handles). This module owns the header and the order.
//!
//! ```text
//! header: 0 magic "GTSN"  4 version u16  6 kind u16  8 bytes u32  12 zero [4]
//! ```
