//! The client's side of a session: says what is run, and keeps the figures.

use std::{
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::session::{Kind, Role};

use super::{
    damage::Damage,
    memory::Proposal,
    ping_pong,
    progress::Progress,
    run::{self, Outcome},
    side::Side,
    tally::{self, Tally},
    tuning::check_congestion,
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Accept, Begin, Bye, End, SideReport, TcpCounters, Work},
    },
    failure::Failure,
    host::{identity::Identity, link as wire, usage::available_memory_bytes},
    output::Talk,
    printable::printable,
    report::{
        Ceiling, Config, Hosts, Plugins, Report, Row, SCHEMA, SideFacts, Sides, gpus::Gpus, printer::Printer,
        warnings,
    },
    settings::{
        Flow, Settings,
        request::{Amount, MeasureRequest},
        resolve::{There, resolve},
    },
    version::{COMMIT, VERSION},
};

/// A measurement to make with a server that was greeted.
#[derive(Debug)]
pub struct Measurement<'a> {
    /// The subcommand.
    pub command: &'static str,
    /// The user's request.
    pub request: &'a MeasureRequest,
    /// The part of the request that this side can fulfil, with its GPU.
    pub proposal: Proposal,
    /// This machine.
    pub here: Identity,
    /// The server's.
    pub there: Identity,
    /// The printer of the results.
    pub printer: Printer,
    /// The way to everything else on stderr.
    pub talk: Talk,
    /// The fault to commit on purpose.
    pub damage: Damage,
}

impl Measurement<'_> {
    /// Makes the measurement and prints it, as far as it came.
    ///
    /// # Errors
    /// If it failed or was interrupted; the server has been told.
    pub fn make(&self, mut link: Link) -> Result<(), Failure> {
        let outcome = self.measure(&mut link);
        let failure = match outcome {
            Ok(()) => return Ok(()),
            // Ctrl-C breaks connections: what then fails is its consequence.
            Err(_) if link.interrupt().fired() => Failure::Interrupted,
            Err(failure) => link.explain(failure),
        };
        link.abort(&failure);
        Err(failure)
    }

    fn measure(&self, link: &mut Link) -> Result<(), Failure> {
        let mut settings = self.settle()?;
        // The rings' part is known only now that the streams are.
        let both = [Role::Client, Role::Server];
        let roles = if self.command == "loopback" { &both[..] } else { &both[..1] };
        settings.check_memory("this host", roles, available_memory_bytes()).map_err(Failure::Usage)?;
        let stall_timeout = settings.stall_timeout(settings.memory_bytes());
        link.say(Kind::Settings, &self.proposal.ask(&settings), Instant::now() + stall_timeout)?;
        let opening = self.proposal.opening();
        let accept: Accept = link.hear(Kind::Accept, Instant::now() + stall_timeout + opening)?;
        let plugins = self.proposal.plugins(&accept, link.peer())?;
        let gpus = self.proposal.conclude(&mut settings, accept, link.peer(), self.talk)?;
        let gpu = self.proposal.gpu.as_ref().map(|gpu| &gpu.device);
        let plugin = self.proposal.plugin.as_ref();
        let mut side = Side::set_up(link, Role::Client, settings.clone(), gpu, plugin)?;
        side.damage = self.damage;
        let config = self.config(settings, plugins, side.setup);
        let server = printable(&self.there.host);
        self.printer.head(&config, Hosts { client: &self.here.host, server: &server }, &gpus)?;

        let mut course = Course::new(self, gpus, link.local_address()?.ip());
        let measured = course.run(self, &mut side, link);
        let (mine, theirs, ending) = match measured {
            Ok(()) => {
                let mine = side.report();
                link.say(Kind::End, &End {}, Instant::now() + stall_timeout)?;
                let theirs: SideReport = link.hear(Kind::Report, Instant::now() + stall_timeout)?;
                side.close(Role::Client)?;
                link.say(Kind::Bye, &Bye {}, Instant::now() + stall_timeout)?;
                (mine, Some(theirs), Ok(()))
            }
            Err(_) if link.interrupt().fired() => (side.report(), None, Err(Failure::Interrupted)),
            Err(failure) => return Err(failure),
        };
        let report = self.report(config, course, &mine, theirs.as_ref(), ending.is_err());
        self.printer.foot(&report)?;
        ending
    }

    /// Returns the settings, now that both machines are known.
    fn settle(&self) -> Result<Settings, Failure> {
        let there = There { cores: self.there.cores, is_here: self.here.is_same_host(&self.there) };
        let settings = resolve(&self.request.asked, &self.proposal.here, Some(&there))?;
        settings.sockets.congestion_control().map_or(Ok(()), check_congestion).map_err(Failure::Usage)?;
        Ok(settings)
    }

    fn config(&self, settings: Settings, plugins: Option<Plugins>, setup: Duration) -> Config {
        let (iterations, time_s) = match self.request.amount {
            Amount::Count(count) => (Some(count), None),
            Amount::Time(time) => (None, Some(time.as_secs_f64())),
        };
        Config {
            settings,
            iterations,
            time_s,
            warmup: self.request.warmup,
            plugins,
            loopback: self.here.is_same_host(&self.there),
            setup_ms: setup.as_micros() as f64 / 1e3,
        }
    }

    fn report(
        &self,
        config: Config,
        course: Course,
        mine: &SideReport,
        theirs: Option<&SideReport>,
        interrupted: bool,
    ) -> Report {
        let gpus = &course.gpus;
        let facts = |role: Role, identity: &Identity, side: Option<&SideReport>| SideFacts {
            role: if role == Role::Client { "client".into() } else { "server".into() },
            host: printable(&identity.host),
            memory: gpus.memory(role, &config.settings),
            gpu: if role == Role::Client { gpus.client.clone() } else { gpus.server.clone() },
            cores: identity.cores,
            peak_resident_bytes: side.map(|side| side.peak_resident_bytes),
            congestion: side.and_then(|side| side.congestion.as_deref()).map(printable),
            tcp: side.and_then(|side| side.tcp),
            strays: side.map_or(0, |side| side.strays),
        };
        let client = facts(Role::Client, &self.here, Some(mine));
        let server = facts(Role::Server, &self.there, theirs);
        let (sender, receiver) =
            if config.settings.flow == Flow::Backward { (server, client) } else { (client, server) };
        let largest = course
            .results
            .iter()
            .filter_map(|row| Some((row.bytes, row.ceiling?)))
            .max_by_key(|(bytes, _)| *bytes);
        let ceiling = largest.map(|(_, slices)| Ceiling::of(&slices));
        let mut all_warnings = course.warnings;
        for warning in theirs.iter().flat_map(|side| &side.warnings) {
            all_warnings.push(format!("the server: {}", printable(warning)));
        }
        Report {
            schema: SCHEMA.into(),
            version: VERSION.into(),
            commit: COMMIT.map(Into::into),
            command: self.command.into(),
            interrupted,
            config,
            sides: Sides { sender, receiver },
            ceiling,
            results: course.results,
            warnings: all_warnings,
        }
    }
}

/// The sizes, one after another.
struct Course {
    results: Vec<Row>,
    warnings: Vec<String>,
    gpus: Gpus,
    iteration: u64,
    tcp: TcpCounters,
    /// The interface and its rate, where the data crosses one that says it.
    link: Option<(String, f64)>,
}

impl Course {
    fn new(measurement: &Measurement<'_>, gpus: Gpus, local: IpAddr) -> Self {
        let link = || {
            let interface = wire::interface_of(local)?;
            let rate = wire::bits_per_s(&interface)?;
            Some((interface, rate))
        };
        let loopback = measurement.here.is_same_host(&measurement.there);
        Self {
            results: Vec::new(),
            warnings: Vec::new(),
            gpus,
            iteration: 0,
            tcp: TcpCounters::default(),
            link: if loopback { None } else { link() },
        }
    }

    fn run(
        &mut self,
        measurement: &Measurement<'_>,
        side: &mut Side,
        link: &mut Link,
    ) -> Result<(), Failure> {
        for bytes in side.settings.sizes.clone() {
            self.size(measurement, side, link, bytes)?;
        }
        Ok(())
    }

    /// Measures one size: warm-up, then messages with slices of the ceiling before, between and after them.
    /// A change on the machine meanwhile thus affects both. The results so far are printed even if it ends
    /// early.
    fn size(
        &mut self,
        measurement: &Measurement<'_>,
        side: &mut Side,
        link: &mut Link,
        bytes: u64,
    ) -> Result<(), Failure> {
        let MeasureRequest { amount, warmup, interval, .. } = *measurement.request;
        let settings = side.settings.clone();
        let mut messages = Tally::new(settings.flow, self.tcp);
        let mut slices = Tally::new(settings.flow, self.tcp);
        let sample_bytes = bytes.saturating_mul(settings.messages(bytes));
        let mut progress = Progress::new(measurement.talk, interval, (bytes, &settings), amount);
        let mut measure = || -> Result<(), Failure> {
            let mut warm = 0;
            while warm < u64::from(warmup) {
                warm += self.one(side, link, Work::Transfer, bytes, u64::from(warmup) - warm)?.0;
            }
            messages = Tally::new(settings.flow, self.tcp);
            if settings.ceiling {
                self.one(side, link, Work::Raw, bytes, u64::MAX)?;
            }
            let began = Instant::now();
            let every = slice_every(amount, bytes, settings.flow);
            let mut run = 0u64;
            while match amount {
                Amount::Count(count) => messages.messages() < u64::from(count),
                Amount::Time(time) => run == 0 || began.elapsed() < time,
            } {
                if settings.ceiling && run.is_multiple_of(every) {
                    let (_, outcome, laps) = self.one(side, link, Work::Raw, bytes, u64::MAX)?;
                    slices.add(sample_bytes, &outcome, &laps);
                }
                let left = match amount {
                    Amount::Count(count) => u64::from(count) - messages.messages(),
                    Amount::Time(_) => u64::MAX,
                };
                let (_, outcome, laps) = self.one(side, link, Work::Transfer, bytes, left)?;
                messages.add(sample_bytes, &outcome, &laps);
                progress.update(&messages);
                run += 1;
            }
            if settings.ceiling {
                let (_, outcome, laps) = self.one(side, link, Work::Raw, bytes, u64::MAX)?;
                slices.add(sample_bytes, &outcome, &laps);
            }
            Ok(())
        };
        let measured = measure();
        drop(progress);
        if measured.is_ok() || (link.interrupt().fired() && !messages.is_empty()) {
            let ceiling = settings.ceiling.then_some(&slices);
            for row in messages.rows(bytes, &settings, &self.gpus, ceiling) {
                measurement.printer.row(&row)?;
                for warning in warnings::about(&row) {
                    measurement.talk.warn(&warning);
                    self.warnings.push(warning);
                }
                warnings::check_link(&row, self.link.as_ref().map(|(name, rate)| (name.as_str(), *rate)))?;
                self.results.push(row);
            }
        }
        measured
    }

    /// Performs one run: a message, a burst of them, or a batch of at most `most` round trips. Returns the
    /// number of its samples.
    fn one(
        &mut self,
        side: &mut Side,
        link: &mut Link,
        work: Work,
        bytes: u64,
        most: u64,
    ) -> Result<(u64, Outcome, Vec<Duration>), Failure> {
        link.interrupt().check()?;
        let messages = side.settings.messages(bytes);
        let (kind, rounds, samples) = match side.settings.flow {
            Flow::Forward => (Kind::BeginForward, messages, 1),
            Flow::Backward => (Kind::BeginBackward, messages, 1),
            Flow::Both => (Kind::BeginBoth, messages, 1),
            Flow::RoundTrip => {
                let rounds = most.min(Settings::rounds(bytes));
                (Kind::BeginForward, rounds, rounds)
            }
        };
        // A slice of raw sockets is no message of its own, and a batch of round trips has one number.
        let is_transfer = work == Work::Transfer;
        let begin = Begin { work, bytes, iteration: self.iteration + u64::from(is_transfer), rounds };
        if is_transfer {
            self.iteration += messages;
        }
        link.say(kind, &begin, Instant::now() + side.settings.timeout())?;
        let (outcome, laps) = match side.settings.flow {
            Flow::RoundTrip => ping_pong::run(side, link, Role::Client, &begin)?,
            _ => (run::run(side, link, Role::Client, &begin)?, Vec::new()),
        };
        if let Some(tcp) = tally::tcp_of(&outcome) {
            self.tcp = tcp;
        }
        Ok((samples, outcome, laps))
    }
}

/// Returns the distance in runs between two slices of the ceiling. There are about ten in all, or one every
/// other run if the number of runs is unknown.
fn slice_every(amount: Amount, bytes: u64, flow: Flow) -> u64 {
    match (amount, flow) {
        (Amount::Count(count), Flow::RoundTrip) => {
            u64::from(count).div_ceil(Settings::rounds(bytes)).div_ceil(SLICES)
        }
        (Amount::Count(count), _) => u64::from(count).div_ceil(SLICES),
        (Amount::Time(_), _) => 2,
    }
}

const SLICES: u64 = 10;
