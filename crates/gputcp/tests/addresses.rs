//! Several addresses at either end: each connection's sockets are spread over them, and data moves over all.

mod common;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    thread,
};

use common::{TestMemory, close, move_and_verify, options, soon};
use gputcp::{Connector, Error, Handle, Listener, RecvComm, SendComm, transfer::Plan};

/// Addresses of the loopback, which has all of 127/8.
fn local(net: u8, count: u8) -> Vec<IpAddr> {
    (1..=count).map(|host| Ipv4Addr::new(127, 0, net, host).into()).collect()
}

/// Connects from so many addresses to so many, and returns both ends with the listener's handle.
fn connection(from: u8, to: u8, streams: u16) -> (SendComm, RecvComm, Handle) {
    let listening: Vec<SocketAddr> = local(8, to).into_iter().map(|ip| (ip, 0).into()).collect();
    let mut listener = Listener::bind_all(&listening, options(streams)).unwrap();
    let handle = Handle::decode(&listener.handle().encode()).unwrap();
    let connector = options(streams).with_bind(local(9, from));
    let connecting = thread::spawn(move || Connector::new(&handle, connector)?.connect(soon()));
    let receiver = listener.accept(soon()).unwrap();
    (connecting.join().unwrap().unwrap(), receiver, handle)
}

/// Returns how many sockets there are from each address to each, by their last numbers (proc(5),
/// /proc/net/tcp). Sockets that have ended are left out, as they may have had the same port. Each socket
/// counts once, however often a list that changes while it is read shows it.
fn sockets(handle: &Handle) -> BTreeMap<(u8, u8), usize> {
    let address = |text: &str| {
        let (ip, port) = text.split_once(':').unwrap();
        let ip = Ipv4Addr::from(u32::from_str_radix(ip, 16).unwrap().to_ne_bytes());
        SocketAddr::from((ip, u16::from_str_radix(port, 16).unwrap()))
    };
    let host = |address: SocketAddr| match address.ip() {
        IpAddr::V4(v4) => v4.octets()[3],
        IpAddr::V6(_) => unreachable!("all are of IPv4"),
    };
    let mut open = BTreeSet::new();
    for line in fs::read_to_string("/proc/self/net/tcp").unwrap().lines().skip(1) {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (near, far) = (address(words[1]), address(words[2]));
        if words[3] == ESTABLISHED && handle.addresses().any(|listener| listener == far) {
            open.insert((near, far));
        }
    }
    let mut found = BTreeMap::new();
    for (near, far) in open {
        *found.entry((host(near), host(far))).or_default() += 1;
    }
    found
}

/// `TCP_ESTABLISHED`, as /proc/net/tcp writes it.
const ESTABLISHED: &str = "01";

#[test]
fn sockets_are_spread_over_all_addresses() {
    for (from, to, streams, expected) in [
        // The i-th meets the i-th; the control socket is between the first.
        (2, 2, 4, vec![((1, 1), 3), ((2, 2), 2)]),
        (1, 3, 3, vec![((1, 1), 2), ((1, 2), 1), ((1, 3), 1)]),
        (3, 1, 3, vec![((1, 1), 2), ((2, 1), 1), ((3, 1), 1)]),
        // Every pair once.
        (2, 3, 6, vec![((1, 1), 2), ((1, 2), 1), ((1, 3), 1), ((2, 1), 1), ((2, 2), 1), ((2, 3), 1)]),
        (4, 2, 4, vec![((1, 1), 2), ((2, 2), 1), ((3, 1), 1), ((4, 2), 1)]),
    ] {
        let (sender, receiver, handle) = connection(from, to, streams);
        assert_eq!(sockets(&handle).into_iter().collect::<Vec<_>>(), expected, "{from} to {to}");
        let plan = Plan { chunk_bytes: 64 << 10, window: 12, timeout: common::TIMEOUT };
        let buffers = (&TestMemory::Host.buffer(4 << 20), &TestMemory::Host.buffer(4 << 20));
        let (mut senders, mut receivers) = (vec![sender], vec![receiver]);
        move_and_verify(&mut senders, &mut receivers, buffers, (plan, plan), &[4 << 20]).unwrap();
        close(senders, receivers);
    }
}

#[test]
fn a_listener_has_one_to_four_addresses_of_one_family() {
    let bind = |addresses: &[&str]| {
        let addresses: Vec<SocketAddr> = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Listener::bind_all(&addresses, options(1)).map(drop)
    };
    let ok = "127.0.0.1:0";
    bind(&[ok; 4]).unwrap();
    for bad in [&[][..], &[ok; 5], &[ok, "[::1]:0"]] {
        let error = bind(bad).unwrap_err();
        assert!(matches!(error, Error::Usage(_)), "{error:?}");
    }
}
