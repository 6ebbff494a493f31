//! The plugin's start, and the properties of its devices.

use std::{ffi::c_int, ptr};

use gputcp_nccl_drive::DEVICES_MAX;
use gputcp_nccl_net::{
    Properties, ResultCode,
    layout::constants::{
        NET_BYTES_MAX, NET_DEVICE_HOST, NET_DEVICE_UNPACK, PTR_CUDA, PTR_DMABUF, PTR_HOST, SPEED_UNKNOWN_MBIT,
    },
};

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, answered},
    raw::{Handle, P, Raw, text},
    source::{NET, PLUGIN, README, TOPO, nccl, nccl_of},
    stop::{Seen, Stop, fail, skip, stricter},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "init-counts-references",
        expected: "init may be called for several communicators; ending one leaves the others working",
        because: "from v11 on NCCL calls init for each communicator, and finalize at the end of each",
        sources: &[nccl(PLUGIN, 174, 179), nccl(PLUGIN, 340, 348), nccl(COMPATIBLE_V10, 77, 81)],
        scope: Scope {
            stricter: Some("up to v10 NCCL calls init once, as long as the library is loaded"),
            ..Scope::ALL
        },
        run: Run::Alone(init_counts_references),
    },
    Check {
        id: "finalize-accepts-null",
        expected: "finalize exists, and takes NULL after init was called",
        because: "NCCL 2.28 calls finalize even after an init that failed, with the NULL that it left as context",
        sources: &[nccl(PLUGIN, 176, 178), nccl(PLUGIN, 224, 226)],
        scope: Scope { since: 11, ..Scope::ALL },
        run: Run::Alone(finalize_accepts_null),
    },
    Check {
        id: "device-count",
        expected: "devices says the same number each time, at least 1",
        because: "with 0 devices NCCL goes on to the next plugin. Later it takes devices more for joined ones",
        sources: &[nccl(PLUGIN, 180, 185), nccl(TOPO, 1383, 1388), nccl(README, 214, 216)],
        scope: Scope::ALL,
        run: Run::Alone(device_count),
    },
    Check {
        id: "device-names-unique",
        expected: "no two devices have the same name",
        because: "NCCL's topology finds devices by name: two of one name are one device",
        sources: &[nccl("src/graph/xml.cc", 910, 913), nccl(TOPO, 1341, 1350)],
        scope: Scope::ALL,
        run: Run::Alone(device_names_unique),
    },
    Check {
        id: "properties-sane",
        expected: "names and a pciPath, if any, that stay where they are. Host pointers, dma-bufs only with regMrDmaBuf, at \
                   least one comm and receive. From v9 on 0 < maxP2pBytes ≤ 2^40, and one device behind it: itself",
        because: "NCCL keeps names, and divides by these numbers. It copies as many devices as are said to be behind one",
        sources: &[
            nccl(README, 226, 239),
            nccl(README, 257, 281),
            nccl(TOPO, 1301, 1311),
            nccl(TOPO, 1351, 1358),
            nccl(PLUGIN, 148, 170),
            nccl(NET, 734, 740),
            nccl(COMPATIBLE_V10, 38, 41),
            nccl("src/init.cc", 355, 356),
            nccl(TOPO, 1333, 1339),
        ],
        scope: Scope {
            stricter: Some(
                "NCCL reads a pciPath at once, and looks for regMrDmaBuf before it takes a dma-buf. It needs only the \
             devices behind a joined one",
            ),
            ..Scope::ALL
        },
        run: Run::Alone(properties_sane),
    },
    Check {
        id: "virtual-devices",
        expected: "makeVDevice joins two devices to one that comes behind all others and names both behind it. Or it \
                   refuses, by any error but ncclInvalidUsage, and changes nothing",
        because: "NCCL counts devices again after joining some, takes the new ones for virtual, and 2.24 ends at that error",
        sources: &[
            nccl(TOPO, 1012, 1020),
            nccl(TOPO, 1379, 1393),
            nccl(README, 151, 153),
            nccl_of("v2.24.3-1", TOPO, 961, 967),
        ],
        scope: Scope { since: 9, ..Scope::ALL },
        run: Run::Alone(virtual_devices),
    },
];

fn init_counts_references(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let first = plugin.raw.ctx();
    if plugin.raw.version() < 11 {
        plugin.go_beyond_nccl();
    }
    plugin.init().map_err(|stop| stop.told(|why| format!("the second time, {why}")))?;
    if plugin.raw.version() < 11 {
        works(plugin).map_err(|stop| stop.told(|why| format!("after a second init, {why}")))?;
        return Ok("init twice, then it listened".into());
    }
    let second = plugin.raw.ctx();
    finalize(plugin, first)?;
    works(plugin)
        .map_err(|stop| stop.told(|why| format!("after one of two communicators was ended, {why}")))?;
    finalize(plugin, second)?;
    plugin.init().map_err(|stop| stop.told(|why| format!("after both communicators were ended, {why}")))?;
    works(plugin).map_err(|stop| stop.told(|why| format!("started again after its end, {why}")))?;
    Ok("two communicators; one ended, the other listened; both ended, a third listened".into())
}

fn finalize_accepts_null(plugin: &mut BenchPlugin) -> Seen {
    // No caller can make `init` fail. A successful one is the nearest.
    plugin.init()?;
    finalize(plugin, ptr::null_mut()).map_err(|stop| stop.told(|why| format!("after init, {why}")))?;
    plugin.init().map_err(|stop| stop.told(|why| format!("after finalize(NULL), {why}")))?;
    works(plugin).map_err(|stop| stop.told(|why| format!("after finalize(NULL) and init, {why}")))?;
    Ok("after init, finalize(NULL) succeeded, and so did init after it".into())
}

fn device_count(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let first = count(plugin)?;
    let second = count(plugin)?;
    if first != second {
        return fail(format!("{first} devices, and when asked again {second}"));
    }
    Ok(format!("{first} device{}", if first == 1 { "" } else { "s" }))
}

fn device_names_unique(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let mut names: Vec<String> = Vec::new();
    for dev in 0..count(plugin)? {
        let name = name_of(&properties(plugin, dev)?)?;
        if let Some(other) = names.iter().position(|other| *other == name) {
            return fail(format!("devices {other} and {dev} are both called {name}"));
        }
        names.push(name);
    }
    Ok(names.join(", "))
}

fn properties_sane(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    plugin.raw.name().or_else(|what| fail(format!("the table has {what} for its name")))?;
    let count = count(plugin)?;
    let mut kept = Vec::new();
    let mut beyond = Vec::new();
    for dev in 0..count {
        let props = properties(plugin, dev)?;
        sane(&props).or_else(|what| fail(format!("device {dev} has {what}")))?;
        if let Some((count, first)) = behind(&props).filter(|&said| said != (1, dev)) {
            let room = props.v_props.map_or(0, |list| list.room as c_int);
            if !(0..=room).contains(&count) {
                return fail(format!("device {dev} has a vProps of {count} devices, and room for {room}"));
            }
            beyond
                .push(format!("device {dev} has a vProps of {count} devices, the first of which is {first}"));
        }
        if props.ptr_support & PTR_DMABUF != 0 && !plugin.raw.takes_dma_bufs() {
            beyond.push(format!("device {dev} takes dma-bufs, and the table has no function regMrDmaBuf"));
        }
        kept.push(("name", props.name, name_of(&props)?));
        let path = text(props.pci_path);
        if let Some(path) = path.or_else(|what| fail(format!("device {dev} has {what} for its pciPath")))? {
            kept.push(("pciPath", props.pci_path, path));
        }
    }
    for dev in 0..count {
        properties(plugin, dev)?;
    }
    for (which, pointer, before) in kept {
        let now = text(pointer).ok().flatten().unwrap_or_default();
        if now != before {
            let seen = format!("a device's {which} was {before}, and later {now:?} at the same place");
            match which {
                "name" => return fail(seen),
                _ => beyond.push(seen),
            }
        }
    }
    if !beyond.is_empty() {
        return stricter(beyond.join("; "));
    }
    let props = properties(plugin, plugin.dev)?;
    let types = [(PTR_HOST, "host"), (PTR_CUDA, "CUDA"), (PTR_DMABUF, "dma-buf")];
    let types: Vec<&str> =
        types.iter().filter(|(bit, _)| props.ptr_support & bit != 0).map(|&(_, name)| name).collect();
    let unpack = props.net_device_type == Some(NET_DEVICE_UNPACK);
    Ok(format!(
        "{} pointers, {}, {} comms, {} receives per request{}",
        types.join(" and "),
        speed(props.speed),
        props.max_comms,
        props.max_recvs,
        if unpack { ", an unpack queue" } else { "" },
    ))
}

fn virtual_devices(plugin: &mut BenchPlugin) -> Seen {
    plugin.init()?;
    let before = count(plugin)?;
    if before < 2 {
        return skip("there is one device: nothing to join");
    }
    let mut names = Vec::new();
    for dev in 0..before {
        names.push(name_of(&properties(plugin, dev)?)?);
    }
    let Some((code, index)) = plugin.call("makeVDevice", |raw| raw.make_v_device(&[0, 1])) else {
        return skip("the plugin has no function makeVDevice");
    };
    let after = count(plugin)?;
    if code != ResultCode::SUCCESS {
        if code == ResultCode::InvalidUsage.number() {
            return fail(format!("joining devices 0 and 1, {}", answered("makeVDevice", code)));
        }
        return match after == before {
            true => Ok(format!("devices 0 and 1 stay apart: {}", answered("makeVDevice", code))),
            false => {
                fail(format!("joining was refused, and yet there are {after} devices and were {before}"))
            }
        };
    }
    if (index, after) != (before, before + 1) {
        return fail(format!(
            "of {before} devices two were joined to device {index}, and then there were {after}"
        ));
    }
    let props = properties(plugin, index)?;
    sane(&props).or_else(|what| fail(format!("the joined device {index} has {what}")))?;
    if let Some((count, first)) = behind(&props).filter(|&said| said != (2, 0)) {
        return fail(format!(
            "the joined device {index} has a vProps of {count} devices, the first of which is {first}"
        ));
    }
    let name = name_of(&props)?;
    if names.contains(&name) {
        return fail(format!("the joined device has another one's name, {name}"));
    }
    let (code, listener) = plugin.call("listen", |raw| raw.listen(index, &mut Handle::empty()));
    plugin.success("listen", code)?;
    plugin.close_listen(listener)?;
    Ok(format!("devices 0 and 1 were joined to {name}, {}", speed(props.speed)))
}

/// Returns a device's speed as NCCL takes it.
fn speed(mbit: c_int) -> String {
    match mbit {
        ..=0 => format!("a speed of {mbit}, which NCCL takes for {SPEED_UNKNOWN_MBIT} Mbit/s"),
        mbit => format!("{mbit} Mbit/s"),
    }
}

/// Returns the number of devices behind a device, and the first.
fn behind(props: &Properties) -> Option<(c_int, c_int)> {
    props.v_props.map(|list| (list.ndevs, list.devs[0]))
}

fn sane(props: &Properties) -> Result<(), String> {
    let known = PTR_HOST | PTR_CUDA | PTR_DMABUF;
    let wrong = if props.ptr_support & PTR_HOST == 0 || props.ptr_support & !known != 0 {
        format!("a ptrSupport of {:#x}", props.ptr_support)
    } else if !(props.latency >= 0.0 && props.latency.is_finite()) {
        format!("a latency of {} µs", props.latency)
    } else if props.max_comms < 1 {
        format!("a maxComms of {}", props.max_comms)
    } else if props.max_recvs < 1 {
        format!("a maxRecvs of {}", props.max_recvs)
    } else if let Some(kind) = props.net_device_type.filter(|&kind| kind > NET_DEVICE_UNPACK) {
        format!("a netDeviceType of {kind}, neither {NET_DEVICE_HOST} nor {NET_DEVICE_UNPACK}")
    } else if let Some(bytes) = props.max_p2p_bytes.filter(|bytes| !(1..=NET_BYTES_MAX).contains(bytes)) {
        format!("a maxP2pBytes of {bytes}")
    } else {
        return Ok(());
    };
    Err(wrong)
}

/// Checks that the plugin still works: it counts its devices, and listens.
fn works(plugin: &BenchPlugin) -> Result<(), Stop> {
    count(plugin)?;
    let listening = plugin.listen()?;
    plugin.close_listen(listening.comm)
}

fn count(plugin: &BenchPlugin) -> Result<c_int, Stop> {
    let (code, count) = plugin.call("devices", Raw::devices);
    plugin.success("devices", code)?;
    if (1..=DEVICES_MAX).contains(&count) {
        Ok(count)
    } else {
        fail(format!("devices said that there are {count}"))
    }
}

fn properties(plugin: &BenchPlugin, dev: c_int) -> Result<Properties, Stop> {
    let found = plugin.call("getProperties", |raw| raw.properties(dev));
    found.or_else(|code| fail(format!("for device {dev}, {}", answered("getProperties", code))))
}

fn name_of(props: &Properties) -> Result<String, Stop> {
    match text(props.name) {
        Ok(Some(name)) if !name.is_empty() => Ok(name),
        Ok(_) => fail("a device has no name"),
        Err(what) => fail(format!("a device's name is {what}")),
    }
}

fn finalize(plugin: &BenchPlugin, ctx: P) -> Result<(), Stop> {
    match plugin.call("finalize", |raw| raw.finalize(ctx)) {
        Some(code) => plugin.success("finalize", code).map(drop),
        None => fail("the table has no function finalize"),
    }
}

/// The file in which NCCL runs plugins of version 10.
const COMPATIBLE_V10: &str = "src/plugin/net/net_v10.cc";
