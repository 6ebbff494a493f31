//! The report for people: aligned columns within 100 characters, comments behind `#` (as nccl-tests does, so that a
//! plotting tool reads the rest).

use std::fmt::Write as _;

use super::{Config, Report, Row, SideFacts, Sides, Slices, Way, memory_name};
use crate::{
    args::size::show_size,
    settings::{Flow, Settings, Unpack},
};

/// What was measured, and the columns' names.
#[must_use]
pub fn head(version: &str, config: &Config, hosts: (&str, &str)) -> String {
    let Config { settings, .. } = config;
    let mut text = String::new();
    let _ = writeln!(text, "# gputcp {version}: {}", ends(config, hosts));
    let _ = writeln!(text, "# {}", transfer(settings));
    let _ = writeln!(text, "# {}", effort(config));
    text.push_str(match settings.flow {
        Flow::RoundTrip => ROUND_TRIP_HEAD,
        _ => GOODPUT_HEAD,
    });
    text
}

/// One result.
#[must_use]
pub fn row(row: &Row) -> String {
    let mut text = String::new();
    let Row { bytes, time_us, tcp, .. } = row;
    let _ = write!(text, "{:>8}", show_size(*bytes));
    match row.goodput_gb_per_s {
        Some(goodput) => {
            let [low, high] = goodput.median_ci95;
            let _ = write!(text, " {:>4}", arrow(row.way));
            let _ = write!(
                text,
                " {:>7} {:>7}",
                figure(goodput.median),
                figure(row.goodput_gbit_per_s.unwrap_or(0.0))
            );
            let _ = write!(text, " {:>7} {:>7}", figure(goodput.min), figure(goodput.max));
            let _ = write!(text, " {:>6}", plus_minus(goodput.median, low, high));
            let _ = write!(text, " {:>7} {:>7}", figure(time_us.p50), figure(time_us.p99));
        }
        None => {
            let [low, high] = time_us.p50_ci95;
            let _ = write!(text, " {:>8} {:>8}", figure(time_us.p50), figure(time_us.p99));
            let _ = write!(
                text,
                " {:>8} {:>8} {:>8}",
                figure(time_us.min),
                figure(time_us.max),
                figure(time_us.mean)
            );
            let _ = write!(text, " {:>6}", plus_minus(time_us.p50, low, high));
        }
    }
    let ceiling = row.ceiling.map(|Slices { median, .. }| figure(median));
    let percent = row.percent_of_ceiling.map(|percent| format!("{percent:.1}"));
    let _ = write!(text, " {:>7} {:>5}", or_dash(ceiling), or_dash(percent));
    let cpu = row.cpu_s_per_gb.map(|cpu| (format!("{:.2}", cpu.sender), format!("{:.2}", cpu.receiver)));
    let (sender, receiver) = cpu.unzip();
    let _ = write!(text, " {:>5} {:>5} {:>5}", or_dash(sender), or_dash(receiver), tcp.retransmits);
    text.push('\n');
    text
}

/// What is known once everything is done.
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
        Some(all) if !all.is_empty() && all.iter().all(|&verified| verified) => "every byte verified",
        _ => "NOT verified",
    };
    let _ = writeln!(text, "# {} timed bytes sent, landed and unpacked, {checked}", bytes);
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
    let strays = sender.strays + receiver.strays;
    let strays = if strays == 0 { String::new() } else { format!(", {strays} stray connections dropped") };
    let _ = writeln!(text, "# setup {:.1} ms{strays}", config.setup_ms);
    text
}

const GOODPUT_HEAD: &str = "\
#                  goodput, median             range    95 %      time, µs   raw TCP    % of   CPU s/GB  retr.
#   size  way    GB/s    Gb/s     min     max     ± %     p50     p99    GB/s ceil.  send  recv packets
";
const ROUND_TRIP_HEAD: &str = "\
#                      round trip, µs                          95 %  raw TCP  % of   CPU s/GB  retr.
#   size      p50      p99      min      max     mean    ± %      µs ceil.  send  recv packets
";

fn ends(config: &Config, (client, server): (&str, &str)) -> String {
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

fn transfer(settings: &Settings) -> String {
    let memory = memory_name(settings.memory, settings.destination());
    let unpack = match settings.unpack {
        Unpack::None => "received in place".to_owned(),
        mode => format!("unpack {}", mode.name()),
    };
    let Settings { streams, channels, send_window, recv_window, .. } = settings;
    let channels = if *channels == 1 { String::new() } else { format!(" × {channels} channels") };
    format!(
        "{memory} memory, {unpack}; {streams} streams{channels}, chunk {}, window {send_window}/{recv_window}",
        show_size(settings.chunk_bytes)
    )
}

fn effort(config: &Config) -> String {
    let what = if config.settings.flow == Flow::RoundTrip { "round trips" } else { "messages" };
    let amount = match (config.iterations, config.time_s) {
        (Some(count), _) => format!("{count} {what}"),
        (None, Some(seconds)) => format!("{seconds} s of {what}"),
        (None, None) => what.into(),
    };
    let verified = if config.settings.verify { "verified" } else { "not verified" };
    format!("{amount} of each size after {} of warm-up, timed by the receiver, {verified}", config.warmup)
}

const fn arrow(way: Way) -> &'static str {
    match way {
        Way::Forward => "c→s",
        Way::Backward => "s→c",
        Way::Both => "c↔s",
        Way::RoundTrip => "c⇄s",
    }
}

/// Four digits, never more than seven characters for what occurs.
fn figure(value: f64) -> String {
    let decimals =
        if value >= 1000.0 || value == 0.0 { 0 } else { (3 - value.log10().floor() as i32).clamp(0, 4) };
    format!("{value:.*}", decimals as usize)
}

fn plus_minus(median: f64, low: f64, high: f64) -> String {
    let percent = 100.0 * (high - median).max(median - low) / median;
    format!("{percent:.1}")
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "-".into())
}
