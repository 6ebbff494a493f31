//! Reasons why memory or a lane refuses a request. Messages are one sentence: what happened, and what to do.

use std::io;

use crate::MemoryKind;

/// The reason why memory, a lane or a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller asked for a buffer without bytes.
    #[error("a buffer of 0 bytes was asked for: ask for at least 1")]
    Empty,
    /// The machine, or the control group the process runs in, has less memory than was asked for.
    #[error("{asked} bytes of host memory were asked for and {available} are available: use a smaller size")]
    OutOfMemory {
        /// Bytes asked for.
        asked: u64,
        /// Bytes that can be had without evicting memory of others.
        available: u64,
    },
    /// The system refused to map memory.
    #[error(
        "the system refused to map {bytes} bytes of memory ({kind}): use a smaller size or raise the limit"
    )]
    Map {
        /// Bytes asked for.
        bytes: u64,
        /// The system's reason.
        kind: io::ErrorKind,
    },
    /// The system refused a thread for a lane.
    #[error(
        "the system refused a thread for a lane ({kind}): use fewer streams or raise the limit on threads"
    )]
    Thread {
        /// The system's reason.
        kind: io::ErrorKind,
    },
    /// A buffer's claims do not allow the access.
    #[error(transparent)]
    Claim(#[from] ClaimError),
    /// A fragment reaches beyond its bounce region or its destination. With a plugin's fragments, the plugin
    /// erred.
    #[error(
        "fragment {index} ({bytes} bytes from {source_offset} to {destination_offset}) does not fit a bounce region of \
         {source_bytes} bytes and a destination of {destination_bytes}: the maker of the list is at fault"
    )]
    Fragment {
        /// The fragment's place in the list.
        index: usize,
        /// The fragment's length in bytes.
        bytes: u64,
        /// The fragment's start in the bounce region, in bytes.
        source_offset: u64,
        /// The fragment's start in the destination, in bytes.
        destination_offset: u64,
        /// The bounce region's length.
        source_bytes: u64,
        /// The destination's length.
        destination_bytes: u64,
    },
    /// A launch has more fragments than a lane takes at a time.
    #[error("{found} fragments came in one launch and a lane takes {max}: split the list")]
    TooManyFragments {
        /// The number of fragments that came.
        found: usize,
        /// The most fragments of a launch.
        max: usize,
    },
    /// A segment is no part of the message that a layout describes.
    #[error(
        "a segment of {bytes} bytes from {offset} came for a list of ranges of {layout_bytes} bytes: the maker of the \
         list is at fault"
    )]
    OutsideLayout {
        /// The segment's start in the message, in bytes.
        offset: u64,
        /// The segment's length in bytes.
        bytes: u64,
        /// The sum of the layout's ranges.
        layout_bytes: u64,
    },
    /// A range of a layout reaches beyond the claim that it is a part of.
    #[error(
        "a list of ranges reaches to byte {end} of a claim of {claim_bytes}: the maker of the list is at fault"
    )]
    LayoutBeyondClaim {
        /// The highest end of a range.
        end: u64,
        /// The claim's length.
        claim_bytes: u64,
    },
    /// A range lies between the parts of joined memory.
    #[error(
        "{bytes} bytes from {offset} are in none of the joined buffers: the maker of the list is at fault"
    )]
    LayoutInGap {
        /// The range's start, counted from the first part.
        offset: u64,
        /// The range's length in bytes.
        bytes: u64,
    },
    /// Buffers of different memories, or with exclusive claims, cannot be joined.
    #[error("buffers were joined that are not all shared and of one memory")]
    NotJoinable,
    /// A lane was asked to unpack in the mode that means no unpack.
    #[error("unpack mode \"none\" has nothing for a lane to do: receive into host memory in place")]
    NothingToUnpack,
    /// The text names no unpack mode.
    #[error("\"{given}\" is no unpack mode: use kernel, copy (or d2d), host or none")]
    UnknownUnpackMode {
        /// The text.
        given: String,
    },
    /// There is no GPU to use, or no driver for it.
    #[error("no GPU can be used: {reason}")]
    NoGpu {
        /// The missing part, and the remedy.
        reason: String,
    },
    /// The text names no GPU of this machine.
    #[error("no GPU is called \"{given}\": there is {there}")]
    UnknownGpu {
        /// The text.
        given: String,
        /// The GPUs there are.
        there: String,
    },
    /// The GPU has less memory free than was asked for.
    #[error(
        "{asked} bytes of GPU memory were asked for and {free} are free (CUDA_ERROR_OUT_OF_MEMORY): use a smaller size"
    )]
    GpuOutOfMemory {
        /// Bytes asked for.
        asked: u64,
        /// Bytes that are free.
        free: u64,
    },
    /// The driver cannot pin as much host memory.
    #[error(
        "the GPU's driver could not pin {bytes} bytes of host memory (CUDA_ERROR_OUT_OF_MEMORY): free some, raise the \
         container's limit, or use fewer streams and shorter segments"
    )]
    PinnedOutOfMemory {
        /// Bytes asked for.
        bytes: u64,
    },
    /// The driver failed, or the GPU was lost.
    #[error(
        "the GPU failed to {doing}: {name} ({text}); start anew, and if it comes again look for Xid lines in the kernel's log"
    )]
    Cuda {
        /// The operation that failed, or that was under way.
        doing: &'static str,
        /// The error's name in cuda.h.
        name: String,
        /// The driver's words for it.
        text: String,
    },
    /// A lane was given memory that its device cannot read or write.
    #[error(
        "a lane of {lane} cannot reach {memory} memory: make the lane on the device that the memory is on"
    )]
    Unreachable {
        /// The kind of the lane's own memory.
        lane: MemoryKind,
        /// The kind of the memory it was given.
        memory: MemoryKind,
    },
    /// Foreign code calls an address host memory that is none.
    #[error(
        "a plugin names pinned host memory that is a GPU's, or unknown to the driver{}: its unpack queue cannot be read",
        in_brackets(.name)
    )]
    NotOnHost {
        /// The driver's error in cuda.h's words, if it refused to look there: `CUDA_ERROR_…`.
        name: String,
    },
    /// Foreign code calls an address this GPU's memory, and it is not.
    #[error(
        "a plugin names GPU memory that this GPU does not have ({name}): it must allocate what it names on the GPU whose \
         context is current when it is called"
    )]
    NotOnGpu {
        /// The driver's error in cuda.h's words: `CUDA_ERROR_…`.
        name: String,
    },
    /// A lane's worker is gone, and its work with it.
    #[error("the lane stopped before its work was finished: reconnect to get a new one")]
    LaneLost,
}

fn in_brackets(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!(" ({name})") }
}

/// The reason why a part of a buffer cannot be claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClaimError {
    /// The part does not lie within the buffer.
    #[error("{bytes} bytes from {offset} reach beyond a buffer of {buffer_bytes}: ask for less")]
    OutOfRange {
        /// The part's start, in bytes.
        offset: u64,
        /// The part's length in bytes.
        bytes: u64,
        /// The buffer's length.
        buffer_bytes: u64,
    },
    /// The part overlaps one that is being written, or is to be written while others read it.
    #[error(
        "{bytes} bytes from {offset} are in use by a transfer or another claim: finish the one, drop the other"
    )]
    Overlap {
        /// The part's start, in bytes.
        offset: u64,
        /// The part's length in bytes.
        bytes: u64,
    },
    /// The buffer has as many claims as its table holds.
    #[error("a buffer has at most {} claims at a time: drop some first", crate::CLAIMS_MAX)]
    TooMany,
}
