//! GPU memory: received in place, flushed, or unpacked from the plugin's queue.

use std::ptr::NonNull;

use gputcp_nccl_net::layout::{
    constants::{NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION},
    device::DeviceHandle,
    unpack::{FRAGMENTS_MAX, NetUnpackMeta, QUEUE_DEPTH, UnpackDeviceHandle},
};
use gputcp_proto::bounce::Fragment;

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, device_handle},
    gpu::{Gpu, Room},
    meeting::Bench,
    posting::PostedRequest,
    raw::P,
    source::{NET, README, nccl},
    stop::{Seen, Stop, fail, skip},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "gpu-data-at-done",
        expected: "what was received to GPU memory is there when test says done",
        because: "from compute capability 9.0 on NCCL does not call iflush unless forceFlush is 1",
        sources: &[nccl("src/graph/paths.cc", 510, 531), nccl(NET, 1523, 1529), nccl(README, 251, 255)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: done_receiving, sending },
    },
    Check {
        id: "iflush",
        expected: "iflush of received GPU memory succeeds, and its request, if it gives one, ends",
        because: "NCCL flushes after receiving to the memory of GPUs that need it, or with forceFlush",
        sources: &[nccl(README, 418, 426), nccl(NET, 1541, 1565), nccl(NET, 1574, 1579)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: flush_receiving, sending },
    },
    Check {
        id: "unpack-queue",
        expected: "receive k is described in row k mod 16 of the queue: fragments of the bounce region that make up its data",
        because: "NCCL's kernels find what was received by counting receives, and unpack it from there",
        sources: &[
            nccl("src/device/network/unpack/unpack_defs.h", 14, 43),
            nccl("src/device/network/unpack/unpack.h", 205, 229),
            nccl(NET, 787, 807),
        ],
        scope: Scope { since: 7, ..Scope::ALL },
        run: Run::Pair { receiving: queue_receiving, sending },
    },
];

fn done_receiving(bench: &mut Bench) -> Seen {
    let count = receive_in_place(bench, |_, _, _| Ok(()))?;
    Ok(format!("{count} messages were there without a flush"))
}

fn flush_receiving(bench: &mut Bench) -> Seen {
    let count = receive_in_place(bench, flush)?;
    Ok(format!("{count} messages were there after it"))
}

/// Receives one message after another, and checks each once a last step is done. Returns their number.
fn receive_in_place(
    bench: &mut Bench,
    last: fn(&BenchPlugin, P, PostedRequest) -> Result<(), Stop>,
) -> Result<usize, Stop> {
    let gpu = in_place(bench)?;
    let (listening, comm) = bench.meet_sender()?;
    bench.link.tell_number(SIZES.len() as u64)?;
    for (message, bytes) in (0..).zip(SIZES) {
        let room = gpu.room(&bench.plugin, comm, bytes)?;
        let request = bench.plugin.recv(comm, room.block)?;
        bench.plugin.wait(request)?;
        last(&bench.plugin, comm, request)?;
        room.check(message)?;
        bench.plugin.consume(comm, request)?;
        keep(room);
    }
    bench.part_from_sender(&listening, comm)?;
    Ok(SIZES.len())
}

fn flush(plugin: &BenchPlugin, comm: P, received: PostedRequest) -> Result<(), Stop> {
    let block = received.block;
    let flushed = plugin.until("iflush never gave a request that ends", || {
        let called =
            plugin.call("iflush", |raw| raw.iflush(comm, block.pointer(), block.bytes, block.mhandle));
        let Some((code, pointer)) = called else { return fail("the plugin has no function iflush") };
        Ok(plugin.success("iflush", code)?.then_some(pointer))
    })?;
    if !flushed.is_null() {
        plugin.wait(plugin.posted(comm, flushed, block))?;
    }
    Ok(())
}

/// Sends messages of GPU memory, as the other side of all three checks.
fn sending(bench: &mut Bench) -> Seen {
    let gpu = match Gpu::open(&bench.plugin) {
        Ok(gpu) => gpu,
        // The other side tells the reason.
        Err(Stop::Skipped(_)) => return Err(Stop::Alone),
        Err(other) => return Err(other),
    };
    let comm = bench.meet_receiver()?;
    let count = bench.link.hear_number()?;
    let plugin = &bench.plugin;
    plugin.few_at_a_time(count, |message| {
        let room = gpu.room(plugin, comm, SIZES[message as usize % SIZES.len()])?;
        room.fill(message)?;
        let request = plugin.send(comm, room.block)?;
        keep(room);
        Ok(request)
    })?;
    bench.part_from_receiver(comm)?;
    Ok(String::new())
}

fn queue_receiving(bench: &mut Bench) -> Seen {
    if !has_queue(&bench.plugin)? {
        return skip("it has no unpack queue");
    }
    let mut gpu = Gpu::open(&bench.plugin)?;
    let listening = bench.plugin.listen()?;
    bench.link.tell(listening.handle.bytes())?;
    let plugin = &bench.plugin;
    let mut device = device_handle();
    let comm = plugin.until("accept never gave the connection", || {
        device = device_handle();
        plugin.accept_with(listening.comm, &raw mut device)
    })?;
    let queue = Queue::find(device, &mut gpu)?;
    bench.link.tell_number(RECEIVES)?;
    let mut fragments = Vec::new();
    let mut most = 0;
    for number in 0..RECEIVES {
        let room = gpu.room(&bench.plugin, comm, SIZES[number as usize % SIZES.len()])?;
        let request = bench.plugin.recv(comm, room.block)?;
        bench.plugin.wait(request)?;
        queue.read(number, &mut fragments)?;
        let bytes: u64 = fragments.iter().map(|fragment| fragment.bytes).sum();
        if bytes != room.block.bytes as u64 {
            return fail(format!(
                "receive {number} of {} bytes has {} fragments of {bytes} bytes in row {}",
                room.block.bytes,
                fragments.len(),
                number as usize % QUEUE_DEPTH
            ));
        }
        gpu.unpack(queue.bounce, BOUNCE_BYTES, &fragments, &room)?;
        room.check(number)?;
        bench.plugin.consume(comm, request)?;
        most = most.max(fragments.len());
        keep(room);
    }
    bench.part_from_sender(&listening, comm)?;
    Ok(format!("{RECEIVES} receives of up to {most} fragments were unpacked"))
}

/// The unpack queue and bounce region that a device handle leads to.
struct Queue {
    meta: NonNull<NetUnpackMeta>,
    bounce: NonNull<u8>,
}

impl Queue {
    fn find(device: *mut DeviceHandle, gpu: &mut Gpu) -> Result<Self, Stop> {
        // SAFETY: NULL, this check's own storage, or the place that `accept` names as its device handle.
        let Some(device) = (unsafe { device.as_ref() }) else { return fail("accept gave no device handle") };
        let (kind, version) = (device.net_device_type, device.net_device_version);
        if (kind, version) != (NET_DEVICE_UNPACK, NET_DEVICE_UNPACK_VERSION) {
            return fail(format!(
                "the device's type is {NET_DEVICE_UNPACK}, version {NET_DEVICE_UNPACK_VERSION}, its handle's {kind}, \
                 version {version}"
            ));
        }
        let bytes = size_of::<UnpackDeviceHandle>();
        let Some(start) = NonNull::new(device.handle.cast::<u8>()).filter(|_| device.size >= bytes) else {
            return fail(format!("the device handle is {} bytes at {:?}", device.size, device.handle));
        };
        let words = gpu.read(start, bytes)?;
        let word = |at: usize| {
            let bytes = words[at..at + 8].try_into().unwrap_or_default();
            NonNull::new(std::ptr::with_exposed_provenance_mut::<u8>(u64::from_ne_bytes(bytes) as usize))
        };
        match (word(0), word(8)) {
            (Some(meta), Some(bounce)) if meta.cast::<NetUnpackMeta>().is_aligned() => {
                Ok(Self { meta: meta.cast(), bounce })
            }
            _ => {
                fail("the device handle names no queue, or one that is not on 16 bytes, or no bounce region")
            }
        }
    }

    /// Reads the fragments of a receive that is done.
    fn read(&self, number: u64, fragments: &mut Vec<Fragment>) -> Result<(), Stop> {
        let row = number as usize % QUEUE_DEPTH;
        let meta = self.meta.as_ptr();
        // SAFETY: the queue's layout, in memory that the CPU reaches; written before test said done.
        let count = unsafe { (&raw const (*meta).cnt[row]).read_volatile() };
        if count > FRAGMENTS_MAX as u64 {
            return fail(format!("row {row} has {count} fragments, and room for {FRAGMENTS_MAX}"));
        }
        fragments.clear();
        for index in 0..count as usize {
            // SAFETY: as above, below the row's length.
            let one = unsafe { (&raw const (*meta).mem[row][index]).read_volatile() };
            fragments.push(Fragment {
                source_offset: one.src_off.into(),
                bytes: one.len.into(),
                destination_offset: one.dst_off,
            });
        }
        Ok(())
    }
}

/// Opens the GPU, for a plugin that receives in place.
fn in_place(bench: &mut Bench) -> Result<Gpu, Stop> {
    let gpu = Gpu::open(&bench.plugin)?;
    if has_queue(&bench.plugin)? {
        return skip("what it receives is unpacked from its queue");
    }
    Ok(gpu)
}

fn has_queue(plugin: &BenchPlugin) -> Result<bool, Stop> {
    Ok(plugin.properties()?.net_device_type == Some(NET_DEVICE_UNPACK))
}

/// Keeps lent memory for ever: a plugin's late write is then a finding, and does not break the process.
fn keep(room: Room) {
    std::mem::forget(room);
}

/// The lengths of messages: an empty one, a short one, one of a page, and longer ones.
const SIZES: [usize; 5] = [0, 100, 4096, 300_000, 1 << 20];
/// The number of receives, more than the queue has rows.
const RECEIVES: u64 = 20;
/// The bytes that an offset of 32 bits can address.
const BOUNCE_BYTES: u64 = 4 << 30;
