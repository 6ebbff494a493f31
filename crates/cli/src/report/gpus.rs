//! The GPUs that a report names.

use crate::session::Role;

use super::Way;
use crate::{
    host::gpu::GpuFacts,
    settings::{Flow, Memory, Settings},
};

/// The GPUs whose memory is moved. An end has none where it moves host memory, or the software GPU's.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Gpus {
    /// The client's.
    pub client: Option<GpuFacts>,
    /// The server's.
    pub server: Option<GpuFacts>,
}

impl Gpus {
    /// Returns the GPUs that a session with these settings uses, of those that its ends have open.
    #[must_use]
    pub fn of(settings: &Settings, client: Option<&GpuFacts>, server: Option<&GpuFacts>) -> Self {
        let used = |role: Role, gpu: Option<&GpuFacts>| gpu.filter(|_| settings.needs_gpu(role)).cloned();
        Self { client: used(Role::Client, client), server: used(Role::Server, server) }
    }

    /// Returns the GPU at the source of this way, and the one at its destination, in words.
    #[must_use]
    pub fn along(&self, way: Way, settings: &Settings) -> (Option<String>, Option<String>) {
        let (source, destination) = match way {
            Way::Backward => (&self.server, &self.client),
            Way::Forward | Way::Both | Way::RoundTrip => (&self.client, &self.server),
        };
        let text = |gpu: &Option<GpuFacts>, memory: Memory| {
            gpu.as_ref().filter(|_| memory == Memory::Cuda).map(ToString::to_string)
        };
        (text(source, settings.memory), text(destination, settings.destination()))
    }

    /// Returns the name of one end's memory: `cuda:1`, `soft`, `host`. An end that both sends and receives
    /// is named by the memory it sends from.
    #[must_use]
    pub fn memory(&self, role: Role, settings: &Settings) -> String {
        let (gpu, sends) = match role {
            Role::Client => (&self.client, settings.flow != Flow::Backward),
            Role::Server => (&self.server, settings.flow != Flow::Forward),
        };
        let memory = if sends { settings.memory } else { settings.destination() };
        match gpu {
            Some(gpu) if memory == Memory::Cuda => format!("cuda:{}", gpu.index),
            _ => memory.to_string(),
        }
    }
}
