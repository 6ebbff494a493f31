//! The printed forms of fixed results.

use std::time::Duration;

use crate::session::Role;

use super::{gpus::Gpus, *};
use crate::{
    bootstrap::message::{Received, Sent},
    failure::Failure,
    measure::{
        run::{Exchanged, Outcome},
        tally::Tally,
    },
    settings::{
        Operation, asked::MeasureArgs, environment::Environment, one_sided::OneSidedArgs,
        request::MeasureRequest,
    },
};

fn settings(args: MeasureArgs) -> Settings {
    let mut settings = MeasureRequest::new(args, &Environment::default()).unwrap().settings;
    settings.streams = 2;
    settings.sockets.congestion = "cubic".parse().ok();
    settings
}

fn flow(bytes: u64, micros: u64) -> Exchanged {
    Exchanged {
        time_ns: 1000 * micros,
        sent: Sent {
            bytes,
            chunks: 128,
            cpu_ns: 20_000_000,
            tcp: Some(TcpCounters { retransmits: 3, rtt_us: 120, cwnd_packets: 80 }),
        },
        received: Received {
            time_ns: 1000 * micros,
            landed: bytes,
            unpacked: bytes,
            chunks: 128,
            cpu_ns: 25_000_000,
            verified: Some(true),
            mismatch: None,
            message_times_ns: vec![],
        },
    }
}

/// Returns the rows of twenty messages between 10 and 12 ms, with a ceiling of about 9 ms.
fn rows(settings: &Settings, gpus: &Gpus) -> Vec<Row> {
    let mut messages = Tally::new(settings.flow, TcpCounters { retransmits: 1, ..TcpCounters::default() });
    let mut slices = Tally::new(settings.flow, TcpCounters::default());
    let bytes = settings.sizes[0];
    for n in 0..20 {
        let outcome = |base: u64| Outcome {
            sent: settings.flow.forward().then(|| flow(bytes, base + 100 * n)),
            received: settings.flow.backward().then(|| flow(bytes, base + 70 * n)),
        };
        let laps = [Duration::from_micros(40 + n), Duration::from_micros(50 + n)];
        messages.add(bytes, &outcome(10_000), &laps);
        slices.add(bytes, &outcome(9000), &laps);
    }
    messages.rows(bytes, settings, gpus, Some(&slices))
}

fn report(args: MeasureArgs) -> Report {
    report_of(settings(args), &Gpus::default())
}

/// Returns a report with settings as both ends agreed on.
fn report_of(settings: Settings, gpus: &Gpus) -> Report {
    let side = |role: Role, congestion: Option<&str>| SideFacts {
        role: if role == Role::Client { "client".into() } else { "server".into() },
        host: "alpha".into(),
        cores: 2,
        memory: gpus.memory(role, &settings),
        gpu: if role == Role::Client { gpus.client.clone() } else { gpus.server.clone() },
        peak_resident_bytes: Some(90_000_000),
        congestion: congestion.map(Into::into),
        tcp: congestion.map(|_| TcpCounters { retransmits: 3, rtt_us: 120, cwnd_packets: 80 }),
        strays: 0,
    };
    let results = rows(&settings, gpus);
    let sides = Sides { sender: side(Role::Client, Some("cubic")), receiver: side(Role::Server, None) };
    Report {
        schema: SCHEMA.into(),
        version: "0.0.0".into(),
        commit: Some("0123456789ab".into()),
        command: "loopback".into(),
        interrupted: false,
        config: Config {
            settings,
            iterations: Some(20),
            time_s: None,
            warmup: 3,
            plugins: None,
            loopback: true,
            setup_ms: 4.25,
        },
        sides,
        ceiling: results[0].ceiling.map(|slices| Ceiling::of(&slices)),
        results,
        warnings: vec!["something to mind".into()],
    }
}

fn table(report: &Report) -> String {
    table_with(report, &Gpus::default())
}

fn table_with(report: &Report, gpus: &Gpus) -> String {
    let rows: String = report.results.iter().map(table::row).collect();
    table::head("0.0.0", &report.config, Hosts { client: "alpha", server: "beta" }, gpus)
        + &rows
        + &table::foot(report)
}

#[test]
fn table_of_one_way() {
    insta::assert_snapshot!(table(&report(MeasureArgs::default())));
}

#[test]
fn table_of_both_ways() {
    insta::assert_snapshot!(table(&report(MeasureArgs { bidir: true, ..Default::default() })));
}

/// Returns a report on bursts, whose messages were in flight for 3 ms and more.
fn bursts() -> Report {
    let settings = settings(MeasureArgs { depth: Some(4), ..Default::default() });
    let mut tally = Tally::new(settings.flow, TcpCounters::default());
    let all_bytes = settings.messages(64 << 20) * (64 << 20);
    for n in 0..10 {
        let mut sent = flow(all_bytes, 50_000 + 100 * n);
        sent.received.message_times_ns = (0..16).map(|message| 3_000_000 + 10_000 * message).collect();
        tally.add(all_bytes, &Outcome { sent: Some(sent), received: None }, &[]);
    }
    let results = tally.rows(64 << 20, &settings, &Gpus::default(), Some(&tally));
    let report = report_of(settings, &Gpus::default());
    let config = Config { iterations: Some(10), warmup: 1, ..report.config };
    Report { config, results, ..report }
}

#[test]
fn table_of_bursts() {
    let mut report = bursts();
    let text = table(&report);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
    report.config.settings.sizes = vec![1 << 20, 256 << 20];
    assert!(table(&report).contains("bursts of 4 to 256 messages"), "{}", table(&report));
    assert!(table(&report).lines().all(|line| line.chars().count() <= 100));
}

#[test]
fn csv_and_json_of_bursts() {
    let report = bursts();
    let row = &report.results[0];
    insta::assert_snapshot!(csv::head() + &csv::row(row));
    insta::assert_json_snapshot!(row);
    assert_eq!(report.config.settings.depth, 4);
    let mut older = serde_json::to_value(row).unwrap();
    let named = older.as_object_mut().unwrap();
    assert!(named.remove("depth").is_some() && named.remove("messages").is_some());
    let older: Row = serde_json::from_value(older).unwrap();
    assert_eq!((older.depth, older.messages), (1, 1), "a report of an older program");
    let few = Row { iterations: 4, verified: None, ..row.clone() };
    insta::assert_snapshot!(warnings::about(&few).join("\n"));
}

fn one_sided(op: Operation, scatter: bool) -> Report {
    let one_sided = OneSidedArgs { op: Some(op), blocks: Some(2000), block_size: Some(64 << 10), scatter };
    report(MeasureArgs { one_sided, ..Default::default() })
}

#[test]
fn tables_of_one_sided_transfers() {
    let tables =
        [one_sided(Operation::Write, true), one_sided(Operation::Read, false)].map(|report| table(&report));
    assert!(tables.iter().flat_map(|table| table.lines()).all(|line| line.chars().count() <= 100));
    insta::assert_snapshot!(tables.join("\n"));
}

#[test]
fn csv_and_json_of_one_sided_transfers() {
    let report = one_sided(Operation::Read, true);
    let rows: String = report.results.iter().map(csv::row).collect();
    insta::assert_snapshot!(csv::head() + &rows);
    insta::assert_json_snapshot!((&report.config, &report.results[0]));
    let mut row = report.results[0].clone();
    (row.iterations, row.verified) = (4, None);
    insta::assert_snapshot!(warnings::about(&row).join("\n"));
}

#[test]
fn table_of_round_trips_cut_short() {
    let mut report = report(MeasureArgs { latency: true, ..Default::default() });
    report.interrupted = true;
    report.config.loopback = false;
    report.sides.receiver.peak_resident_bytes = None;
    insta::assert_snapshot!(table(&report));
}

#[test]
fn tables_fit_in_a_hundred_columns() {
    for args in [
        MeasureArgs { bidir: true, size: Some(1000), ..Default::default() },
        MeasureArgs { latency: true, size: Some(1023 << 20), ..Default::default() },
    ] {
        for line in table(&report(args)).lines() {
            assert!(line.chars().count() <= 100, "{line}");
        }
    }
}

#[test]
fn long_numbers_stay_apart() {
    for (latency, cells) in [(false, 14), (true, 12)] {
        let mut report = report(MeasureArgs { latency, ..Default::default() });
        let row = &mut report.results[0];
        for time in [&mut row.time_us.p50, &mut row.time_us.p99, &mut row.time_us.max] {
            *time = 987_654_321_000.0;
        }
        let cpu = row.cpu_s_per_gb.as_mut().unwrap();
        (cpu.sender, cpu.receiver) = (98_765_432.0, 98_765_432.0);
        let text = table::row(&report.results[0]);
        assert_eq!(text.split_whitespace().count(), cells, "{text}");
    }
}

#[test]
fn json_document() {
    insta::assert_snapshot!(json::document(&report(MeasureArgs::default())));
}

#[test]
fn csv_lines() {
    let report = report(MeasureArgs { bidir: true, ..Default::default() });
    let rows: String = report.results.iter().map(csv::row).collect();
    let text = csv::head() + &rows;
    let columns: Vec<usize> = text.lines().map(|line| line.split(',').count()).collect();
    assert!(columns.iter().all(|&count| count == columns[0]), "{columns:?}");
    insta::assert_snapshot!(text);
}

#[test]
fn what_to_mind() {
    let mut rows = rows(&settings(MeasureArgs::default()), &Gpus::default());
    let row = &mut rows[0];
    assert!(warnings::about(row).is_empty());
    row.verified = None;
    row.goodput_gb_per_s.as_mut().unwrap().stddev = 3.0;
    row.ceiling.as_mut().unwrap().min = 0.5;
    let mut all = warnings::about(row);
    row.iterations = 4;
    all.extend(warnings::about(row));
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn more_than_the_link_carries_is_an_error() {
    let rows = rows(&settings(MeasureArgs::default()), &Gpus::default());
    assert_eq!(warnings::check_link(&rows[0], None), Ok(()));
    assert_eq!(warnings::check_link(&rows[0], Some(("eth0", 1e11))), Ok(()));
    let Err(Failure::Run(sentence)) = warnings::check_link(&rows[0], Some(("eth0", 1e10))) else {
        panic!("50 Gb/s do not fit in 10")
    };
    insta::assert_snapshot!(sentence);
}

/// Returns the GPUs of a session between the two GPUs of one machine.
fn gpus(settings: &Settings) -> Gpus {
    let gpu = |index: u32| GpuFacts {
        name: "NVIDIA H200".into(),
        index,
        uuid: format!("GPU-0000000{index}-0000-0000-0000-000000000000"),
        pci: format!("0000:{index}b:00.0"),
        numa_node: Some(index),
    };
    Gpus::of(settings, Some(&gpu(0)), Some(&gpu(1)))
}

#[test]
fn table_between_gpus() {
    let settings = Settings { memory: Memory::Cuda, ..settings(MeasureArgs::default()) };
    let gpus = gpus(&settings);
    let text = table_with(&report_of(settings, &gpus), &gpus);
    assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
    insta::assert_snapshot!(text);
}

#[test]
fn csv_and_json_between_gpus() {
    let settings =
        Settings { memory: Memory::Cuda, ..settings(MeasureArgs { bidir: true, ..Default::default() }) };
    let gpus = gpus(&settings);
    let report = report_of(settings, &gpus);
    let cells: Vec<String> = report
        .results
        .iter()
        .map(|row| csv::row(row).split(',').skip(1).take(6).collect::<Vec<_>>().join(","))
        .collect();
    insta::assert_snapshot!(cells.join("\n"));
    insta::assert_json_snapshot!(report.sides);
    insta::assert_json_snapshot!((report.ceiling, report.results[0].ceiling));
}

#[test]
fn round_trips_of_gpu_memory_are_held_against_a_bare_socket() {
    let settings =
        Settings { memory: Memory::Cuda, ..settings(MeasureArgs { latency: true, ..Default::default() }) };
    let gpus = gpus(&settings);
    let report = report_of(settings, &gpus);
    let ceiling = report.ceiling.unwrap();
    assert_eq!((ceiling.kind, ceiling.memory), (CeilingKind::SocketPingPong, Memory::Host));
    let text = table_with(&report, &gpus);
    assert!(text.contains("# raw TCP: raw sockets over host memory, no GPU involved"), "{text}");
}

#[test]
fn an_end_without_gpu_memory_names_no_gpu() {
    let mut settings = settings(MeasureArgs { unpack: Some(Unpack::None), ..Default::default() });
    settings.memory = Memory::Cuda;
    let used = gpus(&settings);
    assert!(used.client.is_some() && used.server.is_none());
    assert_eq!(used.memory(Role::Client, &settings), "cuda:0");
    assert_eq!(used.memory(Role::Server, &settings), "host");
    settings.memory = Memory::Soft;
    assert_eq!(gpus(&settings), Gpus::default());
    assert_eq!(gpus(&settings).memory(Role::Client, &settings), "soft");
}

#[test]
fn the_largest_numbers_that_the_other_side_can_say_are_added_up() {
    let mut report = report(MeasureArgs::default());
    (report.sides.sender.strays, report.sides.receiver.strays) = (1, u64::MAX);
    assert!(table::foot(&report).contains("18446744073709551615 stray connections dropped"));

    let settings = settings(MeasureArgs { bidir: true, ..Default::default() });
    let mut tally =
        Tally::new(settings.flow, TcpCounters { retransmits: u64::MAX, ..TcpCounters::default() });
    let mut said = flow(settings.sizes[0], 1);
    (said.time_ns, said.received.cpu_ns, said.sent.cpu_ns) = (u64::MAX, u64::MAX, u64::MAX);
    said.sent.tcp = Some(TcpCounters { retransmits: u64::MAX, rtt_us: u32::MAX, cwnd_packets: u32::MAX });
    let outcome = Outcome { sent: Some(said.clone()), received: Some(said) };
    for _ in 0..3 {
        tally.add(settings.sizes[0], &outcome, &[Duration::MAX, Duration::ZERO]);
    }
    for row in tally.rows(settings.sizes[0], &settings, &Gpus::default(), Some(&tally)) {
        assert_eq!(row.time_us.max, 86_400_000_000.0, "a day is the most that is believed");
        let _ = (table::row(&row), csv::row(&row));
    }
}
