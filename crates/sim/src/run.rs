//! One run: both ends and the world, until both have ended.

use gputcp_proto::connection::{End, Receiver, Sender};

use crate::{
    clock::{Actor, Entry},
    driver::{Driver, Side},
    faults::{Party, WireName},
    lane::Ticket,
    report::{EndReport, Report},
    settings::Settings,
    world::World,
};

/// Runs the settings that the seed stands for.
#[must_use]
pub fn run_seed(seed: u64) -> Report {
    run(&Settings::from_seed(seed))
}

/// Runs these settings.
#[must_use]
pub fn run(settings: &Settings) -> Report {
    run_in(&mut World::new(settings, false), settings)
}

/// Runs these settings. Returns the life of each message, and then all that happened, in the order of time.
#[must_use]
pub fn replay(settings: &Settings) -> (Report, Vec<String>) {
    let mut world = World::new(settings, true);
    let report = run_in(&mut world, settings);
    let log = world.clock.take_log();
    let receives = settings.matches();
    let mut lines = vec![];
    for message in 0..settings.sends.len() {
        let receive = receives.iter().position(|met| *met == Some(message));
        lines.push(format!("message {message}, for receive {receive:?}"));
        let is_of = |entry: &&Entry| match entry.party {
            Some(Party::Sender) => entry.message == Some(message),
            Some(Party::Receiver) => entry.message.is_some() && entry.message == receive,
            None => false,
        };
        lines.extend(log.iter().filter(is_of).map(ToString::to_string));
    }
    lines.push("all that happened".to_owned());
    lines.extend(log.iter().map(ToString::to_string));
    (report, lines)
}

fn run_in(world: &mut World, settings: &Settings) -> Report {
    let mut sender = Driver::<Sender<Ticket>>::new(settings, world);
    let mut receiver = Driver::<Receiver<Ticket>>::new(settings, world);
    while sender.ended_at.is_none() || receiver.ended_at.is_none() {
        let Some(Actor { party, role }) = world.clock.next_event() else { break };
        match party {
            Party::Sender => sender.event(role, world),
            Party::Receiver => receiver.event(role, world),
        }
        if world.clock.broken.is_some() || world.clock.now > STUCK_NS || world.clock.events > EVENTS_MAX {
            break;
        }
    }
    let [flipped, wire_hit, stalled, tampered, slept] = world.clock.hits.into();
    let data = (0..settings.streams()).map(WireName::Data);
    Report {
        trace: world.clock.trace,
        events: world.clock.events,
        virtual_ns: world.clock.now,
        broken: world.clock.broken.take(),
        wires_empty: data.chain([WireName::Up]).all(|name| world.wires.is_empty(name)),
        arrived_early: receiver.desk.referee.early,
        unreceived: receiver.end.unreceived(),
        sender: end_report(&sender, world),
        receiver: end_report(&receiver, world),
        flipped,
        wire_hit,
        stalled,
        tampered,
        slept,
    }
}

fn end_report<S: Side>(driver: &Driver<'_, S>, world: &World) -> EndReport {
    let data = (0..driver.desk.agreed.streams).map(WireName::Data);
    let mut sockets = data.chain([S::OUT, S::IN]);
    EndReport {
        outcome: driver.outcome.clone().filter(|_| driver.ended_at.is_some()),
        failure: driver.failure.clone(),
        failed_at: driver.failed_at,
        moved_at: driver.desk.moved_at,
        posted: driver.user.posted,
        finished: driver.user.finished.clone(),
        never: driver.user.never.clone(),
        bytes: driver.user.bytes,
        carried: driver.desk.carried,
        is_closing: driver.user.is_closing(),
        is_idle: driver.is_idle(),
        is_waiting: driver.end.in_flight() > 0,
        is_shut: sockets.all(|name| world.wires.is_shut(name, S::PARTY)),
        segments: driver.segments(),
    }
}

/// Longer than any sane run in virtual time.
const STUCK_NS: u64 = 600_000_000_000;
/// More than any sane run has.
const EVENTS_MAX: u64 = 3_000_000;
