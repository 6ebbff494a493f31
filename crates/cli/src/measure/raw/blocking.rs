//! Blocking calls on bare sockets, and how a share of a message fails.

use std::io;

/// The reason why a share did not come through.
#[derive(Debug)]
pub(super) enum Broken {
    /// The socket failed, or nothing moved.
    Socket(io::Error),
    /// This side's device failed.
    Device(gputcp_gpu::Error),
    /// The thread panicked.
    Panicked,
}

/// Makes a blocking call, again when a signal interrupts it.
pub(super) fn again(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result.map_err(timed),
        }
    }
}

/// Returns the number of bytes that were read. None are the end of the stream, which comes too early here.
pub(super) fn some(read: usize) -> io::Result<u64> {
    if read == 0 { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(read as u64) }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Socket(error)
    }
}

impl From<gputcp_gpu::Error> for Broken {
    fn from(error: gputcp_gpu::Error) -> Self {
        Self::Device(error)
    }
}

/// Names the timeout in an error: a blocking socket says "would block" when its timeout is over.
fn timed(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => {
            io::Error::new(io::ErrorKind::TimedOut, "no progress (the bound is --timeout)")
        }
        _ => error,
    }
}
