//! One end of a measurement: buffers, connections, raw sockets. All of it is made before the first run.

use std::time::{Duration, Instant};

use crate::session::{Kind, Role};
use gputcp::{
    Canceller, TcpInfo,
    transfer::{Message, Moved, Plan, Receiver, Sender},
};
use gputcp_gpu::{Buffer, Device, SoftOptions};

use super::{
    burst::burst,
    connections::{Connecting, Listening, exchange_handles},
    damage::Damage,
    one_sided,
    raw::{self, Area, PipelineSpec, RawSockets},
    transport::{Inbound, Outbound},
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Begin, Handles, Ready, SideReport, TcpCounters},
    },
    failure::Failure,
    host::{plugin::NetPlugin, usage::peak_resident_bytes},
    interrupt::Hook,
    settings::{Memory, Settings, Transport},
};

/// One end, ready to run.
pub struct Side {
    /// The settings that both ends agreed on.
    pub settings: Settings,
    /// The sending half, if this side sends.
    pub outgoing: Option<Outgoing>,
    /// The receiving half, if this side receives.
    pub incoming: Option<Incoming>,
    /// The end of one-sided transfers, if these are measured.
    pub one_sided: Option<one_sided::Connected>,
    /// The time that the connections took to make.
    pub setup: Duration,
    /// Connections to the listeners that were not ours.
    pub strays: u64,
    /// The fault that this side commits on purpose.
    pub damage: Damage,
    _on_interrupt: Hook,
}

/// The sending half of a side.
pub struct Outgoing {
    /// The messages' source.
    pub buffer: Buffer,
    /// Connections; chunk i travels on connection i mod N.
    pub comms: Vec<Outbound>,
    /// The engine.
    pub sender: Sender<Outbound>,
    /// Raw sockets for the ceiling.
    pub raw: Option<Bare>,
}

/// The receiving half of a side.
pub struct Incoming {
    /// The messages' destination.
    pub buffer: Buffer,
    /// Connections; chunk i travels on connection i mod N.
    pub comms: Vec<Inbound>,
    /// The plan by which messages are cut.
    pub plan: Plan,
    /// The engine.
    pub receiver: Receiver<Inbound>,
    /// Raw sockets for the ceiling.
    pub raw: Option<Bare>,
}

/// Raw sockets, and the memory that they move.
pub struct Bare {
    /// The sockets.
    pub sockets: RawSockets,
    /// The memory.
    pub area: Area,
}

impl Side {
    /// Makes this end: exchanges handles with the other, connects, and says that it is ready. `gpu` is this
    /// end's, if its messages are in GPU memory; so is `plugin`, if one carries them.
    ///
    /// # Errors
    /// If memory or sockets are refused here, or the other side fails.
    pub fn set_up(
        link: &mut Link,
        role: Role,
        settings: Settings,
        gpu: Option<&Device>,
        plugin: Option<&NetPlugin>,
    ) -> Result<Self, Failure> {
        let plugin = plugin.filter(|_| settings.transport == Transport::Plugin);
        if let Some(plugin) = plugin {
            plugin.watch_for(settings.timeout());
        }
        let (source, destination) = settings.memory_of(role);
        let (sends, receives) = (source.is_some(), destination.is_some());
        let local = link.local_address()?;
        // Each wait has the whole stall timeout: the other side may still be at what this one has done.
        let stall_timeout = settings.stall_timeout(settings.memory_bytes());
        // Making memory present takes seconds, which the system does not cut short.
        let leave = link.leave_on_interrupt()?;
        let place = |memory: Option<Memory>| {
            memory.map(|memory| MessageMemory::of(memory, &settings, gpu)).transpose()
        };
        let (source, destination) = (place(source)?, place(destination)?);
        drop(leave);
        let device = |place: &Option<MessageMemory>| place.as_ref().and_then(|place| place.device.clone());

        let mut listening =
            Listening::open(receives, &settings, device(&destination).as_ref(), plugin, local)?;
        let endpoint = match settings.one_sided {
            Some(one_sided) => {
                let device = device(&source).or_else(|| device(&destination));
                Some(one_sided::Listening::open(one_sided, &settings, device.as_ref(), local)?)
            }
            None => None,
        };
        let mine =
            Handles { endpoint: endpoint.as_ref().map(one_sided::Listening::address), ..listening.handles() };
        let theirs = exchange_handles(link, role, &mine, Instant::now() + stall_timeout)?;
        // The other side has its memory by now: what follows is the connections' own time.
        let began = Instant::now();
        let deadline = began + stall_timeout;
        let mut connecting =
            Connecting::begin(sends, &settings, device(&source).as_ref(), plugin, local, &theirs)?;
        let mut comms = (Vec::new(), Vec::new());
        // Both directions are polled side by side: the other end may wait for either first.
        while !(connecting.poll(&mut comms.0)? & listening.poll(&mut comms.1)?) {
            if Instant::now() >= deadline {
                return Err(Failure::Peer(format!(
                    "{} made no data connection within {:.1} s: a firewall may block ports between the two",
                    link.peer(),
                    stall_timeout.as_secs_f64()
                )));
            }
            link.watch(&[], Instant::now() + POLL)?;
        }
        let one_sided = match endpoint {
            Some(endpoint) => Some(endpoint.meet(link, role, &theirs, deadline)?),
            None => None,
        };
        // Known to a plugin before anything is timed.
        if let Some(place) = &source {
            comms.0.iter_mut().try_for_each(|comm| comm.register(&place.buffer))?;
        }
        if let Some(place) = &destination {
            comms.1.iter_mut().try_for_each(|comm| comm.register(&place.buffer))?;
        }
        let strays = listening.strays();
        let sockets = usize::from(settings.streams) * usize::from(settings.channels);
        let pipelines = |place: &Option<MessageMemory>, slots: u16| {
            PipelineSpec::of(&settings, &settings.options(device(place).as_ref(), slots, local.ip()))
        };
        let raw_out = match &theirs.raw {
            Some(handle) if sends && settings.ceiling => {
                let spec = pipelines(&source, settings.send_window);
                Some(raw::connect(link, handle, sockets, &settings, spec.as_ref(), local)?)
            }
            _ => None,
        };
        let raw_in = match listening.raw.take() {
            Some(listener) => {
                let spec = pipelines(&destination, settings.recv_window);
                Some(listener.accept(link, sockets, &settings, spec.as_ref(), deadline)?)
            }
            None => None,
        };
        let setup = began.elapsed();

        let on_interrupt = {
            let cancellers: Vec<Canceller> = comms.0.iter().map(Outbound::canceller).collect();
            let more: Vec<Canceller> = comms.1.iter().map(Inbound::canceller).collect();
            let raw: Vec<_> = [&raw_out, &raw_in].into_iter().flatten().map(RawSockets::canceller).collect();
            link.interrupt().on_fire(move || {
                cancellers.iter().chain(&more).for_each(|canceller| canceller.cancel("interrupted"));
                raw.iter().for_each(raw::Canceller::cancel);
            })
        };
        let connections = usize::from(settings.connections());
        let bare = |sockets: Option<RawSockets>, place: &MessageMemory| -> Result<Option<Bare>, Failure> {
            let area = |_: &RawSockets| Area::of(&place.buffer, &settings);
            let area = sockets.as_ref().map(area).transpose()?;
            Ok(sockets.zip(area).map(|(sockets, area)| Bare { sockets, area }))
        };
        let outgoing = match source {
            Some(place) => Some(Outgoing {
                raw: bare(raw_out, &place)?,
                buffer: place.buffer,
                comms: comms.0,
                sender: Sender::new(settings.plan(settings.send_window), connections),
            }),
            None => None,
        };
        let incoming = match destination {
            Some(place) => Some(Incoming {
                raw: bare(raw_in, &place)?,
                buffer: place.buffer,
                comms: comms.1,
                plan: settings.plan(settings.recv_window),
                receiver: Receiver::new(settings.plan(settings.recv_window), connections),
            }),
            None => None,
        };
        let ready = Ready { setup_us: setup.as_micros() as u64 };
        link.say(Kind::Ready, &ready, Instant::now() + stall_timeout)?;
        link.hear::<Ready>(Kind::Ready, Instant::now() + stall_timeout)?;
        Ok(Self {
            settings,
            outgoing,
            incoming,
            one_sided,
            setup,
            strays,
            damage: Damage::default(),
            _on_interrupt: on_interrupt,
        })
    }

    /// Returns the memory of this side, of a side that sends or receives.
    #[must_use]
    pub fn buffer(&self) -> Option<&Buffer> {
        let source = self.outgoing.as_ref().map(|outgoing| &outgoing.buffer);
        source.or_else(|| self.incoming.as_ref().map(|incoming| &incoming.buffer))
    }

    /// Returns the congestion control in force where this side sends.
    #[must_use]
    pub fn congestion(&self) -> Option<String> {
        let outgoing = self.outgoing.as_ref()?;
        match &self.one_sided {
            Some(end) => end.counters()?.congestion,
            None => outgoing.comms.first()?.congestion(),
        }
    }

    /// Returns the kernel's counters of the sockets that this side sends with. `None` if a plugin keeps its
    /// sockets to itself.
    #[must_use]
    pub fn tcp(&self) -> Option<TcpCounters> {
        let outgoing = self.outgoing.as_ref()?;
        match &self.one_sided {
            Some(end) => tcp_counters(&end.counters()?.sending),
            None => tcp_counters(&outgoing.comms.iter().flat_map(Outbound::tcp_info).collect::<Vec<_>>()),
        }
    }

    /// Returns this side's account of itself at the end.
    #[must_use]
    pub fn report(&self) -> SideReport {
        SideReport {
            peak_resident_bytes: peak_resident_bytes(),
            congestion: self.congestion(),
            tcp: self.tcp(),
            strays: self.strays,
            warnings: Vec::new(),
        }
    }

    /// Says goodbye on every connection, forward before backward at both ends: each waits for the other's.
    ///
    /// # Errors
    /// If the other side does not do the same in time.
    pub fn close(self, role: Role) -> Result<(), Failure> {
        let deadline = Instant::now() + self.settings.timeout();
        // Nothing is under way: its endpoint says goodbye, and waits for no answer.
        drop(self.one_sided);
        let (outgoing, incoming) = (self.outgoing, self.incoming);
        let close_outgoing = || {
            let mut comms = outgoing.into_iter().flat_map(|outgoing| outgoing.comms);
            comms.try_for_each(|comm| comm.close(deadline))
        };
        let close_incoming = || {
            let mut comms = incoming.into_iter().flat_map(|incoming| incoming.comms);
            comms.try_for_each(|comm| comm.close(deadline))
        };
        match role {
            Role::Client => close_outgoing().and_then(|()| close_incoming())?,
            Role::Server => close_incoming().and_then(|()| close_outgoing())?,
        }
        Ok(())
    }
}

impl Outgoing {
    /// Sends a run's messages, with so many in flight.
    ///
    /// # Errors
    /// If a connection fails.
    pub fn send_burst(&mut self, begin: &Begin, depth: u16) -> Result<Moved, Failure> {
        let Self { buffer, comms, sender, .. } = self;
        Ok(sender.send(comms, burst(buffer, begin, depth))?)
    }

    /// Sends one message from somewhere in the buffer.
    ///
    /// # Errors
    /// If a connection fails.
    pub fn send_at(&mut self, offset: u64, bytes: u64) -> Result<Moved, Failure> {
        let Self { buffer, comms, sender, .. } = self;
        Ok(sender.send(comms, Message { buffer, offset, bytes })?)
    }
}

/// Returns the counters of several sockets as one; `None` of no socket.
pub(super) fn tcp_counters(infos: &[TcpInfo]) -> Option<TcpCounters> {
    let median = |of: fn(&TcpInfo) -> u32| {
        let mut values: Vec<u32> = infos.iter().map(of).collect();
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or(0)
    };
    (!infos.is_empty()).then(|| TcpCounters {
        retransmits: infos.iter().map(|info| u64::from(info.retransmits)).sum(),
        rtt_us: median(|info| info.rtt_us),
        cwnd_packets: median(|info| info.cwnd_packets),
    })
}

/// A message's memory, and the device that it is on.
struct MessageMemory {
    buffer: Buffer,
    device: Option<Device>,
}

impl MessageMemory {
    fn of(memory: Memory, settings: &Settings, gpu: Option<&Device>) -> Result<Self, Failure> {
        let device = match memory {
            Memory::Host => None,
            Memory::Soft => Some(Device::soft(SoftOptions::default())),
            Memory::Cuda => {
                Some(gpu.cloned().ok_or_else(|| Failure::Run("this side has no GPU open".into()))?)
            }
        };
        let bytes = settings.buffer_bytes();
        let buffer = match &device {
            Some(device) => device.allocate(bytes)?,
            None => Buffer::host(bytes)?,
        };
        Ok(Self { buffer, device })
    }
}

/// Between two looks at connections that are being made.
const POLL: Duration = Duration::from_micros(200);
