//! The server's side of a session: does as the client says, within what was agreed on.

use std::time::{Duration, Instant};

use crate::session::{Kind, Role};

use super::{
    memory::answer,
    ping_pong,
    run::{self, Outcome},
    side::Side,
    tuning::check_congestion,
};
use crate::{
    bootstrap::{
        link::Link,
        message::{Accept, Ask, Begin, Bye, End, Refuse, Work},
    },
    failure::Failure,
    host::{gpu::Gpu, plugin::NetPlugin, usage::available_memory_bytes},
    printable::Reason,
    settings::{Flow, Settings, Transport},
};

/// The work done for one client.
#[derive(Debug, Clone, Copy, Default)]
pub struct Served {
    /// Messages through the engine, warm-up included.
    pub messages: u64,
    /// Bytes that arrived here.
    pub received: u64,
    /// Bytes that left from here.
    pub sent: u64,
}

/// Serves one client that was greeted. `timeout` bounds its waits if the server has a bound of its own;
/// `plugin` is there for a client that asks for one.
///
/// # Errors
/// If the session failed or was interrupted; the client has been told.
pub fn serve(
    link: &mut Link,
    timeout: Option<Duration>,
    plugin: Option<&NetPlugin>,
    strays: impl Fn() -> u64,
) -> Result<Served, Failure> {
    let failure = match carry(link, timeout, plugin, strays) {
        Ok(served) => return Ok(served),
        Err(_) if link.interrupt().fired() => Failure::Interrupted,
        Err(failure) => link.explain(failure),
    };
    link.abort(&failure);
    Err(failure)
}

fn carry(
    link: &mut Link,
    timeout: Option<Duration>,
    plugin: Option<&NetPlugin>,
    strays: impl Fn() -> u64,
) -> Result<Served, Failure> {
    let first = timeout.map_or(FIRST, |bound| bound.min(FIRST));
    let mut ask: Ask = link.hear(Kind::Settings, Instant::now() + first)?;
    let (accept, gpu) = match check(&mut ask, plugin) {
        Ok(checked) => checked,
        Err(reason) => {
            let reason = Reason::new(&reason);
            link.say(Kind::Refuse, &Refuse { reason: reason.clone(), busy: false }, Instant::now() + first)?;
            return Err(Failure::Peer(format!(
                "{} asked for what cannot be done here: {reason}",
                link.peer()
            )));
        }
    };
    let mut settings = ask.settings;
    if let Some(bound) = timeout {
        settings.timeout_ms = settings.timeout_ms.min(bound.as_millis() as u64);
    }
    let stall_timeout = settings.stall_timeout(settings.memory_bytes());
    link.say(Kind::Accept, &accept, Instant::now() + stall_timeout)?;
    let mut side =
        Side::set_up(link, Role::Server, settings.clone(), gpu.as_ref().map(|gpu| &gpu.device), plugin)?;
    let mut served = Served::default();
    loop {
        // Between two runs the client prints what it has, which may take it as long as the timeout.
        let (kind, payload) = link.hear_any(Instant::now() + stall_timeout)?;
        match kind {
            Kind::BeginForward | Kind::BeginBackward | Kind::BeginBoth => {
                let begin: Begin = link.parse(kind, &payload)?;
                check_begin(&settings, kind, &begin, link.peer())?;
                let outcome = match settings.flow {
                    Flow::RoundTrip => ping_pong::run(&mut side, link, Role::Server, &begin)?.0,
                    _ => run::run(&mut side, link, Role::Server, &begin)?,
                };
                served.count(&begin, &outcome);
            }
            Kind::End => {
                let End {} = link.parse(kind, &payload)?;
                break;
            }
            other => return Err(link.unexpected(other)),
        }
    }
    let mut report = side.report();
    report.strays += strays();
    link.say(Kind::Report, &report, Instant::now() + stall_timeout)?;
    side.close(Role::Server)?;
    link.hear::<Bye>(Kind::Bye, Instant::now() + stall_timeout)?;
    Ok(served)
}

impl Served {
    fn count(&mut self, begin: &Begin, outcome: &Outcome) {
        if begin.work == Work::Transfer {
            self.messages += begin.rounds;
            self.received += outcome.received.as_ref().map_or(0, |flow| flow.received.unpacked);
            self.sent += outcome.sent.as_ref().map_or(0, |flow| flow.sent.bytes);
        }
    }
}

/// Checks that this machine can do what the client asks for, and settles the memory.
fn check(ask: &mut Ask, plugin: Option<&NetPlugin>) -> Result<(Accept, Option<Gpu>), String> {
    ask.settings.check()?;
    let plugin = match (ask.settings.transport, &ask.plugin, plugin) {
        (Transport::Sockets, ..) => None,
        (Transport::Plugin, Some(theirs), Some(mine)) => {
            theirs.check_matches(&mine.facts)?;
            Some(mine.facts.clone())
        }
        (Transport::Plugin, None, _) => return Err("a plugin was asked for and none was named".into()),
        // Only the user that starts this process may load code into it.
        (Transport::Plugin, _, None) => {
            return Err(
                "the client uses a plugin and the server has none: start it with --plugin as well".into()
            );
        }
    };
    ask.settings.sockets.congestion_control().map_or(Ok(()), check_congestion)?;
    let mut answer = answer(ask)?;
    answer.0.plugin = plugin;
    answer.0.one_sided = ask.settings.one_sided;
    answer.0.depth = ask.settings.has_bursts().then_some(ask.settings.depth);
    ask.settings.check_memory("the server", &[Role::Server], available_memory_bytes())?;
    Ok(answer)
}

/// Checks that a run is one of those agreed on: its numbers came over the network.
fn check_begin(settings: &Settings, kind: Kind, begin: &Begin, peer: &str) -> Result<(), Failure> {
    let due = match settings.flow {
        Flow::Forward | Flow::RoundTrip => Kind::BeginForward,
        Flow::Backward => Kind::BeginBackward,
        Flow::Both => Kind::BeginBoth,
    };
    let rounds_most = match settings.flow {
        Flow::RoundTrip => Settings::rounds(begin.bytes.max(1)),
        Flow::Forward | Flow::Backward | Flow::Both => settings.messages(begin.bytes),
    };
    let fits = settings.sizes.contains(&begin.bytes) && (1..=rounds_most).contains(&begin.rounds);
    let raw = begin.work == Work::Raw && !settings.ceiling;
    let last = begin.iteration.saturating_add(begin.rounds.saturating_sub(1));
    if kind == due && fits && !raw && last <= ITERATION_MAX {
        return Ok(());
    }
    Err(Failure::Peer(format!("{peer} began a run that was not agreed on ({}, {begin:?})", kind.name())))
}

/// The most that a run's number can be: the data of its two directions has twice that, and one more.
const ITERATION_MAX: u64 = u64::MAX / 2;
/// The wait for the settings, which follow the hello at once. A silent client delays others for this long
/// and no longer.
const FIRST: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{asked::MeasureArgs, environment::Environment, request::MeasureRequest};

    #[test]
    fn a_run_is_one_of_those_agreed_on() {
        let args = MeasureArgs { size: Some(4096), ..Default::default() };
        let forward = MeasureRequest::new(args, &Environment::default()).unwrap().settings;
        let good = Begin { work: Work::Transfer, bytes: 4096, iteration: 1, rounds: 1 };
        let check = |settings: &Settings, begin: Begin| {
            let fits = check_begin(settings, Kind::BeginForward, &begin, "the client").is_ok();
            if fits {
                // The numbers that the data is made of.
                let (one, other) = run::patterns(settings.seed, begin.iteration, Role::Server);
                assert_ne!(one, other);
            }
            fits
        };
        assert!(check(&forward, good));
        assert!(check(&forward, Begin { work: Work::Raw, iteration: u64::MAX / 2, ..good }));
        for iteration in [u64::MAX / 2 + 1, u64::MAX] {
            assert!(!check(&forward, Begin { iteration, ..good }), "{iteration}");
        }
        for bytes in [0, 4095, 4097, u64::MAX] {
            assert!(!check(&forward, Begin { bytes, ..good }), "{bytes}");
        }
        for rounds in [0, 2, u64::MAX] {
            assert!(!check(&forward, Begin { rounds, ..good }), "{rounds}");
        }
        assert!(check_begin(&forward, Kind::BeginBoth, &good, "the client").is_err());
        assert!(!check(&Settings { ceiling: false, ..forward.clone() }, Begin { work: Work::Raw, ..good }));
        let bursts = Settings { depth: 4, sizes: vec![64 << 20], ..forward.clone() };
        let burst = Begin { bytes: 64 << 20, rounds: 16, ..good };
        assert!(check(&bursts, burst) && check(&bursts, Begin { rounds: 1, ..burst }));
        for rounds in [0, 17, u64::MAX] {
            assert!(!check(&bursts, Begin { rounds, ..burst }), "{rounds}");
        }
        assert!(check(&bursts, Begin { iteration: u64::MAX / 2 - 15, ..burst }));
        assert!(!check(&bursts, Begin { iteration: u64::MAX / 2 - 14, ..burst }));
        let there_and_back = Settings { flow: Flow::RoundTrip, ..forward };
        assert!(check(&there_and_back, Begin { rounds: 256, ..good }));
        assert!(!check(&there_and_back, Begin { rounds: 257, ..good }));
    }
}
