//! The peer writes the wire: any bytes are a frame or a violation, and an accepted frame has one encoding
//! only.

use proptest::prelude::*;

use super::*;
use crate::key::{Key, Proof};

fn any_join() -> impl Strategy<Value = Join> {
    (
        any::<[[u8; 16]; 2]>(),
        1..=STREAMS_MAX,
        any::<u16>(),
        1..=SLOTS_MAX,
        (SEGMENT_BYTES, any::<u32>()),
        0..=INLINE_BYTES_MAX,
    )
        .prop_map(|(tokens, streams, index, slots, (segment_bytes, piece), inline_bytes)| Join {
            listen_token: Token(tokens[0]),
            comm_token: Token(tokens[1]),
            index: index % (streams + 1),
            streams,
            slots,
            segment_bytes,
            piece_bytes: 4096 + piece % (segment_bytes - 4095),
            eager_places: index % (EAGER_PLACES_MAX + 1),
            max_receives: 1 + index % RECEIVES_MAX,
            inline_bytes,
            proof: Proof([tokens[1][3]; Proof::BYTES]),
        })
}

fn any_welcome() -> impl Strategy<Value = Welcome> {
    let verdict = prop::sample::select(vec![
        JoinVerdict::Accepted,
        JoinVerdict::WrongToken,
        JoinVerdict::BadSettings,
        JoinVerdict::Busy,
        JoinVerdict::WrongVersion,
        JoinVerdict::WrongKey,
    ]);
    (verdict, 1..=SLOTS_MAX, 0..=INLINE_BYTES_MAX, any::<u8>()).prop_map(
        |(verdict, slots, inline_bytes, proof)| Welcome {
            verdict,
            slots,
            inline_bytes,
            eager_places: u16::from(proof) % (EAGER_PLACES_MAX + 1),
            max_receives: 1 + u16::from(proof) % RECEIVES_MAX,
            proof: Proof([proof; Proof::BYTES]),
        },
    )
}

fn any_control() -> impl Strategy<Value = Control> {
    prop_oneof![
        (any::<u64>(), any::<u64>(), 0..=INLINE_BYTES_MAX, any::<u64>()).prop_map(
            |(seq, capacity, inline_bytes, done)| {
                Control::Announce(Announce { seq, capacity, inline_bytes, done, mark: None })
            }
        ),
        (any::<u64>(), any::<u64>(), 0..=INLINE_BYTES_MAX, any::<(u16, i32, u8)>()).prop_map(
            |(seq, capacity, inline_bytes, (open, tag, following))| {
                let done = seq.saturating_sub(open.into());
                let mark = Some(Mark { tag, following });
                Control::Announce(Announce { seq, capacity, inline_bytes, done, mark })
            }
        ),
        (any::<u64>(), 0..=INLINE_BYTES_MAX).prop_map(|(seq, bytes)| Control::Inline { seq, bytes }),
        Just(Control::Ping),
        Just(Control::Pong),
        Just(Control::Goodbye),
        any::<u64>().prop_map(|seq| Control::Want { seq }),
        (0..=ABORT_BYTES_MAX).prop_map(|bytes| Control::Abort { bytes }),
    ]
}

fn any_segment() -> impl Strategy<Value = SegmentHeader> {
    any::<(u64, u64, u64, u32)>().prop_map(|(seq, offset, total, bytes)| SegmentHeader {
        seq,
        offset,
        total,
        bytes,
    })
}

/// Returns changes to a few bytes of a good frame, which is far likelier to be accepted than random bytes.
fn any_changes(length: usize) -> impl Strategy<Value = Vec<(usize, u8)>> {
    prop::collection::vec((0..length, prop_oneof![1..=u8::MAX, (0u32..8).prop_map(|bit| 1 << bit)]), 1..4)
}

macro_rules! wire_properties {
    ($module:ident, $frame:ty, $any:expr) => {
        mod $module {
            use super::*;

            proptest! {
                #![proptest_config(ProptestConfig::with_cases(1000))]

                #[test]
                fn what_is_encoded_is_decoded(frame in $any) {
                    prop_assert_eq!(<$frame>::decode(&frame.encode()), Ok(frame));
                }

                #[test]
                fn any_bytes_are_decoded_or_refused(bytes: [u8; <$frame>::BYTES]) {
                    if let Ok(frame) = <$frame>::decode(&bytes) {
                        prop_assert_eq!(frame.encode(), bytes);
                    }
                }

                #[test]
                fn a_changed_frame_is_canonical_or_refused(frame in $any, changes in any_changes(<$frame>::BYTES)) {
                    let mut bytes = frame.encode();
                    for (at, flip) in changes {
                        bytes[at] ^= flip;
                    }
                    if let Ok(other) = <$frame>::decode(&bytes) {
                        prop_assert_eq!(other.encode(), bytes);
                    }
                }
            }
        }
    };
}

wire_properties!(join, Join, any_join());
wire_properties!(welcome, Welcome, any_welcome());
wire_properties!(control, Control, any_control());
wire_properties!(segment, SegmentHeader, any_segment());

const JOIN: Join = Join {
    listen_token: Token([1; 16]),
    comm_token: Token([2; 16]),
    index: 0,
    streams: 4,
    slots: 16,
    segment_bytes: 256 << 10,
    piece_bytes: 64 << 10,
    inline_bytes: 4096,
    eager_places: 7,
    max_receives: 6,
    proof: Proof::NONE,
};
const WELCOME: Welcome = Welcome {
    verdict: JoinVerdict::Accepted,
    slots: 16,
    inline_bytes: 4096,
    eager_places: 5,
    max_receives: 4,
    proof: Proof::NONE,
};

const fn field(frame: &'static str, field: &'static str, value: u64) -> Violation {
    Violation::Field { frame, field, value }
}

#[test]
fn a_join_is_checked_field_by_field() {
    let decode = |join: Join| Join::decode(&join.encode());
    let refused = |join: Join, name, value| assert_eq!(decode(join), Err(field("join", name, value)));
    refused(Join { streams: 0, ..JOIN }, "number of streams", 0);
    refused(Join { streams: STREAMS_MAX + 1, ..JOIN }, "number of streams", 65);
    refused(Join { index: 5, ..JOIN }, "socket index", 5);
    refused(Join { slots: 0, ..JOIN }, "number of slots", 0);
    refused(Join { slots: SLOTS_MAX + 1, ..JOIN }, "number of slots", 33);
    refused(Join { segment_bytes: 4095, ..JOIN }, "segment length", 4095);
    refused(Join { segment_bytes: (64 << 20) + 1, ..JOIN }, "segment length", (64 << 20) + 1);
    refused(Join { piece_bytes: 4095, ..JOIN }, "piece length", 4095);
    refused(Join { piece_bytes: (256 << 10) + 1, ..JOIN }, "piece length", (256 << 10) + 1);
    refused(Join { inline_bytes: INLINE_BYTES_MAX + 1, ..JOIN }, "inline length", (256 << 10) + 1);
    for good in [
        Join { index: 4, ..JOIN },
        Join { streams: STREAMS_MAX, slots: SLOTS_MAX, ..JOIN },
        Join { streams: 1, slots: 1, segment_bytes: 4096, piece_bytes: 4096, inline_bytes: 0, ..JOIN },
        Join { segment_bytes: 64 << 20, piece_bytes: 64 << 20, inline_bytes: INLINE_BYTES_MAX, ..JOIN },
    ] {
        assert_eq!(decode(good), Ok(good), "the limits themselves are legal");
    }
    refused(Join { eager_places: EAGER_PLACES_MAX + 1, ..JOIN }, "number of eager places", 9);
    refused(Join { max_receives: 0, ..JOIN }, "number of grouped receives", 0);
    refused(Join { max_receives: 9, ..JOIN }, "number of grouped receives", 9);
    for at in 60..64 {
        let mut bytes = JOIN.encode();
        bytes[at] = 3;
        assert_eq!(Join::decode(&bytes), Err(field("join", "reserved byte", 3)), "byte {at}");
    }
}

#[test]
fn a_welcome_is_checked_field_by_field() {
    let decode = |welcome: Welcome| Welcome::decode(&welcome.encode());
    let refused =
        |welcome: Welcome, name, value| assert_eq!(decode(welcome), Err(field("welcome", name, value)));
    refused(Welcome { slots: 0, ..WELCOME }, "number of slots", 0);
    refused(Welcome { slots: SLOTS_MAX + 1, ..WELCOME }, "number of slots", 33);
    refused(Welcome { inline_bytes: INLINE_BYTES_MAX + 1, ..WELCOME }, "inline length", (256 << 10) + 1);
    let refusal = Welcome::refusal(JoinVerdict::Busy);
    assert_eq!(decode(refusal), Ok(refusal), "a refusal promises no slots");
    let mut bytes = WELCOME.encode();
    bytes[6] = 6;
    assert_eq!(Welcome::decode(&bytes), Err(field("welcome", "verdict", 6)));
    refused(Welcome { eager_places: EAGER_PLACES_MAX + 1, ..WELCOME }, "number of eager places", 9);
    refused(Welcome { max_receives: 0, ..WELCOME }, "number of grouped receives", 0);
    refused(Welcome { max_receives: 9, ..WELCOME }, "number of grouped receives", 9);
}

#[test]
fn a_control_frame_is_checked_field_by_field() {
    let announce = Control::Announce(Announce { seq: 1, capacity: 2, inline_bytes: 3, done: 0, mark: None });
    let inline = Control::Inline { seq: 1, bytes: 3 };
    let abort = Control::Abort { bytes: 3 };
    let changed = |frame: Control, at: usize, value: &[u8]| {
        let mut bytes = frame.encode();
        put(&mut bytes, at, value);
        Control::decode(&bytes).unwrap_err()
    };
    let too_long = (INLINE_BYTES_MAX + 1).to_le_bytes();
    let length = u64::from(INLINE_BYTES_MAX + 1);
    assert_eq!(changed(announce, 4, &too_long), field("announcement", "length", length));
    assert_eq!(changed(inline, 4, &too_long), field("short message", "length", length));
    assert_eq!(changed(abort, 4, &513u32.to_le_bytes()), field("abort", "length", 513));
    assert_eq!(changed(Control::Goodbye, 4, &[1]), field("goodbye", "length", 1));
    for kind in [0u16, 9, u16::MAX] {
        assert_eq!(changed(announce, 2, &kind.to_le_bytes()), Violation::Kind(kind));
    }
    let reserved = |frame, name, places: std::ops::Range<usize>| {
        for at in places {
            assert_eq!(changed(frame, at, &[9]), field(name, "reserved byte", 9), "byte {at} of {frame:?}");
        }
    };
    reserved(inline, "short message", 16..32);
    reserved(Control::Goodbye, "goodbye", 8..32);
    reserved(abort, "abort", 8..32);
    let mark = Some(Mark { tag: -1, following: 7 });
    let tagged = Control::Announce(Announce { seq: 5, capacity: 2, inline_bytes: 3, done: 1, mark });
    assert_eq!(changed(tagged, 4, &too_long), field("tagged announcement", "length", length));
    let open = changed(tagged, 28, &6u16.to_le_bytes());
    assert_eq!(open, field("tagged announcement", "number of open receives", 6), "more than there were");
    reserved(tagged, "tagged announcement", 31..32);
    let want = Control::Want { seq: 7 };
    assert_eq!(changed(want, 4, &[1]), field("want", "length", 1));
    reserved(want, "want", 16..32);
    for (frame, name) in [(Control::Ping, "ping"), (Control::Pong, "pong")] {
        assert_eq!(changed(frame, 4, &[1]), field(name, "length", 1));
        reserved(frame, name, 8..32);
    }
}

#[test]
fn a_frame_of_another_magic_or_version_is_refused() {
    let mut join = JOIN.encode();
    join[4] = 77;
    assert_eq!(Join::decode(&join), Err(Violation::Version { ours: VERSION, theirs: 77 }));
    join[0] = b'H';
    assert!(matches!(Join::decode(&join), Err(Violation::Magic { .. })), "the magic is looked at first");
    let mut welcome = WELCOME.encode();
    welcome[5] = 1;
    assert_eq!(Welcome::decode(&welcome), Err(Violation::Version { ours: VERSION, theirs: 256 + VERSION }));
    assert!(matches!(Welcome::decode(&[0; Welcome::BYTES]), Err(Violation::Magic { found: 0, .. })));
    assert!(matches!(Control::decode(&[0; 32]), Err(Violation::Magic { found: 0, .. })));
    assert!(matches!(SegmentHeader::decode(&[0; 32]), Err(Violation::Magic { found: 0, .. })));
}

#[test]
fn a_proof_holds_for_the_frame_the_speaker_and_the_key() {
    let (key, other) = (Key::of(&[7; 16]).unwrap(), Key::of(&[8; 16]).unwrap());
    let join = JOIN.proved(Some(&key));
    assert!(join.is_proved(Some(&key)) && !join.is_proved(Some(&other)) && !join.is_proved(None));
    assert!(JOIN.is_proved(None) && !JOIN.is_proved(Some(&key)));
    for changed in [
        Join { index: 1, ..join },
        Join { streams: 5, ..join },
        Join { comm_token: Token([3; 16]), ..join },
        Join { listen_token: Token([3; 16]), ..join },
    ] {
        assert!(!changed.is_proved(Some(&key)), "{changed:?}");
        assert_eq!(changed.agrees_with(&join), changed.index == 1, "{changed:?}");
    }
    let welcome = WELCOME.proved(&join, Some(&key));
    assert!(welcome.is_proved(&join, Some(&key)) && !welcome.is_proved(&join, Some(&other)));
    assert!(!Welcome { slots: 17, ..welcome }.is_proved(&join, Some(&key)));
    let another = Join { comm_token: Token([3; 16]), ..JOIN }.proved(Some(&key));
    assert!(!welcome.is_proved(&another, Some(&key)), "an answer to somebody else");
    assert!(!Welcome { proof: join.proof, ..WELCOME }.is_proved(&join, Some(&key)), "sent back");
    assert!(WELCOME.is_proved(&JOIN, None) && !WELCOME.is_proved(&join, Some(&key)));
}

#[test]
fn a_stranger_is_known_by_its_first_bytes() {
    let mut start = [0; 8];
    start.copy_from_slice(&JOIN.encode()[..8]);
    assert_eq!(Join::check_start(&start), Ok(()));
    start[4] = 77;
    assert_eq!(Join::check_start(&start), Err(Violation::Version { ours: VERSION, theirs: 77 }));
    assert!(matches!(Join::check_start(b"GET / HT"), Err(Violation::Magic { .. })));
}

#[test]
fn a_log_line_does_not_give_a_token_away() {
    assert_eq!(format!("{:?}", Token([0xab; 16])), "abab…");
}
