//! Listening, and taking connections.

use std::{
    ptr::{self, NonNull},
    sync::Arc,
};

use crate::{
    comm::Comm,
    connect::{HandleMemory, given_device},
    error::Result,
    plugin::Plugin,
    recv::RecvComm,
    watch::watched,
};
use gputcp_nccl_net::layout::{c_int, c_void, constants::HANDLE_BYTES, device::DeviceHandleStorage};

/// A device that listens for connections. Closed when dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    plugin: Arc<Plugin>,
    device: usize,
    comm: NonNull<c_void>,
    handle: [u8; HANDLE_BYTES],
    storage: Option<Box<DeviceHandleStorage>>,
}

// SAFETY: as for connections: calls for one listener are made one at a time.
unsafe impl Send for Listener {}

impl Listener {
    /// Listens on a device of the plugin.
    ///
    /// # Errors
    /// If the plugin fails, or gives no listener.
    pub(crate) fn open(plugin: &Arc<Plugin>, device: usize) -> Result<Self> {
        let mut bytes = HandleMemory([0; HANDLE_BYTES]);
        let mut comm = ptr::null_mut();
        let handle = bytes.0.as_mut_ptr().cast();
        // SAFETY: the plugin was started; the handle has the length that the interface says.
        let code = watched(&"listen", || unsafe {
            plugin.calls.listen(plugin.shared().0, device as c_int, handle, &raw mut comm)
        });
        plugin.check("listen", code)?;
        let comm = NonNull::new(comm).ok_or_else(|| plugin.absurd("listen", "success and no listener"))?;
        Ok(Self { plugin: plugin.clone(), device, comm, handle: bytes.0, storage: None })
    }

    /// Returns the handle that the other end needs to connect. The caller carries it there.
    #[must_use]
    pub(crate) const fn handle(&self) -> [u8; HANDLE_BYTES] {
        self.handle
    }

    /// Returns a connection once one is ready. Does not wait: the caller polls again until then.
    ///
    /// # Errors
    /// If the plugin fails.
    pub(crate) fn poll(&mut self) -> Result<Option<RecvComm>> {
        let mut storage = self.storage.take().unwrap_or_else(|| Box::new(DeviceHandleStorage([0; 512])));
        let mut device_handle = storage.0.as_mut_ptr().cast();
        let mut comm = ptr::null_mut();
        // SAFETY: the listener is open; the storage is as large and aligned as the interface asks.
        let code = watched(&"accept", || unsafe {
            self.plugin.calls.accept(self.comm.as_ptr(), &raw mut comm, &raw mut device_handle)
        });
        self.plugin.check("accept", code)?;
        let Some(comm) = NonNull::new(comm) else {
            self.storage = Some(storage);
            return Ok(None);
        };
        let device = given_device(device_handle);
        let close = ("closeRecv", self.plugin.calls.close_recv);
        Ok(Some(RecvComm::new(Comm::new(&self.plugin, self.device, comm, close, storage), device)))
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // SAFETY: the listener is open, and is closed once.
        let code =
            watched(&"closeListen", || unsafe { (self.plugin.calls.close_listen)(self.comm.as_ptr()) });
        if code != 0 {
            tracing::warn!("{}", self.plugin.failed("closeListen", code));
        }
    }
}
