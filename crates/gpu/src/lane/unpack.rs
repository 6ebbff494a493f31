//! Unpack modes, the check of fragments, and the two directions of a lane as `proto` wants them.

use std::{fmt, str::FromStr};

use gputcp_proto::{
    bounce::{Fragment, Unpack},
    recv::Landing,
    send::Segment,
    stage::Stage,
};

use super::{Done, Lane};
use crate::{Error, ReadClaim, WriteClaim, memory::Hold};

/// The most fragments of one launch. 16384 pages of 4 KiB make a chunk of 64 MiB.
pub const FRAGMENTS_MAX: usize = 16 << 10;

/// The way of landed bytes from the bounce buffer to their destination.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnpackMode {
    /// One launch per landed chunk gathers all its fragments.
    Kernel,
    /// One copy per fragment.
    Copy,
    /// The CPU gathers the fragments; one copy per run that is contiguous at the destination.
    Host,
    /// No unpack: host memory, received in place. A lane has nothing to do.
    None,
}

/// Unpacks slabs of a lane into a destination.
#[derive(Debug)]
pub struct UnpackInto<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) destination: &'a WriteClaim,
    pub(super) mode: UnpackMode,
}

/// Copies parts of a source into slabs of a lane.
#[derive(Debug)]
pub struct StageFrom<'a> {
    pub(super) lane: &'a mut Lane,
    pub(super) source: &'a ReadClaim,
    pub(super) mode: UnpackMode,
}

impl Unpack for UnpackInto<'_> {
    type Done = Done;
    type Error = Error;

    fn launch(&mut self, index: usize, landing: &Landing) -> Result<Done, Error> {
        self.lane.unpack_slab(index, landing.bytes(), self.destination, landing.offset(), self.mode)
    }
}

impl Stage for StageFrom<'_> {
    type Done = Done;
    type Error = Error;

    fn launch(&mut self, index: usize, segment: &Segment) -> Result<Done, Error> {
        self.lane.stage_slab(index, self.source, segment.offset(), segment.bytes(), self.mode)
    }
}

/// Checks that all fragments lie within a source and a destination.
pub(crate) fn check_fragments(
    fragments: &[Fragment],
    source: &Hold,
    destination: &Hold,
) -> Result<(), Error> {
    if fragments.len() > FRAGMENTS_MAX {
        return Err(Error::TooManyFragments { found: fragments.len(), max: FRAGMENTS_MAX });
    }
    for (index, &Fragment { source_offset, bytes, destination_offset }) in fragments.iter().enumerate() {
        if !source.contains(source_offset, bytes) || !destination.contains(destination_offset, bytes) {
            return Err(Error::Fragment {
                index,
                bytes,
                source_offset,
                destination_offset,
                source_bytes: source.bytes() as u64,
                destination_bytes: destination.bytes() as u64,
            });
        }
    }
    Ok(())
}

impl FromStr for UnpackMode {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text {
            "kernel" => Ok(Self::Kernel),
            "copy" | "d2d" => Ok(Self::Copy),
            "host" => Ok(Self::Host),
            "none" => Ok(Self::None),
            _ => Err(Error::UnknownUnpackMode { given: text.to_owned() }),
        }
    }
}

impl fmt::Display for UnpackMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Kernel => "kernel",
            Self::Copy => "copy",
            Self::Host => "host",
            Self::None => "none",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Buffer;

    #[test]
    fn modes_read_as_they_are_written() {
        for mode in [UnpackMode::Kernel, UnpackMode::Copy, UnpackMode::Host, UnpackMode::None] {
            assert_eq!(mode.to_string().parse(), Ok(mode));
        }
        assert_eq!("d2d".parse(), Ok(UnpackMode::Copy));
        assert!("Kernel".parse::<UnpackMode>().is_err());
    }

    #[test]
    fn fragments_are_checked_to_the_byte() {
        let fragment =
            |source_offset, bytes, destination_offset| Fragment { source_offset, bytes, destination_offset };
        let (ten, twenty) = (Buffer::host(10).unwrap(), Buffer::host(20).unwrap());
        let (source, destination) = (ten.read(0, 10).unwrap(), twenty.write(0, 20).unwrap());
        let check_all = |list: &[Fragment]| check_fragments(list, source.hold(), destination.hold());
        let check = |f| check_all(&[fragment(0, 1, 0), f]).is_ok();
        assert!(check(fragment(0, 10, 10)) && check(fragment(10, 0, 20)) && check(fragment(3, 7, 0)));
        assert!(!check(fragment(0, 11, 0)) && !check(fragment(4, 7, 0)) && !check(fragment(0, 10, 11)));
        assert!(!check(fragment(11, 0, 0)) && !check(fragment(0, 0, 21)));
        assert!(!check(fragment(u64::MAX, 2, 0)) && !check(fragment(0, 2, u64::MAX)));
        assert!(!check(fragment(1, u64::MAX, 0)));
        let many = vec![fragment(0, 0, 0); FRAGMENTS_MAX + 1];
        assert!(check_all(&many[1..]).is_ok());
        assert!(matches!(check_all(&many), Err(Error::TooManyFragments { found: 16385, .. })));
    }
}
