//! Port scanners: connections of strangers to the plugin's port.

use std::{
    collections::BTreeSet,
    fs,
    io::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{Check, Run, Scope};
use crate::{
    bench::pause,
    meeting::Bench,
    source::{NET, NET_SOCKET, nccl},
    stop::{Seen, Stop, fail, skip},
};

pub(super) const CHECKS: &[Check] = &[Check {
    id: "accept-survives-strays",
    expected: "connections of port scanners do not keep accept from giving the right one",
    because: "an error of accept ends the communicator, and the plugin's port is open to the network",
    sources: &[nccl(NET, 1023, 1023), nccl(NET_SOCKET, 446, 456)],
    scope: Scope {
        stricter: Some("NCCL's own sockets wait for the first byte of whichever connection came first"),
        after: &["connect-accept-not-yet"],
        ..Scope::ALL
    },
    run: Run::Pair { receiving, sending },
}];

fn receiving(bench: &mut Bench) -> Seen {
    let before = listening_ports();
    let listening = bench.plugin.listen()?;
    let ports: Vec<SocketAddr> = listening_ports().difference(&before).copied().collect();
    if ports.is_empty() {
        return skip("listen opened no TCP port");
    }
    bench.plugin.go_beyond_nccl();
    let mut strays = Vec::new();
    for address in &ports {
        strays.extend(scan(address));
    }
    let until = Instant::now() + SCANNED;
    while Instant::now() < until {
        let taken = bench.plugin.accept_once(listening.comm).map_err(after_strays)?;
        if taken.is_some() {
            return fail("accept gave a stray as a connection");
        }
        pause();
    }
    bench.link.tell(listening.handle.bytes())?;
    let comm = bench.plugin.accept(listening.comm).map_err(after_strays)?;
    bench.receive_one(comm, 1)?;
    bench.part_from_sender(&listening, comm)?;
    Ok(format!(
        "{} strays at {} port{}",
        3 * ports.len(),
        ports.len(),
        if ports.len() == 1 { "" } else { "s" }
    ))
}

fn after_strays(stop: Stop) -> Stop {
    stop.told(|why| format!("after strays had come, {why}"))
}

fn sending(bench: &mut Bench) -> Seen {
    bench.plugin.go_beyond_nccl();
    let comm = bench.meet_receiver()?;
    bench.send_one(comm, 1)?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

/// Makes three strays: one that leaves, one that writes nonsense, and one that stays silent. The last two
/// stay.
fn scan(address: &SocketAddr) -> Vec<TcpStream> {
    let connect = || TcpStream::connect_timeout(address, Duration::from_secs(1)).ok();
    drop(connect());
    let mut talker = connect();
    if let Some(talker) = &mut talker {
        let _ = talker.write_all(b"GET / HTTP/1.0\r\n\r\n");
    }
    [talker, connect()].into_iter().flatten().collect()
}

/// Returns the addresses at which this process listens: its sockets among the system's (proc(5)).
fn listening_ports() -> BTreeSet<SocketAddr> {
    let own: BTreeSet<String> = fs::read_dir("/proc/self/fd")
        .into_iter()
        .flatten()
        .filter_map(|entry| fs::read_link(entry.ok()?.path()).ok())
        .filter_map(|link| Some(link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.to_owned()))
        .collect();
    let mut found = BTreeSet::new();
    for table in ["/proc/self/net/tcp", "/proc/self/net/tcp6"] {
        for line in fs::read_to_string(table).unwrap_or_default().lines().skip(1) {
            let columns: Vec<&str> = line.split_whitespace().collect();
            let &[_, local, _, LISTEN, _, _, _, _, _, inode, ..] = &columns[..] else { continue };
            if own.contains(inode) {
                found.extend(address(local));
            }
        }
    }
    found
}

/// Reads `0100007F:3039`: words in the machine's byte order. An unspecified address is reached at the
/// loopback one.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(ip.get(at..at + 8)?, 16).ok().map(u32::to_ne_bytes);
    let ip: IpAddr = if ip.len() == 8 {
        Ipv4Addr::from(word(0)?).into()
    } else {
        let words = [word(0)?, word(8)?, word(16)?, word(24)?].concat();
        Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?).into()
    };
    let ip = match ip {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// `TCP_LISTEN`.
const LISTEN: &str = "0A";
/// The time that the plugin has for the strays before the right peer comes.
const SCANNED: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn own_listeners_are_found() {
        let v4 = TcpListener::bind("0.0.0.0:0").unwrap();
        let port = v4.local_addr().unwrap().port();
        assert!(listening_ports().contains(&SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
        drop(v4);
        assert!(!listening_ports().contains(&SocketAddr::from((Ipv4Addr::LOCALHOST, port))));
    }
}
