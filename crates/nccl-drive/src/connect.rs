//! Connecting to a listener.

use std::{
    fmt,
    ptr::{self, NonNull},
    sync::Arc,
};

use crate::{comm::Comm, error::Result, plugin::Plugin, send::SendComm, watch::watched};
use gputcp_nccl_net::layout::{
    c_int,
    constants::HANDLE_BYTES,
    device::{DeviceHandle, DeviceHandleStorage},
};

use crate::foreign;

/// A connection in the making.
pub(crate) struct Connector {
    plugin: Arc<Plugin>,
    device: usize,
    /// The same memory at each call: plugins keep their state in it.
    handle: Box<HandleMemory>,
    storage: Option<Box<DeviceHandleStorage>>,
}

impl Connector {
    /// Prepares a connection from a device of the plugin to the listener that gave this handle.
    #[must_use]
    pub(crate) fn new(plugin: &Arc<Plugin>, device: usize, handle: &[u8; HANDLE_BYTES]) -> Self {
        Self { plugin: plugin.clone(), device, handle: Box::new(HandleMemory(*handle)), storage: None }
    }

    /// Returns the connection once it is made. Does not wait: the caller polls again until then.
    ///
    /// # Errors
    /// If the plugin fails.
    pub(crate) fn poll(&mut self) -> Result<Option<SendComm>> {
        let mut storage = self.storage.take().unwrap_or_else(|| Box::new(DeviceHandleStorage([0; 512])));
        let mut device_handle = storage.0.as_mut_ptr().cast();
        let mut comm = ptr::null_mut();
        let Self { plugin, device, handle, .. } = self;
        let ((ctx, config), dev) = (plugin.shared(), *device as c_int);
        let handle = handle.0.as_mut_ptr().cast();
        // SAFETY: the plugin was started. Handle and storage are as large and aligned as the interface asks.
        // The handle is the same at each call.
        let code = watched(&"connect", || unsafe {
            plugin.calls.connect(ctx, config, dev, handle, &raw mut comm, &raw mut device_handle)
        });
        plugin.check("connect", code)?;
        let Some(comm) = NonNull::new(comm) else {
            self.storage = Some(storage);
            return Ok(None);
        };
        let close = ("closeSend", plugin.calls.close_send);
        Ok(Some(SendComm::new(Comm::new(plugin, *device, comm, close, storage))))
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("plugin", &self.plugin).field("device", &self.device).finish()
    }
}

/// Reads the device handle of a connection. It lies in the storage that the plugin was given, or where the
/// plugin points instead, as NCCL itself gives no storage. `None` if no device handle can lie there.
pub(crate) fn given_device(given: *mut DeviceHandle) -> Option<DeviceHandle> {
    let given = NonNull::new(given).filter(|given| given.is_aligned())?;
    // SAFETY: numbers and a pointer, each of which may be anything; the storage was all zeros.
    foreign::value(given.as_ptr()).map(|handle| unsafe { handle.assume_init() })
}

/// A handle's memory: plugins lay structs of their own into it.
#[repr(align(16))]
pub(crate) struct HandleMemory(pub(crate) [u8; HANDLE_BYTES]);
