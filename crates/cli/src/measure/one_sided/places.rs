//! The places of the blocks in both ends' regions, and their data. A region is a row of places, one for each
//! block. With scatter there is a gap behind each, and each end has the blocks in an order of its own.
//!
//! A block has a pattern of its own, wherever it is: a block in another's place does not verify. The gaps of
//! the destination have patterns too, which a transfer must leave alone.

use gputcp_gpu::{Buffer, Mismatch, Pattern};

use crate::{
    bootstrap::message::Begin,
    failure::Failure,
    interrupt::Interrupt,
    measure::run::{fill, verify},
    settings::OneSided,
};

/// The places of the blocks.
pub(super) struct Places {
    pub(super) one_sided: OneSided,
    seed: u64,
    /// The place of each block at the source, and at the destination.
    source: Vec<u32>,
    destination: Vec<u32>,
}

impl Places {
    /// Returns the places that both ends derive from the seed.
    pub(super) fn new(one_sided: OneSided, seed: u64) -> Self {
        let order = |salt: u64| {
            let mut order: Vec<u32> = (0..one_sided.blocks).collect();
            if one_sided.scatter {
                shuffle(&mut order, seed ^ salt);
            }
            order
        };
        Self { one_sided, seed, source: order(SOURCE), destination: order(DESTINATION) }
    }

    /// Returns the start of the places of a burst's transfer number `n` in both regions.
    pub(super) fn base(&self, n: u64) -> u64 {
        n * self.one_sided.region_bytes()
    }

    /// Returns the start of each block at the source and at the destination, in the transfer's order.
    pub(super) fn blocks(&self) -> impl Iterator<Item = (u64, u64)> {
        let start = |&place: &u32| self.start(place);
        self.source.iter().map(start).zip(self.destination.iter().map(start))
    }

    /// Returns the byte in the middle of the middle block, at the source.
    pub(super) fn middle_of_source(&self) -> u64 {
        self.middle(&self.source)
    }

    /// Returns the same byte at the destination.
    pub(super) fn middle_of_destination(&self) -> u64 {
        self.middle(&self.destination)
    }

    fn middle(&self, places: &[u32]) -> u64 {
        places.get(places.len() / 2).map_or(0, |&place| self.start(place)) + self.one_sided.block_bytes / 2
    }

    /// Makes the data of a transfer at the source, whose places start at `base`.
    ///
    /// # Errors
    /// [`Failure::Interrupted`] as soon as the user asks for it.
    pub(super) fn make(
        &self,
        (source, base): (&Buffer, u64),
        begin: &Begin,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        let bytes = self.one_sided.block_bytes;
        for (block, (start, _)) in (0..).zip(self.blocks()) {
            interrupt.check()?;
            fill(source, self.data(begin, block), base + start, bytes, interrupt)?;
        }
        Ok(())
    }

    /// Fills the gaps between the blocks of the destination.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(super) fn make_gaps(
        &self,
        (destination, base): (&Buffer, u64),
        begin: &Begin,
        interrupt: &Interrupt,
    ) -> Result<(), Failure> {
        for (place, (start, bytes)) in (0..).zip(self.gaps()) {
            interrupt.check()?;
            fill(destination, self.gap_data(begin, place), base + start, bytes, interrupt)?;
        }
        Ok(())
    }

    /// Compares the whole destination of a transfer with its data: each block, and each gap. Returns the
    /// first difference in words, if there is one, with the number of all wrong bytes.
    ///
    /// # Errors
    /// As [`Self::make`].
    pub(super) fn check(
        &self,
        (destination, base): (&Buffer, u64),
        begin: &Begin,
        interrupt: &Interrupt,
    ) -> Result<Option<String>, Failure> {
        let mut first: Option<(String, Mismatch)> = None;
        let mut look = |name: &str, number: u64, pattern: Pattern, (start, bytes): (u64, u64)| {
            interrupt.check()?;
            if let Err(mismatch) = verify(destination, pattern, base + start, bytes, interrupt)? {
                let (_, all) = first.get_or_insert_with(|| {
                    let none = Mismatch { wrong_bytes: 0, ..mismatch };
                    (format!("{name} {number}"), none)
                });
                all.wrong_bytes += mismatch.wrong_bytes;
            }
            Ok::<_, Failure>(())
        };
        let bytes = self.one_sided.block_bytes;
        for (block, (_, start)) in (0..).zip(self.blocks()) {
            look("block", block, self.data(begin, block), (start, bytes))?;
        }
        for (place, gap) in (0..).zip(self.gaps()) {
            look("the gap behind place", place, self.gap_data(begin, place), gap)?;
        }
        Ok(first.map(|(what, mismatch)| {
            let Mismatch { offset, expected, found, wrong_bytes } = mismatch;
            format!(
                "byte {offset} of {what} is {found:#04x} and should be {expected:#04x} ({wrong_bytes} wrong bytes in all)"
            )
        }))
    }

    fn start(&self, place: u32) -> u64 {
        u64::from(place) * self.one_sided.stride_bytes()
    }

    /// Returns start and length of the gap behind each place, if there are gaps.
    fn gaps(&self) -> impl Iterator<Item = (u64, u64)> {
        let OneSided { block_bytes, blocks, scatter, .. } = self.one_sided;
        let places = if scatter { 0..blocks } else { 0..0 };
        places
            .map(move |place| (self.start(place) + block_bytes, self.one_sided.stride_bytes() - block_bytes))
    }

    /// Returns the data of a block in a run: no other block and no other run has the same.
    const fn data(&self, begin: &Begin, block: u64) -> Pattern {
        Pattern { seed: of_run(self.seed, begin), iteration: block }
    }

    const fn gap_data(&self, begin: &Begin, place: u64) -> Pattern {
        Pattern { seed: of_run(!self.seed, begin), iteration: place }
    }
}

/// Returns the seed of a run, another for each.
const fn of_run(seed: u64, begin: &Begin) -> u64 {
    seed ^ begin.iteration.wrapping_mul(STEP)
}

/// Shuffles by Fisher and Yates, with the numbers of splitmix64 from this seed on.
fn shuffle(order: &mut [u32], seed: u64) {
    let mut state = seed;
    for at in (1..order.len()).rev() {
        state = state.wrapping_add(STEP);
        let x = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        order.swap(at, ((x ^ (x >> 31)) % (at as u64 + 1)) as usize);
    }
}

/// The odd number of splitmix64.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;
const SOURCE: u64 = 0x736f_7572_6365_0000;
const DESTINATION: u64 = 0x6465_7374_0000_0000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bootstrap::message::Work, settings::Operation};

    fn places(blocks: u32, block_bytes: u64, scatter: bool) -> Places {
        Places::new(OneSided { op: Operation::Read, blocks, block_bytes, scatter }, 7)
    }

    fn begin(iteration: u64) -> Begin {
        Begin { work: Work::Transfer, bytes: 0, iteration, rounds: 1 }
    }

    #[test]
    fn neighbours_without_scatter() {
        let places = places(3, 10, false);
        assert_eq!(places.blocks().collect::<Vec<_>>(), [(0, 0), (10, 10), (20, 20)]);
        assert_eq!((places.gaps().count(), places.middle_of_source()), (0, 15));
    }

    #[test]
    fn scattered_blocks_have_each_place_once_and_no_neighbours() {
        let places = places(1000, 24, true);
        for ends in [|(source, _)| source, |(_, destination)| destination] {
            let mut starts: Vec<u64> = places.blocks().map(ends).collect();
            let in_a_row = starts.windows(2).filter(|two| two[1] == two[0] + 48).count();
            assert!(in_a_row < 20, "{in_a_row} blocks come behind the one before");
            starts.sort_unstable();
            assert_eq!(starts, (0..1000).map(|place| place * 48).collect::<Vec<u64>>());
        }
        let same = places.blocks().filter(|(source, destination)| source == destination).count();
        assert!(same < 20, "{same} blocks are at the same place of both ends");
        let region = places.one_sided.region_bytes();
        assert_eq!(places.gaps().last(), Some((region - 24, 24)));
    }

    /// Copies each block as a transfer does.
    fn moved(places: &Places, source: &Buffer, destination: &Buffer) {
        let mut block = vec![0; places.one_sided.block_bytes as usize];
        for (from, to) in places.blocks() {
            source.copy_to_host(from, &mut block).unwrap();
            destination.copy_from_host(to, &block).unwrap();
        }
    }

    #[test]
    fn a_wrong_byte_of_a_block_or_of_a_gap_is_found() {
        let interrupt = Interrupt::new().unwrap();
        for scatter in [false, true] {
            let places = places(9, 1001, scatter);
            let region = || Buffer::host(places.one_sided.region_bytes()).unwrap();
            let (source, destination) = (region(), region());
            let check = |iteration| places.check((&destination, 0), &begin(iteration), &interrupt).unwrap();
            places.make((&source, 0), &begin(3), &interrupt).unwrap();
            places.make_gaps((&destination, 0), &begin(3), &interrupt).unwrap();
            assert!(check(3).unwrap().ends_with("wrong bytes in all)"), "nothing was moved");
            moved(&places, &source, &destination);
            assert_eq!(check(3), None);
            assert!(check(2).is_some(), "it is the data of another run");
            let flip = |at: u64| {
                let mut byte = [0];
                destination.copy_to_host(at, &mut byte).unwrap();
                destination.copy_from_host(at, &[!byte[0]]).unwrap();
            };
            let (_, start) = places.blocks().nth(4).unwrap();
            flip(start + 17);
            let said = check(3).unwrap();
            assert!(said.starts_with("byte 17 of block 4 is ") && said.contains("(1 wrong"), "{said}");
            flip(start + 17);
            if scatter {
                flip(places.gaps().nth(8).unwrap().0 + 1000);
                let said = check(3).unwrap();
                assert!(said.starts_with("byte 1000 of the gap behind place 8 is "), "{said}");
            }
        }
    }

    #[test]
    fn a_block_in_the_place_of_another_is_found() {
        let (places, interrupt) = (places(4, 64, true), Interrupt::new().unwrap());
        let buffer = Buffer::host(places.one_sided.region_bytes()).unwrap();
        places.make((&buffer, 0), &begin(1), &interrupt).unwrap();
        places.make_gaps((&buffer, 0), &begin(1), &interrupt).unwrap();
        let said = places.check((&buffer, 0), &begin(1), &interrupt).unwrap();
        assert!(said.is_some(), "the source's order passes for the destination's");
    }

    #[test]
    fn an_interrupted_look_has_no_verdict() {
        let (places, interrupt) = (places(4, 64, true), Interrupt::new().unwrap());
        let buffer = Buffer::host(places.one_sided.region_bytes()).unwrap();
        interrupt.fire();
        assert_eq!(places.make((&buffer, 0), &begin(1), &interrupt), Err(Failure::Interrupted));
        assert_eq!(places.check((&buffer, 0), &begin(1), &interrupt), Err(Failure::Interrupted));
    }
}
