//! Defaults that follow from the memory, the plugin, and the machines of both ends.

use super::*;
use crate::settings::memory::MemoryArg;

fn asked(memory: Memory) -> MeasureArgs {
    MeasureArgs { memory: Some(MemoryArg::from(memory)), ..Default::default() }
}

fn resolved(asked: &MeasureArgs, cores: u32) -> Settings {
    let here = Here { cores, moves_gpu_memory: true, ..Default::default() };
    resolve(asked, &here, Some(&There { cores: 64, is_here: false })).unwrap()
}

fn plugin(requests: u16) -> PluginLimits {
    PluginLimits {
        name: "X".into(),
        device: "eth0".into(),
        max_bytes: None,
        requests,
        takes_host_memory: true,
        takes_gpu_memory: true,
        unpacks: true,
    }
}

#[test]
fn what_was_asked_for_stays() {
    let asked = MeasureArgs {
        streams: Some(5),
        chunk: Some(1 << 20),
        window: Some(Windows { send: 3, recv: 4 }),
        sockets: SocketSettings { segment_bytes: Some(1 << 16), slabs: Some(7), ..Default::default() },
        ..asked(Memory::Cuda)
    };
    let Settings { streams, chunk_bytes, send_window, recv_window, sockets, .. } = resolved(&asked, 2);
    assert_eq!((streams, chunk_bytes, send_window, recv_window), (5, 1 << 20, 3, 4));
    assert_eq!((sockets.segment_bytes, sockets.slabs), (Some(1 << 16), Some(7)));
}

#[test]
fn the_rest_follows_from_memory_and_cores() {
    let cut = |memory, cores| {
        let settings = resolved(&asked(memory), cores);
        let windows = [settings.send_window, settings.recv_window];
        (
            settings.streams,
            settings.chunk_bytes,
            settings.sockets.segment_bytes,
            settings.sockets.slabs,
            windows,
        )
    };
    assert_eq!(cut(Memory::Host, 2), (2, 512 << 10, None, None, [12, 16]));
    assert_eq!(cut(Memory::Cuda, 32), (8, 4 << 20, Some(2 << 20), Some(3), [24, 32]));
}

#[test]
fn the_smaller_side_has_the_say_over_streams() {
    let here = Here { cores: 32, ..Default::default() };
    for (cores, channels, streams) in [(4, 1, 4), (64, 1, 8), (64, 3, 2), (2, 8, 1)] {
        let asked = MeasureArgs { channels: Some(channels), ..Default::default() };
        let there = There { cores, is_here: false };
        assert_eq!(resolve(&asked, &here, Some(&there)).unwrap().streams, streams, "{cores}, {channels}");
    }
}

#[test]
fn a_plugin_gets_what_every_plugin_takes() {
    for (cores, requests, windows) in [(32, 16, (12, 16)), (32, 32, (24, 32)), (2, 32, (12, 16))] {
        let plugin = PluginLimits { unpacks: false, ..plugin(requests) };
        let here = Here { cores, moves_gpu_memory: true, plugin: Some(plugin), ..Default::default() };
        let asked = MeasureArgs {
            sockets: SocketSettings { segment_bytes: Some(1 << 16), slabs: Some(7), ..Default::default() },
            ..asked(Memory::Cuda)
        };
        let settings = resolve(&asked, &here, Some(&There { cores: 64, is_here: false })).unwrap();
        let Settings { streams, chunk_bytes, send_window, recv_window, unpack, .. } = settings;
        assert_eq!((u32::from(streams), chunk_bytes), (cores.min(8), 512 << 10));
        assert_eq!((send_window, recv_window), windows, "{cores} cores, {requests:?}");
        assert_eq!((unpack, settings.transport), (Unpack::InPlace, Transport::Plugin));
        assert_eq!((settings.sockets.segment_bytes, settings.sockets.slabs), (None, None));
    }
}

#[test]
fn what_a_plugin_does_not_take_is_one_sentence() {
    let refused = |asked: MeasureArgs, plugin: PluginLimits| {
        let here = Here { plugin: Some(plugin), ..Default::default() };
        resolve(&asked, &here, None).unwrap_err().to_string()
    };
    let long = refused(MeasureArgs::default(), PluginLimits { max_bytes: Some(4096), ..plugin(16) });
    assert!(long.contains("at most 4096 bytes at a time on its device eth0: lower --chunk"), "{long}");
    let windows = MeasureArgs { window: Some(Windows { send: 12, recv: 17 }), ..Default::default() };
    assert!(refused(windows, plugin(16)).contains("no more than 16 requests"));
    let no_gpu = PluginLimits { takes_gpu_memory: false, ..plugin(16) };
    assert!(refused(asked(Memory::Cuda), no_gpu.clone()).contains("choose --memory host"));
    let no_host = PluginLimits { takes_host_memory: false, ..plugin(16) };
    assert!(refused(asked(Memory::Host), no_host).contains("choose --memory cuda"));
    let here = Here { plugin: Some(no_gpu), moves_gpu_memory: true, ..Default::default() };
    let settings = resolve(&MeasureArgs::default(), &here, None).unwrap();
    assert_eq!((settings.memory, settings.unpack), (Memory::Host, Unpack::None));
}

#[test]
fn round_trips_between_gpus_are_unpacked_by_copies_unless_asked_otherwise() {
    let unpack = |unpack| {
        let asked = MeasureArgs { latency: true, unpack, ..asked(Memory::Cuda) };
        resolved(&asked, 8).unpack
    };
    assert_eq!((unpack(None), unpack(Some(Unpack::Kernel))), (Unpack::Copy, Unpack::Kernel));
}

#[test]
fn gpu_memory_is_moved_where_this_side_can() {
    let memory = |moves_gpu_memory| {
        let here = Here { moves_gpu_memory, ..Default::default() };
        resolve(&MeasureArgs::default(), &here, None).unwrap().memory
    };
    assert_eq!((memory(true), memory(false)), (Memory::Cuda, Memory::Soft));
}

#[test]
fn cubic_is_chosen_within_one_machine_unless_another_is_named() {
    let congestion = |name: Option<&str>, has_cubic, is_here| {
        let sockets =
            SocketSettings { congestion: name.map(|name| name.parse().unwrap()), ..Default::default() };
        let asked = MeasureArgs { sockets, ..Default::default() };
        let here = Here { has_cubic, ..Default::default() };
        let settings = resolve(&asked, &here, Some(&There { cores: 1, is_here })).unwrap();
        settings.sockets.congestion.map(String::from)
    };
    for auto in [None, Some("auto")] {
        assert_eq!(congestion(auto, true, true).as_deref(), Some("cubic"));
        assert_eq!(congestion(auto, true, false), None);
        assert_eq!(congestion(auto, false, true), None);
    }
    assert_eq!(congestion(Some("bbr"), true, true).as_deref(), Some("bbr"));
}
