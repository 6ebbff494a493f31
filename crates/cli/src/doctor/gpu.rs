//! GPUs: those that the driver shows, or why it shows none, and their place on the PCI bus.

use std::fs;

use gputcp_gpu::{CudaDevice, Device};

use super::{Finding, said};
use crate::printable::printable;

/// The facts about the machine's GPUs.
#[derive(Debug, Clone)]
pub struct Gpus {
    /// The GPUs that the driver shows, or its reason.
    pub shown: Result<Vec<Gpu>, String>,
    /// The number of the maker's display and compute functions on the PCI bus.
    pub on_bus: usize,
    /// The driver's version.
    pub driver: Option<String>,
}

/// A GPU.
#[derive(Debug, Clone, Default)]
pub struct Gpu {
    /// Its name and place.
    pub name: String,
    /// The NUMA node it hangs on.
    pub numa_node: Option<u32>,
    /// The lanes of its PCIe link in use, and those that it has.
    pub width: Option<(u32, u32)>,
}

impl Gpus {
    /// Looks.
    #[must_use]
    pub fn look() -> Self {
        let shown = Device::list().map(|all| all.iter().map(Gpu::of).collect());
        Self {
            shown: shown.map_err(|error| printable(&error.to_string())),
            on_bus: on_bus(),
            driver: said("/sys/module/nvidia/version"),
        }
    }

    /// Returns the findings about the GPUs.
    #[must_use]
    pub fn judge(&self) -> Vec<Finding> {
        let gpus = match &self.shown {
            Ok(gpus) if !gpus.is_empty() => gpus,
            Ok(_) | Err(_) if self.on_bus == 0 => {
                let why = self.shown.as_ref().err().map_or_else(String::new, |why| format!(" ({why})"));
                let seen = format!("none on the PCI bus; the software GPU stands in for measuring{why}");
                return vec![Finding::ok("gpu", seen)];
            }
            Ok(_) => {
                let seen = format!("{} on the PCI bus, but the driver shows none here", self.on_bus);
                return vec![Finding::problem("gpu", seen).by("unset CUDA_VISIBLE_DEVICES")];
            }
            Err(why) => {
                let seen = format!("{} on the PCI bus, but no program can use them: {why}", self.on_bus);
                return vec![Finding::problem("gpu", seen).by("nvidia-smi")];
            }
        };
        let driver = self.driver.as_deref().unwrap_or("unknown");
        let mut findings = vec![Finding::ok("gpu driver", driver)];
        findings.extend(gpus.iter().enumerate().map(|(index, gpu)| gpu.judge(index)));
        findings
    }
}

impl Gpu {
    fn of(device: &CudaDevice) -> Self {
        let number = |file: &str| said(format!("/sys/bus/pci/devices/{}/{file}", device.pci))?.parse().ok();
        Self {
            name: printable(&device.to_string()),
            numa_node: device.numa_node,
            width: number("current_link_width").zip(number("max_link_width")),
        }
    }

    fn judge(&self, index: usize) -> Finding {
        let topic = format!("gpu {index}");
        let node = self.numa_node.map_or_else(String::new, |node| format!(", NUMA node {node}"));
        match self.width {
            Some((now, most)) if now < most => Finding::better(
                topic,
                format!(
                    "{}{node}, PCIe x{now} of x{most}: staging is slower than it could be; look at the slot and the BIOS",
                    self.name
                ),
            ),
            Some((now, _)) => Finding::ok(topic, format!("{}{node}, PCIe x{now}", self.name)),
            None => Finding::ok(topic, format!("{}{node}", self.name)),
        }
    }
}

/// Counts NVIDIA's display and 3D controllers (PCI vendor 10de, classes 0300 and 0302).
fn on_bus() -> usize {
    let Ok(devices) = fs::read_dir("/sys/bus/pci/devices") else { return 0 };
    let is_gpu = |folder: &std::path::Path| {
        said(folder.join("vendor")).is_some_and(|vendor| vendor == "0x10de")
            && said(folder.join("class"))
                .is_some_and(|class| class.starts_with("0x0300") || class.starts_with("0x0302"))
    };
    devices.flatten().filter(|device| is_gpu(&device.path())).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn verdicts(gpus: &Gpus) -> Vec<Severity> {
        gpus.judge().iter().map(|finding| finding.verdict).collect()
    }

    #[test]
    fn no_gpu_is_well_and_one_that_nobody_can_use_is_not() {
        let none = Gpus { shown: Err("no libcuda".into()), on_bus: 0, driver: None };
        assert_eq!(verdicts(&none), [Severity::Ok]);
        assert!(none.judge()[0].seen.contains("no libcuda"), "{:?}", none.judge());
        assert_eq!(verdicts(&Gpus { on_bus: 8, ..none }), [Severity::Problem]);
        assert_eq!(verdicts(&Gpus { shown: Ok(Vec::new()), on_bus: 8, driver: None }), [Severity::Problem]);
    }

    #[test]
    fn a_narrow_link_could_be_better() {
        let gpu = |width| Gpu { name: "A GPU".into(), numa_node: Some(1), width };
        let shown = Ok(vec![gpu(None), gpu(Some((16, 16))), gpu(Some((8, 16)))]);
        let gpus = Gpus { shown, on_bus: 3, driver: Some("580.1".into()) };
        assert_eq!(verdicts(&gpus), [Severity::Ok, Severity::Ok, Severity::Ok, Severity::CouldBeBetter]);
        assert_eq!(gpus.judge()[2].seen, "A GPU, NUMA node 1, PCIe x16");
    }
}
