//! This machine's GPUs: the one that a session uses, and its facts in a report.

use std::fmt;

use gputcp_gpu::{CudaDevice, Device, Error};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{printable::printable, settings::memory::Selector};

/// A GPU that was opened.
#[derive(Debug, Clone)]
pub struct Gpu {
    /// The device on which memory and lanes are made.
    pub device: Device,
    /// The GPU's facts.
    pub facts: GpuFacts,
}

/// A GPU's facts, as a report shows them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GpuFacts {
    /// The product's name.
    pub name: String,
    /// Its place in the driver's list on its machine.
    pub index: u32,
    /// Its UUID.
    pub uuid: String,
    /// Its PCI address.
    pub pci: String,
    /// The NUMA node it hangs on, where its machine says so.
    pub numa_node: Option<u32>,
}

impl Gpu {
    /// Opens the GPU of this name. Without a name it opens the first, but another than `other` (a UUID)
    /// where there are several.
    ///
    /// # Errors
    /// If it is not there or cannot be used.
    pub fn open(selector: Option<&Selector>, other: Option<&str>) -> Result<Self, Error> {
        let device = match selector {
            Some(selector) => Device::cuda(selector.as_str())?,
            None => Device::cuda(&first_but(&Device::list()?, other).to_string())?,
        };
        let facts = device.cuda_device().map(GpuFacts::of);
        let facts = facts.unwrap_or_else(|| unreachable!("it was opened as a real GPU"));
        let numa_node = facts.numa_node.map_or_else(|| "unknown".into(), |node| node.to_string());
        tracing::info!(gpu = %facts, uuid = facts.uuid, numa_node, "opened");
        Ok(Self { device, facts })
    }
}

/// Returns the index of the first GPU that is not `other`, or of the first.
fn first_but(all: &[CudaDevice], other: Option<&str>) -> u32 {
    let is_another = |device: &&CudaDevice| other.is_none_or(|uuid| !device.uuid.eq_ignore_ascii_case(uuid));
    all.iter().find(is_another).or_else(|| all.first()).map_or(0, |device| device.ordinal)
}

impl GpuFacts {
    fn of(device: &CudaDevice) -> Self {
        Self {
            name: device.name.clone(),
            index: device.ordinal,
            uuid: device.uuid.clone(),
            pci: device.pci.clone(),
            numa_node: device.numa_node,
        }
    }

    /// Returns the same facts, fit for a terminal: they came from the other side.
    #[must_use]
    pub fn printable(self) -> Self {
        let short = |text: &str| printable(text).chars().take(64).collect();
        Self { name: short(&self.name), uuid: short(&self.uuid), pci: short(&self.pci), ..self }
    }
}

impl fmt::Display for GpuFacts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (cuda:{}, PCI {})", self.name, self.index, self.pci)
    }
}
