//! The built-in transport: one control socket and several data sockets per connection, one direction of data.
//!
//! The rules are [`gputcp_proto::connection`]; here are the sockets, threads and memory that they need.
//!
//! In the order of a connection's life: [`Listener`] and [`Connector`] make it (`tuning` sets the socket
//! options). [`SendComm`] and [`RecvComm`] are its two ends. `shared` holds the state that its threads have
//! in common. `driver` runs them, or a `pool` does. `control` is the control socket. `ending` closes the
//! connection.

mod agreed;
mod begun;
mod bound;
mod canceller;
mod connect;
mod control;
mod cores;
mod doorbell;
mod driver;
mod ending;
mod listen;
mod locks;
mod pool;
mod recv;
mod rendezvous;
mod send;
mod shared;
mod socket;
mod task;
mod tuning;

use gputcp_gpu::{Lane, LaneSpec};
use gputcp_proto::connection::SHORT_BUFFERS;
use gputcp_socket::TcpInfo;
use rustix::thread::CpuSet;

use self::socket::Socket;
pub use self::{
    connect::Connector,
    cores::{set_numa_affinity, with_numa_affinity},
    listen::Listener,
    pool::IoPool,
    recv::{GroupRequest, Part, ReceivedGroup, RecvComm, RecvRequest},
    rendezvous::{connect, listen},
    send::{SendComm, SendRequest},
};
pub(crate) use self::{control::poll_until, doorbell::Doorbell, listen::random_token, locks::lock};
use crate::{Error, Options, Result};

/// Makes one lane per data socket, where there is a device.
fn lanes(options: &Options, near: Option<&CpuSet>, streams: usize, segment_bytes: u32) -> Result<Vec<Lane>> {
    let Some(device) = &options.device else { return Ok(Vec::new()) };
    let spec = LaneSpec { slots: options.tuning.slabs.into(), slab_bytes: segment_bytes.into() };
    let make = || (0..streams).map(|_| Ok(device.lane(spec)?)).collect();
    cores::make_on(near, make)?
}

/// Makes the lane of the control socket, for short messages of device memory.
fn short_lane(options: &Options, near: Option<&CpuSet>, inline_bytes: u32) -> Result<Option<Lane>> {
    let Some(device) = &options.device else { return Ok(None) };
    let spec = LaneSpec { slots: SHORT_BUFFERS, slab_bytes: inline_bytes.into() };
    Ok(Some(cores::make_on(near, || device.lane(spec))??))
}

/// Checks whether a message of device memory can be moved: its segments must fit the lanes' slabs.
fn check_on_device(longest: Option<u64>, bytes: u64) -> Result<()> {
    match longest {
        Some(longest) if bytes <= longest => Ok(()),
        Some(longest) => Err(Error::usage(format!(
            "a message of {bytes} bytes of device memory was posted, where {longest} fit this connection's slabs: cut it, or \
             connect with longer segments"
        ))),
        None => Err(Error::usage(
            "this connection was made without a device and moves host memory only".to_owned(),
        )),
    }
}

fn tcp_info(sockets: &[Socket]) -> Vec<TcpInfo> {
    sockets.iter().filter_map(|socket| TcpInfo::read(socket).ok()).collect()
}
