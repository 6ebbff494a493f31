//! Listening on a plugin's device.

use std::{sync::Arc, time::Instant};

use gputcp::Result;
use gputcp_nccl_net::layout::constants::HANDLE_BYTES;

use super::{Endpoint, Options, RecvComm, wait::Wait};
use crate::{Plugin, Properties, listen};

/// Listens for one connection or more. The plugin itself deals with strays.
#[derive(Debug)]
pub struct Listener {
    endpoint: Endpoint,
    listener: listen::Listener,
}

impl Listener {
    /// Listens on a device of the plugin.
    ///
    /// # Errors
    /// If the plugin fails, or the GPU.
    pub fn open(plugin: &Arc<Plugin>, device: &Properties, options: Options) -> Result<Self> {
        let endpoint = Endpoint::new(plugin, device, options);
        endpoint.make_current()?;
        let listener = listen::Listener::open(plugin, device.index)?;
        Ok(Self { endpoint, listener })
    }

    /// Returns the handle by which a connector finds this listener. The caller carries it there.
    #[must_use]
    pub const fn handle(&self) -> [u8; HANDLE_BYTES] {
        self.listener.handle()
    }

    /// Returns a connection once one is made. Never waits.
    ///
    /// # Errors
    /// If the plugin fails, or makes no sense.
    pub fn poll(&mut self) -> Result<Option<RecvComm>> {
        self.endpoint.make_current()?;
        let Some(comm) = self.listener.poll()? else { return Ok(None) };
        RecvComm::start(comm, self.endpoint.clone()).map(Some)
    }

    /// Waits for a connection.
    ///
    /// # Errors
    /// If none is made by the deadline, or the plugin fails.
    pub fn accept(&mut self, deadline: Instant) -> Result<RecvComm> {
        let name = self.endpoint.name.clone();
        Wait::made_by(deadline, "accepting a connection", &name, || self.poll())
    }
}
