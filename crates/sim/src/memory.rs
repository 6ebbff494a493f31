//! The memory of an end: sources or destinations by slot, bounce or staging buffers, and eager places. The
//! lanes copy between them, and each use is checked.

use std::sync::OnceLock;

use gputcp_proto::connection::SHORT_BUFFERS;

use crate::{
    clock::Clock,
    faults::{Fault, Flaw, Party},
    lane::{Lane, Launcher},
    settings::{Item, Settings},
};

/// The memory of an end and its lanes.
pub(crate) struct Memory {
    party: Party,
    slots: Vec<Region>,
    /// The buffers of each data socket, and the control socket's behind them.
    buffers: Vec<Vec<Vec<u8>>>,
    lanes: Vec<Lane>,
    /// The eager places, and the sequence number of the message in each.
    places: Vec<(Vec<u8>, Option<u64>)>,
    launches: u32,
    fails_at: Option<u32>,
    spoils_sources: bool,
}

/// The memory of a request.
struct Region {
    bytes: Vec<u8>,
    /// The send or the receive that it is of.
    item: usize,
    is_open: bool,
    /// Its memory is a device's: no socket can use it.
    on_device: bool,
    /// The bytes of it that sockets have taken.
    taken: u64,
}

impl Memory {
    pub(crate) fn new(settings: &Settings, party: Party) -> Self {
        let agreed = settings.of(party);
        let region = || Region { bytes: vec![], item: 0, is_open: false, on_device: false, taken: 0 };
        let longest = agreed.segment_bytes.max(agreed.inline_bytes) as usize;
        let rings = agreed.buffers.map_or(0, |_| agreed.streams + 1);
        let count =
            |ring: usize| if ring == agreed.streams { SHORT_BUFFERS } else { agreed.buffers.unwrap_or(0) };
        let fails_at = settings.faults.iter().find_map(|fault| match *fault {
            Fault::Lane { party: of, after } if of == party => Some(after),
            _ => None,
        });
        let lies = settings.flaw == Some(Flaw::LyingLanes);
        Self {
            party,
            slots: (0..agreed.depth).map(|_| region()).collect(),
            buffers: (0..rings).map(|ring| vec![vec![0; longest]; count(ring)]).collect(),
            lanes: (0..rings).map(|_| Lane::new(settings.lane_ns_max, lies)).collect(),
            places: vec![(vec![0; agreed.eager_bytes as usize], None); agreed.eager_places],
            launches: 0,
            fails_at,
            spoils_sources: settings.flaw == Some(Flaw::SourceReusedEarly),
        }
    }

    /// Gives a slot's memory to a request: the send or the receive of this number.
    pub(crate) fn open(&mut self, clock: &mut Clock, slot: usize, number: usize, item: Item) -> &mut Vec<u8> {
        let party = self.party;
        let is_copied = self.lanes.iter().any(|lane| lane.running().any(|copy| copy.slot == slot));
        clock.demand(!is_copied, || format!("{party:?}: a lane works on the memory of slot {slot}, reused"));
        let region = &mut self.slots[slot];
        clock.demand(!region.is_open, || format!("{party:?}: slot {slot} has two holders"));
        (region.item, region.is_open, region.taken) = (number, true, 0);
        region.on_device = item.on_device;
        region.bytes.clear();
        &mut region.bytes
    }

    /// Takes a slot's memory back from its request, and returns its bytes and those that sockets have taken.
    pub(crate) fn close(&mut self, slot: usize) -> (&[u8], u64) {
        let region = &mut self.slots[slot];
        region.is_open = false;
        (&region.bytes, region.taken)
    }

    /// Returns the send or the receive that a slot is of.
    pub(crate) fn item(&self, slot: usize) -> usize {
        self.slots[slot].item
    }

    /// Counts bytes of a source that a socket has taken.
    pub(crate) fn took(&mut self, slot: usize, bytes: u64) {
        self.slots[slot].taken += bytes;
    }

    /// Returns bytes of a slot's memory, for a socket.
    pub(crate) fn of_slot(&mut self, clock: &mut Clock, slot: usize, from: u64, bytes: u64) -> &mut [u8] {
        let (party, region) = (self.party, &mut self.slots[slot]);
        clock.demand(region.is_open, || {
            format!("{party:?}: the memory of slot {slot} is used behind its end")
        });
        let is_right = !region.on_device || bytes == 0;
        clock.demand(is_right, || format!("{party:?}: a socket uses the device memory of slot {slot}"));
        let end = (from + bytes) as usize;
        if end > region.bytes.len() {
            clock.demand(false, || {
                format!("{party:?}: byte {end} of the shorter memory of slot {slot} is used")
            });
            region.bytes.resize(end, 0);
        }
        &mut region.bytes[from as usize..end]
    }

    /// Returns bytes of a buffer, for a socket.
    pub(crate) fn of_buffer(
        &mut self,
        clock: &mut Clock,
        (ring, index): (usize, usize),
        from: u64,
        bytes: u64,
    ) -> &mut [u8] {
        let party = self.party;
        let is_copied = self.lanes[ring].running().any(|copy| copy.buffer == index);
        clock
            .demand(!is_copied, || format!("{party:?}: a lane works on buffer {index} of ring {ring}, used"));
        &mut self.buffers[ring][index][from as usize..(from + bytes) as usize]
    }

    /// Returns the lane of a ring, to launch work on a slot and a buffer.
    pub(crate) fn launcher<'a>(&'a mut self, clock: &'a mut Clock, ring: usize) -> Launcher<'a> {
        let fails = self.fails_at == Some(self.launches);
        self.launches += 1;
        Launcher { lane: &mut self.lanes[ring], clock, fails }
    }

    /// Does the work of the lanes whose time has come.
    pub(crate) fn advance(&mut self, clock: &mut Clock) {
        for (lane, buffers) in self.lanes.iter_mut().zip(&mut self.buffers) {
            while let Some(copy) = lane.next_finished(clock) {
                let region = &mut self.slots[copy.slot];
                let party = self.party;
                clock.demand(region.is_open, || {
                    format!("{party:?}: a lane works behind the end of a request")
                });
                // Without its memory, the request has ended, and its bytes are missing there.
                let Some(range) = region.bytes.get_mut(copy.offset..copy.offset + copy.bytes) else {
                    continue;
                };
                let buffer = &mut buffers[copy.buffer][..copy.bytes];
                match self.party {
                    Party::Sender => buffer.copy_from_slice(range),
                    Party::Receiver => range.copy_from_slice(buffer),
                }
            }
        }
    }

    /// Overwrites a source whose copy was just launched, if that is this driver's defect.
    pub(crate) fn spoil(&mut self, slot: usize) {
        if self.spoils_sources {
            self.slots[slot].bytes.fill(0);
        }
    }

    /// Returns an eager place, for the bytes of this message from the socket.
    pub(crate) fn place_for(&mut self, clock: &mut Clock, place: usize, seq: u64) -> &mut [u8] {
        let (bytes, message) = &mut self.places[place];
        let before = message.replace(seq);
        clock.demand(before.is_none_or(|before| before == seq), || {
            format!("place {place} has message {before:?} and takes message {seq}")
        });
        bytes
    }

    /// Copies the first bytes of an eager place.
    pub(crate) fn of_place(&self, place: usize) -> Vec<u8> {
        self.places[place].0.clone()
    }

    /// Frees the eager place of a message whose receive is finished.
    pub(crate) fn leave_place(&mut self, seq: u64) {
        self.places.iter_mut().filter(|(_, message)| *message == Some(seq)).for_each(|place| place.1 = None);
    }

    /// Returns whether no lane has work.
    pub(crate) fn is_idle(&self) -> bool {
        self.lanes.iter().all(|lane| lane.running().next().is_none())
    }
}

/// Returns the bytes of a message.
///
/// They differ in every message and at every place, so that no byte can stand for another unnoticed for long.
pub(crate) fn content(seed: u64, message: usize, bytes: u64) -> &'static [u8] {
    static TABLE: OnceLock<Vec<u8>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        let mut rng = fastrand::Rng::with_seed(7);
        (0..CONTENT_BYTES).map(|_| rng.u8(..)).collect()
    });
    let start = (seed as usize).wrapping_mul(31).wrapping_add(message.wrapping_mul(7919)) % STARTS;
    &table[start..start + bytes as usize]
}

const STARTS: usize = 65521;
const CONTENT_BYTES: usize = STARTS + (1 << 20);
