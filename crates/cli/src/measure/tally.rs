//! The sums over the messages of one size, by the way they went.

use std::time::Duration;

use super::run::{Exchanged, Outcome};
use crate::{
    bootstrap::message::TcpCounters,
    report::{
        CeilingKind, CpuCost, Row, RowTcp, Way, Window,
        gpus::Gpus,
        statistics::{Samples, round},
    },
    settings::{Flow, Settings},
};

/// The messages of one size.
#[derive(Debug, Default)]
pub struct Tally {
    ways: Vec<(Way, Sums)>,
    /// The sender's counter when the last message before these was sent.
    retransmits_before: u64,
    /// `None` if the transport does not expose TCP counters.
    tcp: Option<TcpCounters>,
}

/// The messages of one way.
#[derive(Debug, Default)]
struct Sums {
    samples: Samples,
    /// The messages of bursts, each with its own time.
    messages: Option<Samples>,
    sent: u64,
    landed: u64,
    unpacked: u64,
    sender_cpu: Duration,
    receiver_cpu: Duration,
    unverified: u64,
}

impl Tally {
    /// Makes an empty tally; `before` is the kernel's count until then.
    #[must_use]
    pub fn new(flow: Flow, before: TcpCounters) -> Self {
        let ways: &[Way] = match flow {
            Flow::Forward => &[Way::Forward],
            Flow::Backward => &[Way::Backward],
            Flow::Both => &[Way::Forward, Way::Backward, Way::Both],
            Flow::RoundTrip => &[Way::RoundTrip],
        };
        Self {
            ways: ways.iter().map(|&way| (way, Sums::default())).collect(),
            retransmits_before: before.retransmits,
            tcp: None,
        }
    }

    /// Counts what came of one run, as the client sees it. `bytes` are those of a sample, and `laps` the
    /// rounds of a ping-pong.
    pub fn add(&mut self, bytes: u64, outcome: &Outcome, laps: &[Duration]) {
        for (way, sums) in &mut self.ways {
            match way {
                Way::Forward => outcome.sent.iter().for_each(|flow| sums.add(bytes, flow)),
                Way::Backward => outcome.received.iter().for_each(|flow| sums.add(bytes, flow)),
                Way::Both => {
                    if let (Some(forward), Some(backward)) = (&outcome.sent, &outcome.received) {
                        sums.add_both(bytes, forward, backward);
                    }
                }
                Way::RoundTrip => {
                    laps.iter().for_each(|&lap| sums.samples.add(bytes, lap));
                    for flow in [&outcome.sent, &outcome.received].into_iter().flatten() {
                        sums.count(flow);
                    }
                    if let Some(there) = &outcome.sent {
                        sums.add_cpu(there.sent.cpu_ns, there.received.cpu_ns);
                    }
                }
            }
        }
        if let Some(tcp) = tcp_of(outcome) {
            self.tcp = Some(tcp);
        }
    }

    /// Returns whether no message was counted.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.messages() == 0
    }

    /// Returns the number of samples: messages, bursts, or round trips.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.ways.first().map_or(0, |(_, sums)| sums.samples.count())
    }

    /// Returns the median so far in GB/s, of the last way, with samples of so many bytes.
    #[must_use]
    pub fn so_far(&self, bytes: u64) -> Option<f64> {
        let (way, sums) = self.ways.last()?;
        Some(sums.samples.goodput(way.bytes(bytes))?.median)
    }

    /// Returns one result for each way, next to the ceiling that was measured along with it.
    #[must_use]
    pub fn rows(&self, bytes: u64, settings: &Settings, gpus: &Gpus, ceiling: Option<&Self>) -> Vec<Row> {
        let messages = settings.messages(bytes);
        let sample_bytes = bytes.saturating_mul(messages);
        let rows = self.ways.iter().enumerate().filter_map(|(index, (way, sums))| {
            let ceiling = ceiling.and_then(|ceiling| ceiling.ways.get(index)).map(|(_, sums)| &sums.samples);
            let goodput = if *way == Way::RoundTrip {
                None
            } else {
                Some(sums.samples.goodput(way.bytes(sample_bytes))?)
            };
            let time_us = sums.messages.as_ref().unwrap_or(&sums.samples).times()?;
            let slices = ceiling.and_then(|ceiling| ceiling.slices(kind(settings), way.bytes(sample_bytes)));
            let percent = slices.map(|slices| match goodput {
                Some(goodput) => 100.0 * goodput.median / slices.median,
                None => 100.0 * slices.median / time_us.p50,
            });
            let gb = sums.unpacked as f64 / 1e9;
            // With both ways at once a process's CPU time is for both: it is told once, beside their sum.
            let told = settings.flow != Flow::Both || *way == Way::Both;
            let (source_gpu, destination_gpu) = gpus.along(*way, settings);
            Some(Row {
                bytes,
                way: *way,
                transport: settings.transport,
                chunk_bytes: settings.one_sided.is_none().then_some(settings.chunk_bytes),
                window: settings
                    .one_sided
                    .is_none()
                    .then_some(Window { send: settings.send_window, recv: settings.recv_window }),
                streams: settings.streams,
                channels: settings.channels,
                memory: settings.memory,
                destination: settings.destination(),
                source_gpu,
                destination_gpu,
                unpack: settings.unpack,
                depth: settings.depth,
                messages,
                iterations: sums.samples.count(),
                goodput_gb_per_s: goodput,
                goodput_gbit_per_s: goodput.map(|goodput| round(8.0 * goodput.median)),
                time_us,
                ceiling: slices,
                percent_of_ceiling: percent.map(round),
                verified: (sums.unverified == 0).then_some(true),
                bytes_sent: sums.sent,
                bytes_landed: sums.landed,
                bytes_unpacked: sums.unpacked,
                cpu_s_per_gb: told.then(|| CpuCost {
                    sender: round(sums.sender_cpu.as_secs_f64() / gb),
                    receiver: round(sums.receiver_cpu.as_secs_f64() / gb),
                }),
                one_sided: settings.one_sided,
                tcp: self.tcp.map(|tcp| RowTcp {
                    retransmits: tcp.retransmits.saturating_sub(self.retransmits_before),
                    rtt_us: tcp.rtt_us,
                    cwnd_packets: tcp.cwnd_packets,
                }),
            })
        });
        rows.collect()
    }
}

impl Sums {
    fn add(&mut self, bytes: u64, flow: &Exchanged) {
        self.samples.add(bytes, Duration::from_nanos(flow.time_ns));
        self.add_cpu(flow.sent.cpu_ns, flow.received.cpu_ns);
        self.count(flow);
    }

    /// Adds both ways at once, which took as long as the slower one. The client is called the sender.
    fn add_both(&mut self, bytes: u64, forward: &Exchanged, backward: &Exchanged) {
        let time = forward.time_ns.max(backward.time_ns);
        self.samples.add(2 * bytes, Duration::from_nanos(time));
        self.add_cpu(forward.sent.cpu_ns, forward.received.cpu_ns);
        self.count(forward);
        self.count(backward);
    }

    /// Adds the CPU time of both ends. One of the two is what the other side says, however much.
    const fn add_cpu(&mut self, sender_ns: u64, receiver_ns: u64) {
        self.sender_cpu = self.sender_cpu.saturating_add(Duration::from_nanos(sender_ns));
        self.receiver_cpu = self.receiver_cpu.saturating_add(Duration::from_nanos(receiver_ns));
    }

    fn count(&mut self, flow: &Exchanged) {
        for &ns in &flow.received.message_times_ns {
            self.messages.get_or_insert_default().add(0, Duration::from_nanos(ns));
        }
        self.sent += flow.sent.bytes;
        self.landed += flow.received.landed;
        self.unpacked += flow.received.unpacked;
        self.unverified += u64::from(flow.received.verified != Some(true));
    }
}

impl Way {
    /// Returns the bytes that a message of this way moves.
    const fn bytes(self, bytes: u64) -> u64 {
        if matches!(self, Self::Both) { 2 * bytes } else { bytes }
    }
}

/// Returns the kind of ceiling that is measured for these settings.
#[must_use]
pub const fn kind(settings: &Settings) -> CeilingKind {
    match settings.flow {
        Flow::RoundTrip => CeilingKind::SocketPingPong,
        _ if settings.ceiling_is_pipeline() => CeilingKind::GpuPipeline,
        _ => CeilingKind::Sockets,
    }
}

/// Returns the sender's counters after a run; the client's if both send.
#[must_use]
pub fn tcp_of(outcome: &Outcome) -> Option<TcpCounters> {
    [&outcome.sent, &outcome.received].into_iter().flatten().find_map(|flow| flow.sent.tcp)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_time_is_added_up_to_the_most_that_there_is() {
        let mut sums = Sums { sender_cpu: Duration::MAX, receiver_cpu: Duration::MAX, ..Sums::default() };
        sums.add_cpu(1, u64::MAX);
        assert_eq!((sums.sender_cpu, sums.receiver_cpu), (Duration::MAX, Duration::MAX));
    }
}
