//! The GPUs of the machine, and their names: index, UUID or PCI address.

use std::{
    ffi::{CStr, c_char, c_int},
    fmt, fs,
};

use super::{
    result::driver,
    sys::{DeviceHandle, Driver, Uuid},
};
use crate::Error;

/// A GPU as the driver lists it, whether or not it is opened.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct CudaDevice {
    /// Its place in the driver's list, which `CUDA_VISIBLE_DEVICES` shortens and reorders.
    pub ordinal: u32,
    /// The product's name.
    pub name: String,
    /// Its UUID, as nvidia-smi writes it: `GPU-…`.
    pub uuid: String,
    /// Its PCI address: domain, bus, device and function, in lower case.
    pub pci: String,
    /// The NUMA node that it is attached to, if the machine reports one.
    pub numa_node: Option<u32>,
    /// Its total memory in bytes.
    pub memory_bytes: u64,
}

impl fmt::Display for CudaDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (cuda:{}, PCI {})", self.name, self.ordinal, self.pci)
    }
}

/// Returns all GPUs, by ordinal.
pub(crate) fn list() -> Result<Vec<CudaDevice>, Error> {
    let driver = driver()?;
    let mut count = 0;
    // SAFETY: the driver writes one number.
    driver.check(unsafe { (driver.device_count)(&mut count) }, "count the devices")?;
    (0..count).map(|ordinal| Ok(describe(driver, ordinal)?.1)).collect()
}

/// Returns the GPU that `selector` names.
pub(super) fn find(selector: &str) -> Result<(DeviceHandle, CudaDevice), Error> {
    let all = list()?;
    let found =
        all.iter().find(|device| is_named(device, selector)).ok_or_else(|| unknown(selector, &all))?;
    describe(driver()?, found.ordinal as c_int)
}

fn unknown(selector: &str, all: &[CudaDevice]) -> Error {
    let there = match all {
        [] => "none".to_owned(),
        all => all.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "),
    };
    Error::UnknownGpu { given: selector.to_owned(), there }
}

fn is_named(device: &CudaDevice, selector: &str) -> bool {
    let selector = selector.trim();
    let index = selector.strip_prefix("cuda:").unwrap_or(selector);
    if !index.is_empty() && index.bytes().all(|byte| byte.is_ascii_digit()) {
        return index.parse() == Ok(device.ordinal);
    }
    // nvidia-smi writes eight digits of a PCI domain, Linux four, and people none.
    let pci = selector.to_ascii_lowercase();
    let is_pci = pci.contains(':')
        && match pci.split(':').count() {
            2 => format!("0000:{pci}") == device.pci,
            _ => pci == device.pci || pci.strip_prefix("0000") == Some(&device.pci),
        };
    is_pci || selector.eq_ignore_ascii_case(&device.uuid)
}

fn describe(driver: &Driver, ordinal: c_int) -> Result<(DeviceHandle, CudaDevice), Error> {
    let mut device: DeviceHandle = 0;
    // SAFETY: the driver writes one handle.
    driver.check(unsafe { (driver.device_get)(&mut device, ordinal) }, "open a device")?;
    let mut text = [0u8; 256];
    let start = text.as_mut_ptr().cast::<c_char>();
    // SAFETY: the driver writes at most as many bytes as the length that it is given, the closing zero
    // included.
    driver.check(unsafe { (driver.device_name)(start, text.len() as c_int, device) }, "say its name")?;
    let name = until_zero(&text);
    let start = text.as_mut_ptr().cast::<c_char>();
    // SAFETY: as above.
    let code = unsafe { (driver.device_pci)(start, text.len() as c_int, device) };
    driver.check(code, "say its PCI address")?;
    let pci = until_zero(&text).to_ascii_lowercase();
    let mut uuid = Uuid::default();
    // SAFETY: the driver writes 16 bytes.
    driver.check(unsafe { (driver.device_uuid)(&mut uuid, device) }, "say its UUID")?;
    let mut memory_bytes = 0;
    // SAFETY: the driver writes one number.
    let code = unsafe { (driver.device_memory)(&mut memory_bytes, device) };
    driver.check(code, "say how much memory it has")?;
    let described = CudaDevice {
        ordinal: ordinal as u32,
        name,
        uuid: uuid_text(&uuid.bytes),
        numa_node: numa_node(&pci),
        pci,
        memory_bytes: memory_bytes as u64,
    };
    Ok((device, described))
}

fn until_zero(text: &[u8]) -> String {
    CStr::from_bytes_until_nul(text).map(|text| text.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Returns a UUID as nvidia-smi writes it: `GPU-` and groups of 4, 2, 2, 2 and 6 bytes.
fn uuid_text(bytes: &[u8; 16]) -> String {
    let group = |range: std::ops::Range<usize>| -> String {
        bytes[range].iter().map(|byte| format!("{byte:02x}")).collect()
    };
    format!("GPU-{}-{}-{}-{}-{}", group(0..4), group(4..6), group(6..8), group(8..10), group(10..16))
}

/// Returns a PCI device's NUMA node. Linux writes -1 if it does not know.
fn numa_node(pci: &str) -> Option<u32> {
    fs::read_to_string(format!("/sys/bus/pci/devices/{pci}/numa_node")).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> CudaDevice {
        CudaDevice {
            ordinal: 1,
            name: "GPU".to_owned(),
            uuid: uuid_text(&[0xab, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 0xff]),
            pci: "0000:1b:00.0".to_owned(),
            numa_node: None,
            memory_bytes: 1,
        }
    }

    #[test]
    fn a_gpu_has_three_names() {
        let device = device();
        assert_eq!(device.uuid, "GPU-ab010203-0405-0607-0809-0a0b0c0d0eff");
        for name in [
            "1",
            "cuda:1",
            "GPU-AB010203-0405-0607-0809-0a0b0c0d0eff",
            "0000:1B:00.0",
            "1b:00.0",
            "00000000:1B:00.0",
        ] {
            assert!(is_named(&device, name), "{name}");
        }
        for name in
            ["", "0", "11", "-1", "cuda:", "GPU-ab", "1c:00.0", "0001:1b:00.0", "1b", "99999999999999999999"]
        {
            assert!(!is_named(&device, name), "{name}");
        }
    }

    #[test]
    fn an_unknown_name_lists_what_is_there() {
        let text = unknown("7", &[device()]).to_string();
        assert_eq!(text, "no GPU is called \"7\": there is GPU (cuda:1, PCI 0000:1b:00.0)");
        assert!(unknown("7", &[]).to_string().ends_with("there is none"));
    }
}
