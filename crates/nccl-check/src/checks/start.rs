//! Starting the plugin, and what it says of its devices.

use std::{ffi::c_int, ptr};

use gputcp_nccl_abi::{
    ResultCode,
    drive::DEVICES_MAX,
    sys::constants::{
        NET_BYTES_MAX, NET_DEVICE_HOST, NET_DEVICE_UNPACK, PTR_CUDA, PTR_DMABUF, PTR_HOST, SPEED_UNKNOWN_MBIT,
    },
};

use crate::{
    bench::{Plugin, answered},
    raw::{Handle, P, Properties, Raw, text},
    stop::{Seen, Stop, fail, skip},
};

pub(super) fn init_counts_references(plugin: &mut Plugin) -> Seen {
    plugin.init()?;
    let first = plugin.raw.ctx();
    plugin.init().or_else(|stop| match stop {
        Stop::Failed(why) => fail(format!("the second time, {why}")),
        other => Err(other),
    })?;
    if plugin.raw.version() < 11 {
        works(plugin).or_else(|why| fail(format!("after a second init, {why}")))?;
        return Ok("init twice, then it listened".into());
    }
    let second = plugin.raw.ctx();
    finalize(plugin, first)?;
    works(plugin).or_else(|why| fail(format!("after one of two communicators was ended, {why}")))?;
    finalize(plugin, second)?;
    plugin.init().or_else(|stop| match stop {
        Stop::Failed(why) => fail(format!("after both communicators were ended, {why}")),
        other => Err(other),
    })?;
    works(plugin).or_else(|why| fail(format!("started again after its end, {why}")))?;
    Ok("two communicators; one ended, the other listened; both ended, a third listened".into())
}

pub(super) fn finalize_accepts_null(plugin: &mut Plugin) -> Seen {
    finalize(plugin, ptr::null_mut())?;
    plugin.init()?;
    works(plugin).or_else(|why| fail(format!("after finalize(NULL) and init, {why}")))?;
    Ok("finalize(NULL) succeeded, and init after it".into())
}

pub(super) fn device_count(plugin: &mut Plugin) -> Seen {
    plugin.init()?;
    let first = count(plugin)?;
    let second = count(plugin)?;
    if first != second {
        return fail(format!("{first} devices, and when asked again {second}"));
    }
    Ok(format!("{first} device{}", if first == 1 { "" } else { "s" }))
}

pub(super) fn device_names_unique(plugin: &mut Plugin) -> Seen {
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

pub(super) fn properties_sane(plugin: &mut Plugin) -> Seen {
    plugin.init()?;
    plugin.raw.name().or_else(|what| fail(format!("the table has {what} for its name")))?;
    let count = count(plugin)?;
    let mut kept = Vec::new();
    for dev in 0..count {
        let props = properties(plugin, dev)?;
        sane(&props, (1, dev)).or_else(|what| fail(format!("device {dev} has {what}")))?;
        if props.ptr_support & PTR_DMABUF != 0 && !plugin.raw.takes_dma_bufs() {
            return fail(format!("device {dev} takes dma-bufs, and the table has no function regMrDmaBuf"));
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
            return fail(format!("a device's {which} was {before}, and later {now:?} at the same place"));
        }
    }
    let props = properties(plugin, plugin.dev)?;
    let types = [(PTR_HOST, "host"), (PTR_CUDA, "CUDA"), (PTR_DMABUF, "dma-buf")];
    let types: Vec<&str> =
        types.iter().filter(|(bit, _)| props.ptr_support & bit != 0).map(|&(_, name)| name).collect();
    let unpack = matches!(props.net_device, Some((NET_DEVICE_UNPACK, _)));
    Ok(format!(
        "{} pointers, {}, {} comms, {} receives per request{}",
        types.join(" and "),
        speed(props.speed),
        props.max_comms,
        props.max_recvs,
        if unpack { ", an unpack queue" } else { "" },
    ))
}

pub(super) fn virtual_devices(plugin: &mut Plugin) -> Seen {
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
    sane(&props, (2, 0)).or_else(|what| fail(format!("the joined device {index} has {what}")))?;
    let name = name_of(&props)?;
    if names.contains(&name) {
        return fail(format!("the joined device has another one's name, {name}"));
    }
    let (code, listener) = plugin.call("listen", |raw| raw.listen(index, &mut Handle::empty()));
    plugin.success("listen", code)?;
    plugin.close_listen(listener)?;
    Ok(format!("devices 0 and 1 were joined to {name}, {}", speed(props.speed)))
}

/// A device's speed as NCCL takes it.
fn speed(mbit: c_int) -> String {
    match mbit {
        ..=0 => format!("a speed of {mbit}, which NCCL takes for {SPEED_UNKNOWN_MBIT} Mbit/s"),
        mbit => format!("{mbit} Mbit/s"),
    }
}

/// `behind`: how many devices should be behind it, and the first.
fn sane(props: &Properties, behind: (c_int, c_int)) -> Result<(), String> {
    let known = PTR_HOST | PTR_CUDA | PTR_DMABUF;
    let wrong = if props.ptr_support & PTR_HOST == 0 || props.ptr_support & !known != 0 {
        format!("a ptrSupport of {:#x}", props.ptr_support)
    } else if !(props.latency >= 0.0 && props.latency.is_finite()) {
        format!("a latency of {} µs", props.latency)
    } else if props.max_comms < 1 {
        format!("a maxComms of {}", props.max_comms)
    } else if props.max_recvs < 1 {
        format!("a maxRecvs of {}", props.max_recvs)
    } else if let Some((kind, _)) = props.net_device.filter(|&(kind, _)| kind > NET_DEVICE_UNPACK) {
        format!("a netDeviceType of {kind}, neither {NET_DEVICE_HOST} nor {NET_DEVICE_UNPACK}")
    } else if let Some(bytes) = props.max_p2p_bytes.filter(|bytes| !(1..=NET_BYTES_MAX).contains(bytes)) {
        format!("a maxP2pBytes of {bytes}")
    } else if let Some((count, first)) = props.behind.filter(|&said| said != behind) {
        format!("a vProps of {count} devices, the first of which is {first}")
    } else {
        return Ok(());
    };
    Err(wrong)
}

/// Whether it still does what it was started for.
fn works(plugin: &Plugin) -> Result<(), String> {
    let said = |stop| match stop {
        Stop::Failed(why) => why,
        Stop::Skipped(_) | Stop::Alone => "it did not work".into(),
    };
    count(plugin).map_err(said)?;
    let listening = plugin.listen().map_err(said)?;
    plugin.close_listen(listening.comm).map_err(said)
}

fn count(plugin: &Plugin) -> Result<c_int, Stop> {
    let (code, count) = plugin.call("devices", Raw::devices);
    plugin.success("devices", code)?;
    if (1..=DEVICES_MAX).contains(&count) {
        Ok(count)
    } else {
        fail(format!("devices said that there are {count}"))
    }
}

fn properties(plugin: &Plugin, dev: c_int) -> Result<Properties, Stop> {
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

fn finalize(plugin: &Plugin, ctx: P) -> Result<(), Stop> {
    match plugin.call("finalize", |raw| raw.finalize(ctx)) {
        Some(code) => plugin.success("finalize", code).map(drop),
        None => fail("the table has no function finalize"),
    }
}
