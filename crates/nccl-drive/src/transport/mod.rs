//! A NCCL net plugin as a transport: the same window, chunks, unpack and waits over foreign code.
//!
//! In the order of a connection's life: a [`crate::Library`] is opened and its [`Plugin`] started.
//! [`Listener`] and [`Connector`] make connections, which a handle of 128 bytes brings together; [`SendComm`]
//! and [`RecvComm`] are their ends. `wait` waits for code that can only be polled.
//!
//! The driver keeps to the least demanding plugins, Google's TCPX among them:
//!
//! - It polls requests in the order in which they were posted, and as soon as one was posted: some plugins
//!   move bytes only then.
//! - At most 16 are outstanding. A plugin without a free slot is asked again.
//! - It believes a size of `test` only above 0 and up to the posted length, as some plugins write anything. A
//!   size that is plainly wrong counts as the posted length; verification shows whether the data came.
//! - On a device with an unpack queue, the queue has the size.
//!
//! A plugin that never returns from a call cannot be ended by the thread that is in it. [`crate::stuck_call`]
//! shows the call to another thread, which may end the process. After [`crate::tell_of_deaths`], a plugin
//! that ends the process itself, by a signal or by `exit`, is named on stderr.
//!
//! A plugin that closes may break its peer's last requests. So an end is closed only after the other side is
//! known to have finished: the command's two sides tell each other.

mod connect;
mod listen;
mod recv;
mod send;
mod wait;

use std::{sync::Arc, time::Duration};

use gputcp_gpu::{Device, MemoryKind, UnpackMode};

use crate::{DeviceKind, Plugin, Properties, comm::Pointer};

pub use self::{
    connect::Connector,
    listen::Listener,
    recv::{RecvComm, RecvRequest},
    send::{SendComm, SendRequest},
};

/// Settings of a plugin's connection, for either end.
#[derive(Debug, Clone)]
pub struct Options {
    /// The device whose memory will be sent or received; without one, host memory only.
    pub gpu: Option<Device>,
    /// The mode by which an unpack device's receives are unpacked: `kernel`, `copy` or `host`.
    pub unpack: UnpackMode,
    /// The most outstanding requests. Every plugin takes 16; NCCL asks no plugin for more than 32.
    pub slots: u16,
    /// The longest time for which a plugin may have no room for a first request.
    pub timeout: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self { gpu: None, unpack: UnpackMode::Kernel, slots: 16, timeout: Duration::from_secs(30) }
    }
}

/// Returns the error of a caller that asked for something impossible.
fn usage(what: impl Into<Arc<str>>) -> gputcp::Error {
    gputcp::Error::Usage(what.into())
}

/// A device of a plugin with its options, from which connections are made.
#[derive(Debug, Clone)]
struct Endpoint {
    plugin: Arc<Plugin>,
    device: usize,
    options: Options,
    /// For messages.
    name: Arc<str>,
}

impl Endpoint {
    fn new(plugin: &Arc<Plugin>, device: &Properties, options: Options) -> Self {
        let name = format!("the other end of {} {}", plugin.name(), device.name).into();
        Self { plugin: plugin.clone(), device: device.index, options, name }
    }

    /// Returns the memory type that the plugin is told. The software GPU's memory stands for a real one's on
    /// an unpack device that takes GPU memory. Any other plugin reads and writes it as the host memory that
    /// it is.
    fn pointer(&self, memory: MemoryKind) -> Pointer {
        let device = &self.plugin.devices()[self.device];
        match memory {
            MemoryKind::Host => Pointer::Host,
            MemoryKind::Soft if device.kind == DeviceKind::Unpack && device.cuda => Pointer::Cuda,
            MemoryKind::Soft => Pointer::Host,
            _ => Pointer::Cuda,
        }
    }

    /// Makes the GPU's context current for foreign code that works on its memory.
    fn make_current(&self) -> gputcp::Result<()> {
        match &self.options.gpu {
            Some(gpu) => Ok(gpu.make_current()?),
            None => Ok(()),
        }
    }
}
