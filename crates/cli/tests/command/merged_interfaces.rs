//! One device of the plugin over two interfaces, between two hosts joined by two cables. The tests need
//! what `cables` needs; where that is missing each says that it was skipped.

use std::time::Duration;

use serde_json::Value;

use crate::{
    cables::Cables,
    net_plugin::ours,
    process::{document, expect, json, stdout},
};

/// Moves data from the right to the left through devices of these names; gives what the report says of it.
fn moved(cables: &Cables, (left, right): (&str, &str), variables: &[(&str, &str)], more: &str) -> Value {
    let plugin = ours();
    let server = format!("server --once -B 10.199.0.1 --plugin {plugin} --plugin-device {left}");
    let server = cables.start(&cables.left, variables, &server);
    let client =
        format!("client 10.199.0.1 -m host -J --no-ceiling --plugin {plugin} --plugin-device {right} {more}");
    let client = cables.start(&cables.right, variables, &client).output();
    expect(&client, 0);
    expect(&server.output_within(Duration::from_secs(20)), 0);
    let result = json(&client)["results"][0].take();
    assert_eq!(result["verified"], true, "{result}");
    result
}

const BOTH: &str = "cable0+cable1";

#[test]
fn every_interface_carries_its_share() {
    let Some(cables) = Cables::lay("share", 2) else { return };
    for (left, right, least) in [
        // Both ends have two; the control socket and short messages use the first.
        (BOTH, BOTH, [0.3, 0.3]),
        // Only one has: its data still comes in by both.
        (BOTH, "cable0", [0.3, 0.3]),
        ("cable0", "cable0", [0.99, 0.0]),
    ] {
        let before = [0, 1].map(|n| cables.sent_from_the_right(n));
        let bytes = 24 * (4 << 20);
        moved(&cables, (left, right), &[("GPUTCP_STREAMS", "1")], "-s 4M -n 20 -w 4");
        let sent = [0, 1].map(|n| cables.sent_from_the_right(n) - before[n]);
        for (n, (sent, least)) in sent.into_iter().zip(least).enumerate() {
            let share = sent as f64 / bytes as f64;
            assert!(share >= least, "{left} from {right}: cable {n} carried {share:.2} of the data");
        }
        if left != BOTH {
            assert!(sent[1] < bytes / 100, "{sent:?}");
        }
    }
}

#[test]
fn two_interfaces_are_twice_as_fast_as_one() {
    let Some(cables) = Cables::lay("fast", 2) else { return };
    if !cables.limit(200) {
        println!("skipped: tc cannot limit a cable here (it needs iproute2 and the kernel's sch_tbf)");
        return;
    }
    let rate = |device: &str| {
        let result = moved(&cables, (device, device), &[("GPUTCP_STREAMS", "2")], "-s 4M -n 8 -w 2");
        result["goodput_gb_per_s"]["median"].as_f64().expect("a number") * 8e3
    };
    let (one, two) = (rate("cable0"), rate(BOTH));
    println!("one: {one:.0} Mbit/s, two: {two:.0} Mbit/s");
    assert!((100.0..210.0).contains(&one), "{one:.0} Mbit/s over one cable of 200");
    assert!((1.6..2.2).contains(&(two / one)), "{two:.0} Mbit/s over two, {one:.0} over one");
}

#[test]
fn a_device_over_several_is_offered_where_it_makes_sense() {
    let Some(cables) = Cables::lay("list", 2) else { return };
    for (variables, last) in [
        (&[][..], BOTH),
        (&[("GPUTCP_MERGE", "0")], "cable1"),
        (&[("NCCL_NET_MERGE_LEVEL", "LOC")], "cable1"),
        (&[("NCCL_SOCKET_IFNAME", "=cable1")], "cable1"),
        (&[("NCCL_SOCKET_FAMILY", "AF_INET6")], BOTH),
    ] {
        let list = cables.start(&cables.right, variables, &format!("plugin list {}", ours()));
        let output = list.output_within(Duration::from_secs(20));
        expect(&output, 0);
        let printed = stdout(&output);
        let device = printed.lines().rfind(|line| !line.starts_with('#')).expect("a device");
        let words: Vec<&str> = device.split_whitespace().collect();
        let expected = [last, if last == BOTH { "20" } else { "10" }];
        assert_eq!(words[1..3], expected, "{variables:?}: {printed}");
    }
}

#[test]
fn it_does_what_nccl_demands() {
    let Some(cables) = Cables::lay("check", 2) else { return };
    let args = format!("plugin check -m soft --device 2 {}", ours());
    let output = cables.start(&cables.right, &[], &args).output();
    expect(&output, 0);
    let printed = stdout(&output);
    assert!(printed.contains("device 2 of 3"), "{printed}");
    assert!(printed.contains("devices 0 and 1 stay apart"), "{printed}");
}

#[test]
fn nccl_joins_devices_where_it_was_told_to() {
    let Some(cables) = Cables::lay("join", 2) else { return };
    for (version, name) in
        [(9, "NCCL_NET_FORCE_MERGE"), (11, "NCCL_NET_MERGE_LEVEL"), (12, "NCCL_NET_MERGE_LEVEL")]
    {
        let args = format!("plugin check -J --only virtual-devices {}:v{version}", ours());
        let report = document(&cables.start(&cables.right, &[(name, "SYS")], &args).output(), 0);
        assert_eq!(report["plugin"]["devices"], 2, "{report}");
        assert_eq!(report["results"][0]["result"], "pass", "{report}");
        let seen = report["results"][0]["seen"].as_str().expect("a sentence");
        // Linux says 10 Gb/s of a veth.
        assert_eq!(seen, "devices 0 and 1 were joined to cable0+cable1, 20000 Mbit/s");
    }
}
