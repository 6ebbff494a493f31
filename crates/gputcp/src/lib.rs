//! GPU-to-GPU transfers over plain TCP.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::{Duration, Instant};
//! use gputcp::{Buffer, Options};
//! let deadline = Instant::now() + Duration::from_secs(60);
//!
//! // Receiver.
//! let mut listener = gputcp::listen("0.0.0.0:9000", Options::default())?;
//! let mut connection = listener.accept(deadline)?;
//! let buffer = Buffer::host(1 << 20)?;
//! connection.recv(&buffer)?;
//! connection.close(deadline)?;
//!
//! // Sender, in another process.
//! let mut connection = gputcp::connect("10.0.0.1:9000", Options::default())?;
//! let buffer = Buffer::host(1 << 20)?;
//! connection.send(&buffer)?;
//! connection.close(deadline)?;
//! # Ok(())
//! # }
//! ```
//!
//! A whole program stands at the end of this page; the examples of the package are more:
//! `cargo run -p gputcp --example recv 0.0.0.0:9000`, then `--example send HOST:9000`.
//!
//! # A connection
//!
//! A connection carries messages one way, from a [`SendComm`] to a [`RecvComm`], in the order in which they
//! are posted. For both ways make two. It has one control socket and [`Options::streams`] data sockets; a
//! message's bytes travel on several of them at once. The receiver posts receives, which are announced to the
//! sender; the sender starts only what is announced. So memory is bounded, host memory is received in place,
//! and no unexpected message exists.
//!
//! # The order of calls
//!
//! 1. The receiver calls [`listen`] and [`Listener::accept`]; the sender calls [`connect`]. The sender may
//!    start first: it asks until its timeout. One listener takes any number of connections, through one port.
//!    [`Listener::bind`] and [`Connector`] make the same connection where another channel carries the
//!    listener's [`Handle`], 128 bytes. [`Listener::poll`] and [`Connector::poll`] never wait. A listener has
//!    a descriptor to poll; a connection has none, because a GPU's completions raise none.
//! 2. [`SendComm::send`] and [`RecvComm::recv`] move a whole message, whose length both ends know. They cut
//!    it into chunks: a [`transfer::Sender`] and a [`transfer::Receiver`] do the same over several
//!    connections.
//! 3. Underneath, [`SendComm::isend`] and [`RecvComm::irecv`] post one request each. `None` means that all
//!    slots are taken: finish a request first. A receive may be longer than its message, whose length is
//!    [`Received::bytes`].
//! 4. [`SendComm::wait`] and [`RecvComm::wait`] block until a request is done; [`SendComm::test`] and
//!    [`RecvComm::test`] look, and return [`Progress`]. A send is done when the sockets have taken its bytes;
//!    a receive, when its bytes are at their destination, in GPU memory too.
//! 5. `close` says goodbye and waits for the peer's; `leave` says it and returns. A connection that is
//!    dropped without either is reset, and bytes under way are lost.
//!
//! # Memory
//!
//! A [`Buffer`] is host memory ([`Buffer::host`]), memory of a [`Device`] ([`Device::allocate`]) or memory
//! that another library owns. A request in flight claims its range: the memory cannot be freed, nor sent
//! while it is received into. [`Buffer::copy_from_host`] and [`Buffer::copy_to_host`] copy one's own bytes in
//! and out, whatever the memory is. A range of host memory can also be claimed for several copies
//! ([`Buffer::write`], [`Buffer::read`]); the claim must be dropped before a transfer needs the range.
//!
//! For device memory, [`Options::device`] is the device of the buffer. Each end chooses its own memory, and a
//! connection with a device moves host memory too. A connection's pinned rings and GPU streams are made at
//! connect; nothing is allocated afterwards. [`Device::soft`] is a software GPU, for machines without one:
//! `if Device::count() > 0 { Device::cuda("0")? } else { Device::soft(SoftOptions::default()) }`.
//!
//! [`Buffer::foreign`] makes a buffer of an existing CUDA pointer: `tensor.data_ptr()` of PyTorch, a device
//! pointer of cudarc or candle. Its page says what the caller promises. gputcp works in the device's primary
//! context, as these libraries do, on streams of its own. So finish the kernels that write the memory before
//! it is sent (`cudaStreamSynchronize`, `torch.cuda.synchronize`), and the receive before a kernel reads it.
//! The example `cuda_pointer` has all steps.
//!
//! # Errors
//!
//! An [`Error`] is one sentence: the event, the peer, the remedy. [`Error::origin`] names the side that
//! erred. The first error of a connection ends it, and the peer is told. Every request in flight and every
//! later call fails with that error, and claims of requests last until the connection is dropped.
//! [`Canceller::cancel`] tells the peer a reason of one's own. "Not yet" is no error. Every wait has a bound.
//! A `timeout` is the longest time without progress; a `deadline` is an [`Instant`](std::time::Instant). A
//! peer that crashes, hangs or is cut off ends the waiting within the timeout of the [`Options`] and 0.2 s.
//!
//! # Threads
//!
//! A connection has a thread for each data socket and one for the control socket, or the threads of an
//! [`IoPool`], which many connections share. Its two ends are [`Send`], and each call takes `&mut self`: one
//! thread at a time uses an end. A [`Canceller`] ends its waits from any other thread, such as a signal
//! handler's. After `fork` a connection stays with the parent.
//!
//! # Trust
//!
//! With [`Options::key`] each end proves to the other that it has the key; data is not encrypted. Without a
//! key, every process that reaches a listener's port can connect. Bytes that are no protocol end at most
//! their own connection.
//!
//! # A whole program
//!
//! ```
//! use std::{thread, time::{Duration, Instant}};
//! use gputcp::{Device, Options, Pattern, SoftOptions};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Device::cuda("0")? on a machine with a GPU.
//! let device = Device::soft(SoftOptions::default());
//! let options = Options::default().with_streams(2).with_device(device.clone());
//! let deadline = Instant::now() + Duration::from_secs(60);
//! let (pattern, bytes) = (Pattern { seed: 1, iteration: 0 }, 3 << 20);
//!
//! let mut listener = gputcp::listen("127.0.0.1:0", options.clone())?;
//! let address = listener.handle().address.to_string();
//! let source = device.allocate(bytes)?;
//! let sender = thread::spawn(move || -> gputcp::Result<()> {
//!     source.fill(pattern, 0, bytes)?;
//!     let mut connection = gputcp::connect(&address, options)?;
//!     connection.send(&source)?;
//!     connection.close(deadline)
//! });
//!
//! let destination = device.allocate(bytes)?;
//! let mut connection = listener.accept(deadline)?;
//! assert_eq!(connection.recv(&destination)?.bytes, bytes);
//! assert_eq!(destination.verify(pattern, 0, bytes)?, Ok(()));
//! connection.close(deadline)?;
//! sender.join().unwrap()?;
//! # Ok(())
//! # }
//! ```

#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod canceller;
mod congestion;
pub mod contract;
mod cpu_list;
mod error;
pub mod interfaces;
mod key_file;
pub mod onesided;
mod options;
mod progress;
mod sockets;
mod trace;
pub mod transfer;
mod tuning;

pub use gputcp_gpu::{
    Buffer, ClaimError, CudaDevice, Device, Error as DeviceError, MemoryKind, Mismatch, Pattern, ReadClaim,
    SoftOptions, UnpackMode, WriteClaim,
};
pub use gputcp_proto::{Violation, frame::Token, handle::Handle, key::Key, recv::Received, send::Sent};
pub use gputcp_socket::TcpInfo;

pub use self::{
    canceller::{Cancel, Canceller},
    congestion::CongestionControl,
    cpu_list::CpuList,
    error::{Error, Origin, Result},
    key_file::KeyFile,
    options::Options,
    progress::Progress,
    sockets::{
        Connector, GroupRequest, IoPool, Listener, Part, ReceivedGroup, RecvComm, RecvRequest, SendComm,
        SendRequest, connect, listen, set_numa_affinity, with_numa_affinity,
    },
    trace::{Recorder, Trace},
    tuning::{SLABS_MAX, Tuning},
};
