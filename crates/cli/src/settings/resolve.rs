//! The way from a request to the settings of a session: a pure function of the request and of both
//! machines. Every combination that makes no sense is one sentence here.

use gputcp::{CongestionControl, transfer::Plan};
use gputcp_proto::frame::SLOTS_MAX;

use super::{
    agreed::{DEFAULT_TIMEOUT, MESSAGE_BYTES_MAX, SIZES_MAX, SOCKETS_MAX, Settings},
    asked::MeasureArgs,
    congestion::Congestion,
    depth,
    kinds::{Flow, Memory, Transport, Unpack},
    memory::Wanted,
    one_sided::OneSided,
    size::{Windows, show_size},
    sockets::SocketSettings,
};
use crate::failure::Failure;

/// This machine, as far as a session depends on it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Here {
    /// The cores that this process may use.
    pub cores: u32,
    /// Whether this side can move GPU memory: it has a GPU, or needs none for its part.
    pub moves_gpu_memory: bool,
    /// Whether sockets may use the congestion control cubic.
    pub has_cubic: bool,
    /// The plugin that carries the data.
    pub plugin: Option<PluginLimits>,
}

/// The other machine, as far as a session depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct There {
    /// The cores that its process may use.
    pub cores: u32,
    /// Whether it is this very machine.
    pub is_here: bool,
}

/// The limits of a plugin's device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PluginLimits {
    /// The plugin's name.
    pub name: String,
    /// The device's name.
    pub device: String,
    /// The longest request, where the plugin says so.
    pub max_bytes: Option<u64>,
    /// The requests at a time that it takes for sure.
    pub requests: u16,
    /// Whether it takes host memory.
    pub takes_host_memory: bool,
    /// Whether it takes the memory of GPUs.
    pub takes_gpu_memory: bool,
    /// Whether it leaves what it receives to be unpacked.
    pub unpacks: bool,
}

/// Returns the settings that were asked for, between these machines. Before the other one is known, it is
/// taken for the least there can be: one core, elsewhere.
///
/// # Errors
/// [`Failure::Usage`] saying what makes no sense, and what to do.
pub fn resolve(asked: &MeasureArgs, here: &Here, there: Option<&There>) -> Result<Settings, Failure> {
    let plugin = here.plugin.as_ref();
    let wanted = wanted(asked)?;
    let one_sided = OneSided::asked(asked)?;
    let flow = one_sided.map_or_else(|| flow(asked), |one_sided| one_sided.op.flow());
    let memory = memory(wanted, here);
    let unpack = unpack(asked, wanted, memory, flow, plugin)?;
    let channels = asked.channels.unwrap_or(1);
    check_sockets(asked, flow, channels)?;
    let depth = depth::asked(asked)?;
    let cores = there.map_or(1, |there| here.cores.min(there.cores)).clamp(1, STREAMS_AUTO) as u16;
    let streams = asked.streams.unwrap_or_else(|| (cores / channels).max(1));
    let most = plugin.map_or(SLOTS_MAX, |plugin| plugin.requests);
    let windows = asked.window.unwrap_or_else(|| {
        let Windows { send, recv } = Windows::of_streams(streams);
        let usual = Windows { send: send.min(most / 4 * 3), recv: recv.min(most) };
        depth::windows(usual, depth, channels, most)
    });
    let between_gpus = memory == Memory::Cuda && plugin.is_none();
    let chunk_bytes = if between_gpus { GPU_CHUNK_BYTES } else { Plan::CHUNK_BYTES };
    let settings = Settings {
        sizes: match one_sided {
            Some(one_sided) => vec![one_sided.bytes()],
            None => sizes(asked, if flow == Flow::RoundTrip { 4 << 10 } else { 64 << 20 })?,
        },
        flow,
        transport: if plugin.is_some() { Transport::Plugin } else { Transport::Sockets },
        streams,
        channels,
        chunk_bytes: asked.chunk.unwrap_or(chunk_bytes),
        send_window: windows.send,
        recv_window: windows.recv,
        memory,
        unpack,
        sockets: sockets(asked, here, there, between_gpus),
        verify: !asked.no_verify,
        ceiling: !asked.no_ceiling,
        timeout_ms: asked.timeout.unwrap_or(DEFAULT_TIMEOUT).as_millis() as u64,
        seed: asked.seed.unwrap_or(1),
        depth,
        one_sided,
    };
    if let Some(plugin) = plugin {
        check_plugin(plugin, wanted, &settings)?;
    }
    settings.check().map_err(Failure::Usage)?;
    Ok(settings)
}

/// Returns the memory asked for. Naming a GPU asks for its memory.
pub(super) fn wanted(asked: &MeasureArgs) -> Result<Wanted, Failure> {
    let names_gpu = asked.gpu.is_some() || asked.peer_gpu.is_some();
    let wanted = match &asked.memory {
        Some(memory) if memory.gpu.is_some() && asked.gpu.is_some() => {
            return usage("this side's GPU is named twice, by --memory and by --gpu: drop one of them");
        }
        Some(memory) if memory.kind != Memory::Cuda && names_gpu => {
            return usage(format!(
                "{} memory has nothing to do with a GPU: drop --gpu and --peer-gpu, or choose --memory cuda",
                memory.kind
            ));
        }
        Some(memory) => Wanted::Exactly(memory.kind),
        None if names_gpu => Wanted::Exactly(Memory::Cuda),
        None if asked.damage.is_some() => Wanted::Exactly(Memory::Soft),
        None => Wanted::Automatic,
    };
    if asked.damage.is_some() && wanted == Wanted::Exactly(Memory::Cuda) {
        return usage("--damage reaches no GPU memory: choose --memory host or soft");
    }
    Ok(wanted)
}

const fn flow(asked: &MeasureArgs) -> Flow {
    match (asked.latency, asked.bidir, asked.reverse) {
        (true, ..) => Flow::RoundTrip,
        (_, true, _) => Flow::Both,
        (_, _, true) => Flow::Backward,
        _ => Flow::Forward,
    }
}

fn memory(wanted: Wanted, here: &Here) -> Memory {
    match (wanted, &here.plugin) {
        (Wanted::Exactly(memory), _) => memory,
        (Wanted::Automatic, Some(plugin)) if !plugin.takes_gpu_memory => Memory::Host,
        (Wanted::Automatic, _) if here.moves_gpu_memory => Memory::Cuda,
        (Wanted::Automatic, _) => Memory::Soft,
    }
}

fn unpack(
    asked: &MeasureArgs,
    wanted: Wanted,
    memory: Memory,
    flow: Flow,
    plugin: Option<&PluginLimits>,
) -> Result<Unpack, Failure> {
    match (asked.unpack, plugin) {
        (Some(mode), _) if wanted == Wanted::Exactly(Memory::Host) && mode != Unpack::None => usage(format!(
            "host memory is received in place, so --unpack {mode} has nothing to do: drop it, or choose --memory soft or \
             cuda"
        )),
        _ if memory == Memory::Host => Ok(Unpack::None),
        (Some(Unpack::None), _) => Ok(Unpack::None),
        (_, Some(plugin)) if !plugin.unpacks => Ok(Unpack::InPlace),
        (Some(mode), _) => Ok(mode),
        // A lone copy is there 4 µs sooner than a lone kernel; a pipeline does not care.
        (None, None) if memory == Memory::Cuda && flow == Flow::RoundTrip => Ok(Unpack::Copy),
        (None, _) => Ok(Unpack::Kernel),
    }
}

fn check_sockets(asked: &MeasureArgs, flow: Flow, channels: u16) -> Result<(), Failure> {
    if flow == Flow::RoundTrip && channels > 1 {
        return usage(
            "--latency moves one message at a time, so more than one of --channels is of no use: drop it",
        );
    }
    match asked.streams {
        Some(streams) if u64::from(streams) * u64::from(channels) > SOCKETS_MAX => usage(format!(
            "{streams} streams on each of {channels} channels are more than {SOCKETS_MAX} sockets: lower one of them"
        )),
        _ => Ok(()),
    }
}

/// Returns the options of the built-in transport. A plugin cuts chunks in its own way; the sockets of the
/// ceiling are as asked for. Where both ends are one machine, cubic measured 1.7 times as fast as bbr.
fn sockets(asked: &MeasureArgs, here: &Here, there: Option<&There>, between_gpus: bool) -> SocketSettings {
    let mut sockets = asked.sockets.clone();
    if here.plugin.is_some() {
        (sockets.segment_bytes, sockets.slabs) = (None, None);
    } else if between_gpus {
        sockets.segment_bytes.get_or_insert(GPU_SEGMENT_BYTES);
        sockets.slabs.get_or_insert(GPU_SLABS);
    }
    if sockets.congestion_control().is_none() {
        let is_faster = here.has_cubic && there.is_some_and(|there| there.is_here);
        sockets.congestion = is_faster.then(|| Congestion::Named(CongestionControl::cubic()));
    }
    sockets
}

/// Returns the sizes of a sweep, or the one.
fn sizes(args: &MeasureArgs, default: u64) -> Result<Vec<u64>, Failure> {
    let Some(begin) = args.begin else {
        if args.end.is_some() {
            return usage(
                "a sweep's last size is given, but not its first: give --begin (GPUTCP_BEGIN) as well",
            );
        }
        return Ok(vec![within_reach(args.size.unwrap_or(default))?]);
    };
    let end = within_reach(args.end.unwrap_or(begin))?;
    if begin > end {
        let (begin, end) = (show_size(begin), show_size(end));
        return usage(format!("the sweep begins at {begin} and ends at {end}, which is less: swap them"));
    }
    let factor = u64::from(args.factor.unwrap_or(2));
    let next = |&bytes: &u64| bytes.checked_mul(factor);
    let sizes: Vec<u64> =
        std::iter::successors(Some(begin), next).take_while(|&bytes| bytes <= end).collect();
    assert!(sizes.len() <= SIZES_MAX, "a factor of at least 2 gives at most 49 sizes");
    Ok(sizes)
}

fn within_reach(bytes: u64) -> Result<u64, Failure> {
    if bytes > MESSAGE_BYTES_MAX {
        return usage(format!(
            "a message of {} is beyond any memory: choose a smaller size",
            show_size(bytes)
        ));
    }
    Ok(bytes)
}

/// Checks that the plugin takes what was asked for.
fn check_plugin(plugin: &PluginLimits, wanted: Wanted, settings: &Settings) -> Result<(), Failure> {
    let PluginLimits { name, device, requests, .. } = plugin;
    if let Some(most) = plugin.max_bytes.filter(|&most| most < settings.chunk_bytes) {
        return usage(format!(
            "the plugin {name} moves at most {most} bytes at a time on its device {device}: lower --chunk"
        ));
    }
    if settings.send_window.max(settings.recv_window) > *requests {
        return usage(format!(
            "the plugin {name} takes no more than {requests} requests at a time for sure: lower --window (GPUTCP_WINDOW)"
        ));
    }
    match wanted {
        Wanted::Exactly(Memory::Cuda) if !plugin.takes_gpu_memory => usage(format!(
            "the plugin {name} takes no GPU memory on its device {device}: choose --memory host"
        )),
        Wanted::Exactly(Memory::Host | Memory::Soft) if !plugin.takes_host_memory => usage(format!(
            "the plugin {name} takes no host memory on its device {device}: choose --memory cuda"
        )),
        _ => Ok(()),
    }
}

fn usage<T>(sentence: impl Into<String>) -> Result<T, Failure> {
    Err(Failure::Usage(sentence.into()))
}

/// More streams than this were never faster.
const STREAMS_AUTO: u32 = 8;
/// Between GPUs a segment is two copies by DMA as well. Their starts and flags took a third of the rate at
/// 512 KiB. See `docs/benchmarks/history.md` for the rates over slice and depth.
const GPU_SEGMENT_BYTES: u32 = 2 << 20;
/// One at the socket, one at the GPU, one between: a fourth made no difference, and pinned memory is dear.
const GPU_SLABS: u16 = 3;
/// Two segments, so that a chunk is not one stream's alone.
const GPU_CHUNK_BYTES: u64 = 4 << 20;

#[cfg(test)]
mod tests;
