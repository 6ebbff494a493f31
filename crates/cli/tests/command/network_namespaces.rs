//! Two hosts on one machine: a pair of network namespaces joined by a virtual cable. Everything that
//! crosses a network must work there. A cable that is cut in the middle of a transfer must end both sides
//! in time.
//!
//! Needs root and `ip` (Debian: iproute2). Where those are missing each test says that it was skipped.

use std::time::{Duration, Instant};

use crate::{
    cables::Cables,
    process::{expect, fails, json, stderr},
};

#[test]
fn a_transfer_between_two_hosts_works() {
    let Some(cable) = Cables::lay("works", 1) else { return };
    for (address, family) in [("10.199.0.1", "-4"), ("fd99::1", "-6")] {
        let server = cable.start(&cable.left, &[], &format!("server --once -B {address}"));
        let args = format!("client {address} {family} -s 8M -n 3 -J --no-ceiling");
        let client = cable.start(&cable.right, &[], &args).output();
        expect(&client, 0);
        expect(&server.output_within(Duration::from_secs(20)), 0);
        let report = json(&client);
        assert_eq!(report["results"][0]["verified"], true, "{report}");
        assert_eq!(report["results"][0]["bytes_unpacked"], 3 * (8 << 20), "{report}");
    }
}

#[test]
fn a_cut_cable_ends_both_sides_within_the_timeout() {
    let Some(cable) = Cables::lay("cut", 1) else { return };
    let server = cable.start(&cable.left, &[], "server --once -B 10.199.0.1 --timeout 3");
    let client = cable.start(&cable.right, &[], "client 10.199.0.1 -s 4M -t 60 --timeout 3 --no-ceiling");
    std::thread::sleep(Duration::from_secs(2));
    cable.cut();
    let cut = Instant::now();
    // The timeout bounds each wait, and a side may be in the last of two when it starts.
    fails(&client.output_within(Duration::from_secs(12)), 5, "10.199.0.1");
    fails(&server.output_within(Duration::from_secs(12)), 5, "10.199.0.2");
    println!("both sides had ended {:?} after the cut", cut.elapsed());
}

#[test]
fn no_route_is_said_so() {
    let Some(cable) = Cables::lay("route", 1) else { return };
    let client = cable.start(&cable.right, &[], "client 10.98.0.1 -s 4M -n 1 --timeout 3");
    let output = client.output_within(Duration::from_secs(20));
    fails(&output, 5, "10.98.0.1");
    assert!(stderr(&output).to_lowercase().contains("unreachable"), "{}", stderr(&output));
}
