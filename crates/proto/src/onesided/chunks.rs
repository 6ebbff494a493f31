//! Cuts a list of blocks into chunks: some ranges of one local and of one remote memory, up to a length.

use super::{
    command::{Kind, RANGES_MAX, REGIONS_MAX, Range, Request},
    key::Key,
};

/// A block of a transfer: so many bytes, here and at the peer. Regions are named by their place in the
/// transfer's own tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The local region.
    pub local: u32,
    /// The remote region.
    pub remote: u32,
    /// The start in the local region.
    pub local_offset: u64,
    /// The start in the remote region.
    pub remote_offset: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// A chunk of a transfer: a part of its blocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Chunk {
    /// The first block.
    pub first: u32,
    /// The bytes of the first block that belong to the chunk before.
    pub skip: u64,
    /// The number of bytes.
    pub bytes: u64,
}

/// The blocks of a transfer, merged and cut.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    blocks: Vec<Block>,
    /// The caller's number of each block that begins a merged one; none while each is the block's place.
    numbers: Vec<u32>,
    chunks: Vec<Chunk>,
    bytes: u64,
}

impl Plan {
    /// Merges neighbouring blocks into a plan that has no chunks yet ([`Plan::cut`]).
    #[must_use]
    pub fn merge(blocks: impl IntoIterator<Item = Block>) -> Self {
        let blocks = blocks.into_iter();
        let mut plan = Self::default();
        plan.blocks.reserve(blocks.size_hint().0);
        for (number, block) in blocks.enumerate() {
            plan.add(block, number as u32);
        }
        plan
    }

    fn add(&mut self, block: Block, number: u32) {
        if block.bytes == 0 {
            return;
        }
        self.bytes = self.bytes.saturating_add(block.bytes);
        if let Some(last) = self.blocks.last_mut()
            && (last.local, last.remote) == (block.local, block.remote)
            && last.local_offset.checked_add(last.bytes) == Some(block.local_offset)
            && last.remote_offset.checked_add(last.bytes) == Some(block.remote_offset)
        {
            last.bytes += block.bytes;
            return;
        }
        let at = self.blocks.len();
        if self.numbers.is_empty() && number as usize != at {
            self.numbers.reserve(self.blocks.capacity());
            self.numbers.extend(0..at as u32);
        }
        if !self.numbers.is_empty() || number as usize != at {
            self.numbers.push(number);
        }
        self.blocks.push(block);
    }

    /// Cuts the plan into chunks of up to `longest` bytes, whose blocks are all in the same `memory`.
    ///
    /// # Panics
    /// If `longest` is 0.
    pub fn cut<M: PartialEq>(&mut self, longest: u64, memory: impl Fn(&Block) -> M) {
        assert!(longest > 0, "a chunk has at least one byte");
        self.chunks.clear();
        let mut open: Option<(Chunk, usize)> = None;
        let mut regions = Distinct::default();
        let mut before = None;
        for (at, block) in self.blocks.iter().enumerate() {
            // Mostly the block is of the regions of the one before.
            let pair = Some((block.local, block.remote));
            let is_like_before = before == pair;
            before = pair;
            let mut may_join = is_like_before
                || open.as_ref().is_some_and(|(chunk, _)| {
                    let first = &self.blocks[chunk.first as usize];
                    memory(first) == memory(block) && regions.has_room(block.remote)
                });
            let mut skip = 0;
            while skip < block.bytes {
                if !open
                    .as_ref()
                    .is_some_and(|(chunk, ranges)| may_join && *ranges < RANGES_MAX && chunk.bytes < longest)
                {
                    self.chunks.extend(open.take().map(|(chunk, _)| chunk));
                    regions.clear();
                }
                let (chunk, ranges) = open.get_or_insert((Chunk { first: at as u32, skip, bytes: 0 }, 0));
                let taken = (block.bytes - skip).min(longest - chunk.bytes);
                if *ranges == 0 || !is_like_before {
                    regions.place_of(block.remote);
                }
                chunk.bytes += taken;
                *ranges += 1;
                skip += taken;
                may_join = true;
            }
        }
        self.chunks.extend(open.map(|(chunk, _)| chunk));
    }

    /// Returns the number of chunks.
    #[must_use]
    pub fn chunks(&self) -> usize {
        self.chunks.len()
    }

    /// Returns the number of bytes.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns a chunk.
    ///
    /// # Panics
    /// If there is none of this number.
    #[must_use]
    pub fn chunk(&self, number: usize) -> Chunk {
        self.chunks[number]
    }

    /// Returns the blocks of a chunk, or the parts of them that belong to it.
    ///
    /// # Panics
    /// If there is no chunk of this number.
    pub fn blocks(&self, number: usize) -> impl Iterator<Item = Block> + '_ {
        let Chunk { first, mut skip, bytes: mut left } = self.chunks[number];
        self.blocks[first as usize..].iter().map_while(move |block| {
            if left == 0 {
                return None;
            }
            let bytes = (block.bytes - skip).min(left);
            let part = Block {
                local_offset: block.local_offset + skip,
                remote_offset: block.remote_offset + skip,
                bytes,
                ..*block
            };
            left -= bytes;
            skip = 0;
            Some(part)
        })
    }

    /// Returns the request of the chunk `number`, under the name `chunk`. The keys are those of the remote
    /// regions, by their place in the transfer's tables.
    ///
    /// # Panics
    /// If there is no chunk of this number, or a block's region has no key.
    #[must_use]
    pub fn request(&self, number: usize, kind: Kind, chunk: u64, keys: &[Key]) -> Vec<u8> {
        let mut regions = Distinct::default();
        let ranges = self.blocks(number).map(|block| Range {
            region: regions.place_of(block.remote) as u16,
            offset: block.remote_offset,
            bytes: block.bytes as u32,
        });
        let ranges: Vec<Range> = ranges.collect();
        let keys: Vec<Key> = regions.regions().iter().map(|&remote| keys[remote as usize]).collect();
        Request::encode(kind, chunk, &keys, &ranges)
    }

    /// Returns the caller's number of the first block that became a chunk's block `at`.
    #[must_use]
    pub fn number(&self, chunk: usize, at: usize) -> usize {
        let place = self.chunks[chunk].first as usize + at;
        self.numbers.get(place).map_or(place, |&number| number as usize)
    }
}

/// The distinct regions of a chunk, in the order of their first block.
#[derive(Debug, Default)]
pub struct Distinct {
    regions: Vec<u32>,
    last: usize,
}

impl Distinct {
    /// Returns the place of a region, which is added if it is new.
    pub fn place_of(&mut self, region: u32) -> usize {
        // Mostly that of the block before.
        if self.regions.get(self.last) != Some(&region) {
            self.last = self.regions.iter().position(|&other| other == region).unwrap_or_else(|| {
                self.regions.push(region);
                self.regions.len() - 1
            });
        }
        self.last
    }

    /// Returns the regions.
    #[must_use]
    pub fn regions(&self) -> &[u32] {
        &self.regions
    }

    fn has_room(&self, region: u32) -> bool {
        self.regions.len() < REGIONS_MAX || self.regions.contains(&region)
    }

    fn clear(&mut self) {
        self.regions.clear();
        self.last = 0;
    }
}
