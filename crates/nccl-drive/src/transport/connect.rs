//! Connecting from a plugin's device.

use std::{sync::Arc, time::Instant};

use gputcp::Result;
use gputcp_nccl_net::layout::constants::HANDLE_BYTES;

use super::{Endpoint, Options, SendComm, wait::Wait};
use crate::{Plugin, Properties, connect};

/// A connection in the making.
#[derive(Debug)]
pub struct Connector {
    endpoint: Endpoint,
    connector: connect::Connector,
}

impl Connector {
    /// Prepares a connection from a device of the plugin to the listener whose handle this is.
    #[must_use]
    pub fn new(
        plugin: &Arc<Plugin>,
        device: &Properties,
        handle: &[u8; HANDLE_BYTES],
        options: Options,
    ) -> Self {
        let connector = connect::Connector::new(plugin, device.index, handle);
        Self { endpoint: Endpoint::new(plugin, device, options), connector }
    }

    /// Returns the connection once it is made. Never waits.
    ///
    /// # Errors
    /// If the plugin fails, or the GPU.
    pub fn poll(&mut self) -> Result<Option<SendComm>> {
        self.endpoint.make_current()?;
        let comm = self.connector.poll()?;
        Ok(comm.map(|comm| SendComm::start(comm, self.endpoint.clone())))
    }

    /// Waits for the connection.
    ///
    /// # Errors
    /// If it is not made by the deadline, or the plugin fails.
    pub fn connect(mut self, deadline: Instant) -> Result<SendComm> {
        let name = self.endpoint.name.clone();
        Wait::made_by(deadline, "connecting", &name, || self.poll())
    }
}
