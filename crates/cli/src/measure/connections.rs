//! Connections in the making: the listeners of a receiving side, the connectors of a sending side, and the
//! handles by which they find each other.

use std::{net::SocketAddr, time::Instant};

use crate::session::{Kind, Role};
use gputcp::{Connector, Handle, Listener};
use gputcp_gpu::Device;
use gputcp_nccl_drive::transport as plugin;

use super::{
    raw,
    transport::{Either, Inbound, Outbound},
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Handles, from_hex, to_hex},
    },
    failure::Failure,
    host::plugin::NetPlugin,
    settings::Settings,
};

/// The listeners of a side that receives.
pub(super) struct Listening {
    making: Making<AnyListener, Inbound>,
    pub(super) raw: Option<raw::RawListener>,
    local: SocketAddr,
}

impl Listening {
    pub(super) fn open(
        receives: bool,
        settings: &Settings,
        device: Option<&Device>,
        plugin: Option<&NetPlugin>,
        local: SocketAddr,
    ) -> Result<Self, Failure> {
        let mut all = Self { making: Making::default(), raw: None, local };
        if receives {
            let slots = settings.recv_window;
            let options = settings.options(device, slots, local.ip());
            let any_port = with_port(local, 0);
            for _ in 0..settings.connections() {
                let listener = match plugin {
                    None => AnyListener::Sockets(Box::new(Listener::bind(any_port, options.clone())?)),
                    Some(net) => {
                        let options = settings.plugin_options(device, slots, net.requests());
                        AnyListener::Plugin(Box::new(plugin::Listener::open(
                            &net.plugin,
                            &net.device,
                            options,
                        )?))
                    }
                };
                all.making.push(listener);
            }
            if settings.ceiling {
                all.raw = Some(raw::RawListener::open(any_port)?);
            }
        }
        Ok(all)
    }

    pub(super) fn handles(&self) -> Handles {
        Handles {
            connections: self.making.by.iter().map(|listener| to_hex(&listener.handle())).collect(),
            raw: self.raw.as_ref().map(|raw| raw.handle(self.local)),
            endpoint: None,
        }
    }

    /// Returns whether all are connected; then they are in `comms`, in order.
    pub(super) fn poll(&mut self, comms: &mut Vec<Inbound>) -> Result<bool, Failure> {
        self.making.poll(AnyListener::poll, comms)
    }

    pub(super) fn strays(&self) -> u64 {
        self.making.by.iter().map(AnyListener::strays).sum()
    }
}

/// Either transport's listener.
type AnyListener = Either<Box<Listener>, Box<plugin::Listener>>;

impl AnyListener {
    fn handle(&self) -> [u8; Handle::BYTES] {
        match self {
            Self::Sockets(listener) => listener.handle().encode(),
            Self::Plugin(listener) => listener.handle(),
        }
    }

    fn poll(&mut self) -> Result<Option<Inbound>, gputcp::Error> {
        Ok(match self {
            Self::Sockets(listener) => listener.poll()?.map(Inbound::Sockets),
            Self::Plugin(listener) => listener.poll()?.map(Inbound::Plugin),
        })
    }

    /// Returns the number of strays; a plugin does not tell its count.
    fn strays(&self) -> u64 {
        match self {
            Self::Sockets(listener) => listener.strays(),
            Self::Plugin(_) => 0,
        }
    }
}

/// The connectors of a side that sends.
pub(super) struct Connecting {
    making: Making<AnyConnector, Outbound>,
}

/// Either transport's connector.
type AnyConnector = Either<Box<Connector>, plugin::Connector>;

impl AnyConnector {
    fn poll(&mut self) -> Result<Option<Outbound>, gputcp::Error> {
        Ok(match self {
            Self::Sockets(connector) => connector.poll()?.map(Outbound::Sockets),
            Self::Plugin(connector) => connector.poll()?.map(Outbound::Plugin),
        })
    }
}

impl Connecting {
    pub(super) fn begin(
        sends: bool,
        settings: &Settings,
        device: Option<&Device>,
        plugin: Option<&NetPlugin>,
        local: SocketAddr,
        theirs: &Handles,
    ) -> Result<Self, Failure> {
        let mut all = Self { making: Making::default() };
        let expected = if sends { usize::from(settings.connections()) } else { 0 };
        let offered = theirs.connections.len();
        if offered != expected {
            return Err(Failure::Peer(format!(
                "the other side offers {offered} connections where {expected} were agreed on"
            )));
        }
        let raw = sends && settings.ceiling;
        if theirs.raw.is_some() != raw {
            return Err(Failure::Peer(format!(
                "the other side offers {} raw sockets where {} were agreed on",
                if raw { "no" } else { "its" },
                if raw { "some" } else { "none" }
            )));
        }
        let slots = settings.send_window;
        let options = settings.options(device, slots, local.ip());
        for text in &theirs.connections {
            let bytes = from_hex::<{ Handle::BYTES }>(text)
                .ok_or_else(|| Failure::Peer("the other side's handle is no 128 bytes".into()))?;
            let connector = match plugin {
                None => {
                    let handle = Handle::decode(&bytes)
                        .map_err(|violation| Failure::violation("the other side", &violation))?;
                    AnyConnector::Sockets(Box::new(Connector::new(&handle, options.clone())?))
                }
                Some(net) => {
                    let options = settings.plugin_options(device, slots, net.requests());
                    AnyConnector::Plugin(plugin::Connector::new(&net.plugin, &net.device, &bytes, options))
                }
            };
            all.making.push(connector);
        }
        Ok(all)
    }

    /// Returns whether all are connected; then they are in `comms`, in order.
    pub(super) fn poll(&mut self, comms: &mut Vec<Outbound>) -> Result<bool, Failure> {
        self.making.poll(AnyConnector::poll, comms)
    }
}

/// Connections in the making, and what makes each. That stays until the end, and counts strays.
struct Making<B, C> {
    by: Vec<B>,
    made: Vec<Option<C>>,
}

impl<B, C> Default for Making<B, C> {
    fn default() -> Self {
        Self { by: Vec::new(), made: Vec::new() }
    }
}

impl<B, C> Making<B, C> {
    fn push(&mut self, by: B) {
        self.by.push(by);
        self.made.push(None);
    }

    /// Returns whether all are made; then they are in `comms`, in order.
    fn poll(
        &mut self,
        poll: impl Fn(&mut B) -> Result<Option<C>, gputcp::Error>,
        comms: &mut Vec<C>,
    ) -> Result<bool, Failure> {
        for (by, made) in self.by.iter_mut().zip(&mut self.made).filter(|(_, made)| made.is_none()) {
            *made = poll(by)?;
        }
        let all = self.made.iter().all(Option::is_some);
        if all {
            comms.extend(self.made.drain(..).flatten());
        }
        Ok(all)
    }
}

/// Tells the other side the addresses of this side's listeners, and returns the other side's.
pub(super) fn exchange_handles(
    link: &mut Link,
    role: Role,
    mine: &Handles,
    deadline: Instant,
) -> Result<Handles, Failure> {
    match role {
        Role::Server => {
            link.say(Kind::Handles, mine, deadline)?;
            link.hear(Kind::Handles, deadline)
        }
        Role::Client => {
            let theirs = link.hear(Kind::Handles, deadline)?;
            link.say(Kind::Handles, mine, deadline)?;
            Ok(theirs)
        }
    }
}

pub(super) fn with_port(mut address: SocketAddr, port: u16) -> SocketAddr {
    address.set_port(port);
    address
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{asked::MeasureArgs, environment::Environment, request::MeasureRequest};

    #[test]
    fn what_is_missing_is_named() {
        let settings = MeasureRequest::new(MeasureArgs::default(), &Environment::default()).unwrap().settings;
        let begin = |handles: &Handles| {
            let local = SocketAddr::from(([127, 0, 0, 1], 0));
            Connecting::begin(true, &settings, None, None, local, handles).err().unwrap().to_string()
        };
        let none = begin(&Handles { connections: Vec::new(), raw: None, endpoint: None });
        assert_eq!(none, "the other side offers 0 connections where 1 were agreed on");
        let no_raw = begin(&Handles { connections: vec![String::new()], raw: None, endpoint: None });
        assert_eq!(no_raw, "the other side offers no raw sockets where some were agreed on");
    }
}
