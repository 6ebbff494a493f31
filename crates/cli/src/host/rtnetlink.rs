//! The sizes of a network interface that only rtnetlink(7) tells: the largest packets that the kernel hands
//! to it and takes from it. One dump of all links is asked for and read with plain socket calls. Each
//! length in the answer is checked.

use std::{collections::BTreeMap, io, time::Duration};

use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketType,
    netlink::SocketAddrNetlink,
    recv, sendto, socket,
    sockopt::{Timeout, set_socket_timeout},
};

/// The packet sizes of an interface, in bytes; none where the kernel is too old to say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PacketSizes {
    /// The longest packet without its link header (IFLA_MTU).
    pub mtu: Option<u32>,
    /// The longest that is sent in one piece over IPv6 (IFLA_GSO_MAX_SIZE).
    pub gso: Option<u32>,
    /// The longest that received ones are merged to over IPv6 (IFLA_GRO_MAX_SIZE).
    pub gro: Option<u32>,
    /// `gso` over IPv4 (IFLA_GSO_IPV4_MAX_SIZE, Linux 6.3).
    pub gso_ipv4: Option<u32>,
    /// `gro` over IPv4 (IFLA_GRO_IPV4_MAX_SIZE, Linux 6.3).
    pub gro_ipv4: Option<u32>,
    /// The longest that the hardware can cut by itself (IFLA_TSO_MAX_SIZE).
    pub tso_most: Option<u32>,
}

/// Returns all interfaces of this network namespace, by name.
///
/// # Errors
/// If the kernel does not answer.
pub fn links() -> io::Result<BTreeMap<String, PacketSizes>> {
    let socket = socket(AddressFamily::NETLINK, SocketType::RAW, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(TIMEOUT))?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(&socket, &request(), SendFlags::empty(), &kernel)?;
    let mut found = BTreeMap::new();
    let mut bytes = vec![0; ANSWER_BYTES];
    for _ in 0..ANSWERS_MAX {
        let (got, _) = recv(&socket, &mut bytes[..], RecvFlags::empty())?;
        if read(&bytes[..got], &mut found)? {
            return Ok(found);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// Returns the request for all links: a message header, then the interface that is asked for, none.
fn request() -> [u8; HEADER + LINK] {
    let mut out = [0; HEADER + LINK];
    out[0..4].copy_from_slice(&((HEADER + LINK) as u32).to_ne_bytes());
    out[4..6].copy_from_slice(&GET_LINK.to_ne_bytes());
    out[6..8].copy_from_slice(&REQUEST_DUMP.to_ne_bytes());
    out
}

/// Takes what a datagram says; whether it was the last.
fn read(mut bytes: &[u8], found: &mut BTreeMap<String, PacketSizes>) -> io::Result<bool> {
    while let Some((length, kind)) = Some(bytes).filter(|bytes| bytes.len() >= HEADER).map(head) {
        let Some(message) = bytes.get(HEADER..length) else { return Err(io::ErrorKind::InvalidData.into()) };
        match kind {
            DONE => return Ok(true),
            ERROR => return Err(refusal(message)),
            NEW_LINK => {
                if let Some((name, sizes)) = message.get(LINK..).and_then(link) {
                    found.insert(name, sizes);
                }
            }
            _ => {}
        }
        bytes = bytes.get(aligned(length)..).unwrap_or_default();
    }
    Ok(false)
}

/// Returns the length and the kind of a message, with its header.
fn head(bytes: &[u8]) -> (usize, u16) {
    (number(bytes, 0) as usize, u16::from_ne_bytes([bytes[4], bytes[5]]))
}

/// Parses an interface's name and its packet sizes from the attributes.
fn link(mut attributes: &[u8]) -> Option<(String, PacketSizes)> {
    let (mut name, mut sizes) = (None, PacketSizes::default());
    while attributes.len() >= ATTRIBUTE {
        let length = usize::from(u16::from_ne_bytes([attributes[0], attributes[1]]));
        let kind = u16::from_ne_bytes([attributes[2], attributes[3]]);
        let value = attributes.get(ATTRIBUTE..length)?;
        let size = || (value.len() == 4).then(|| number(value, 0));
        match kind {
            IFNAME => {
                let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
                name = Some(String::from_utf8_lossy(&value[..end]).into_owned());
            }
            MTU => sizes.mtu = size(),
            GSO_MAX_SIZE => sizes.gso = size(),
            GRO_MAX_SIZE => sizes.gro = size(),
            GSO_IPV4_MAX_SIZE => sizes.gso_ipv4 = size(),
            GRO_IPV4_MAX_SIZE => sizes.gro_ipv4 = size(),
            TSO_MAX_SIZE => sizes.tso_most = size(),
            _ => {}
        }
        attributes = attributes.get(aligned(length)..).unwrap_or_default();
    }
    Some((name?, sizes))
}

fn refusal(message: &[u8]) -> io::Error {
    let code = if message.len() < 4 { 0 } else { number(message, 0) as i32 };
    io::Error::from_raw_os_error(code.saturating_neg())
}

fn number(bytes: &[u8], at: usize) -> u32 {
    let mut out = [0; 4];
    out.copy_from_slice(&bytes[at..at + 4]);
    u32::from_ne_bytes(out)
}

/// Rounds up: messages and attributes begin at multiples of four (NLMSG_ALIGNTO, RTA_ALIGNTO).
const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

// linux/netlink.h and linux/rtnetlink.h.
const HEADER: usize = 16;
const LINK: usize = 16;
const ATTRIBUTE: usize = 4;
const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP.
const REQUEST_DUMP: u16 = 0x301;
// linux/if_link.h.
const IFNAME: u16 = 3;
const MTU: u16 = 4;
const GSO_MAX_SIZE: u16 = 41;
const GRO_MAX_SIZE: u16 = 58;
const TSO_MAX_SIZE: u16 = 59;
const GSO_IPV4_MAX_SIZE: u16 = 63;
const GRO_IPV4_MAX_SIZE: u16 = 64;

/// The kernel answers a dump with at most this much at a time: NLMSG_GOODSIZE, and 32 KiB for a reader that
/// takes it.
const ANSWER_BYTES: usize = 64 << 10;
/// Far more than a machine has interfaces.
const ANSWERS_MAX: usize = 10_000;
const TIMEOUT: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_is_known_with_its_sizes() {
        let links = links().unwrap();
        let mtu = std::fs::read_to_string("/sys/class/net/lo/mtu").unwrap().trim().parse().ok();
        assert_eq!(links["lo"].mtu, mtu, "{links:?}");
        assert!(links["lo"].gso.is_some_and(|bytes| bytes >= 1 << 10), "{links:?}");
    }

    #[test]
    fn an_answer_that_is_cut_short_anywhere_is_refused_or_without_the_link() {
        let mut answer = request().to_vec();
        answer[4..6].copy_from_slice(&NEW_LINK.to_ne_bytes());
        for (kind, value) in [(IFNAME, &b"eth0\0"[..]), (MTU, &9000u32.to_ne_bytes())] {
            answer.extend_from_slice(&((ATTRIBUTE + value.len()) as u16).to_ne_bytes());
            answer.extend_from_slice(&kind.to_ne_bytes());
            answer.extend_from_slice(value);
            answer.resize(aligned(answer.len()), 0);
        }
        let whole = (answer.len() as u32).to_ne_bytes();
        answer[..4].copy_from_slice(&whole);
        let mut found = BTreeMap::new();
        assert!(!read(&answer, &mut found).unwrap());
        assert_eq!(found["eth0"], PacketSizes { mtu: Some(9000), ..PacketSizes::default() });
        for length in HEADER..answer.len() {
            assert!(read(&answer[..length], &mut BTreeMap::new()).is_err(), "{length}");
        }
        // Lengths that lie.
        for (at, value) in [(0, 3u8), (HEADER + LINK, 0), (HEADER + LINK, 200)] {
            let mut lie = answer.clone();
            lie[at] = value;
            let mut found = BTreeMap::new();
            assert!(read(&lie, &mut found).is_err() || found.is_empty(), "{at} {value}: {found:?}");
        }
    }

    #[test]
    fn a_refusal_is_the_systems_error() {
        let mut answer = request().to_vec();
        answer[4..6].copy_from_slice(&ERROR.to_ne_bytes());
        answer[HEADER..HEADER + 4].copy_from_slice(&(-1i32).to_ne_bytes());
        let error = read(&answer, &mut BTreeMap::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    }
}
