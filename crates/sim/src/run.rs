//! One run: both ends, the wires between them, and the world, until both have ended.

use crate::{
    receiver::Receiver,
    report::Report,
    sender::Sender,
    settings::Settings,
    wire::{Wire, Wires},
    world::{Actor, World},
};

/// Longer than any sane run in virtual time; the slowest seeds take some minutes.
const STUCK_NS: u64 = 3_600_000_000_000;

/// Runs the settings that the seed stands for.
#[must_use]
pub fn run_seed(seed: u64) -> Report {
    run(&Settings::from_seed(seed))
}

/// Runs these settings.
///
/// # Panics
/// If a type finds a bug in its user, or the number of slots is neither 16 nor 32.
#[must_use]
pub fn run(settings: &Settings) -> Report {
    match settings.slots {
        16 => run_with::<16>(settings),
        32 => run_with::<32>(settings),
        other => panic!("{other} slots: 16 and 32 are simulated"),
    }
}

fn run_with<const N: usize>(settings: &Settings) -> Report {
    let mut world = World::new(settings.seed);
    let mut wires = Wires::new(settings);
    let mut sender = Sender::<N>::new(settings);
    let mut receiver = Receiver::<N>::new(settings);
    for actor in [Actor::SenderControl, Actor::ReceiverControl, Actor::SenderTimer, Actor::ReceiverTimer] {
        world.wake_soon(actor);
    }
    for at in 0..settings.streams() {
        world.wake_soon(Actor::SenderStream(at));
    }
    while sender.end.is_none() || receiver.end.is_none() {
        let Some(actor) = world.next_event() else { break };
        if world.now() > STUCK_NS {
            break;
        }
        if actor < Actor::ReceiverUser {
            sender.step(actor, &mut world, &mut wires);
        } else {
            receiver.step(actor, &mut world, &mut wires);
        }
    }
    let fault_hit = wires.up.fault_hit() || wires.down.fault_hit() || wires.data.iter().any(Wire::fault_hit);
    Report {
        trace: world.trace(),
        events: world.events(),
        virtual_ns: world.now(),
        fault_hit,
        is_idle: sender.is_idle() && receiver.is_idle(),
        wires_empty: wires.data.iter().all(Wire::is_empty) && wires.up.is_empty(),
        overwritten: sender.overwritten + receiver.overwritten,
        sent_bytes: sender.sent_bytes,
        landed_bytes: receiver.landed_bytes,
        unpacked_bytes: receiver.placed_bytes,
        verified_bytes: receiver.verified_bytes,
        arrived_early: receiver.arrived_early,
        segments_sent: sender.segments(),
        segments_received: receiver.segments(),
        sender: sender.end,
        receiver: receiver.end,
    }
}
