//! A device's properties in any version: the fields of the newest one, and `None` for those that a version
//! lacks.

use crate::layout::{
    c_char, c_int,
    device::{VProps, VPropsV12},
};

/// A device's properties, as a plugin reports them. Nothing is checked: pointers may lead anywhere.
#[derive(Debug, Clone, Copy)]
pub struct Properties {
    /// The device's name.
    pub name: *mut c_char,
    /// The path of its PCI device in `/sys`, or NULL.
    pub pci_path: *mut c_char,
    /// Identifies the chip.
    pub guid: u64,
    /// The sum of the `PTR_*` types of memory that the device takes.
    pub ptr_support: c_int,
    /// Not 0 where a registration serves every connection; from version 8 on.
    pub reg_is_global: Option<c_int>,
    /// Not 0 where `iflush` is needed on every GPU; from version 9 on.
    pub force_flush: Option<c_int>,
    /// The speed in Mbit/s.
    pub speed: c_int,
    /// The port.
    pub port: c_int,
    /// The latency in µs.
    pub latency: f32,
    /// The most connections.
    pub max_comms: c_int,
    /// The most receives of one request.
    pub max_recvs: c_int,
    /// One of the `NET_DEVICE_*` numbers; from version 7 on.
    pub net_device_type: Option<u32>,
    /// The version of that type; from version 7 on.
    pub net_device_version: Option<c_int>,
    /// The devices behind it; from version 9 on.
    pub v_props: Option<VirtualDevice>,
    /// The longest send or receive in bytes; from version 9 on.
    pub max_p2p_bytes: Option<usize>,
    /// The longest collective in bytes; from version 9 on.
    pub max_coll_bytes: Option<usize>,
    /// From version 11 on.
    pub max_multi_request_size: Option<c_int>,
    /// The rail, −1 for unknown; from version 12 on.
    pub rail_id: Option<i16>,
    /// The plane, −1 for unknown; from version 12 on.
    pub plane_id: Option<i16>,
}

/// A list of the devices behind a device, in any version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualDevice {
    /// The number of devices, which may be wrong.
    pub ndevs: c_int,
    /// The devices' numbers.
    pub devs: [c_int; 8],
    /// The most devices that the version has room for.
    pub room: usize,
}

impl Properties {
    /// Properties that report nothing.
    pub const NONE: Self = Self {
        name: std::ptr::null_mut(),
        pci_path: std::ptr::null_mut(),
        guid: 0,
        ptr_support: 0,
        reg_is_global: None,
        force_flush: None,
        speed: 0,
        port: 0,
        latency: 0.0,
        max_comms: 0,
        max_recvs: 0,
        net_device_type: None,
        net_device_version: None,
        v_props: None,
        max_p2p_bytes: None,
        max_coll_bytes: None,
        max_multi_request_size: None,
        rail_id: None,
        plane_id: None,
    };
}

impl VirtualDevice {
    /// Returns a list of these devices. Those beyond the eighth are counted and have no place.
    #[must_use]
    pub fn new(devices: &[c_int]) -> Self {
        let mut list =
            Self { ndevs: c_int::try_from(devices.len()).unwrap_or(c_int::MAX), devs: [0; 8], room: 8 };
        list.devs.iter_mut().zip(devices).for_each(|(place, &device)| *place = device);
        list
    }

    /// Returns the devices; `None` if their number is negative or above the room.
    #[must_use]
    pub fn devices(&self) -> Option<&[c_int]> {
        self.devs[..self.room.min(8)].get(..usize::try_from(self.ndevs).ok()?)
    }
}

/// Conversions between a version's list and the one for all.
macro_rules! lists {
    ($($list:ty)*) => {
        $(
            impl From<$list> for VirtualDevice {
                fn from(list: $list) -> Self {
                    let devices = Self::new(&list.devs);
                    Self { ndevs: list.ndevs, room: list.devs.len(), ..devices }
                }
            }

            impl From<$list> for Option<VirtualDevice> {
                fn from(list: $list) -> Self {
                    Some(list.into())
                }
            }

            impl From<VirtualDevice> for $list {
                fn from(list: VirtualDevice) -> Self {
                    let mut devs = [0; _];
                    devs.iter_mut().zip(list.devs).for_each(|(place, device)| *place = device);
                    Self { ndevs: list.ndevs, devs }
                }
            }

            impl Reported<$list> for Option<VirtualDevice> {
                fn reported(self) -> $list {
                    self.unwrap_or_else(|| VirtualDevice::new(&[])).into()
                }
            }
        )*
    };
}
lists!(VProps VPropsV12);

/// A property as a version's struct has it: 0 for what is not reported.
pub(crate) trait Reported<T> {
    /// Returns the value.
    fn reported(self) -> T;
}

macro_rules! always {
    ($($of:ty)*) => {
        $(impl Reported<Self> for $of {
            fn reported(self) -> Self {
                self
            }
        })*
    };
}
always!(*mut c_char u64 c_int f32);

macro_rules! later {
    ($($of:ty)*) => {
        $(impl Reported<$of> for Option<$of> {
            fn reported(self) -> $of {
                self.unwrap_or_default()
            }
        })*
    };
}
later!(c_int u32 usize i16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::versions::{v5, v11, v12};

    #[test]
    fn a_version_takes_the_fields_that_it_has() {
        let all = Properties {
            guid: 7,
            speed: -1,
            reg_is_global: Some(1),
            v_props: Some(VirtualDevice::new(&[3, 4, 5, 6, 7])),
            rail_id: Some(-1),
            ..Properties::NONE
        };
        let v12 = v12::Properties::from(&all);
        assert_eq!((v12.v_props.ndevs, v12.v_props.devs), (5, [3, 4, 5, 6, 7, 0, 0, 0]));
        assert_eq!((v12.guid, v12.speed, v12.rail_id, v12.plane_id), (7, -1, -1, 0));
        let v11 = v11::Properties::from(&all);
        assert_eq!((v11.v_props.ndevs, v11.v_props.devs), (5, [3, 4, 5, 6]));
        let back = Properties::from(&v11);
        assert_eq!(back.v_props.map(|list| (list.ndevs, list.room)), Some((5, 4)));
        assert_eq!((back.reg_is_global, back.rail_id), (Some(1), None));
        let v5 = Properties::from(&v5::Properties::from(&all));
        assert_eq!((v5.guid, v5.reg_is_global, v5.v_props), (7, None, None));
    }

    #[test]
    fn a_list_has_as_many_devices_as_there_is_room_for() {
        assert_eq!(VirtualDevice::new(&[1, 2]).devices(), Some(&[1, 2][..]));
        assert_eq!(VirtualDevice { ndevs: -1, ..VirtualDevice::new(&[1]) }.devices(), None);
        assert_eq!(VirtualDevice::from(VProps { ndevs: 5, devs: [0; 4] }).devices(), None);
        assert_eq!(VirtualDevice::new(&[0; 9]).devices(), None);
    }
}
