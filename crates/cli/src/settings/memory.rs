//! Memory and GPUs as people name them.

use super::kinds::Memory;

/// The name of a GPU: its index, UUID or PCI address. A well-formed name may be that of no GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selector(String);

/// The memory that `--memory` asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryArg {
    /// The kind of memory.
    pub kind: Memory,
    /// This side's GPU.
    pub gpu: Option<Selector>,
}

/// The memory to move, as far as it was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// This memory, or none.
    Exactly(Memory),
    /// GPU memory where both ends have what they need for it, else the software GPU's.
    Automatic,
}

impl Selector {
    /// Parses a GPU's name: `0`, `cuda:0`, `GPU-…` or `0000:1b:00.0`.
    ///
    /// # Errors
    /// A sentence that says how one is named.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if is_index(text.strip_prefix("cuda:").unwrap_or(text)) || is_uuid(text) || is_pci(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err("a GPU is named by its index, UUID (GPU-…) or PCI address (0000:1b:00.0)".into())
        }
    }

    /// Returns the name as it was given.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl MemoryArg {
    /// Parses a kind of memory, with a GPU behind `cuda:`.
    ///
    /// # Errors
    /// A sentence that says which there are.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        match text.split_once(':') {
            Some((cuda, gpu)) if cuda.eq_ignore_ascii_case("cuda") => {
                Ok(Self { kind: Memory::Cuda, gpu: Some(Selector::parse(gpu)?) })
            }
            _ => Memory::parse(text).map(Self::from),
        }
    }
}

impl From<Memory> for MemoryArg {
    fn from(kind: Memory) -> Self {
        Self { kind, gpu: None }
    }
}

fn is_index(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit()) && text.parse::<u32>().is_ok()
}

/// Returns whether it is a UUID as nvidia-smi writes it: `GPU-` and groups of 8, 4, 4, 4 and 12 digits.
fn is_uuid(text: &str) -> bool {
    let Some((prefix, digits)) = text.split_once('-') else { return false };
    let groups: Vec<&str> = digits.split('-').collect();
    prefix.eq_ignore_ascii_case("gpu")
        && groups.len() == 5
        && groups.iter().zip([8, 4, 4, 4, 12]).all(|(group, length)| is_hex(group, &[length]))
}

/// Returns whether it is bus, device and function behind a domain of no, four or eight digits.
fn is_pci(text: &str) -> bool {
    let groups: Vec<&str> = text.split(':').collect();
    let (domain, bus, place) = match groups[..] {
        [bus, place] => ("0000", bus, place),
        [domain, bus, place] => (domain, bus, place),
        _ => return false,
    };
    let Some((device, function)) = place.split_once('.') else { return false };
    is_hex(domain, &[4, 8]) && is_hex(bus, &[2]) && is_hex(device, &[2]) && is_hex(function, &[1])
}

fn is_hex(text: &str, lengths: &[usize]) -> bool {
    lengths.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const UUID: &str = "GPU-ab010203-0405-0607-0809-0a0b0c0d0eff";

    #[test]
    fn a_gpu_has_three_names() {
        for name in
            ["0", "12", "cuda:1", UUID, "gpu-AB010203-0405-0607-0809-0a0b0c0d0eff", "0000:1b:00.0", "1B:00.0"]
        {
            assert_eq!(Selector::parse(name).unwrap().as_str(), name);
        }
        for bad in [
            "",
            "-1",
            "+1",
            "0x1",
            "1.5",
            "cuda",
            "cuda:",
            "99999999999",
            "GPU-",
            "GPU-ab",
            "H200",
            "1b:00",
            ":00.0",
            "1b:00.0.0",
            "é0:00.0",
        ] {
            assert!(Selector::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn cuda_may_name_its_gpu() {
        let parsed = |text: &str| MemoryArg::parse(text).unwrap();
        assert_eq!(parsed("cuda"), Memory::Cuda.into());
        assert_eq!(parsed(" SOFT "), Memory::Soft.into());
        for (text, name) in [("cuda:1", "1"), (&format!("cuda:{UUID}"), UUID), ("CUDA:1b:00.0", "1b:00.0")] {
            let gpu = Some(Selector(name.to_owned()));
            assert_eq!(parsed(text), MemoryArg { kind: Memory::Cuda, gpu });
        }
        for bad in ["cuda:", "cuda:x", "soft:0", "host:", "cudax", ""] {
            assert!(MemoryArg::parse(bad).is_err(), "{bad:?}");
        }
    }
}
