//! The world of a run: the clock, and the wires between the ends.

use crate::{
    clock::Clock,
    faults::{Party, WireName},
    settings::Settings,
    wire::{Io, Wires},
};

/// The world that a run happens in.
pub(crate) struct World {
    pub(crate) clock: Clock,
    pub(crate) wires: Wires,
}

impl World {
    pub(crate) fn new(settings: &Settings, is_logged: bool) -> Self {
        Self { clock: Clock::new(settings.seed, is_logged), wires: Wires::new(settings) }
    }

    /// Writes as many of the bytes as there is room for, or fewer.
    pub(crate) fn write(&mut self, name: WireName, parts: [&[u8]; 2]) -> Io {
        let Self { clock, wires } = self;
        let (io, cut) = wires.of(name).write(clock, parts);
        if let (Some(error), WireName::Up | WireName::Down) = (cut, name) {
            // Both directions are one socket.
            for name in [WireName::Up, WireName::Down] {
                wires.of(name).cut(clock, error);
            }
        }
        io
    }

    /// Reads some of the bytes that have arrived.
    pub(crate) fn read(&mut self, name: WireName, into: &mut [u8]) -> Io {
        let Self { clock, wires } = self;
        wires.of(name).read(clock, into)
    }

    /// Ends the stream, as its writer; bytes on their way still arrive.
    pub(crate) fn end(&mut self, name: WireName) {
        let Self { clock, wires } = self;
        wires.of(name).end(clock);
    }

    /// Shuts the socket down, in the directions that it has.
    pub(crate) fn shut(&mut self, name: WireName, party: Party) {
        if name.writer() == party {
            return self.end(name);
        }
        let Self { clock, wires } = self;
        wires.of(name).stop_reading(clock);
    }

    /// Has the writer woken when there is room, or at once if there is.
    pub(crate) fn want_room(&mut self, name: WireName) {
        let Self { clock, wires } = self;
        wires.of(name).want_room(clock);
    }

    pub(crate) fn has_room(&mut self, name: WireName) -> bool {
        self.wires.of(name).is_writable()
    }
}
