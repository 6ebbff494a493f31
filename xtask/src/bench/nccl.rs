//! Sections of NCCL over several networks, and of a training step over them.

use std::fmt::Write as _;

use super::{
    figures::{median, shown, size},
    page::Page,
    plot::{Plot, Scale, Series},
    results::{Document, Measure, Nccl},
};

/// Adds NCCL's operations over each network, with a plot for each operation.
pub(super) fn networks(page: &mut Page, documents: &[Document], missing: &mut Vec<&str>) {
    let of: Vec<&Nccl> = documents.iter().filter_map(Document::nccl).collect();
    if of.is_empty() {
        missing.push(NETWORKS);
        return;
    }
    let _ = write!(page.text, "\n## {NETWORKS}\n\n{OF_NETWORKS}\n");
    for document in of {
        for (kind, unit) in [("send/recv", "rate, GB/s"), ("all_reduce", "bus bandwidth, GB/s")] {
            plot(page, document, kind, unit);
        }
        let name = |kind: &str, bytes| {
            let unit = if bytes < LATENCY_BELOW { "µs" } else { "GB/s" };
            (!["idle", "waiting"].contains(&kind)).then(|| format!("{kind} {}, {unit}", size(bytes)))
        };
        table(page, document, &View { name: &name, figure: &speed, compared: "times as fast as" });
        let name = |kind: &str, bytes| {
            let is_bulk = ["all_reduce", "in a row"].contains(&kind) && bytes >= LATENCY_BELOW;
            is_bulk.then(|| format!("{kind} {}, CPU s/GB", size(bytes)))
        };
        table(page, document, &View { name: &name, figure: &cost, compared: "times the CPU time of" });
    }
}

/// Adds a training step over each network.
pub(super) fn training(page: &mut Page, documents: &[Document], missing: &mut Vec<&str>) {
    let of: Vec<&Nccl> = documents.iter().filter_map(Document::training).collect();
    if of.is_empty() {
        missing.push(TRAINING);
        return;
    }
    let _ = write!(page.text, "\n## {TRAINING}\n\n{OF_TRAINING}\n");
    let name = |kind: &str, bytes| {
        Some(if bytes > 0 { format!("{kind} {}, µs", size(bytes)) } else { format!("{kind}, ms") })
    };
    let time = |one: &Measure| {
        let seconds = median(one.seconds.clone())?;
        Some((seconds * if one.bytes > 0 { 1e6 } else { 1e3 }, 1.0 / seconds))
    };
    for document in of {
        table(page, document, &View { name: &name, figure: &time, compared: "times as fast as" });
    }
}

/// A table's rows and cells.
struct View<'a> {
    /// Names a measure by its kind and bytes, if it has a row.
    name: &'a dyn Fn(&str, u64) -> Option<String>,
    figure: Figure<'a>,
    /// The meaning of the ratio to the first network.
    compared: &'a str,
}

/// Returns what is shown of a measure, and what is compared.
type Figure<'a> = &'a dyn Fn(&Measure) -> Option<(f64, f64)>;

/// Returns a time or a rate; what is compared is higher where it is better.
fn speed(one: &Measure) -> Option<(f64, f64)> {
    let seconds = median(one.seconds.clone())?;
    if one.bytes < LATENCY_BELOW {
        return Some((seconds * 1e6, 1.0 / seconds));
    }
    rate(one).map(|rate| (rate, rate))
}

/// Returns GB/s over the network; of an all-reduce those of one rank, its bus bandwidth.
fn rate(one: &Measure) -> Option<f64> {
    let seconds = median(one.seconds.clone())?;
    let rate = one.wire_bytes as f64 / one.seconds.len() as f64 / seconds / 1e9;
    Some(if one.kind == "all_reduce" { rate / f64::from(one.ranks) } else { rate })
}

/// Returns CPU seconds per GB over the network, without the main threads.
fn cost(one: &Measure) -> Option<(f64, f64)> {
    let cost = (one.cpu_s - one.main_cpu_s) / (one.wire_bytes as f64 / 1e9);
    cost.is_finite().then_some((cost, cost))
}

/// Adds a table: a row for each measure that has a name, a column for each network with its ratio to the
/// first one's.
fn table(page: &mut Page, of: &Nccl, view: &View<'_>) {
    let configs = configs(of);
    let named: Vec<_> = measured(of)
        .into_iter()
        .filter_map(|(kind, bytes)| Some((kind, bytes, (view.name)(kind, bytes)?)))
        .collect();
    if named.is_empty() {
        return;
    }
    let nccl = of.starts.iter().find(|start| !start.nccl.is_empty()).map_or("", |start| &start.nccl);
    let model = of.model.as_ref().map_or_else(String::new, |model| format!("; {model}"));
    let _ = write!(
        page.text,
        "\nOn {}, {} ranks, NCCL {nccl}, PyTorch {}{model}. In brackets: {} {}.\n",
        of.origin.machine.name, of.ranks, of.torch, view.compared, configs[0]
    );
    let mut heads = vec![of.origin.machine.name.as_str()];
    heads.extend(&configs);
    page.head(&heads);
    for (kind, bytes, name) in named {
        let mut row = vec![name];
        let base = rounds(of, configs[0], kind, bytes, view.figure);
        for config in &configs {
            let mine = rounds(of, config, kind, bytes, view.figure);
            let ratios = mine.iter().filter_map(|(round, (_, mine))| {
                base.iter().find(|(other, _)| other == round).map(|(_, (_, base))| mine / base)
            });
            let ratio = median(ratios.collect()).filter(|_| *config != configs[0]);
            let value = shown(median(mine.iter().map(|(_, (value, _))| *value).collect()));
            row.push(ratio.map_or_else(|| value.clone(), |ratio| format!("{value} ({ratio:.2})")));
        }
        page.row(&row);
    }
}

/// Adds a plot of one operation's rate over each network, from the sizes that have one.
fn plot(page: &mut Page, of: &Nccl, kind: &str, unit: &'static str) {
    let series: Vec<Series> = configs(of)
        .into_iter()
        .map(|config| {
            let here =
                measured(of).into_iter().filter(|(other, bytes)| *other == kind && *bytes >= RATE_FROM);
            let points = here.filter_map(|(_, bytes)| {
                let rates = rounds(of, config, kind, bytes, &|one| rate(one).map(|rate| (rate, rate)));
                Some((bytes, median(rates.iter().map(|(_, (rate, _))| *rate).collect())?))
            });
            Series { name: config.to_owned(), is_bare: false, points: points.collect() }
        })
        .collect();
    if series.iter().all(|one| one.points.is_empty()) {
        return;
    }
    let file = format!("{}-nccl-{}.svg", of.origin.machine.name, kind.replace(['/', '_', ' '], "-"));
    let title = format!("NCCL, {}: {kind} by size", of.origin.machine.name);
    page.plot(file, &Plot { title, unit, scale: Scale::Linear, series });
}

fn configs(of: &Nccl) -> Vec<&str> {
    let mut found: Vec<&str> = Vec::new();
    for start in &of.starts {
        if !found.contains(&start.config.as_str()) {
            found.push(&start.config);
        }
    }
    found
}

/// Returns kinds and sizes in the order in which they were measured.
fn measured(of: &Nccl) -> Vec<(&str, u64)> {
    let mut found = Vec::new();
    for one in of.starts.iter().flat_map(|start| &start.measures) {
        if !found.contains(&(one.kind.as_str(), one.bytes)) {
            found.push((&one.kind, one.bytes));
        }
    }
    found
}

/// Returns the figure of a network in each round.
fn rounds(of: &Nccl, config: &str, kind: &str, bytes: u64, figure: Figure<'_>) -> Vec<(u32, (f64, f64))> {
    let starts = of.starts.iter().filter(|start| start.config == config);
    let all = starts.flat_map(|start| start.measures.iter().map(move |one| (start.round, one)));
    let here = all.filter(|(_, one)| one.kind == kind && one.bytes == bytes);
    here.filter_map(|(round, one)| Some((round, figure(one)?))).collect()
}

/// Below this size a time is shown, and a rate from it on.
const LATENCY_BELOW: u64 = 1 << 20;
/// A rate is plotted from this size on.
const RATE_FROM: u64 = 64 << 10;
const NETWORKS: &str = "NCCL over the plugin beside its own sockets";
const OF_NETWORKS: &str = "\
From GPU memory to GPU memory, with NVLink and shared memory switched off (`scripts/nccl_bench.py`). Below 1 MiB a
cell is a time, from there on a rate: of an all-reduce the bus bandwidth. A send is timed to a one-byte reply. CPU
time is that of all threads but the main ones, which spin while they wait for a GPU.";
const TRAINING: &str = "A training step";
const OF_TRAINING: &str = "\
With NVLink and shared memory switched off (`scripts/train_step.py`). \"alone\" is the same step without communication.";

#[cfg(test)]
mod tests {
    use super::{super::results::tests::nccl, *};

    const STARTS: [(&str, u32, f64); 4] =
        [("socket", 0, 0.004), ("gputcp", 0, 0.001), ("gputcp", 1, 0.002), ("socket", 1, 0.004)];

    fn page(document: Document, make: fn(&mut Page, &[Document], &mut Vec<&str>)) -> (Page, usize) {
        let (mut page, mut missing) = (Page { text: String::new(), plots: Vec::new() }, Vec::new());
        make(&mut page, &[document], &mut missing);
        (page, missing.len())
    }

    #[test]
    fn rates_and_ratios_are_medians_over_the_rounds() {
        let (page, missing) = page(nccl("gputcp.nccl-bench/2", "send/recv", 4_000_000, &STARTS), networks);
        assert_eq!((missing, page.plots.len()), (0, 1));
        assert!(page.text.contains("| send/recv 4000000 B, GB/s | 1.00 | 3.00 (3.00) |\n"), "{}", page.text);
        assert!(!page.text.contains("CPU s/GB"), "only of operations in bulk: {}", page.text);
    }

    #[test]
    fn the_cpu_time_of_bulk_is_per_byte_on_the_wire() {
        let (page, _) = page(nccl("gputcp.nccl-bench/2", "all_reduce", 4_000_000, &STARTS), networks);
        assert!(
            page.text.contains("| all_reduce 4000000 B, CPU s/GB | 100 | 100 (1.00) |\n"),
            "{}",
            page.text
        );
    }

    #[test]
    fn short_messages_are_times_and_have_no_plot() {
        let (page, _) = page(nccl("gputcp.nccl-bench/2", "all_reduce", 8, &STARTS), networks);
        assert!(page.plots.is_empty());
        assert!(page.text.contains("| all_reduce 8 B, µs | 4000 | 1500 (3.00) |\n"), "{}", page.text);
    }

    #[test]
    fn a_training_step_is_milliseconds_and_an_operation_microseconds() {
        let (page, _) = page(nccl("gputcp.train-step/1", "DDP, fp32 gradients", 0, &STARTS), training);
        assert!(page.text.contains("| DDP, fp32 gradients, ms | 4.00 | 1.50 (3.00) |\n"), "{}", page.text);
        let (page, _) = self::page(nccl("gputcp.train-step/1", "all-to-all", 65536, &STARTS), training);
        assert!(page.text.contains("| all-to-all 64 KiB, µs | 4000 | 1500 (3.00) |\n"), "{}", page.text);
    }

    #[test]
    fn a_question_without_an_answer_is_missing() {
        let document = || nccl("gputcp.nccl-bench/2", "send/recv", 8, &STARTS);
        assert_eq!(page(document(), training).1, 1);
    }
}
