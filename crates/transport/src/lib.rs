//! GPU-to-GPU transfers over plain TCP.
//!
//! A connection carries data one way, from a [`SendComm`] to a [`RecvComm`], over one control socket and several data
//! sockets. The receiver posts receives, which are announced; the sender starts only what is announced. So memory is
//! bounded, host destinations are received in place, and no unexpected message exists. See `docs/architecture.md` for the
//! invariants.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use gputcp::{Buffer, Connector, Listener, Options, Pattern, transfer::{Message, Plan, Receiver, Sender}};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let plan = Plan { chunk_bytes: 64 << 10, window: 8, timeout: Duration::from_secs(10) };
//! let deadline = Instant::now() + plan.timeout;
//! let pattern = Pattern { seed: 1, iteration: 0 };
//! let bytes = 1 << 20;
//!
//! let mut listener = Listener::bind("127.0.0.1:0".parse()?, Options::default())?;
//! let handle = listener.handle(); // 128 bytes that reach the sender by any other way
//!
//! let sender = std::thread::spawn(move || -> gputcp::Result<()> {
//!     let source = Buffer::host(bytes)?;
//!     source.fill(pattern, 0, bytes)?;
//!     let mut comms = [Connector::new(&handle, Options::default())?.connect(deadline)?];
//!     let message = Message { buffer: &source, offset: 0, bytes };
//!     let sent = Sender::new(plan, 1).send(&mut comms, message)?;
//!     assert_eq!((sent.chunks, sent.bytes), (16, bytes));
//!     let [comm] = comms;
//!     comm.close(deadline)
//! });
//!
//! let destination = Buffer::host(bytes)?;
//! let mut comms = [listener.accept(deadline)?];
//! let mut receiver = Receiver::new(plan, 1);
//! let message = Message { buffer: &destination, offset: 0, bytes };
//! let receiving = receiver.post(&mut comms, message)?;
//! assert_eq!(receiver.finish(&mut comms, receiving)?.bytes, bytes);
//! assert_eq!(destination.verify(pattern, 0, bytes)?, Ok(()));
//! let [comm] = comms;
//! comm.close(deadline)?;
//! sender.join().unwrap()?;
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]

mod canceller;
mod congestion;
pub mod contract;
mod error;
mod key_file;
mod options;
pub mod plugin;
mod progress;
mod sockets;
pub mod transfer;
mod tuning;

pub use gputcp_gpu::{
    Buffer, ClaimError, CudaDevice, Device, Error as DeviceError, MemoryKind, Mismatch, Pattern, ReadClaim,
    SoftOptions, UnpackMode, WriteClaim,
};
pub use gputcp_proto::{Violation, frame::Token, handle::Handle, key::Key, recv::Received, send::Sent};
pub use gputcp_socket::TcpInfo;

pub use self::{
    canceller::Canceller,
    congestion::CongestionControl,
    error::{Error, Guilty, Result},
    key_file::KeyFile,
    options::Options,
    progress::Progress,
    sockets::{
        Connector, GroupRequest, IoPool, Listener, Part, ReceivedGroup, RecvComm, RecvRequest, SendComm,
        SendRequest, connect, listen, make_near, stay_near,
    },
    tuning::{SLABS_MAX, Tuning},
};
