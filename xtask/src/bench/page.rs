//! The page: one section for each question, from the documents that answer it.

use std::fmt::Write as _;

use super::{
    nccl,
    results::{Document, Machine, Question, Transfers},
    transfers,
};

/// The page and its plots, by file name.
pub(super) struct Page {
    pub(super) text: String,
    pub(super) plots: Vec<(String, String)>,
}

pub(super) fn make(documents: &[Document]) -> Page {
    let mut page = Page { text: HEAD.to_owned(), plots: Vec::new() };
    machines(&mut page, documents);
    let mut missing = Vec::new();
    for (question, title, explained) in QUESTIONS {
        let of: Vec<&Transfers> = documents.iter().filter_map(|one| one.transfers(question)).collect();
        if of.is_empty() {
            missing.push(title);
            continue;
        }
        let _ = write!(page.text, "\n## {title}\n\n{explained}\n");
        match question {
            Question::Sizes => transfers::sizes(&mut page, &of),
            Question::RoundTrips => transfers::round_trips(&mut page, &of),
            _ => transfers::beside_a_ceiling(&mut page, &of, question == Question::Gpu),
        }
    }
    nccl::networks(&mut page, documents, &mut missing);
    nccl::training(&mut page, documents, &mut missing);
    if !missing.is_empty() {
        let _ = write!(page.text, "\n## Not measured for this tree\n\n- {}\n", missing.join("\n- "));
    }
    page.text.push_str(AGAIN);
    page
}

impl Page {
    /// Adds the heading and the separator of a table.
    pub(super) fn head(&mut self, cells: &[&str]) {
        self.text.push('\n');
        self.row(&cells.iter().map(|cell| (*cell).to_owned()).collect::<Vec<_>>());
        let _ = writeln!(self.text, "|{}", "---|".repeat(cells.len()));
    }

    /// Adds a row of a table.
    pub(super) fn row(&mut self, cells: &[String]) {
        let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(self.text, "| {} |", cells.join(" | "));
    }

    /// Adds a plot as a picture.
    pub(super) fn plot(&mut self, file: String, plot: &super::plot::Plot) {
        let _ = write!(self.text, "\n![{}](plots/{file})\n", plot.title);
        self.plots.push((file, plot.svg()));
    }
}

/// Adds a row for each machine, commit and day.
fn machines(page: &mut Page, documents: &[Document]) {
    page.text.push_str("\n## Machines\n");
    page.head(&[
        "machine",
        "processor",
        "cores",
        "memory",
        "GPUs",
        "kernel",
        "commit",
        "taken",
        "load per core",
    ]);
    let mut rows: Vec<(Vec<String>, f64)> = Vec::new();
    for document in documents {
        let row = machine(document.machine(), document.commit(), document.taken());
        let load = document.load_per_core();
        match rows.iter_mut().find(|(other, _)| *other == row) {
            Some((_, highest)) => *highest = highest.max(load),
            None => rows.push((row, load)),
        }
    }
    for (mut row, load) in rows {
        row.push(format!("{load:.1}"));
        page.row(&row);
    }
    page.text.push_str(LOAD);
}

fn machine(machine: &Machine, commit: Option<&str>, taken: &str) -> Vec<String> {
    let driver = machine.driver.as_ref().map_or_else(String::new, |driver| format!(", driver {driver}"));
    let gpus = match &machine.gpus[..] {
        [] => "none".into(),
        [first, rest @ ..] if rest.iter().all(|other| other == first) => {
            format!("{} × {first}{driver}", machine.gpus.len())
        }
        all => format!("{}{driver}", all.join(", ")),
    };
    vec![
        machine.name.clone(),
        machine.cpu.clone(),
        machine.cores.to_string(),
        format!("{} GiB", machine.memory_gib),
        gpus,
        machine.kernel.clone(),
        commit.unwrap_or("unknown").to_owned(),
        taken.to_owned(),
    ]
}

/// Each question of the command, its heading and what its figures are.
const QUESTIONS: [(Question, &str, &str); 5] = [
    (
        Question::Gpu,
        "GPU to GPU beside the bare pipeline",
        "The bare pipeline stages slices through the same sockets with rings of the same size, and has no protocol.\n\
         The share of it is the median of the ratios within each run.",
    ),
    (
        Question::Host,
        "Host memory beside bare sockets",
        "Bare sockets are as many, with the same options, from and to the same cold memory, in the same run.\n\
         The share of them is the median of the ratios within each run.",
    ),
    (
        Question::Soft,
        "The software GPU beside bare sockets",
        "The software GPU stages, bounces and unpacks as a GPU does, with threads instead of hardware.\n\
         Bare sockets move the same bytes between host memory.",
    ),
    (Question::Sizes, "By size", "Dashed lines and the columns \"bare\" are the same run's ceiling."),
    (
        Question::RoundTrips,
        "Round trips",
        "A message there and back. The bare round trip is a ping-pong over one socket and host memory.",
    ),
];

const HEAD: &str = "\
<!-- Generated by `cargo xtask bench-report` from results/*.json: do not edit. -->
# Measured figures

Every figure is of the tree at the commit beside its machine. Each byte in a timed message was verified at its
destination. GB are decimal. Both ends are on one machine, over loopback, unless a section says otherwise.
[How they are taken](method.md). [Figures of earlier trees](history.md).
";
const LOAD: &str = "
The load is the highest that the machine had before a question: threads that wanted a core, in the last minute. From
0.5 on other programs took part of the cores, and figures are lower than the machine can do.
";
const AGAIN: &str = "
## To take them again

`python3 scripts/bench_results.py docs/benchmarks/results --machine NAME` measures on a machine. It needs a built
gputcp, and neither cargo nor a network. `cargo xtask bench-report` makes this page of the results.
";
