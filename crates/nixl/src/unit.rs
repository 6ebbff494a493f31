//! A unit of an agent: an endpoint, and the device whose memory it serves.

use std::net::{IpAddr, SocketAddr};

use gputcp::{
    Device, Error, Options, Result,
    onesided::{Address, Endpoint},
};

/// An endpoint for host memory, or for one GPU's.
#[derive(Debug)]
pub(crate) struct Unit {
    pub(crate) endpoint: Endpoint,
    pub(crate) address: Address,
    pub(crate) device: Option<Device>,
    /// NIXL's number of the GPU.
    pub(crate) gpu: Option<u32>,
}

impl Unit {
    /// Listens at each address, on a port that the system chooses, or on the first free one from `port` on.
    pub(crate) fn bind(
        ips: &[IpAddr],
        port: Option<u16>,
        device: Option<(u32, Device)>,
        options: Options,
    ) -> Result<Self> {
        let (gpu, device) = device.unzip();
        // Peers compare the address that a connection comes from with the one that its endpoint has.
        let options = options.with_bind(ips).with_device(device.clone());
        let bind = |port: u16| {
            let addresses: Vec<_> = ips.iter().map(|ip| SocketAddr::new(*ip, port)).collect();
            Endpoint::bind_all(&addresses, options.clone())
        };
        let endpoint = match port {
            None => bind(0)?,
            Some(first) => {
                let mut found = bind(first);
                for port in (first..=u16::MAX).skip(1).take(PORTS - 1) {
                    if !found.as_ref().is_err_and(is_in_use) {
                        break;
                    }
                    found = bind(port);
                }
                found?
            }
        };
        let address = endpoint.address();
        Ok(Self { endpoint, address, device, gpu })
    }
}

fn is_in_use(error: &Error) -> bool {
    matches!(error, Error::System { source, .. } if source.kind() == std::io::ErrorKind::AddrInUse)
}

/// The ports that are tried from the given one on: agents of one machine have the same setting.
const PORTS: usize = 64;
