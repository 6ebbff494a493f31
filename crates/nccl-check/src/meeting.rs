//! One side of a check with two sides, which make a connection of the plugin's, try it, and part in good
//! order.

use gputcp_nccl_net::layout::constants::HANDLE_BYTES;

use crate::{
    bench::{BenchPlugin, Listening},
    link::Link,
    raw::{Handle, P},
    stop::{Stop, fail},
};

/// One side of a check: the plugin, and the way to the other side.
pub(crate) struct Bench {
    pub(crate) plugin: BenchPlugin,
    pub(crate) link: Link,
}

impl Bench {
    /// Listens, tells the other side the handle, and accepts its connection.
    pub(crate) fn meet_sender(&mut self) -> Result<(Listening, P), Stop> {
        let listening = self.plugin.listen()?;
        self.link.tell(listening.handle.bytes())?;
        let comm = self.plugin.accept(listening.comm)?;
        Ok((listening, comm))
    }

    /// Receives the other side's handle, and connects.
    pub(crate) fn meet_receiver(&mut self) -> Result<P, Stop> {
        let mut handle = self.hear_handle()?;
        self.plugin.connect(&mut handle)
    }

    pub(crate) fn hear_handle(&mut self) -> Result<Handle, Stop> {
        let said = self.link.hear()?;
        <[u8; HANDLE_BYTES]>::try_from(&said[..]).map(Handle::new).or_else(|_| fail("the sides lost step"))
    }

    /// Receives one message, as a test of the connection.
    pub(crate) fn receive_one(&self, comm: P, message: u64) -> Result<(), Stop> {
        let plugin = &self.plugin;
        let request = plugin.recv(comm, plugin.room(comm, ONE_BYTES)?)?;
        plugin.take(comm, request, ONE_BYTES, message)
    }

    /// Sends one message.
    pub(crate) fn send_one(&self, comm: P, message: u64) -> Result<(), Stop> {
        let plugin = &self.plugin;
        let request = plugin.send(comm, plugin.message(comm, ONE_BYTES, message)?)?;
        plugin.wait(request).map(drop)
    }

    /// Ends a receiving connection and its listener once the other side has seen everything arrive.
    pub(crate) fn part_from_sender(&mut self, listening: &Listening, comm: P) -> Result<(), Stop> {
        self.link.meet()?;
        self.plugin.close_recv(comm)?;
        self.plugin.close_listen(listening.comm)
    }

    /// Ends a sending connection once the other side has everything.
    pub(crate) fn part_from_receiver(&mut self, comm: P) -> Result<(), Stop> {
        self.link.meet()?;
        self.plugin.close_send(comm)
    }
}

/// The length of a short message.
const ONE_BYTES: usize = 1000;
