//! Sections of the command's own transfers.

use super::{
    figures::{Line, ceiling, cpu, goodput, lines, range, shown, size},
    page::Page,
    plot::{Plot, Scale, Series},
    results::Transfers,
};

/// Adds a table of rates beside what the same run reached without a protocol.
pub(super) fn beside_a_ceiling(page: &mut Page, of: &[&Transfers], are_gpus: bool) {
    let bare = if are_gpus { "bare pipeline, GB/s" } else { "bare sockets, GB/s" };
    page.head(&[
        "machine",
        "size",
        "streams",
        "gputcp, GB/s",
        "runs",
        bare,
        "share",
        "CPU s/GB, both ends",
        "command",
    ]);
    for document in of {
        for line in lines(document) {
            page.row(&[
                document.origin.machine.name.clone(),
                size(line.bytes()),
                line.rows[0].streams.to_string(),
                shown(line.median(goodput)),
                range(&line.each(goodput)),
                shown(line.median(ceiling)),
                share(&line),
                shown(line.median(cpu)),
                format!("`{}`", line.command),
            ]);
        }
    }
}

/// Adds a plot and a table of rates by size for each machine.
pub(super) fn sizes(page: &mut Page, of: &[&Transfers]) {
    for document in of {
        let lines = lines(document);
        let machine = &document.origin.machine.name;
        let plot = |title, lines: &[&Line<'_>]| Plot {
            title,
            unit: "rate, GB/s",
            scale: Scale::Linear,
            series: both(lines, goodput),
        };
        for memory in memories(&lines) {
            let here: Vec<&Line<'_>> = lines.iter().filter(|line| line.memory() == memory).collect();
            let title = format!("{}, {machine}: rate by size", full_name(&memory));
            page.plot(format!("{machine}-sizes-{memory}.svg"), &plot(title, &here));
        }
        by_size(page, machine, &lines, "GB/s", goodput);
    }
}

/// Adds a plot and a table of round trips by size for each machine.
pub(super) fn round_trips(page: &mut Page, of: &[&Transfers]) {
    for document in of {
        let lines = lines(document);
        let machine = &document.origin.machine.name;
        let all: Vec<&Line<'_>> = lines.iter().collect();
        let mut series = Vec::new();
        for memory in memories(&lines) {
            let here: Vec<&Line<'_>> = all.iter().copied().filter(|line| line.memory() == memory).collect();
            // All are held against the same socket: one dashed line is enough.
            series.extend(
                both(&here, |row| Some(row.time_us.p50))
                    .into_iter()
                    .filter(|one| !one.is_bare || memory == "host"),
            );
        }
        let title = format!("{machine}: median round trip by size");
        let plot = Plot { title, unit: "median round trip, µs (logarithmic)", scale: Scale::Log, series };
        page.plot(format!("{machine}-round-trips.svg"), &plot);
        by_size(page, machine, &lines, "µs", |row| Some(row.time_us.p50));
        let mut heads = vec!["99th of 100, µs".to_owned()];
        heads.extend(memories(&lines).iter().map(|memory| full_name(memory)));
        page.head(&heads.iter().map(String::as_str).collect::<Vec<_>>());
        each_size(page, &lines, |line| vec![shown(line.median(|row| Some(row.time_us.p99)))]);
    }
}

/// Adds a table with a row for each size. Each memory has a column of ours, of the bare one and of the share.
fn by_size(
    page: &mut Page,
    machine: &str,
    lines: &[Line<'_>],
    unit: &str,
    figure: fn(&super::results::Row) -> Option<f64>,
) {
    let mut heads = vec![machine.to_owned()];
    for memory in memories(lines) {
        heads.extend([format!("{}, {unit}", full_name(&memory)), format!("bare, {unit}"), "share".into()]);
    }
    page.head(&heads.iter().map(String::as_str).collect::<Vec<_>>());
    each_size(page, lines, |line| vec![shown(line.median(figure)), shown(line.median(ceiling)), share(line)]);
}

fn each_size(page: &mut Page, lines: &[Line<'_>], cells: impl Fn(&Line<'_>) -> Vec<String>) {
    let mut sizes: Vec<u64> = lines.iter().map(Line::bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    for bytes in sizes {
        let mut row = vec![size(bytes)];
        for memory in memories(lines) {
            let found = lines.iter().find(|line| line.bytes() == bytes && line.memory() == memory);
            row.extend(found.map_or_else(|| vec!["–".into(); cells(&lines[0]).len()], &cells));
        }
        page.row(&row);
    }
}

/// Returns a line of ours and one of the bare figures.
fn both(lines: &[&Line<'_>], figure: fn(&super::results::Row) -> Option<f64>) -> Vec<Series> {
    let points = |figure: fn(&super::results::Row) -> Option<f64>| {
        let mut points: Vec<(u64, f64)> =
            lines.iter().filter_map(|line| Some((line.bytes(), line.median(figure)?))).collect();
        points.sort_by_key(|(bytes, _)| *bytes);
        points
    };
    let Some(first) = lines.first() else { return Vec::new() };
    let memory = first.memory();
    let bare = match (&memory[..], first.rows[0].goodput_gb_per_s.is_some()) {
        ("cuda", true) => "bare pipeline",
        (_, true) => "bare sockets",
        (_, false) => "one bare socket",
    };
    vec![
        Series { name: format!("gputcp, {}", full_name(&memory)), is_bare: false, points: points(figure) },
        Series { name: bare.into(), is_bare: true, points: points(ceiling) },
    ]
}

/// Returns the kinds of memory in the order in which they were measured.
fn memories(lines: &[Line<'_>]) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for line in lines {
        if !found.contains(&line.memory()) {
            found.push(line.memory());
        }
    }
    found
}

fn full_name(memory: &str) -> String {
    match memory {
        "host" => "host memory".into(),
        "soft" => "software GPU".into(),
        "cuda" => "GPU to GPU".into(),
        other => other.into(),
    }
}

fn share(line: &Line<'_>) -> String {
    line.median(|row| row.percent_of_ceiling).map_or_else(|| shown(None), |percent| format!("{percent:.0} %"))
}

#[cfg(test)]
mod tests {
    use super::{
        super::results::{Document, tests::transfers},
        *,
    };

    fn page(make: impl Fn(&mut Page, &[&Transfers])) -> Page {
        let Document::Transfers(document) = transfers("host", &[4.0, 2.0, 8.0]) else { panic!("transfers") };
        let mut page = Page { text: String::new(), plots: Vec::new() };
        make(&mut page, &[&document]);
        page
    }

    #[test]
    fn rates_are_beside_their_ceiling() {
        let page = page(|page, of| beside_a_ceiling(page, of, false));
        let row =
            "| two-cores | 64 KiB | 2 | 4.00 | 2.00–8.00 | 8.00 | 50 % | 0.300 | `gputcp loopback -m host` |";
        assert!(page.text.ends_with(&format!("{row}\n")), "{}", page.text);
    }

    #[test]
    fn sizes_have_a_plot_and_a_row() {
        let page = page(sizes);
        assert_eq!(page.plots[0].0, "two-cores-sizes-host.svg");
        assert!(page.text.contains("](plots/two-cores-sizes-host.svg)\n"), "{}", page.text);
        assert!(page.text.ends_with("| 64 KiB | 4.00 | 8.00 | 50 % |\n"), "{}", page.text);
    }

    #[test]
    fn round_trips_have_their_slow_ones() {
        let page = page(round_trips);
        assert_eq!(page.plots.len(), 1);
        assert!(page.text.contains("| 64 KiB | 10.0 | 8.00 | 50 % |\n"), "{}", page.text);
        assert!(page.text.ends_with("| 64 KiB | 20.0 |\n"), "{}", page.text);
    }
}
