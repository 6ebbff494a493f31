//! The report for people: aligned columns within 100 characters. Comments stand behind `#`, as in
//! nccl-tests, so that a plotting tool reads the rest.

use std::fmt::Write as _;

use super::{Config, Hosts, Plugins, Report, Row, SideFacts, Sides, Slices, Way, gpus::Gpus, memory_name};
use crate::settings::{Flow, OneSided, Operation, Settings, Transport, Unpack, size::show_size};

/// Returns the description of the measurement, and the columns' names.
#[must_use]
pub fn head(version: &str, config: &Config, hosts: Hosts<'_>, gpus: &Gpus) -> String {
    let Config { settings, .. } = config;
    let mut text = String::new();
    let _ = writeln!(text, "# gputcp {version}: {}", ends(config, hosts));
    let _ = settings.one_sided.map(|one_sided| writeln!(text, "# {}", blocks(one_sided)));
    let _ = writeln!(text, "# {}", transfer(settings));
    let _ = settings.has_bursts().then(|| writeln!(text, "# {}", bursts(settings)));
    if let Some(Plugins { client, server }) = &config.plugins {
        let _ = writeln!(text, "# client plugin {client}\n# server plugin {server}");
    }
    for (side, gpu) in [("client", &gpus.client), ("server", &gpus.server)] {
        let _ = gpu.as_ref().map(|gpu| writeln!(text, "# {side} GPU {gpu}"));
    }
    if settings.ceiling_is_pipeline() {
        let _ = writeln!(text, "# raw GPU: the same memory, sockets and rings without a protocol");
    } else if settings.ceiling && *gpus != Gpus::default() {
        let _ = writeln!(text, "# raw TCP: raw sockets over host memory, no GPU involved");
    }
    let _ = writeln!(text, "# {}", effort(config));
    text.push_str(&columns(settings));
    text
}

/// Returns one result's line.
#[must_use]
pub fn row(row: &Row) -> String {
    // Numbers that are longer than their column widen it: they never touch the one before.
    let mut text = format!("{:>8}", show_size(row.bytes));
    let Row { time_us, .. } = row;
    match row.goodput_gb_per_s {
        Some(goodput) => {
            let cells = [
                figure(goodput.median),
                figure(row.goodput_gbit_per_s.unwrap_or(0.0)),
                figure(goodput.min),
                figure(goodput.max),
            ];
            let _ = write!(text, " {:>4}", arrow(row.way));
            let _ = cells.iter().try_for_each(|cell| write!(text, " {cell:>7}"));
            let _ = write!(text, " {:>6}", plus_minus(goodput.median, goodput.median_ci95));
            let _ = write!(text, " {:>7} {:>7}", figure(time_us.p50), figure(time_us.p99));
        }
        None => {
            let cells = [time_us.p50, time_us.p99, time_us.min, time_us.max, time_us.mean].map(figure);
            let _ = cells.iter().try_for_each(|cell| write!(text, " {cell:>8}"));
            let _ = write!(text, " {:>6}", plus_minus(time_us.p50, time_us.p50_ci95));
        }
    }
    let ceiling = or_dash(row.ceiling.map(|Slices { median, .. }| figure(median)));
    let percent = or_dash(row.percent_of_ceiling.map(|percent| format!("{percent:.1}")));
    let (sender, receiver) = row.cpu_s_per_gb.map(|cpu| (seconds(cpu.sender), seconds(cpu.receiver))).unzip();
    let (sender, receiver) = (or_dash(sender), or_dash(receiver));
    let resent = or_dash(row.tcp.map(|tcp| tcp.retransmits.to_string()));
    let _ = match row.way {
        Way::RoundTrip => writeln!(text, " {ceiling:>8} {percent:>5} {sender:>7} {receiver:>7} {resent:>6}"),
        _ => writeln!(text, " {ceiling:>7} {percent:>5} {sender:>5} {receiver:>5} {resent:>5}"),
    };
    text
}

/// Returns the lines that are known once everything is done.
#[must_use]
pub fn foot(report: &Report) -> String {
    let mut text = String::new();
    let Report { config, sides, results, .. } = report;
    let Sides { sender, receiver } = sides;
    if report.interrupted {
        let _ = writeln!(text, "# interrupted: this is what was measured so far");
    }
    let bytes: u64 = results.iter().filter(|row| row.way != Way::Both).map(|row| row.bytes_unpacked).sum();
    let checked = match results.iter().map(|row| row.verified).collect::<Option<Vec<bool>>>() {
        Some(all) if !all.is_empty() && all.iter().all(|&verified| verified) => {
            let is_scattered = config.settings.one_sided.is_some_and(|one_sided| one_sided.scatter);
            if is_scattered {
                "every byte verified, none between the blocks touched"
            } else {
                "every byte verified"
            }
        }
        _ => "NOT verified",
    };
    let moved = match config.settings.one_sided.map(|one_sided| one_sided.op) {
        None => "sent, landed and unpacked",
        Some(Operation::Read) => "read",
        Some(Operation::Write) => "written",
    };
    let _ = writeln!(text, "# {bytes} timed bytes {moved}, {checked}");
    let memory =
        |side: &SideFacts| Some(format!("{} {:.0} MB", side.role, side.peak_resident_bytes? as f64 / 1e6));
    let memory: Vec<String> = [sender, receiver].into_iter().filter_map(memory).collect();
    let _ = writeln!(text, "# peak memory: {}", memory.join(", "));
    let congestion = sender.congestion.as_ref().or(receiver.congestion.as_ref());
    let tcp = sender.tcp.as_ref().or(receiver.tcp.as_ref());
    if let (Some(name), Some(tcp)) = (congestion, tcp) {
        let (rtt, cwnd) = (tcp.rtt_us, tcp.cwnd_packets);
        let _ = writeln!(
            text,
            "# tcp: {name}, rtt {rtt} µs, window {cwnd} packets, {} retransmits",
            tcp.retransmits
        );
    }
    // One of the two is the other side's word.
    let strays = sender.strays.saturating_add(receiver.strays);
    let strays = if strays == 0 { String::new() } else { format!(", {strays} stray connections dropped") };
    let _ = writeln!(text, "# setup {:.1} ms{strays}", config.setup_ms);
    text
}

/// Returns the columns' names, two lines; the widths are those of [`row`].
fn columns(settings: &Settings) -> String {
    let raw = if settings.ceiling_is_pipeline() { "raw GPU" } else { "raw TCP" };
    if settings.flow == Flow::RoundTrip {
        return format!(
            "#{:>52}{:>7}{:>9}{:>6}{:>16}{:>7}\n#{:>7}{:>9}{:>9}{:>9}{:>9}{:>9}{:>7}{:>9}{:>6}{:>8}{:>8}{:>7}\n",
            "round trip, µs",
            "95 %",
            raw,
            "% of",
            "CPU s/GB",
            "resent", //
            "size",
            "p50",
            "p99",
            "min",
            "max",
            "mean",
            "± %",
            "µs",
            "raw",
            "send",
            "recv",
            "pkts",
        );
    }
    format!(
        "#{:>28}{:>16}{:>7}{:>16}{:>8}{:>6}{:>12}{:>6}\n#{:>7}{:>5}{:>8}{:>8}{:>8}{:>8}{:>7}{:>8}{:>8}{:>8}{:>6}{:>6}{:>6}{:>6}\n",
        "goodput, median",
        "range, GB/s",
        "95 %",
        "time, µs",
        raw,
        "% of",
        "CPU s/GB",
        "resnt", //
        "size",
        "way",
        "GB/s",
        "Gb/s",
        "min",
        "max",
        "± %",
        "p50",
        "p99",
        "GB/s",
        "raw",
        "send",
        "recv",
        "pkts",
    )
}

fn ends(config: &Config, Hosts { client, server }: Hosts<'_>) -> String {
    let way = match config.settings.flow {
        Flow::Forward => "client → server",
        Flow::Backward => "server → client",
        Flow::Both => "client ↔ server, both at once",
        Flow::RoundTrip => "client → server → client",
    };
    if config.loopback {
        format!("loopback, both ends on {client}, no network involved, {way}")
    } else {
        format!("client {client}, server {server}, {way}")
    }
}

fn blocks(OneSided { op, blocks, block_bytes, scatter }: OneSided) -> String {
    let places = if scatter { "scattered at both ends" } else { "in a row" };
    format!("one-sided {op} of {blocks} blocks of {}, {places}", show_size(block_bytes))
}

fn bursts(settings: &Settings) -> String {
    let lengths = || settings.sizes.iter().map(|&bytes| settings.messages(bytes));
    let (least, most) = (lengths().min().unwrap_or(1), lengths().max().unwrap_or(1));
    let length = if least == most { least.to_string() } else { format!("{least} to {most}") };
    let (depth, many) = (settings.depth, settings.many_alone());
    let time = match settings.one_sided.map(|one_sided| one_sided.op) {
        None => "a message's, from its receive on",
        Some(Operation::Read) => "a read's, from its post on",
        Some(Operation::Write) => "a write's, from its post on",
    };
    format!("depth {depth}: bursts of {length} {many}, at most {depth} in flight; time: {time}")
}

fn transfer(settings: &Settings) -> String {
    let memory = memory_name(settings.memory, settings.destination());
    let unpack = match settings.unpack {
        Unpack::None => "received in place".to_owned(),
        Unpack::InPlace => "written in place by the plugin".to_owned(),
        mode => format!("unpack {mode}"),
    };
    let Settings { streams, channels, send_window, recv_window, .. } = settings;
    let channels = if *channels == 1 { String::new() } else { format!(" × {channels} channels") };
    let streams = match settings.transport {
        Transport::Sockets => format!("{streams} streams"),
        Transport::Plugin => format!("raw TCP of {streams} streams"),
    };
    let cut = match settings.one_sided {
        None => format!(", chunk {}, window {send_window}/{recv_window}", show_size(settings.chunk_bytes)),
        // The library's own.
        Some(_) => String::new(),
    };
    format!("{memory} memory, {unpack}; {streams}{channels}{cut}")
}

fn effort(config: &Config) -> String {
    let what = config.settings.many();
    let is_clients = config.settings.one_sided.is_some() || config.settings.flow == Flow::RoundTrip;
    let by = if is_clients { "client" } else { "receiver" };
    let amount = match (config.iterations, config.time_s) {
        (Some(count), _) => format!("{count} {what}"),
        (None, Some(seconds)) => format!("{seconds} s of {what}"),
        (None, None) => what.into(),
    };
    let verified = if config.settings.verify { "verified" } else { "not verified" };
    let of_each_size = if config.settings.one_sided.is_some() { "" } else { " of each size" };
    format!("{amount}{of_each_size} after {} of warm-up, timed by the {by}, {verified}", config.warmup)
}

const fn arrow(way: Way) -> &'static str {
    match way {
        Way::Forward => "c→s",
        Way::Backward => "s→c",
        Way::Both => "c↔s",
        Way::RoundTrip => "c⇄s",
    }
}

/// Returns four digits, never more than seven characters for what occurs.
fn figure(value: f64) -> String {
    let decimals =
        if value >= 1000.0 || value == 0.0 { 0 } else { (3 - value.log10().floor() as i32).clamp(0, 4) };
    format!("{value:.*}", decimals as usize)
}

/// Returns CPU seconds: a few, or very many where messages are tiny.
fn seconds(value: f64) -> String {
    if value < 100.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

fn plus_minus(median: f64, [low, high]: [f64; 2]) -> String {
    let percent = 100.0 * (high - median).max(median - low) / median;
    format!("{percent:.1}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
