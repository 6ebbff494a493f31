//! The documents that `scripts/bench_results.py` writes: the fields that the page shows.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// One document, by its schema.
#[derive(Debug, Deserialize)]
#[serde(tag = "schema")]
pub(super) enum Document {
    #[serde(rename = "gputcp.results/1")]
    Transfers(Transfers),
    #[serde(rename = "gputcp.nccl-bench/2")]
    Nccl(Nccl),
    #[serde(rename = "gputcp.train-step/1")]
    Training(Nccl),
}

/// The machine of a document.
#[derive(Clone, Debug, Deserialize, PartialEq)]
pub(super) struct Machine {
    pub(super) name: String,
    pub(super) cpu: String,
    pub(super) cores: u32,
    pub(super) memory_gib: u32,
    pub(super) kernel: String,
    pub(super) gpus: Vec<String>,
    pub(super) driver: Option<String>,
}

/// The machine, the tree and the day of a document.
#[derive(Debug, Deserialize)]
pub(super) struct Origin {
    pub(super) machine: Machine,
    pub(super) commit: Option<String>,
    pub(super) taken: String,
    /// The number of threads that wanted each core before.
    pub(super) load_per_core: f64,
}

/// Reports of the command that answer one question.
#[derive(Debug, Deserialize)]
pub(super) struct Transfers {
    pub(super) question: Question,
    #[serde(flatten)]
    pub(super) origin: Origin,
    pub(super) runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Question {
    Gpu,
    Host,
    Soft,
    Sizes,
    RoundTrips,
}

/// One report of the command (`gputcp.report/1`).
#[derive(Debug, Deserialize)]
pub(super) struct Run {
    pub(super) command: String,
    pub(super) report: Report,
}

#[derive(Debug, Deserialize)]
pub(super) struct Report {
    pub(super) interrupted: bool,
    pub(super) results: Vec<Row>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Row {
    pub(super) bytes: u64,
    pub(super) streams: u32,
    pub(super) memory: String,
    pub(super) destination: String,
    pub(super) goodput_gb_per_s: Option<Goodput>,
    pub(super) time_us: Times,
    pub(super) ceiling: Option<Ceiling>,
    pub(super) percent_of_ceiling: Option<f64>,
    pub(super) verified: Option<bool>,
    pub(super) cpu_s_per_gb: Option<CpuCost>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Goodput {
    pub(super) median: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Times {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Ceiling {
    pub(super) median: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct CpuCost {
    pub(super) sender: f64,
    pub(super) receiver: f64,
}

/// Starts of a program over several networks, of `nccl_bench.py` or `train_step.py`.
#[derive(Debug, Deserialize)]
pub(super) struct Nccl {
    #[serde(flatten)]
    pub(super) origin: Origin,
    /// The model of a training step, in words.
    pub(super) model: Option<String>,
    /// Whether the model is one for rehearsals.
    #[serde(default)]
    pub(super) tiny: bool,
    pub(super) ranks: u32,
    pub(super) torch: String,
    pub(super) backend: String,
    pub(super) starts: Vec<Start>,
}

/// One network, measured in one round.
#[derive(Debug, Deserialize)]
pub(super) struct Start {
    pub(super) config: String,
    pub(super) round: u32,
    pub(super) nccl: String,
    pub(super) faults: Vec<String>,
    pub(super) measures: Vec<Measure>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Measure {
    pub(super) kind: String,
    pub(super) bytes: u64,
    pub(super) ranks: u32,
    pub(super) seconds: Vec<f64>,
    pub(super) wire_bytes: u64,
    /// CPU time of all ranks, and the part of their main threads, which spin while they wait for the GPU.
    pub(super) cpu_s: f64,
    pub(super) main_cpu_s: f64,
}

impl Document {
    /// Returns the reports that answer `question`, if they do.
    pub(super) fn transfers(&self, question: Question) -> Option<&Transfers> {
        if let Self::Transfers(one) = self { Some(one).filter(|one| one.question == question) } else { None }
    }

    pub(super) fn nccl(&self) -> Option<&Nccl> {
        if let Self::Nccl(one) = self { Some(one) } else { None }
    }

    pub(super) fn training(&self) -> Option<&Nccl> {
        if let Self::Training(one) = self { Some(one) } else { None }
    }

    pub(super) fn origin(&self) -> &Origin {
        match self {
            Self::Transfers(one) => &one.origin,
            Self::Nccl(one) | Self::Training(one) => &one.origin,
        }
    }

    /// Refuses figures that must not stand on a page: unverified, cut short, or of a rehearsal.
    fn must_be_whole(&self) -> Result<()> {
        match self {
            Self::Transfers(one) => {
                ensure!(!one.runs.is_empty(), "it has no run");
                for run in &one.runs {
                    ensure!(!run.report.interrupted, "{} was interrupted", run.command);
                    let is_verified = run.report.results.iter().all(|row| row.verified == Some(true));
                    ensure!(is_verified, "{} did not verify its data", run.command);
                }
            }
            Self::Nccl(one) | Self::Training(one) => {
                ensure!(one.backend == "nccl", "it is a rehearsal over {}", one.backend);
                ensure!(!one.tiny, "it is a rehearsal with a tiny model");
                ensure!(!one.starts.is_empty(), "it has no start");
                for start in &one.starts {
                    ensure!(
                        start.faults.is_empty(),
                        "{} has faults: {}",
                        start.config,
                        start.faults.join("; ")
                    );
                }
            }
        }
        Ok(())
    }
}

/// Reads every document of a folder, in the order of their names.
pub(super) fn read(folder: &Path) -> Result<Vec<Document>> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).with_context(|| format!("looking into {}", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "json") {
            paths.push(path);
        }
    }
    paths.sort();
    let mut documents = Vec::new();
    for path in paths {
        let document = parse(&fs::read_to_string(&path)?).with_context(|| path.display().to_string())?;
        documents.push(document);
    }
    Ok(documents)
}

fn parse(text: &str) -> Result<Document> {
    let document: Document = serde_json::from_str(text)?;
    document.must_be_whole()?;
    Ok(document)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A document of `bench_results.py` with one run a goodput.
    pub(in super::super) fn transfers(question: &str, goodputs: &[f64]) -> Document {
        parse(&text(question, goodputs)).expect("well formed")
    }

    /// The same as it is in a file.
    pub(in super::super) fn text(question: &str, goodputs: &[f64]) -> String {
        let runs: Vec<String> = goodputs.iter().map(|goodput| run(*goodput, "true")).collect();
        document(question, &runs.join(","))
    }

    fn document(question: &str, runs: &str) -> String {
        format!(
            r#"{{"schema": "gputcp.results/1", "question": "{question}", "commit": "0f4eb3a", "taken": "2026-01-02",
            "machine": {{"name": "two-cores", "cpu": "A | B", "cores": 2, "memory_gib": 24, "kernel": "6.18.1",
            "gpus": [], "driver": null}}, "more": 1, "load_per_core": 0.1, "runs": [{runs}]}}"#
        )
    }

    fn run(goodput: f64, verified: &str) -> String {
        format!(
            r#"{{"command": "gputcp loopback -m host", "round": 0, "report": {{"interrupted": false, "results": [
            {{"bytes": 65536, "streams": 2, "memory": "host", "destination": "host",
            "goodput_gb_per_s": {{"median": {goodput}}}, "time_us": {{"p50": 10.0, "p99": 20.0}},
            "ceiling": {{"median": 8.0}}, "percent_of_ceiling": {}, "verified": {verified},
            "cpu_s_per_gb": {{"sender": 0.2, "receiver": 0.1}}}}]}}}}"#,
            goodput / 8.0 * 100.0
        )
    }

    /// A document of `nccl_bench.py` or `train_step.py`.
    pub(in super::super) fn nccl(
        schema: &str,
        kind: &str,
        bytes: u64,
        starts: &[(&str, u32, f64)],
    ) -> Document {
        let starts: Vec<String> = starts
            .iter()
            .map(|(config, round, seconds)| {
                format!(
                    r#"{{"config": "{config}", "round": {round}, "nccl": "2.28.9", "faults": [], "measures": [
                    {{"kind": "{kind}", "bytes": {bytes}, "ranks": 2, "seconds": [{seconds}], "wire_bytes": {bytes},
                    "cpu_s": 0.5, "main_cpu_s": 0.1}}]}}"#
                )
            })
            .collect();
        let text = format!(
            r#"{{"schema": "{schema}", "commit": null, "taken": "2026-01-02", "ranks": 2, "torch": "2.11.0",
            "backend": "nccl", "load_per_core": 0.1, "model": "a GPT", "starts": [{}], "machine": {{"name": "two-gpus", "cpu": "C", "cores": 32,
            "memory_gib": 256, "kernel": "6.18.1", "gpus": ["H200", "H200"], "driver": "580"}}}}"#,
            starts.join(",")
        );
        parse(&text).expect("well formed")
    }

    #[test]
    fn figures_that_nobody_verified_are_refused() {
        for verified in ["false", "null"] {
            let error = parse(&document("host", &run(1.0, verified))).expect_err("not verified");
            assert!(error.to_string().contains("did not verify"), "{error}");
        }
        assert!(parse(&document("host", "")).is_err());
    }

    #[test]
    fn other_schemas_and_questions_are_refused() {
        assert!(parse(r#"{"schema": "gputcp.report/1"}"#).is_err());
        assert!(parse(&document("speed", &run(1.0, "true"))).is_err());
        assert!(parse("").is_err());
    }

    #[test]
    fn a_rehearsal_is_no_result() {
        let text = r#"{"schema": "gputcp.nccl-bench/2", "machine": {"name": "a", "cpu": "b", "cores": 1,
            "memory_gib": 1, "kernel": "6", "gpus": [], "driver": null}, "commit": null, "taken": "2026-01-02",
            "load_per_core": 0.1, "ranks": 2, "torch": "2", "backend": "gloo", "starts": []}"#;
        assert!(parse(text).expect_err("a rehearsal").to_string().contains("gloo"));
    }
}
