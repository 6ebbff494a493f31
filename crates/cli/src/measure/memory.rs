//! The memory that a session moves: the user's wish, and the means of both ends. The client opens its GPU
//! before it calls. The server opens its own when it hears the settings, and its answer says which memory
//! it has. Then both come to the same end.

use std::time::Duration;

use crate::session::Role;

use super::tuning::has_cubic;
use crate::{
    bootstrap::message::{Accept, Ask},
    failure::Failure,
    host::{
        gpu::{Gpu, GpuFacts},
        identity::Identity,
        plugin::NetPlugin,
        usage::available_memory_bytes,
    },
    output::Talk,
    printable::printable,
    report::{Plugins, gpus::Gpus},
    settings::{
        Memory, Settings,
        memory::{Selector, Wanted},
        request::MeasureRequest,
        resolve::{Here, resolve},
    },
};

/// Returns the memory that is moved, by the user's wish and whether each end has a GPU, or needs none.
///
/// # Errors
/// The side that lacks a GPU which was asked for.
pub fn choose(wanted: Wanted, client: bool, server: bool) -> Result<Memory, Role> {
    match wanted {
        Wanted::Exactly(Memory::Cuda) if !client => Err(Role::Client),
        Wanted::Exactly(Memory::Cuda) if !server => Err(Role::Server),
        Wanted::Exactly(memory) => Ok(memory),
        Wanted::Automatic if client && server => Ok(Memory::Cuda),
        Wanted::Automatic => Ok(Memory::Soft),
    }
}

/// The client's side of the choice, with its GPU.
#[derive(Debug)]
pub struct Proposal {
    /// The means of this side.
    pub here: Here,
    /// The settings asked for, as far as they do not depend on the other machine.
    pub settings: Settings,
    /// This side's GPU.
    pub gpu: Option<Gpu>,
    /// This side's plugin, if one is to carry the data.
    pub plugin: Option<NetPlugin>,
    wanted: Wanted,
    peer_gpu: Option<Selector>,
}

impl Proposal {
    /// Opens this side's plugin if one was asked for, and its GPU if one is needed, or was named.
    ///
    /// # Errors
    /// [`Failure::Run`] with the driver's reason if one was asked for and cannot be had.
    pub fn of(request: &MeasureRequest, talk: Talk) -> Result<Self, Failure> {
        let MeasureRequest { asked, memory: wanted, gpu: selector, .. } = request;
        let plugin = NetPlugin::open(&asked.plugin, request.settings.timeout(), talk)?;
        let limits = plugin.as_ref().map(NetPlugin::limits);
        let cores = Identity::of_this_host().cores;
        let mut here = Here { cores, moves_gpu_memory: true, has_cubic: has_cubic(), plugin: limits };
        let mut settings = resolve(asked, &here, None)?;
        let mut gpu = None;
        if settings.memory == Memory::Cuda && (settings.needs_gpu(Role::Client) || selector.is_some()) {
            match Gpu::open(selector.as_ref(), None) {
                Ok(opened) => gpu = Some(opened),
                Err(error) if *wanted == Wanted::Automatic => {
                    tracing::info!(%error, "the software GPU's memory is moved");
                    if !matches!(error, gputcp_gpu::Error::NoGpu { .. }) {
                        talk.warn(&format!("this side's GPU is left out: {error}"));
                    }
                    here.moves_gpu_memory = false;
                    settings = resolve(asked, &here, None)?;
                }
                Err(error) => return Err(Failure::Run(missing("this side", &error))),
            }
        }
        let peer_gpu = asked.peer_gpu.clone();
        let is_automatic = *wanted == Wanted::Automatic && settings.memory == Memory::Cuda;
        let wanted = if is_automatic { Wanted::Automatic } else { Wanted::Exactly(settings.memory) };
        Ok(Self { here, settings, gpu, plugin, wanted, peer_gpu })
    }

    /// Returns the request for the server; `settings` are those of both machines.
    #[must_use]
    pub fn ask(&self, settings: &Settings) -> Ask {
        Ask {
            settings: settings.clone(),
            memory_automatic: self.wanted == Wanted::Automatic,
            server_gpu: self.peer_gpu.as_ref().map(|selector| selector.as_str().to_owned()),
            plugin: self.plugin.as_ref().map(|plugin| plugin.facts.clone()),
            client_gpu_uuid: self.gpu.as_ref().map(|gpu| gpu.facts.uuid.clone()),
        }
    }

    /// Returns the plugins of both ends, if they carry the data.
    ///
    /// # Errors
    /// [`Failure::Peer`] if the server names none, or another than it must.
    pub fn plugins(&self, accept: &Accept, peer: &str) -> Result<Option<Plugins>, Failure> {
        let Some(client) = self.plugin.as_ref().map(|plugin| plugin.facts.clone()) else { return Ok(None) };
        let server = accept.plugin.clone().ok_or_else(|| {
            Failure::Peer(format!("{peer} does not speak of a plugin: run the same gputcp on both ends"))
        })?;
        client.check_matches(&server).map_err(Failure::Peer)?;
        Ok(Some(Plugins { client, server: server.printable() }))
    }

    /// Returns how much longer than usual the server may take for its answer.
    #[must_use]
    pub fn opening(&self) -> Duration {
        if self.settings.memory == Memory::Cuda { OPENING } else { Duration::ZERO }
    }

    /// Settles the memory from the server's answer, and returns the GPUs in use.
    ///
    /// # Errors
    /// [`Failure::Peer`] if the server accepted settings that it cannot fulfil, or passed over some.
    /// [`Failure::Usage`] if this host has no room for the memory that replaces GPU memory.
    pub fn conclude(
        &self,
        settings: &mut Settings,
        accept: Accept,
        peer: &str,
        talk: Talk,
    ) -> Result<Gpus, Failure> {
        if settings.one_sided != accept.one_sided {
            return Err(Failure::Peer(format!(
                "{peer} does not speak of these one-sided transfers: run the same gputcp on both ends"
            )));
        }
        if settings.depth != accept.depth.unwrap_or(1) {
            return Err(Failure::Peer(format!(
                "{peer} does not speak of {} messages in flight: run the same gputcp on both ends, or drop --depth",
                settings.depth
            )));
        }
        let has = accept.no_gpu.is_none() && (accept.gpu.is_some() || !settings.needs_gpu(Role::Server));
        let memory = choose(self.wanted, true, has)
            .map_err(|_| Failure::Peer(format!("{peer} accepted GPU memory and names no GPU of its own")))?;
        if memory != settings.memory {
            settings.memory = memory;
            let available = available_memory_bytes();
            settings.check_memory("this host", &[Role::Client], available).map_err(Failure::Usage)?;
            let reason = accept.no_gpu.as_deref().map_or_else(|| "it names none".into(), printable);
            let sentence = format!("the software GPU's memory is moved on both sides: {reason}");
            if self.gpu.is_some() {
                talk.note(&sentence);
            } else {
                tracing::info!("{sentence}");
            }
        }
        let theirs = accept.gpu.map(GpuFacts::printable);
        Ok(Gpus::of(settings, self.gpu.as_ref().map(|gpu| &gpu.facts), theirs.as_ref()))
    }
}

/// Makes the server's side of the choice: opens its GPU if one is needed, or was named, and settles the
/// memory.
///
/// # Errors
/// A sentence with the driver's reason if one was asked for and cannot be had.
pub fn answer(ask: &mut Ask) -> Result<(Accept, Option<Gpu>), String> {
    let settings = &mut ask.settings;
    let mut accept = Accept::default();
    if settings.memory != Memory::Cuda {
        return Ok((accept, None));
    }
    let selector = ask.server_gpu.as_deref().map(Selector::parse).transpose()?;
    let needs = settings.needs_gpu(Role::Server);
    let mut gpu = None;
    if needs || selector.is_some() {
        match Gpu::open(selector.as_ref(), ask.client_gpu_uuid.as_deref()) {
            Ok(opened) => gpu = Some(opened),
            Err(error) => accept.no_gpu = Some(missing("the server", &error)),
        }
    }
    let wanted = if ask.memory_automatic { Wanted::Automatic } else { Wanted::Exactly(Memory::Cuda) };
    let lacks = accept.no_gpu.is_some();
    match choose(wanted, true, !lacks) {
        Ok(memory) => settings.memory = memory,
        Err(_) => return Err(accept.no_gpu.unwrap_or_else(|| unsaid().to_string())),
    }
    if settings.memory != Memory::Cuda {
        gpu = None;
    }
    accept.gpu = gpu.as_ref().map(|gpu| gpu.facts.clone());
    Ok((accept, gpu))
}

/// The time for a driver that starts and a GPU that wakes up.
const OPENING: Duration = Duration::from_secs(20);

/// Returns the sentence about a GPU that was asked for. It is bounded, because it goes over the network.
fn missing(side: &str, error: &gputcp_gpu::Error) -> String {
    format!("GPU memory was asked for, but on {side} {error}").chars().take(900).collect()
}

/// Returns the failure of a mistake of ours: a side that has all it needs was called lacking.
fn unsaid() -> Failure {
    Failure::Run("the choice of memory contradicts itself: choose --memory host or soft".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpu_memory_is_moved_where_both_ends_can() {
        let (cuda, auto) = (Wanted::Exactly(Memory::Cuda), Wanted::Automatic);
        assert_eq!(choose(auto, true, true), Ok(Memory::Cuda));
        for (client, server) in [(false, false), (true, false), (false, true)] {
            assert_eq!(choose(auto, client, server), Ok(Memory::Soft));
        }
        assert_eq!(choose(cuda, true, true), Ok(Memory::Cuda));
        assert_eq!(choose(cuda, true, false), Err(Role::Server));
        assert_eq!(choose(cuda, false, true), Err(Role::Client));
        assert_eq!(choose(cuda, false, false), Err(Role::Client));
        for memory in [Memory::Host, Memory::Soft] {
            assert_eq!(choose(Wanted::Exactly(memory), true, true), Ok(memory));
            assert_eq!(choose(Wanted::Exactly(memory), false, false), Ok(memory));
        }
    }
}
