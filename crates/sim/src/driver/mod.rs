//! The driver of one end, whichever: reports events to the connection, and performs the effects.
//!
//! Where a real driver has threads, it has a `task` for each data socket, and a `reader` and a `writer` of
//! the control socket. It looks after the peer at regular times (`look`). Its `user` posts `request`s. A
//! `side` is what differs between the ends: only `sender` and `receiver` know which end it is.

mod look;
mod reader;
mod receiver;
mod request;
mod sender;
mod side;
mod task;
mod user;
mod writer;

use gputcp_proto::connection::{self, Effects, Failure, Inbox};

pub(crate) use self::side::Side;
use self::{look::Looks, side::Desk, task::Task, user::User, writer::Writer};
use crate::{
    faults::{Effect, Fault, Flaw, Role, WireName},
    lane::Ticket,
    memory::Memory,
    referee::Referee,
    report::Outcome,
    settings::{Settings, TIMEOUT},
    world::World,
};

/// The driver of one end.
pub(crate) struct Driver<'a, S: Side> {
    pub(crate) end: S,
    pub(crate) desk: Desk<'a>,
    pub(crate) user: User,
    inbox: Inbox<Ticket>,
    tasks: Vec<Task<S>>,
    writer: Writer,
    looks: Looks,
    pub(crate) failure: Option<Failure>,
    pub(crate) failed_at: u64,
    pub(crate) outcome: Option<Outcome>,
    /// The time at which the user knew the outcome, and the last words were said.
    pub(crate) ended_at: Option<u64>,
    /// The events of each actor until it sleeps, and the length of the sleep.
    naps: Vec<(Role, u32, u64)>,
    asleep: Vec<(Role, u64)>,
}

impl<'a, S: Side> Driver<'a, S> {
    pub(crate) fn new(settings: &'a Settings, world: &mut World) -> Self {
        let agreed = settings.of(S::PARTY);
        let end = S::new(&agreed);
        let nap = |fault: &Fault| match *fault {
            Fault::Sleep { party, role, after, ns } if party == S::PARTY => Some((role, after, ns)),
            _ => None,
        };
        for role in [Role::User, Role::Control].into_iter().chain((0..agreed.streams).map(Role::Stream)) {
            world.clock.wake(S::PARTY, role);
        }
        world.clock.wake_at(S::PARTY, Role::Timer, end.life().look_interval().as_nanos() as u64);
        Self {
            tasks: (0..agreed.streams).map(|at| Task::new(S::stream(at, agreed.buffers))).collect(),
            user: User::new(settings, S::PARTY),
            inbox: Inbox::new(),
            writer: Writer::default(),
            looks: Looks::default(),
            failure: None,
            failed_at: 0,
            outcome: None,
            ended_at: None,
            naps: settings.faults.iter().filter_map(nap).collect(),
            asleep: vec![],
            desk: Desk {
                settings,
                memory: Memory::new(settings, S::PARTY),
                referee: Referee::new(S::PARTY, agreed.clone()),
                carried: 0,
                heads: vec![vec![]; agreed.streams],
                short: 0,
                moved_at: 0,
                heard_at: 0,
                matches: settings.matches(),
                agreed,
            },
            end,
        }
    }

    /// Has an actor do what it is woken for.
    pub(crate) fn event(&mut self, role: Role, world: &mut World) {
        self.desk.memory.advance(&mut world.clock);
        if self.ended_at.is_some() || self.sleeps(role, world) {
            return;
        }
        match role {
            Role::User => self.act(world),
            Role::Control => self.read(world),
            Role::Writer => self.write_on(world),
            Role::Timer => self.look(world),
            Role::Stream(number) => self.go_on(number, world),
        }
        self.perform(world);
        let is_shut = world.wires.is_shut(S::OUT, S::PARTY) && world.wires.is_shut(S::IN, S::PARTY);
        if self.outcome.is_some() && is_shut {
            self.ended_at = Some(world.clock.now);
        }
    }

    /// Returns whether the actor sleeps: then it is woken later.
    fn sleeps(&mut self, role: Role, world: &mut World) -> bool {
        for (of, after, ns) in &mut self.naps {
            if *of == role && *after > 0 {
                *after -= 1;
            } else if *of == role && *ns > 0 {
                let until = world.clock.now + std::mem::take(ns);
                world.clock.log_fault(|| format!("{:?} {role:?} sleeps until {until}", S::PARTY));
                world.clock.hits.slept |= until - world.clock.now > TIMEOUT.as_nanos() as u64 / 16;
                self.asleep.push((role, until));
            }
        }
        let until = self.asleep.iter().filter(|(of, _)| *of == role).map(|(_, until)| *until).max();
        let Some(until) = until.filter(|until| *until > world.clock.now) else { return false };
        world.clock.wake_at(S::PARTY, role, until);
        true
    }

    /// Performs the effects of all that has happened.
    pub(crate) fn perform(&mut self, world: &mut World) {
        loop {
            let mut effects = self.end.effects();
            if let Some(Flaw::Forgets(effect)) = self.desk.settings.flaw {
                forget(&mut effects, effect);
            }
            if effects.is_empty() {
                return;
            }
            if let Some(failure) = effects.failure.take() {
                self.fails(failure, world);
            }
            for number in 0..self.tasks.len() {
                if effects.all || effects.wake & 1 << number != 0 {
                    self.wake_task(number, world);
                }
            }
            if effects.all || !effects.done.is_empty() {
                self.wake_user(&effects, world);
            }
            if effects.look {
                world.clock.wake_at(S::PARTY, Role::Control, world.clock.now);
            }
            if effects.want_room {
                self.writer.wants_room = true;
                world.want_room(S::OUT);
            }
            if !effects.write {
                return;
            }
            // Another thread may be the one that writes, a little later.
            if world.clock.one_in(4) {
                world.clock.wake(S::PARTY, Role::Writer);
                return;
            }
            if !self.write(world) {
                return;
            }
        }
    }

    /// Shuts the data sockets of a connection that has failed.
    fn fails(&mut self, failure: Failure, world: &mut World) {
        world.clock.log(S::PARTY, None, || format!("fails: {failure:?}"));
        let is_first = self.failure.is_none();
        world.clock.demand(is_first, || format!("{:?} fails twice", S::PARTY));
        self.failure = Some(failure);
        self.failed_at = world.clock.now;
        for number in 0..self.tasks.len() {
            world.shut(WireName::Data(number), S::PARTY);
        }
    }

    /// Fails the connection for a reason of this side's.
    pub(crate) fn fail(&mut self, failure: Failure, world: &mut World) {
        self.end.life_mut().fail(failure);
        self.perform(world);
    }

    /// Ends the work of a connection that is closed in good order.
    pub(crate) fn shut(&mut self, world: &mut World) {
        for number in 0..self.tasks.len() {
            world.shut(WireName::Data(number), S::PARTY);
            self.tasks[number].end();
        }
        world.shut(S::OUT, S::PARTY);
        world.shut(S::IN, S::PARTY);
    }

    pub(crate) fn is_writing(&self) -> bool {
        self.writer.is_writing()
    }

    /// Returns whether nothing is held any more.
    pub(crate) fn is_idle(&self) -> bool {
        let mut streams = self.tasks.iter().map(|task| &task.stream);
        self.end.in_flight() == 0 && self.end.is_idle(&mut streams) && self.desk.memory.is_idle()
    }

    pub(crate) fn segments(&self) -> Vec<u64> {
        self.tasks.iter().map(|task| S::segments(&task.stream)).collect()
    }
}

fn forget(effects: &mut Effects, effect: Effect) {
    match effect {
        Effect::Wake => effects.wake = 0,
        Effect::Done => effects.done = connection::Slots::default(),
        Effect::All => effects.all = false,
        Effect::Write => effects.write = false,
        Effect::WantRoom => effects.want_room = false,
        Effect::Look => effects.look = false,
        Effect::Failure => effects.failure = None,
    }
}
