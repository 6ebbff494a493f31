//! Chunks tile their message, segments their chunk, at every size a `u64` can name.

use proptest::prelude::*;

use super::*;
use crate::frame::SEGMENT_BYTES;

/// Sizes of every magnitude, the extremes among them.
fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u32..64, any::<u64>()).prop_map(|(shift, size)| size >> shift),
        (0u32..64, 0u64..3).prop_map(|(shift, less)| (1u64 << shift).wrapping_sub(less)),
        Just(0),
        Just(u64::MAX),
    ]
}

/// The same plan, about to give chunk `next`: the last chunks of a huge message cannot be reached one by one.
const fn skip_to(plan: &ChunkPlan, next: u64) -> ChunkPlan {
    ChunkPlan { message_bytes: plan.message_bytes, chunk_bytes: plan.chunk_bytes, next }
}

#[test]
fn small_messages_are_tiled_by_every_chunk_length() {
    for message_bytes in 0..70 {
        for chunk_bytes in 1..70 {
            let plan = ChunkPlan::new(message_bytes, chunk_bytes);
            let (mut next_offset, mut count) = (0, 0);
            for chunk in plan.clone() {
                assert_eq!((chunk.index, chunk.offset), (count, next_offset), "no gap, no overlap");
                next_offset += chunk.bytes;
                count += 1;
                assert!(
                    chunk.bytes == chunk_bytes || next_offset == message_bytes,
                    "only the last is shorter"
                );
                assert!(chunk.bytes > 0 || message_bytes == 0);
            }
            assert_eq!((next_offset, count), (message_bytes, plan.chunks()));
        }
    }
}

#[test]
fn an_empty_message_has_one_empty_chunk() {
    let chunks: Vec<_> = ChunkPlan::new(0, 512 << 10).collect();
    assert_eq!(chunks, [Chunk { index: 0, offset: 0, bytes: 0 }]);
}

#[test]
fn the_documented_case() {
    // 64 MiB in chunks of 512 KiB are 128 chunks; one segment of 512 KiB each.
    assert_eq!(ChunkPlan::new(64 << 20, 512 << 10).chunks(), 128);
    assert_eq!(segment_bytes(512 << 10, 512 << 10), 512 << 10);
    // 4096 segments of 256 KiB are 1 GiB; one byte more takes segments twice as long.
    assert_eq!(segment_bytes(1 << 30, 256 << 10), 256 << 10);
    assert_eq!(segment_bytes((1 << 30) + 1, 256 << 10), 512 << 10);
}

#[test]
#[should_panic(expected = "at least one byte")]
fn a_chunk_has_a_length() {
    let _ = ChunkPlan::new(1, 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn chunks_of_any_message_tile_it(message_bytes in any_size(), chunk_bytes in any_size(), at in any::<u64>()) {
        let chunk_bytes = chunk_bytes.max(1);
        let plan = ChunkPlan::new(message_bytes, chunk_bytes);
        let chunks = plan.chunks();
        prop_assert!(chunks >= 1);

        // Two neighbours anywhere in the message meet.
        let mut pair = skip_to(&plan, at % chunks);
        let first = pair.next().unwrap();
        prop_assert!(first.bytes <= chunk_bytes);
        match pair.next() {
            Some(second) => {
                prop_assert_eq!(first.bytes, chunk_bytes);
                prop_assert_eq!(first.offset.checked_add(first.bytes), Some(second.offset));
            }
            None => prop_assert_eq!(first.offset.checked_add(first.bytes), Some(message_bytes)),
        }

        // The last one ends with the message, and none follows.
        let mut tail = skip_to(&plan, chunks - 1);
        prop_assert!(!tail.is_finished());
        let last = tail.next().unwrap();
        prop_assert_eq!(u128::from(last.offset) + u128::from(last.bytes), u128::from(message_bytes));
        prop_assert!(tail.is_finished() && tail.next().is_none());
        prop_assert!(tail.is_finished() && tail.next().is_none());
    }

    #[test]
    fn segments_of_any_chunk_fit_the_bitmap(chunk_bytes in any_size(), base_bytes in any_size()) {
        let base_bytes = base_bytes.max(1);
        let segment = segment_bytes(chunk_bytes, base_bytes);
        prop_assert!(segment >= base_bytes);
        prop_assert_eq!(segment % base_bytes, 0);
        prop_assert!(chunk_bytes.div_ceil(segment) <= SEGMENTS_MAX);
        if chunk_bytes.div_ceil(base_bytes) <= SEGMENTS_MAX {
            prop_assert_eq!(segment, base_bytes, "the base, wherever it will do");
        } else {
            let less = segment - base_bytes;
            prop_assert!(chunk_bytes.div_ceil(less) > SEGMENTS_MAX, "and no more than needed");
        }
    }

    #[test]
    fn a_segment_of_any_legal_message_fits_its_header(message_bytes in any_size(), base in SEGMENT_BYTES) {
        let segment = segment_bytes(message_bytes.min(MESSAGE_BYTES_MAX), u64::from(base));
        prop_assert!(u32::try_from(segment).is_ok());
    }
}
