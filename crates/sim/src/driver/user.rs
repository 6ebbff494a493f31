//! The user of an end: posts, finishes oldest first or in any order, and closes, or gives up.
//!
//! A user that polls asks again and again. One that waits sleeps until the effects name its request, or all;
//! it has no other wakes. Either gives up when nothing has moved for long.

use gputcp_proto::{
    connection::{Effects, Failure},
    window::Slot,
};

use super::{
    Driver,
    request::Request,
    side::{Finish, Side, Taken},
};
use crate::{
    faults::{Fault, Flaw, Party, Role},
    report::Outcome,
    settings::{Ending, Plan, Settings, TIMEOUT},
    world::World,
};

/// The user of an end.
pub(crate) struct User {
    plan: Plan,
    pub(crate) posted: usize,
    open: Vec<Request>,
    pub(crate) finished: Vec<usize>,
    pub(crate) bytes: u64,
    /// The requests that the user was told never end.
    pub(crate) never: Vec<usize>,
    is_closing: bool,
    cancel_at: Option<u64>,
    sleep: Option<Sleep>,
    is_woken: bool,
    /// The time between two attempts to post, which grows.
    patience_ns: u64,
    /// The user has asked for a request's end, in vain.
    has_looked: bool,
}

/// The wakes of a user that waits.
struct Sleep {
    /// The slot of its request; any will do without.
    slot: Option<usize>,
    until: u64,
}

/// The time of the next step.
enum Next {
    /// The next step, after some thought.
    Think,
    /// The next step, when that time has come.
    At(u64),
    Sleep(Option<usize>),
    Over,
}

impl User {
    pub(crate) fn new(settings: &Settings, party: Party) -> Self {
        let cancel = |fault: &Fault| match *fault {
            Fault::Cancel { party: of, at } if of == party => Some(at),
            _ => None,
        };
        Self {
            plan: settings.users[usize::from(party == Party::Receiver)].clone(),
            posted: 0,
            open: vec![],
            finished: vec![],
            bytes: 0,
            never: vec![],
            is_closing: false,
            cancel_at: settings.faults.iter().filter_map(cancel).min(),
            sleep: None,
            is_woken: false,
            patience_ns: 10_000,
            has_looked: false,
        }
    }

    pub(crate) const fn is_closing(&self) -> bool {
        self.is_closing
    }
}

impl<S: Side> Driver<'_, S> {
    /// Wakes a user that waits for these effects. One that does not wait yet asks once more before it does.
    pub(crate) fn wake_user(&mut self, effects: &Effects, world: &mut World) {
        let sleep = self.user.sleep.as_ref();
        let slot = sleep.and_then(|sleep| sleep.slot);
        if effects.all || slot.is_none_or(|slot| effects.done.contains(slot)) {
            self.user.is_woken = true;
            if sleep.is_some() {
                world.clock.wake(S::PARTY, Role::User);
            }
        }
    }

    /// Takes the user's next step.
    pub(crate) fn act(&mut self, world: &mut World) {
        let now = world.clock.now;
        if self.outcome.is_some() {
            return;
        }
        if self.user.cancel_at.is_some_and(|at| at <= now) {
            self.user.cancel_at = None;
            world.clock.log(S::PARTY, None, || "is cancelled");
            self.fail(Failure::Local, world);
        }
        if let Some(sleep) = &self.user.sleep
            && !self.user.is_woken
            && now < sleep.until
            && !self.end.life().has_failed()
        {
            let until = sleep.until.min(self.user.cancel_at.unwrap_or(u64::MAX));
            return world.clock.wake_at(S::PARTY, Role::User, until);
        }
        (self.user.sleep, self.user.is_woken) = (None, false);
        if now > self.desk.moved_at + PATIENCE_NS && !self.end.life().has_failed() {
            world.clock.log(S::PARTY, None, || "gives up waiting");
            self.fail(Failure::TimedOut, world);
        }
        let next = self.next(world);
        self.perform(world);
        let at = match next {
            Next::Think => now + world.clock.rng.u64(0..self.user.plan.think_ns_max),
            Next::At(at) => at,
            Next::Sleep(_) if self.user.is_woken => now + 1,
            Next::Sleep(slot) if !self.user.plan.polls => {
                // An unpack that is under way wakes its waiter, too.
                let unpack = self.end.newest_unpack().filter(|_| !self.user.is_closing);
                let until = unpack.map(|ticket| ticket.done_at().max(now + 1)).unwrap_or(u64::MAX);
                let until = until.min(self.desk.moved_at.max(now) + PATIENCE_NS + 1);
                self.user.sleep = Some(Sleep { slot, until });
                until
            }
            Next::Sleep(_) => {
                self.read(world);
                now + world.clock.rng.u64(1_000..=2 * self.patience())
            }
            Next::Over => return,
        };
        world.clock.wake_at(S::PARTY, Role::User, at.min(self.user.cancel_at.unwrap_or(u64::MAX)));
    }

    /// Returns how long the user lets pass between two questions: longer each time, up to 10 ms.
    fn patience(&mut self) -> u64 {
        self.user.patience_ns = (self.user.patience_ns * 2).min(10_000_000);
        self.user.patience_ns
    }

    fn next(&mut self, world: &mut World) -> Next {
        if self.end.life().has_failed() {
            let failure = self.failure.clone();
            world
                .clock
                .demand(failure.is_some(), || format!("{:?} has failed, and does not say why", S::PARTY));
            return self.over(Outcome::Failed(failure.unwrap_or(Failure::Local)), world);
        }
        if self.user.is_closing {
            return self.close_on(world);
        }
        if let Some(request) = self.user.open.last_mut()
            && request.early.is_some()
        {
            match self.end.deliver(request, &mut self.desk, world) {
                Taken::All => {}
                Taken::Lane(ticket) => return Next::At(ticket.done_at().max(world.clock.now + 1)),
                Taken::Failed(failure) => {
                    self.fail(failure, world);
                    return Next::Think;
                }
                Taken::Blocked => unreachable!("all of it is here"),
            }
        }
        if let Some((at, ns)) = self.user.plan.pause
            && at == self.user.posted
        {
            self.user.plan.pause = None;
            world.clock.log(S::PARTY, None, || format!("pauses for {ns} ns"));
            self.desk.moved_at = world.clock.now + ns;
            return Next::At(world.clock.now + ns);
        }
        let has_more = self.user.posted < self.user.plan.posts;
        let tries = has_more && (self.user.open.is_empty() || world.clock.rng.bool());
        if tries && self.post(world) {
            return Next::Think;
        }
        if self.user.open.is_empty() {
            return if has_more { self.wait_to_post(world) } else { self.close(world) };
        }
        if !has_more && self.user.plan.ending != Ending::InOrder {
            return self.close(world);
        }
        self.finish(has_more && !tries, world)
    }

    /// Posts the next request, if there is room.
    fn post(&mut self, world: &mut World) -> bool {
        let Some(request) = self.end.post(self.user.posted, &mut self.desk, world) else { return false };
        self.desk.moved_at = world.clock.now;
        self.user.patience_ns = 10_000;
        self.user.posted += 1;
        self.user.open.push(request);
        true
    }

    /// Waits for a receive to be announced, where receives are grouped; behind the peer's goodbye none is.
    fn wait_to_post(&mut self, world: &mut World) -> Next {
        if self.end.life().peer_has_said_goodbye() {
            self.user.never.push(self.user.posted);
            return self.give_up(Outcome::PeerClosed, world);
        }
        self.read(world);
        let patience = self.patience();
        Next::At(world.clock.now + patience)
    }

    /// Asks for the end of a request. It may be waited for, unless the next may be posted.
    fn finish(&mut self, may_post: bool, world: &mut World) -> Next {
        // The peer's end, looked at later than the request: the defect of a driver of old.
        if self.user.has_looked
            && self.end.is_over()
            && self.desk.settings.flaw == Some(Flaw::EndAfterReceive)
        {
            self.user.never.push(self.user.open[0].number);
            return self.give_up(Outcome::PeerClosed, world);
        }
        let count = self.user.open.len();
        let at = if self.user.plan.any_order { world.clock.rng.usize(0..count) } else { 0 };
        let request = self.user.open.remove(at);
        let (number, slot) = (request.number, request.slots[0].as_ref().map(Slot::index));
        let is_group = request.slots[1].is_some();
        match self.end.finish(request, &mut self.desk, world) {
            Ok(Finish::Done(Ok(bytes))) => {
                self.desk.moved_at = world.clock.now;
                self.user.patience_ns = 10_000;
                self.user.finished.push(number);
                self.user.bytes += bytes;
                self.user.has_looked = false;
                Next::Think
            }
            Ok(Finish::Done(Err(item))) => self.give_up(Outcome::WrongData { item }, world),
            Ok(Finish::NotYet(request)) => {
                self.user.open.insert(at, request);
                self.user.has_looked = true;
                // It may be another that is finished, where any will do.
                let is_for_any = is_group || (self.user.plan.any_order && count > 1);
                match may_post {
                    true => Next::Think,
                    false if is_for_any && world.clock.one_in(4) => Next::Sleep(None),
                    false if is_for_any => Next::At(world.clock.now + self.patience()),
                    false => Next::Sleep(slot),
                }
            }
            Ok(Finish::Never(request)) => {
                drop(request);
                self.user.never.push(number);
                self.give_up(Outcome::PeerClosed, world)
            }
            Err(_) => {
                self.fail(Failure::Local, world);
                Next::Think
            }
        }
    }

    /// Closes, or drops the connection.
    fn close(&mut self, world: &mut World) -> Next {
        if self.user.plan.ending == Ending::Drop {
            world.clock.log(S::PARTY, None, || "drops the connection");
            self.fail(Failure::Local, world);
            return Next::Think;
        }
        world.clock.log(S::PARTY, None, || "closes");
        let open = self.end.in_flight();
        let closed = self.end.close();
        world.clock.demand(closed.is_ok() == (open == 0), || format!("a close with {open} open: {closed:?}"));
        if closed.is_err() {
            self.fail(Failure::Local, world);
            return Next::Think;
        }
        self.desk.moved_at = world.clock.now;
        self.user.is_closing = true;
        Next::Think
    }

    /// Waits for the peer's goodbye, and until this side's is written.
    fn close_on(&mut self, world: &mut World) -> Next {
        let life = self.end.life();
        if !life.peer_has_said_goodbye() {
            return Next::Sleep(None);
        }
        if life.has_frames() || self.is_writing() {
            let patience = self.patience();
            return Next::At(world.clock.now + patience);
        }
        self.shut(world);
        self.over(Outcome::Complete, world)
    }

    fn over(&mut self, outcome: Outcome, world: &mut World) -> Next {
        world.clock.log(S::PARTY, None, || format!("ends: {outcome:?}"));
        self.outcome = Some(outcome);
        Next::Over
    }

    /// Ends the connection for a reason that only the user sees.
    fn give_up(&mut self, outcome: Outcome, world: &mut World) -> Next {
        self.fail(Failure::Local, world);
        self.over(outcome, world)
    }
}

/// The time after which a user gives up if nothing moves: longer than all pauses of a peer's user.
const PATIENCE_NS: u64 = 12 * TIMEOUT.as_nanos() as u64;
