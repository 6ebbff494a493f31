//! How messages are cut where nobody says: it follows from the memory, and from the cores of both machines.

use gputcp_proto::frame::SLOTS_MAX;

use crate::{
    args::{request::Cut, size::Windows},
    settings::{Flow, Memory, QUEUE_WINDOW_MAX, Settings, Transport, Unpack},
};

/// Completes what was not asked for; `cores` are the smaller side's, `requests` is what a plugin takes at a time.
pub(super) fn complete(settings: &mut Settings, cut: &Cut, cores: u32, requests: Option<u16>) {
    let cores = cores.clamp(1, STREAMS_AUTO) as u16;
    settings.streams = cut.streams.unwrap_or_else(|| (cores / settings.channels).max(1));
    if settings.transport == Transport::Plugin {
        // What it does with sockets, and how many, is its own matter; likely as many as ours on such machines. Chunks stay as
        // every plugin takes them.
        set_windows(settings, cut, requests.unwrap_or(QUEUE_WINDOW_MAX));
        return;
    }
    set_windows(settings, cut, SLOTS_MAX);
    if settings.memory == Memory::Cuda {
        settings.chunk_bytes = cut.chunk.unwrap_or(GPU_CHUNK_BYTES);
        settings.segment_bytes = cut.segment.or(Some(GPU_SEGMENT_BYTES));
        settings.slabs = settings.slabs.or(Some(GPU_SLABS));
        // A lone copy is there 4 µs sooner than a lone kernel; a pipeline does not care.
        if settings.flow == Flow::RoundTrip && settings.unpack == Unpack::Kernel && cut.unpack.is_none() {
            settings.unpack = Unpack::Copy;
        }
    }
}

fn set_windows(settings: &mut Settings, cut: &Cut, most: u16) {
    let windows = cut.windows.unwrap_or_else(|| {
        let Windows { send, recv } = Windows::of_streams(settings.streams);
        Windows { send: send.min(most / 4 * 3), recv: recv.min(most) }
    });
    (settings.send_window, settings.recv_window) = (windows.send, windows.recv);
}

/// More streams than this were never faster.
const STREAMS_AUTO: u32 = 8;
/// Between GPUs a segment is two copies by DMA as well, each with its start and its flag: at 512 KiB that took a third of
/// the rate. See `docs/benchmarks/history.md` for the rates over slice and depth.
const GPU_SEGMENT_BYTES: u32 = 2 << 20;
/// One at the socket, one at the GPU, one between: a fourth made no difference, and pinned memory is dear.
const GPU_SLABS: u16 = 3;
/// Two segments, so that a chunk is not one stream's alone.
const GPU_CHUNK_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{MeasureArgs, environment::Environment, request::Request};

    fn completed(memory: Memory, cut: Cut, cores: u32) -> (u16, u64, Option<u32>, [u16; 2]) {
        let mut settings = Request::new(MeasureArgs::default(), &Environment::default()).unwrap().settings;
        settings.memory = memory;
        complete(&mut settings, &cut, cores, None);
        let Settings { streams, chunk_bytes, segment_bytes, send_window, recv_window, .. } = settings;
        (streams, chunk_bytes, segment_bytes, [send_window, recv_window])
    }

    #[test]
    fn what_was_asked_for_stays() {
        let windows = Some(Windows { send: 3, recv: 4 });
        let cut =
            Cut { streams: Some(5), chunk: Some(1 << 20), segment: Some(1 << 16), windows, unpack: None };
        assert_eq!(completed(Memory::Cuda, cut, 2), (5, 1 << 20, Some(1 << 16), [3, 4]));
    }

    #[test]
    fn the_rest_follows_from_memory_and_cores() {
        let host = completed(Memory::Host, Cut::default(), 2);
        assert_eq!(host, (2, 512 << 10, None, [12, 16]));
        let gpu = completed(Memory::Cuda, Cut::default(), 32);
        assert_eq!(gpu, (8, 4 << 20, Some(2 << 20), [24, 32]));
    }

    #[test]
    fn a_plugin_gets_what_every_plugin_takes() {
        let mut settings = Request::new(MeasureArgs::default(), &Environment::default()).unwrap().settings;
        settings.transport = Transport::Plugin;
        settings.memory = Memory::Cuda;
        for (cores, requests, windows) in [
            (32, Some(16), (12, 16)),
            (32, Some(32), (24, 32)),
            (2, Some(32), (12, 16)),
            (32, None, (12, 16)),
        ] {
            complete(&mut settings, &Cut::default(), cores, requests);
            let Settings { streams, chunk_bytes, send_window, recv_window, .. } = settings;
            assert_eq!((u32::from(streams), chunk_bytes), (cores.min(8), 512 << 10));
            assert_eq!((send_window, recv_window), windows, "{cores} cores, {requests:?}");
        }
    }

    #[test]
    fn round_trips_between_gpus_are_unpacked_by_copies_unless_asked_otherwise() {
        let mut settings =
            Request::new(MeasureArgs { latency: true, ..Default::default() }, &Environment::default())
                .unwrap()
                .settings;
        settings.memory = Memory::Cuda;
        let unpack = |unpack| {
            let mut settings = settings.clone();
            complete(&mut settings, &Cut { unpack, ..Cut::default() }, 8, None);
            settings.unpack
        };
        assert_eq!((unpack(None), unpack(Some(Unpack::Kernel))), (Unpack::Copy, Unpack::Kernel));
    }
}
