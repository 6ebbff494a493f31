//! The devices by their numbers.
//!
//! NCCL keeps the addresses of their names, and may have more made. Devices are added, never changed, and
//! live as long as the process.

use std::{
    ffi::c_int,
    sync::{PoisonError, RwLock},
};

use super::{Device, merged};

/// All devices.
#[derive(Debug, Default)]
pub(crate) struct Devices(RwLock<Vec<&'static Device>>);

impl Devices {
    pub(super) fn of(devices: Vec<Device>) -> Self {
        Self(RwLock::new(devices.into_iter().map(kept).collect()))
    }

    /// Returns the number of devices.
    pub(crate) fn count(&self) -> usize {
        self.all().len()
    }

    /// Returns all devices, as they are now.
    pub(crate) fn all(&self) -> Vec<&'static Device> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the device of this number.
    pub(crate) fn get(&self, number: c_int) -> Option<&'static Device> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(number).ok().and_then(|number| all.get(number).copied())
    }

    /// Returns a device over those of these numbers, and its own number. A second call returns the same.
    ///
    /// # Errors
    /// A sentence, if these cannot be joined.
    pub(crate) fn join(&self, numbers: &[c_int]) -> Result<(c_int, &'static Device), String> {
        let failed = |why: String| format!("the devices {numbers:?} cannot be joined: {why}");
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().position(|device| !numbers.is_empty() && device.behind == numbers) {
            return Ok((at as c_int, all[at]));
        }
        let part = |&number: &c_int| {
            let part = usize::try_from(number).ok().and_then(|number| all.get(number).copied());
            part.ok_or_else(|| failed(format!("there is no device {number}, but {}", all.len())))
        };
        let parts = numbers.iter().map(part).collect::<Result<Vec<_>, _>>()?;
        if let Some(part) = parts.iter().find(|part| !part.behind.is_empty()) {
            return Err(failed(format!("{} was joined from others", part.name.to_string_lossy())));
        }
        if all.len() >= DEVICES_MAX {
            return Err(failed(format!("there are {DEVICES_MAX} already")));
        }
        let device = kept(merged::join(&parts, numbers.to_vec()).map_err(failed)?);
        all.push(device);
        Ok((all.len() as c_int - 1, device))
    }
}

/// Keeps a device for as long as the process, as NCCL keeps the addresses of the names.
fn kept(device: Device) -> &'static Device {
    Box::leak(Box::new(device))
}

/// The most devices: more than a machine has interfaces, and NCCL joins each once.
const DEVICES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::{super::merged::tests::device, *};

    fn three() -> Devices {
        Devices::of(vec![
            device("eth0", "10.0.0.1", 1000, None),
            device("eth1", "10.0.1.1", 2000, None),
            device("eth2", "fd00::1", 2000, None),
        ])
    }

    #[test]
    fn joined_devices_come_behind_and_are_found_again() {
        let devices = three();
        let (number, joined) = devices.join(&[1, 0]).unwrap();
        assert_eq!((number, devices.count()), (3, 4));
        assert_eq!((joined.name.to_str(), joined.speed_mbit), (Ok("eth1+eth0"), 3000));
        assert_eq!(joined.behind, [1, 0]);
        assert_eq!(devices.join(&[1, 0]).unwrap().0, 3);
        // NCCL 2.24 asks for a device over one device.
        let (number, alone) = devices.join(&[2]).unwrap();
        assert_eq!((number, alone.name.to_str()), (4, Ok("eth2")));
        assert!(std::ptr::eq(devices.get(3).unwrap(), joined), "nothing moves");
    }

    #[test]
    fn what_cannot_be_joined_is_a_sentence_and_changes_nothing() {
        let devices = three();
        devices.join(&[0, 1]).unwrap();
        for (numbers, why) in [
            (&[][..], "1 to 4 interfaces, not 0"),
            (&[0, 7], "there is no device 7, but 4"),
            (&[-1], "there is no device -1"),
            (&[0, 0], "eth0 was named twice"),
            (&[0, 2], "different families"),
            (&[3, 2], "eth0+eth1 was joined from others"),
            (&[0, 1, 0, 1, 0], "1 to 4 interfaces, not 5"),
        ] {
            let said = devices.join(numbers).unwrap_err();
            assert!(said.contains(why), "{numbers:?}: {said}");
        }
        assert_eq!(devices.count(), 4);
        let ours = Devices::of(vec![
            device("a", "10.0.0.1", 1, None),
            device("b", "10.0.0.2", 1, None),
            merged::of_the_fastest(&[device("a", "10.0.0.1", 1, None), device("b", "10.0.0.2", 1, None)])
                .unwrap(),
        ]);
        assert!(ours.join(&[0, 2]).unwrap_err().contains("a+b is over several interfaces already"));
    }
}
