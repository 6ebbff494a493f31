//! A plugin's report on its devices, checked. A value that makes no sense is an error that names it.

use std::fmt;

use gputcp_nccl_net::{
    self as net,
    layout::{c_char, c_int, constants},
};

use crate::foreign;

/// A device of a plugin, as the plugin describes it.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Properties {
    /// Its place in the plugin's list.
    pub index: usize,
    /// Its name, as a network interface's.
    pub name: String,
    /// Where it is in /sys, if the plugin says so.
    pub pci_path: Option<String>,
    /// Identifies the chip.
    pub guid: u64,
    /// Whether it takes host memory.
    pub host: bool,
    /// Whether it takes the memory of CUDA GPUs.
    pub cuda: bool,
    /// Whether it takes that memory by a dma-buf.
    pub dma_buf: bool,
    /// Whether a registration serves every connection.
    pub reg_is_global: bool,
    /// Whether `iflush` is needed on every GPU.
    pub force_flush: bool,
    /// Its speed in Mbit/s; 10 000 where the plugin says nothing above 0, as NCCL takes it.
    pub speed_mbit: u32,
    /// Its port.
    pub port: i32,
    /// Its latency in µs; 0 where the plugin does not say.
    pub latency_us: f32,
    /// The most connections.
    pub max_comms: u32,
    /// The most receives of one request.
    pub max_recvs: u32,
    /// The side that works on the received bytes.
    pub kind: DeviceKind,
    /// The version of that kind.
    pub device_version: i32,
    /// The longest request in bytes, where the version says so.
    pub max_bytes: Option<u64>,
}

/// The side that works on the bytes that a device received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DeviceKind {
    /// No side: the bytes are where they belong.
    Host,
    /// The caller unpacks them from the plugin's bounce region.
    Unpack,
    /// A type that is not known here.
    Other(u32),
}

impl Properties {
    /// Checks a device's properties.
    pub(crate) fn check(index: usize, raw: &net::Properties) -> Result<Self, String> {
        let of = |what: String| format!("{what} of device {index}");
        let text = |start, what: &str| text(start).map_err(|why| of(format!("{why} for the {what}")));
        let number = |value: c_int, least: c_int, most: c_int, what: &str| {
            if (least..=most).contains(&value) {
                Ok(value as u32)
            } else {
                Err(of(format!("a {what} of {value}")))
            }
        };
        let name = text(raw.name, "name")?.ok_or_else(|| of("no name".into()))?;
        let takes = |kind| raw.ptr_support & kind != 0;
        number(raw.ptr_support, 1, 0xffff, "pointer support")?;
        if !(raw.latency >= 0.0 && raw.latency < 1e9) {
            return Err(of(format!("a latency of {} µs", raw.latency)));
        }
        if let Some(list) = raw.v_props
            && list.devices().is_none()
        {
            return Err(of(format!("{} devices behind it", list.ndevs)));
        }
        if let Some(bytes) = raw.max_p2p_bytes
            && !(1..=constants::NET_BYTES_MAX).contains(&bytes)
        {
            return Err(of(format!("a longest request of {bytes} bytes")));
        }
        Ok(Self {
            index,
            name,
            pci_path: text(raw.pci_path, "PCI path")?,
            guid: raw.guid,
            host: takes(constants::PTR_HOST),
            cuda: takes(constants::PTR_CUDA),
            dma_buf: takes(constants::PTR_DMABUF),
            reg_is_global: raw.reg_is_global.is_some_and(|flag| flag != 0),
            force_flush: raw.force_flush.is_some_and(|flag| flag != 0),
            speed_mbit: match raw.speed {
                ..=0 => constants::SPEED_UNKNOWN_MBIT,
                speed => number(speed, 1, SPEED_MAX, "speed in Mbit/s")?,
            },
            port: raw.port,
            latency_us: raw.latency,
            max_comms: number(raw.max_comms, 1, c_int::MAX, "number of connections")?,
            max_recvs: number(raw.max_recvs, 1, 1024, "number of receives per request")?,
            kind: match raw.net_device_type.unwrap_or(constants::NET_DEVICE_HOST) {
                constants::NET_DEVICE_HOST => DeviceKind::Host,
                constants::NET_DEVICE_UNPACK => DeviceKind::Unpack,
                other => DeviceKind::Other(other),
            },
            device_version: raw.net_device_version.unwrap_or(constants::NET_DEVICE_HOST_VERSION),
            max_bytes: raw.max_p2p_bytes.map(|bytes| bytes as u64),
        })
    }

    /// Returns whether the device has this name, in any case of its letters.
    #[must_use]
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl fmt::Display for DeviceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host => f.pad("host"),
            Self::Unpack => f.pad("unpack"),
            Self::Other(number) => f.pad(&format!("type {number}")),
        }
    }
}

/// Reads a text of bounded length; `None` for NULL or an empty text.
fn text(start: *const c_char) -> Result<Option<String>, &'static str> {
    let Some(text) = foreign::text(start, TEXT_BYTES)?.filter(|text| !text.is_empty()) else {
        return Ok(None);
    };
    let text = text.into_string().map_err(|_| "no UTF-8")?;
    let odd = text.chars().any(char::is_control);
    if odd { Err("a text with control characters") } else { Ok(Some(text)) }
}

/// As long as a path can be (PATH_MAX).
const TEXT_BYTES: usize = 4096;
/// 100 Tbit/s.
const SPEED_MAX: c_int = 100_000_000;

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;
    use gputcp_nccl_net::{
        layout::device::VProps,
        versions::{v5, v11},
    };

    fn good() -> v11::Properties {
        v11::Properties {
            name: c"eth0".as_ptr().cast_mut(),
            pci_path: ptr::null_mut(),
            guid: 7,
            ptr_support: 3,
            reg_is_global: 0,
            force_flush: 1,
            speed: 100_000,
            port: 0,
            latency: 2.5,
            max_comms: 65536,
            max_recvs: 1,
            net_device_type: 1,
            net_device_version: 7,
            v_props: VProps { ndevs: 1, devs: [0; 4] },
            max_p2p_bytes: 1 << 40,
            max_coll_bytes: 1 << 40,
            max_multi_request_size: 0,
        }
    }

    fn check(change: impl FnOnce(&mut v11::Properties)) -> Result<Properties, String> {
        let mut props = good();
        change(&mut props);
        Properties::check(3, &net::Properties::from(&props))
    }

    #[test]
    fn what_makes_sense_is_taken() {
        let props = check(|_| {}).unwrap();
        assert_eq!((props.index, props.name.as_str(), props.pci_path.as_deref()), (3, "eth0", None));
        assert!(props.host && props.cuda && !props.dma_buf && props.force_flush && !props.reg_is_global);
        assert_eq!(
            (props.kind, props.device_version, props.max_bytes),
            (DeviceKind::Unpack, 7, Some(1 << 40))
        );
        for (said, taken) in
            [(c_int::MIN, 10_000), (-1, 10_000), (0, 10_000), (1, 1), (SPEED_MAX, 100_000_000)]
        {
            assert_eq!(check(|props| props.speed = said).unwrap().speed_mbit, taken, "{said}");
        }
        let unknown = check(|props| props.net_device_type = 9).unwrap();
        assert_eq!(unknown.kind.to_string(), "type 9");
        // An older version says less, and that is no error.
        let v5 = v5::Properties {
            name: c"a".as_ptr().cast_mut(),
            pci_path: c"/sys/x".as_ptr().cast_mut(),
            guid: 0,
            ptr_support: 1,
            speed: 0,
            port: -1,
            latency: 0.0,
            max_comms: 1,
            max_recvs: 1,
        };
        let props = Properties::check(0, &net::Properties::from(&v5)).unwrap();
        assert_eq!(
            (props.pci_path.as_deref(), props.kind, props.max_bytes),
            (Some("/sys/x"), DeviceKind::Host, None)
        );
    }

    #[test]
    fn what_makes_none_is_named() {
        let endless = vec![b'x'; 5000];
        let endless = endless.as_ptr().cast_mut().cast::<c_char>();
        let nowhere = ptr::without_provenance_mut(0x1234);
        let refusals: [(&str, Result<Properties, String>); 15] = [
            ("a pointer to no memory for the name of device 3", check(|p| p.name = nowhere)),
            ("a pointer to no memory for the PCI path of device 3", check(|p| p.pci_path = nowhere)),
            ("no name of device 3", check(|p| p.name = ptr::null_mut())),
            ("no name of device 3", check(|p| p.name = c"".as_ptr().cast_mut())),
            ("no UTF-8 for the name of device 3", check(|p| p.name = c"\xff".as_ptr().cast_mut())),
            (
                "a text with control characters for the name of device 3",
                check(|p| p.name = c"\x1b[31m".as_ptr().cast_mut()),
            ),
            ("a text without end for the PCI path of device 3", check(|p| p.pci_path = endless)),
            ("a pointer support of 0 of device 3", check(|p| p.ptr_support = 0)),
            ("a speed in Mbit/s of 100000001 of device 3", check(|p| p.speed = SPEED_MAX + 1)),
            ("a latency of NaN µs of device 3", check(|p| p.latency = f32::NAN)),
            ("a number of connections of 0 of device 3", check(|p| p.max_comms = 0)),
            ("a number of receives per request of 4096 of device 3", check(|p| p.max_recvs = 4096)),
            ("5 devices behind it of device 3", check(|p| p.v_props.ndevs = 5)),
            ("a longest request of 0 bytes of device 3", check(|p| p.max_p2p_bytes = 0)),
            ("a longest request of 1099511627777 bytes of device 3", check(|p| p.max_p2p_bytes += 1)),
        ];
        for (sentence, refused) in refusals {
            assert_eq!(refused, Err(sentence.to_owned()));
        }
    }
}
