//! Connections in the making.
//!
//! NCCL calls `connect` again and again with the same 128 bytes of memory, until it has the connection. A
//! number in the handle's last bytes, which the listener leaves zero, names the attempt.
//!
//! The bytes are not trusted: a number that is unknown, or belongs to another handle, begins anew.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use gputcp::{Connector, Handle, SendComm};
use gputcp_nccl_net::ResultCode;

use crate::{
    answer::{failed, refused},
    devices::Device,
    started::Started,
};

/// One attempt.
#[derive(Debug)]
struct Attempt {
    number: u64,
    handle: Handle,
    connector: Connector,
    /// The time at which NCCL asked for it last.
    asked: Instant,
}

/// Returns the connection to the listener of the handle, once it is there.
///
/// Until then the number of the attempt is written to the handle.
pub(crate) fn connect(
    bytes: &mut [u8; Handle::BYTES],
    device: &Device,
    plugin: &Started,
) -> Result<Option<SendComm>, ResultCode> {
    let mut plain = *bytes;
    plain[NUMBER..].fill(0);
    let handle = Handle::decode(&plain).map_err(|violation| {
        refused(&format!(
            "connect was given a handle that {violation}: all ranks need the same version of this plugin"
        ))
    })?;
    let mut said = [0; 8];
    said.copy_from_slice(&bytes[NUMBER..]);
    let known = take(u64::from_ne_bytes(said), &handle, plugin.settings.timeout);
    let mut attempt = known.map_or_else(|| Attempt::begin(handle, device, plugin), Ok)?;
    // The lock is not held here: connections are made side by side.
    let comm = attempt.connector.poll().map_err(|error| failed(&error))?;
    if comm.is_none() {
        bytes[NUMBER..].copy_from_slice(&attempt.number.to_ne_bytes());
        put(attempt);
    }
    Ok(comm)
}

/// Gives up all attempts: no caller is left that could ask again.
pub(crate) fn give_up() {
    lock().clear();
}

impl Attempt {
    fn begin(handle: Handle, device: &Device, plugin: &Started) -> Result<Self, ResultCode> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let options = plugin.options_to(device, &handle);
        let connector = Connector::new(&handle, options).map_err(|error| failed(&error))?;
        Ok(Self { number: NEXT.fetch_add(1, Relaxed), handle, connector, asked: Instant::now() })
    }
}

/// Takes this attempt out, and drops those that have not been asked for in so long.
///
/// NCCL asks all the time, and gives no notice when it gives up.
fn take(number: u64, handle: &Handle, timeout: Duration) -> Option<Attempt> {
    let mut attempts = lock();
    // An attempt moves to the end when it is asked for.
    let late = attempts.partition_point(|attempt| attempt.asked.elapsed() > timeout);
    attempts.drain(..late);
    let at = attempts.iter().position(|attempt| attempt.number == number && attempt.handle == *handle)?;
    Some(attempts.remove(at))
}

fn put(attempt: Attempt) {
    let mut attempts = lock();
    if attempts.len() == ATTEMPTS_MAX {
        attempts.remove(0);
    }
    attempts.push(Attempt { asked: Instant::now(), ..attempt });
}

fn lock() -> MutexGuard<'static, Vec<Attempt>> {
    ATTEMPTS.lock().unwrap_or_else(PoisonError::into_inner)
}

static ATTEMPTS: Mutex<Vec<Attempt>> = Mutex::new(Vec::new());

/// The offset of the number.
const NUMBER: usize = Handle::BYTES - 8;
/// The most attempts. A process with 8 GPUs, 32 channels and 16 peers each makes as many at a time.
const ATTEMPTS_MAX: usize = 8 * 32 * 16;

#[cfg(test)]
mod tests {
    use gputcp::{IoPool, Listener, Options};

    use super::*;
    use crate::{
        devices,
        settings::{Congestion, Merging, Settings},
    };

    fn plugin() -> (Started, &'static Device) {
        let settings = Settings {
            streams: 2,
            threads: 2,
            eager_places: 0,
            max_receives: 1,
            congestion: Congestion::Auto,
            segment_bytes: 64 << 10,
            slabs: 1,
            timeout: Duration::from_secs(5),
            speed_mbit: None,
            nccl_defaults: false,
            tuner: false,
            interfaces: None,
            family: None,
            merging: Merging::Nobody,
            key: None,
            open_key_file: None,
            trace: None,
        };
        let devices = devices::find(&settings).unwrap();
        let device = devices.get(0).unwrap();
        (Started { settings, devices, pool: IoPool::new(2).unwrap(), trace: None }, device)
    }

    fn listener() -> Listener {
        Listener::bind("127.0.0.1:0".parse().unwrap(), Options::default()).unwrap()
    }

    #[test]
    fn an_attempt_goes_on_in_the_same_memory_and_nowhere_else() {
        let ((plugin, device), mut first, second) = (plugin(), listener(), listener());
        let mut bytes = first.handle().encode();
        assert!(connect(&mut bytes, device, &plugin).unwrap().is_none(), "the listener has not accepted yet");
        let number = bytes[NUMBER..].to_vec();
        assert!(connect(&mut bytes, device, &plugin).unwrap().is_none());
        assert_eq!(bytes[NUMBER..], number);
        // The number belongs to another handle.
        let mut stolen = second.handle().encode();
        stolen[NUMBER..].copy_from_slice(&number);
        assert!(connect(&mut stolen, device, &plugin).unwrap().is_none());
        assert_ne!(stolen[NUMBER..], number);
        let until = Instant::now() + Duration::from_secs(10);
        let (mut accepted, mut connected) = (None, None);
        while accepted.is_none() || connected.is_none() {
            assert!(Instant::now() < until);
            accepted = accepted.or_else(|| first.poll().unwrap());
            if connected.is_none() {
                connected = connect(&mut bytes, device, &plugin).unwrap();
            }
        }
    }

    #[test]
    fn what_is_no_handle_is_refused() {
        for bytes in [[0; Handle::BYTES], [7; Handle::BYTES]] {
            let (plugin, device) = plugin();
            assert_eq!(connect(&mut { bytes }, device, &plugin).unwrap_err(), ResultCode::InvalidArgument);
        }
    }
}
