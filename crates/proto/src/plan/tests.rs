//! Chunks tile their message, segments their chunk, at every size a `u64` can name.

use proptest::prelude::*;

use super::*;
use crate::frame::SEGMENT_BYTES;

/// Returns sizes of every magnitude, the extremes among them.
fn any_size() -> impl Strategy<Value = u64> {
    prop_oneof![
        any::<u64>(),
        (0u32..64, any::<u64>()).prop_map(|(shift, size)| size >> shift),
        (0u32..64, 0u64..3).prop_map(|(shift, less)| (1u64 << shift).wrapping_sub(less)),
        Just(0),
        Just(u64::MAX),
    ]
}

/// Returns the same plan, about to give chunk `next`: the last chunks of a huge message cannot be reached one
/// by one.
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
    assert_eq!(SegmentPlan::new(512 << 10).piece_of(512 << 10), 512 << 10);
    // 4096 segments of 256 KiB are 1 GiB; one byte more takes segments twice as long.
    let plan = SegmentPlan::new(256 << 10);
    assert_eq!((plan.piece_of(1 << 30), plan.longest_of(1 << 30)), (256 << 10, 256 << 10));
    assert_eq!(plan.piece_of((1 << 30) + 1), 512 << 10);
    assert_eq!(plan.longest_chunk(), 1 << 30);
    // The plan has segments of up to four pieces.
    let plan = SegmentPlan::new(2 << 20).with_pieces(512 << 10);
    assert_eq!((plan.piece_of(4 << 20), plan.longest_of(4 << 20)), (512 << 10, 2 << 20));
    assert_eq!(plan.longest_of(plan.longest_chunk()), 2 << 20);
    assert!(plan.longest_of(plan.longest_chunk() + 1) > 2 << 20);
}

#[test]
fn pieces_fit_their_segment() {
    for (segment, piece, fitting) in
        [(2048, 512, 512), (768, 512, 768), (1280, 512, 640), (100, 512, 100), (1023, 512, 1023)]
    {
        assert_eq!(fitting_piece(segment, piece), fitting, "{segment} {piece}");
        let plan = SegmentPlan::new(segment).with_pieces(fitting);
        assert!(
            plan.longest_of(1 << 20) + segment / fitting > segment,
            "less than a piece's rounding is lost"
        );
    }
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
    fn pieces_of_any_chunk_fit_the_bitmap(chunk_bytes in any_size(), segment in SEGMENT_BYTES, piece in any_size()) {
        let segment = u64::from(segment);
        let base = 1 + piece % segment;
        let plan = SegmentPlan::new(segment).with_pieces(base);
        let piece = plan.piece_of(chunk_bytes);
        prop_assert!(piece >= base);
        prop_assert_eq!(piece % base, 0);
        prop_assert!(chunk_bytes.div_ceil(piece) <= PIECES_MAX);
        if chunk_bytes.div_ceil(base) <= PIECES_MAX {
            prop_assert_eq!(piece, base, "the base, wherever it will do");
        } else {
            prop_assert!(chunk_bytes.div_ceil(piece - base) > PIECES_MAX, "and no more than needed");
        }
        let longest = plan.longest_of(chunk_bytes);
        prop_assert!(longest.is_multiple_of(piece) && (longest == piece || longest <= segment));
        prop_assert!(longest + piece > segment, "as long as may be");
    }

    #[test]
    fn a_segment_of_any_legal_message_fits_its_header(
        message_bytes in any_size(), segment in SEGMENT_BYTES, piece in any_size(),
    ) {
        let plan = SegmentPlan::new(u64::from(segment)).with_pieces(1 + piece % u64::from(segment));
        let longest = plan.longest_of(message_bytes.min(MESSAGE_BYTES_MAX));
        prop_assert!(u32::try_from(longest).is_ok());
    }

    #[test]
    fn slabs_of_a_segment_take_every_segment_of_the_longest_chunk(
        segment in SEGMENT_BYTES, piece in any_size(), less in any_size(),
    ) {
        let plan = SegmentPlan::new(u64::from(segment)).with_pieces(1 + piece % u64::from(segment));
        let chunk_bytes = plan.longest_chunk().saturating_sub(less);
        prop_assert!(plan.longest_of(chunk_bytes) <= u64::from(segment));
    }
}
