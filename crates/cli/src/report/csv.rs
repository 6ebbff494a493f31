//! The results as comma-separated values: one line for each, with the same columns for every measurement.
//! Columns that do not apply are empty.

use super::Row;

/// Returns the names of the columns.
#[must_use]
pub fn head() -> String {
    let names: Vec<&str> = COLUMNS.iter().map(|(name, _)| *name).collect();
    names.join(",") + "\n"
}

/// Returns one result's line.
#[must_use]
pub fn row(row: &Row) -> String {
    let cells: Vec<String> = COLUMNS.iter().map(|(_, cell)| cell(row)).collect();
    cells.join(",") + "\n"
}

type Column = (&'static str, fn(&Row) -> String);

/// No cell holds a comma, a quote or a line break: all are numbers, one of our own words, or rid of them.
const COLUMNS: &[Column] = &[
    ("bytes", |row| row.bytes.to_string()),
    ("way", |row| row.way.to_string()),
    ("transport", |row| row.transport.to_string()),
    ("memory", |row| row.memory.to_string()),
    ("destination", |row| row.destination.to_string()),
    ("source_gpu", |row| words(row.source_gpu.as_deref())),
    ("destination_gpu", |row| words(row.destination_gpu.as_deref())),
    ("unpack", |row| row.unpack.to_string()),
    ("chunk_bytes", |row| count(row.chunk_bytes)),
    ("send_window", |row| count(row.window.map(|window| window.send))),
    ("recv_window", |row| count(row.window.map(|window| window.recv))),
    ("streams", |row| row.streams.to_string()),
    ("channels", |row| row.channels.to_string()),
    ("iterations", |row| row.iterations.to_string()),
    ("gb_per_s_median", |row| number(row.goodput_gb_per_s.map(|goodput| goodput.median))),
    ("gb_per_s_min", |row| number(row.goodput_gb_per_s.map(|goodput| goodput.min))),
    ("gb_per_s_max", |row| number(row.goodput_gb_per_s.map(|goodput| goodput.max))),
    ("gb_per_s_mean", |row| number(row.goodput_gb_per_s.map(|goodput| goodput.mean))),
    ("gb_per_s_stddev", |row| number(row.goodput_gb_per_s.map(|goodput| goodput.stddev))),
    ("gbit_per_s_median", |row| number(row.goodput_gbit_per_s)),
    ("time_us_p50", |row| row.time_us.p50.to_string()),
    ("time_us_p99", |row| row.time_us.p99.to_string()),
    ("ceiling_kind", |row| row.ceiling.map(|ceiling| ceiling.kind.to_string()).unwrap_or_default()),
    ("ceiling_median", |row| number(row.ceiling.map(|ceiling| ceiling.median))),
    ("ceiling_min", |row| number(row.ceiling.map(|ceiling| ceiling.min))),
    ("ceiling_max", |row| number(row.ceiling.map(|ceiling| ceiling.max))),
    ("percent_of_ceiling", |row| number(row.percent_of_ceiling)),
    ("verified", |row| row.verified.map(|verified| verified.to_string()).unwrap_or_default()),
    ("bytes_sent", |row| row.bytes_sent.to_string()),
    ("bytes_landed", |row| row.bytes_landed.to_string()),
    ("bytes_unpacked", |row| row.bytes_unpacked.to_string()),
    ("sender_cpu_s_per_gb", |row| number(row.cpu_s_per_gb.map(|cpu| cpu.sender))),
    ("receiver_cpu_s_per_gb", |row| number(row.cpu_s_per_gb.map(|cpu| cpu.receiver))),
    ("retransmits", |row| row.tcp.map(|tcp| tcp.retransmits.to_string()).unwrap_or_default()),
    ("op", |row| row.one_sided.map(|one_sided| one_sided.op.to_string()).unwrap_or_default()),
    ("blocks", |row| count(row.one_sided.map(|one_sided| one_sided.blocks))),
    ("block_bytes", |row| count(row.one_sided.map(|one_sided| one_sided.block_bytes))),
    ("scatter", |row| row.one_sided.map(|one_sided| one_sided.scatter.to_string()).unwrap_or_default()),
    ("depth", |row| row.depth.to_string()),
    ("messages", |row| row.messages.to_string()),
];

fn count(value: Option<impl Into<u64>>) -> String {
    value.map(|value| value.into().to_string()).unwrap_or_default()
}

fn number(value: Option<f64>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn words(text: Option<&str>) -> String {
    text.unwrap_or_default().chars().filter(|c| !matches!(c, ',' | '"') && !c.is_control()).collect()
}
