//! Checks of devices and their memory: names, claims, fill and verify against the CPU's pattern.

use std::time::{Duration, Instant};

use gputcp_gpu::{Buffer, Device, Done, Error, LaneSpec, MemoryKind, Pattern, UnpackMode, measure};
use gputcp_proto::bounce::Fragment;

use crate::{Check, Failure, Outcome, Scene, ensure, random::Random};

pub(crate) const CHECKS: &[Check] = &[
    ("a device is found by index, UUID and PCI address, and no other way", names),
    ("memory begins on a page, is zeroed, and refused in a sentence when there is not enough", allocation),
    ("the GPU fills what the CPU would, to the byte, and nothing else", fills),
    ("the GPU verifies as the CPU would: the first wrong byte, and how many", verifies),
    ("the caller's bytes are copied in and out, to the byte, and nothing else", own_bytes),
    ("claims hold on GPU memory, and the CPU and sockets are kept off it", claims),
];

const PATTERN: Pattern = Pattern { seed: 11, iteration: 12 };

fn names(scene: &Scene) -> Outcome {
    let listed = Device::list()?;
    ensure(listed.len() == Device::count(), || "count and list disagree")?;
    for device in &listed {
        println!(
            "        {device}, {}, NUMA {:?}, {} bytes",
            device.uuid, device.numa_node, device.memory_bytes
        );
    }
    let here = scene.device.cuda_device().ok_or("no description")?;
    for name in
        [here.ordinal.to_string(), format!("cuda:{}", here.ordinal), here.uuid.clone(), here.pci.clone()]
    {
        let found = Device::cuda(&name)?;
        ensure(found.cuda_device() == Some(here), || format!("{name} is another device"))?;
    }
    for name in ["99", "GPU-0", "ffff:ff:1f.7", "", "first"] {
        let refused = matches!(Device::cuda(name), Err(Error::UnknownGpu { .. }));
        ensure(refused, || format!("\"{name}\" is no device"))?;
    }
    let kind = scene.device.kind();
    ensure(kind.to_string() == format!("cuda:{}", here.ordinal), || format!("the kind reads {kind}"))
}

fn allocation(scene: &Scene) -> Outcome {
    for bytes in [1, 4095, 4096, 4097, (2 << 20) + 1, 64 << 20] {
        let buffer = scene.device.allocate(bytes)?;
        let at = measure::address(&buffer.read(0, 0)?);
        ensure(at.is_multiple_of(4096), || format!("{bytes} bytes at {at:#x}"))?;
        ensure(read(scene, &buffer)?.iter().all(|&byte| byte == 0), || "not zeroed")?;
    }
    ensure(matches!(scene.device.allocate(0), Err(Error::Empty)), || "0 bytes")?;
    for bytes in [1 << 50, u64::MAX] {
        let error = scene.device.allocate(bytes).err().ok_or("more than there is")?;
        ensure(matches!(error, Error::GpuOutOfMemory { free, .. } if free > 0), || error.to_string())?;
        let error = scene.device.pinned(bytes).err().ok_or("more than there is")?;
        ensure(matches!(error, Error::OutOfMemory { .. } | Error::PinnedOutOfMemory { .. }), || {
            error.to_string()
        })?;
    }
    scene.device.allocate(1)?;
    Ok(())
}

fn fills(scene: &Scene) -> Outcome {
    let mut random = Random(1);
    let small = scene.device.allocate(4096)?;
    let mut cases: Vec<(u64, u64)> =
        (0..20).flat_map(|at| [(at, 0), (at, 1), (at, 15), (at, 33 + at)]).collect();
    cases.extend((0..if scene.quick { 20 } else { 400 }).map(|_| {
        let at = random.below(4096);
        (at, random.below(4097 - at))
    }));
    for (at, bytes) in cases {
        filled_as_by_the_cpu(scene, &small, at, bytes)?;
    }
    // Across the blocks of the pattern, a MiB each.
    let large = scene.device.allocate((3 << 20) + 100)?;
    for (at, bytes) in
        [(0, 3 << 20), (5, (3 << 20) + 1), (16, (2 << 20) + 3), (99, (1 << 20) + 1), (2, (1 << 20) - 1)]
    {
        filled_as_by_the_cpu(scene, &large, at, bytes)?;
    }
    Ok(())
}

fn filled_as_by_the_cpu(scene: &Scene, buffer: &Buffer, at: u64, bytes: u64) -> Outcome {
    let background = vec![0xa5; buffer.bytes() as usize];
    write(scene, buffer, &background)?;
    buffer.fill(PATTERN, at, bytes)?;
    let mut expected = background;
    PATTERN.fill(0, &mut expected[at as usize..(at + bytes) as usize]);
    ensure(read(scene, buffer)? == expected, || format!("{bytes} bytes at {at}"))?;
    buffer
        .verify(PATTERN, at, bytes)?
        .map_err(|wrong| format!("{bytes} bytes at {at} do not verify: {wrong:?}").into())
}

fn verifies(scene: &Scene) -> Outcome {
    let mut random = Random(2);
    let length = (2 << 20) + 50;
    let buffer = scene.device.allocate(length)?;
    for round in 0..if scene.quick { 10 } else { 200 } {
        let bytes = 1 + random.below(if round % 4 == 0 { length } else { 300 });
        let at = random.below(length - bytes + 1);
        let mut data = vec![0; bytes as usize];
        PATTERN.fill(0, &mut data);
        let hits = match round % 5 {
            0 => 0,
            1 => bytes,
            _ => 1 + random.below(20),
        };
        for hit in 0..hits {
            let place = if hits == bytes { hit } else { random.below(bytes) };
            data[place as usize] ^= 1 + random.below(255) as u8;
        }
        let mut whole = vec![0; length as usize];
        whole[at as usize..(at + bytes) as usize].copy_from_slice(&data);
        write(scene, &buffer, &whole)?;
        let (found, expected) = (buffer.verify(PATTERN, at, bytes)?, PATTERN.verify(0, &data));
        ensure(found == expected, || format!("{bytes} bytes at {at}: {found:?}, by the CPU {expected:?}"))?;
    }
    Ok(())
}

fn own_bytes(scene: &Scene) -> Outcome {
    // Around the length of a piece of 4 MiB, and twice that.
    let piece = 4usize << 20;
    let buffer = scene.device.allocate(3 * piece as u64)?;
    for bytes in [0, 1, 4097, piece - 1, piece, piece + 1, 2 * piece + 7] {
        buffer.fill(PATTERN, 0, buffer.bytes())?;
        let mut expected = vec![0; 3 * piece];
        buffer.copy_to_host(0, &mut expected)?;
        let own: Vec<u8> =
            (0..bytes).map(|at| (at as u32).wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        buffer.copy_from_host(13, &own)?;
        expected[13..13 + bytes].copy_from_slice(&own);
        let mut found = vec![0; 3 * piece];
        buffer.copy_to_host(0, &mut found)?;
        ensure(found == expected, || format!("{bytes} bytes differ"))?;
        let mut part = vec![0; bytes];
        buffer.copy_to_host(13, &mut part)?;
        ensure(part == own, || format!("{bytes} bytes, read alone, differ"))?;
    }
    let _claim = buffer.read(0, 1)?;
    ensure(matches!(buffer.copy_from_host(0, &[1]), Err(Error::Claim(_))), || "a claim was passed by")
}

fn claims(scene: &Scene) -> Outcome {
    let buffer = scene.device.allocate(4096)?;
    ensure(buffer.kind() == scene.device.kind() && buffer.host_view().is_none(), || "a host view")?;
    let write = buffer.write(0, 10)?;
    ensure(buffer.read(9, 1).is_err() && buffer.fill(PATTERN, 0, 10).is_err(), || "claimed twice")?;
    let (near, _far) = std::os::unix::net::UnixStream::pair()?;
    let socket = std::os::fd::AsFd::as_fd(&near);
    let kind = write.recv(socket, 0, 10).map_err(|error| error.kind());
    ensure(kind == Err(std::io::ErrorKind::Unsupported), || format!("a socket: {kind:?}"))?;
    drop(write);
    let pinned = scene.device.pinned(4096)?;
    ensure(pinned.kind() == MemoryKind::Host && pinned.host_view().is_some(), || "pinned memory")?;
    Ok(buffer.fill(PATTERN, 0, 4096)?)
}

/// Returns all bytes of a buffer, by way of pinned memory.
pub(crate) fn read(scene: &Scene, buffer: &Buffer) -> Result<Vec<u8>, Failure> {
    let pinned = scene.device.pinned(buffer.bytes())?;
    copy(scene, buffer, &pinned)?;
    let mut bytes = vec![0; buffer.bytes() as usize];
    pinned.read(0, pinned.bytes())?.copy_to(0, &mut bytes);
    Ok(bytes)
}

/// Sets all bytes of a buffer, by way of pinned memory.
pub(crate) fn write(scene: &Scene, buffer: &Buffer, bytes: &[u8]) -> Outcome {
    let pinned = scene.device.pinned(buffer.bytes())?;
    pinned.write(0, pinned.bytes())?.copy_from(0, bytes);
    copy(scene, &pinned, buffer)
}

fn copy(scene: &Scene, from: &Buffer, to: &Buffer) -> Outcome {
    let mut lane = scene.device.lane(LaneSpec::NO_SLABS)?;
    let (read, write) = (from.read(0, from.bytes())?, to.write(0, to.bytes())?);
    let all = [Fragment { source_offset: 0, bytes: from.bytes(), destination_offset: 0 }];
    let done = lane.unpack_fragments(&read, &all, &write, UnpackMode::Copy)?;
    wait("a copy", &done)
}

/// Waits for the end of some work.
pub(crate) fn wait(what: &str, done: &Done) -> Outcome {
    ensure(done.wait(soon())?, || format!("{what} did not finish"))
}

/// Returns a deadline that is late enough for anything, under a sanitizer too.
pub(crate) fn soon() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
