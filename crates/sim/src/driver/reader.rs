//! Reads the control socket: any actor may, and the reading one stops at any frame.

use gputcp_proto::{
    connection::{Failure, Input},
    frame::Control,
};

use super::{
    Driver,
    side::{Side, Taken},
};
use crate::{faults::Role, wire::Io, world::World};

impl<S: Side> Driver<'_, S> {
    /// Hears what has come.
    pub(crate) fn read(&mut self, world: &mut World) {
        self.inbox.begin_share();
        loop {
            let life = self.end.life();
            if life.has_failed() || life.control_has_ended() {
                return;
            }
            match self.inbox.input() {
                Input::Read(into) => match world.read(S::IN, into) {
                    Io::Some(bytes) => {
                        self.inbox.got(bytes);
                        self.desk.heard_at = world.clock.now;
                    }
                    Io::Blocked => return,
                    Io::Failed(error) => self.inbox.failed(error),
                },
                Input::Frame(frame) => self.hear(frame, world),
                Input::Message => match self.end.take_message(&mut self.inbox, &mut self.desk, world) {
                    Taken::All => {
                        self.inbox.end_message();
                        self.perform(world);
                    }
                    Taken::Blocked => return self.perform(world),
                    Taken::Lane(ticket) => {
                        world.clock.wake_at(S::PARTY, Role::Control, ticket.done_at());
                        return self.perform(world);
                    }
                    Taken::Failed(failure) => self.fail(failure, world),
                },
                Input::Wrong(violation) => self.fail(Failure::Violation(violation), world),
                Input::Closed(error) => {
                    world.clock.log(S::PARTY, None, || format!("the control socket ends: {error:?}"));
                    self.end.control_closed(error);
                    return self.perform(world);
                }
                Input::Pause => return world.clock.wake(S::PARTY, Role::Control),
            }
            // Another actor comes between two frames.
            if world.clock.one_in(8) {
                return world.clock.wake(S::PARTY, Role::Control);
            }
        }
    }

    fn hear(&mut self, frame: Control, world: &mut World) {
        world.clock.log(S::PARTY, None, || format!("hears {frame:?}"));
        if let Control::Inline { seq, .. } = frame {
            self.desk.short = seq;
        }
        if !matches!(frame, Control::Ping | Control::Pong) {
            self.desk.moved_at = world.clock.now;
        }
        self.end.heard(frame, &mut self.inbox);
        if !self.end.life().has_failed() {
            self.desk.referee.frame(&mut world.clock, &frame);
        }
        self.perform(world);
    }
}
