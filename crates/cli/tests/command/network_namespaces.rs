//! Two hosts on one machine: a pair of network namespaces joined by a virtual cable. Everything that
//! crosses a network must work there. A cable that is cut in the middle of a transfer must end both sides
//! in time.
//!
//! Needs root and `ip` (Debian: iproute2). Where those are missing each test says that it was skipped.

#[path = "common/cables.rs"]
mod cables;

use std::time::{Duration, Instant};

use cables::{Cables, Running};

#[test]
fn a_transfer_between_two_hosts_works() {
    let Some(cable) = Cables::lay("works", 1) else { return };
    for (address, family) in [("10.199.0.1", "-4"), ("fd99::1", "-6")] {
        let server = Running::start(&cable.left, &[], &format!("server --once -B {address}"));
        let client = Running::start(
            &cable.right,
            &[],
            &format!("client {address} {family} -s 8M -n 3 -J --no-ceiling"),
        );
        let (status, printed, said) = client.end(Duration::from_secs(60));
        assert!(status.success(), "{said}");
        let (server_status, _, server_said) = server.end(Duration::from_secs(20));
        assert!(server_status.success(), "{server_said}");
        let report: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(report["results"][0]["verified"], true, "{printed}");
        assert_eq!(report["results"][0]["bytes_unpacked"], 3 * (8 << 20), "{printed}");
    }
}

#[test]
fn a_cut_cable_ends_both_sides_within_the_timeout() {
    let Some(cable) = Cables::lay("cut", 1) else { return };
    let server = Running::start(&cable.left, &[], "server --once -B 10.199.0.1 --timeout 3");
    let client = Running::start(&cable.right, &[], "client 10.199.0.1 -s 4M -t 60 --timeout 3 --no-ceiling");
    std::thread::sleep(Duration::from_secs(2));
    cable.cut();
    let cut = Instant::now();
    // The timeout bounds each wait, and a side may be in the last of two when it starts.
    let (status, _, said) = client.end(Duration::from_secs(12));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.199.0.1"), "names the peer: {said}");
    let (status, _, said) = server.end(Duration::from_secs(12));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.199.0.2"), "names the peer: {said}");
    println!("both sides had ended {:?} after the cut", cut.elapsed());
}

#[test]
fn no_route_is_said_so() {
    let Some(cable) = Cables::lay("route", 1) else { return };
    let client = Running::start(&cable.right, &[], "client 10.98.0.1 -s 4M -n 1 --timeout 3");
    let (status, _, said) = client.end(Duration::from_secs(20));
    assert_eq!(status.code(), Some(5), "{said}");
    assert!(said.contains("10.98.0.1") && said.to_lowercase().contains("unreachable"), "{said}");
}
