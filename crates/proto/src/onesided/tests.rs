//! Lists against a naive model, hostile commands and keys, and the order of chunks.

use gputcp_fuzz::{mutate, near, run};

use super::{
    chunks::{Block, Distinct, Plan},
    command::{
        COMMAND_BYTES_MAX, Command, HEAD_BYTES, Kind, PUT_BYTES_MAX, RANGES_MAX, REGIONS_MAX, Range, Request,
    },
    key::{Key, Operation, Rights, Space},
    link::{Link, News},
    regions::{Refusal, Regions},
};

const SECRET: [u8; 16] = [7; 16];

#[test]
fn a_plan_has_every_byte_once_and_in_order() {
    run("plans", |random, counts| {
        let longest = random.u64(1..=1 << 14);
        let blocks: Vec<Block> = (0..random.usize(0..3000))
            .map(|_| Block {
                local: random.u32(0..4),
                remote: random.u32(0..100),
                local_offset: random.u64(0..1 << 20) & !0xfff,
                remote_offset: random.u64(0..1 << 20) & !0xfff,
                bytes: random.choice([0, 1, 4096, 4096, 4096, 50_000]).expect("six"),
            })
            .collect();
        counts.one("plans");
        let memory = |block: &Block| (block.local % 2, block.remote < 90);
        let mut plan = Plan::merge(blocks.clone());
        plan.cut(longest, memory);
        assert_eq!(plan.bytes(), blocks.iter().map(|block| block.bytes).sum::<u64>());
        // Byte for byte would be long: runs of bytes, cut where either list cuts.
        let mut given = blocks.iter().copied().enumerate().filter(|(_, block)| block.bytes > 0);
        let mut open: Option<(usize, Block)> = None;
        for chunk in 0..plan.chunks() {
            let parts: Vec<Block> = plan.blocks(chunk).collect();
            assert!((1..=RANGES_MAX).contains(&parts.len()));
            assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), plan.chunk(chunk).bytes);
            assert!(plan.chunk(chunk).bytes <= longest);
            assert!(parts.iter().all(|part| memory(part) == memory(&parts[0])));
            let mut regions = Distinct::default();
            assert!(parts.iter().all(|part| regions.place_of(part.remote) < REGIONS_MAX));
            for (at, mut part) in parts.into_iter().enumerate() {
                let mut is_first = true;
                while part.bytes > 0 {
                    let (number, mut block) = open.take().or_else(|| given.next()).expect("as many bytes");
                    let bytes = part.bytes.min(block.bytes);
                    assert_eq!(
                        (part.local, part.remote, part.local_offset, part.remote_offset),
                        (block.local, block.remote, block.local_offset, block.remote_offset)
                    );
                    if std::mem::take(&mut is_first) {
                        assert!(plan.number(chunk, at) <= number, "the block that it began with");
                    }
                    for (side, offset) in [
                        (&mut part.bytes, &mut part.local_offset),
                        (&mut block.bytes, &mut block.local_offset),
                    ] {
                        *side -= bytes;
                        *offset += bytes;
                    }
                    part.remote_offset += bytes;
                    block.remote_offset += bytes;
                    open = (block.bytes > 0).then_some((number, block));
                }
            }
        }
        assert!(open.is_none() && given.next().is_none());
    });
}

#[test]
fn neighbours_are_one_range() {
    let block =
        |at: u64| Block { local: 0, remote: 0, local_offset: at << 12, remote_offset: at << 12, bytes: 4096 };
    let mut plan = Plan::merge((0..10_000).map(block));
    plan.cut(4 << 20, |_| ());
    assert_eq!(plan.chunks(), 10);
    assert!((0..10).all(|chunk| plan.blocks(chunk).count() == 1));
}

/// Registers some regions, and returns their keys.
fn keys(count: usize) -> Vec<Key> {
    let mut regions = Regions::default();
    (0..count).map(|at| regions.register(1 << 30, Rights::ReadWrite, Space::Device, [at as u8; 16])).collect()
}

#[test]
fn blocks_of_many_regions_share_a_chunk() {
    let block = |at: u64| Block {
        local: (at / 10) as u32,
        remote: (at / 10) as u32,
        local_offset: (at % 10) << 14,
        remote_offset: (at % 10) << 15,
        bytes: 1 << 14,
    };
    let mut plan = Plan::merge((0..800).map(block));
    plan.cut(4 << 20, |_| ());
    // 800 blocks of 16 KiB, 10 of each region: 256 fit.
    assert_eq!(plan.chunks(), 4);
    plan.cut(1 << 30, |_| ());
    assert_eq!(plan.chunks(), 800 / 10 / REGIONS_MAX);
    plan.cut(1 << 30, |block| block.remote);
    assert_eq!(plan.chunks(), 80);
}

#[test]
fn any_bytes_are_a_command_or_a_violation() {
    let counts = run("commands", |random, counts| {
        let chunk = near(random, 5);
        let keys = keys(random.usize(1..=REGIONS_MAX));
        let most = if random.bool() { 20 } else { RANGES_MAX };
        let ranges: Vec<Range> = (0..random.usize(1..=most))
            .map(|_| Range {
                region: random.u16(0..keys.len() as u16),
                offset: near(random, 4096),
                bytes: random.u32(1..5000),
            })
            .collect();
        let refusals = [Refusal::UnknownKey, Refusal::OutOfRange, Refusal::NotAllowed];
        let command = match random.u8(0..5) {
            0 | 1 => None,
            2 => Some(Command::Pull { chunk }),
            3 => Some(Command::Done { chunk }),
            _ => {
                let refusal = random.choice(refusals).expect("three");
                Some(Command::Refused { chunk, range: random.u32(..), refusal })
            }
        };
        let total: u64 = ranges.iter().map(|range| u64::from(range.bytes)).sum();
        let kinds = [Kind::Get, Kind::Offer, Kind::Put];
        let kind = random.choice(kinds).expect("three");
        let kind = if total > PUT_BYTES_MAX && kind == Kind::Put { Kind::Offer } else { kind };
        let mut bytes = match &command {
            Some(command) => command.encode().to_vec(),
            None => Request::encode(kind, chunk, &keys, &ranges),
        };
        assert!(bytes.len() <= COMMAND_BYTES_MAX);
        let (found, rest) = Command::decode(&bytes).expect("what is encoded is decoded");
        match (command, found) {
            (Some(command), found) => assert_eq!((found, rest.len()), (command, 0)),
            (None, Command::Request(found, request)) => {
                assert_eq!(found, kind);
                assert_eq!(request.ranges(rest).collect::<Vec<_>>(), ranges);
                let names: Vec<_> = keys.iter().map(|key| (key.place() as u32, key.secret)).collect();
                assert_eq!((request.chunk, request.names(rest).collect::<Vec<_>>()), (chunk, names));
            }
            (None, found) => panic!("a request became {found:?}"),
        }
        mutate(random, &mut bytes);
        bytes.truncate(if random.bool() { bytes.len() } else { random.usize(0..bytes.len()) });
        counts.one("commands");
        match Command::decode(&bytes) {
            Ok((command, rest)) => {
                assert_eq!([&command.encode()[..], rest].concat(), bytes);
            }
            Err(_) => counts.one("commands refused"),
        }
    });
    assert!(counts.of("commands refused") > 0);
}

#[test]
fn a_request_is_refused_for_each_wrong_field() {
    let range = |region, offset, bytes| Range { region, offset, bytes };
    let good = Request::encode(Kind::Get, 1, &keys(2), &[range(0, 0, 10), range(1, 50, 20)]);
    assert!(Command::decode(&good).is_ok());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Command::decode(&bytes).unwrap_err().to_string()
    };
    let first = HEAD_BYTES + 2 * 24;
    assert!(with(&|bytes| bytes[16] = 31).contains("sum of the ranges"));
    assert!(with(&|bytes| bytes[24] = 0).contains("number of regions"));
    assert!(with(&|bytes| bytes[24] = 41).contains("number of regions"));
    assert!(with(&|bytes| bytes[24] = 1).contains("number of ranges"));
    assert!(with(&|bytes| bytes[28] = 3).contains("number of ranges"));
    assert!(with(&|bytes| bytes[28] = 0).contains("number of ranges"));
    assert!(with(&|bytes| bytes[28..32].fill(255)).contains("number of ranges"));
    assert!(with(&|bytes| bytes[first + 8] = 0).contains("range's length"));
    assert!(with(&|bytes| bytes[first + 8..first + 12].fill(255)).contains("sum of the ranges"));
    assert!(with(&|bytes| bytes[first + 12] = 2).contains("range's region"));
    assert!(with(&|bytes| bytes[first + 14] = 1).contains("reserved"));
    assert!(with(&|bytes| bytes[HEAD_BYTES + 4] = 1).contains("reserved"));
    assert!(with(&|bytes| bytes[6] = 1).contains("reserved field"));
    assert!(with(&|bytes| bytes[4] = 9).contains("unknown kind 9"));
    assert!(with(&|bytes| bytes.truncate(HEAD_BYTES - 1)).contains("length"));
    let put = |bytes| Command::decode(&Request::encode(Kind::Put, 1, &keys(1), &[range(0, 0, bytes)])).err();
    assert_eq!(put(PUT_BYTES_MAX as u32), None);
    assert!(put(PUT_BYTES_MAX as u32 + 1).is_some_and(|why| why.to_string().contains("short write")));
}

#[test]
fn a_key_is_good_for_its_region_while_it_lives_and_for_nothing_else() {
    let mut regions = Regions::default();
    let key = regions.register(100, Rights::Read, Space::Host, SECRET);
    let other = regions.register(10, Rights::Read, Space::Device, [1; 16]);
    assert_eq!((Key::decode(&key.encode()), Key::decode(&other.encode())), (Ok(key), Ok(other)));
    let name = (key.place() as u32, SECRET);
    let range = |region, offset, bytes| Range { region, offset, bytes };
    let mut ask = |name, operation, ranges: &[(u64, u32)]| {
        let ranges = ranges.iter().map(|&(offset, bytes)| range(0, offset, bytes));
        let granted = regions.grant(operation, [name].into_iter(), ranges);
        granted.map(|grants| grants.into_iter().for_each(|grant| regions.give_back(grant)))
    };
    assert_eq!(ask(name, Operation::Read, &[(0, 100), (99, 1), (100, 0)]), Ok(()));
    let cases: [(_, _, &[(u64, u32)], _); 7] = [
        (name, Operation::Write, &[(0, 1)], (0, Refusal::NotAllowed)),
        (name, Operation::Read, &[(0, 1), (100, 1)], (1, Refusal::OutOfRange)),
        (name, Operation::Read, &[(0, 101)], (0, Refusal::OutOfRange)),
        (name, Operation::Read, &[(u64::MAX, 1)], (0, Refusal::OutOfRange)),
        (name, Operation::Read, &[(1, u32::MAX)], (0, Refusal::OutOfRange)),
        ((name.0, [8; 16]), Operation::Read, &[(0, 1)], (0, Refusal::UnknownKey)),
        ((name.0 + 2, SECRET), Operation::Read, &[(0, 1)], (0, Refusal::UnknownKey)),
    ];
    for (name, operation, ranges, refusal) in cases {
        assert_eq!(ask(name, operation, ranges), Err(refusal), "{ranges:?}");
    }
    // Of two regions, both are granted or none; the first bad range is named.
    let both = [name, (other.place() as u32, [1; 16])];
    let mut ask = |names: [_; 2], ranges: &[Range]| {
        regions.grant(Operation::Read, names.into_iter(), ranges.iter().copied())
    };
    let refused = ask(both, &[range(0, 0, 1), range(1, 0, 10), range(1, 1, 10)]);
    assert_eq!(refused, Err((2, Refusal::OutOfRange)));
    let guessed = [name, (other.place() as u32, SECRET)];
    let refused = ask(guessed, &[range(0, 0, 1), range(1, 0, 1)]);
    assert_eq!(refused, Err((1, Refusal::UnknownKey)));
    assert_eq!(ask(guessed, &[range(0, 0, 1)]), Err((0, Refusal::UnknownKey)));
    assert_eq!(ask(both, &[range(2, 0, 1)]), Err((0, Refusal::UnknownKey)));
    // In use, it is revoked and not forgotten.
    let grants = ask(both, &[range(0, 0, 1)]).expect("both are registered");
    assert_eq!(grants.len(), 2);
    assert!(!regions.forget(&key), "its end was not asked for");
    regions.revoke(&key);
    let again = |regions: &mut Regions| {
        regions.grant(Operation::Read, [name].into_iter(), [range(0, 0, 1)].into_iter())
    };
    assert_eq!(again(&mut regions), Err((0, Refusal::UnknownKey)));
    assert!(regions.grant_own(&key).is_none() && !regions.forget(&key));
    grants.into_iter().for_each(|grant| regions.give_back(grant));
    assert!(regions.forget(&key) && regions.forget(&key));
    // Its place goes to another region, with a secret of its own.
    let next = regions.register(1 << 20, Rights::ReadWrite, Space::Host, [9; 16]);
    assert_eq!(next.place(), key.place());
    assert_eq!(again(&mut regions), Err((0, Refusal::UnknownKey)));
}

#[test]
fn a_key_shows_its_secret_in_no_log() {
    let key = Regions::default().register(1, Rights::Read, Space::Host, [0xab; 16]);
    assert_eq!(format!("{key:?}"), "Key(0, 1 bytes, Read, Host)");
    for (at, bad) in [(16, 4), (17, 0), (17, 3), (18, 1)] {
        let mut bytes = key.encode();
        bytes[at] = bad;
        assert!(Key::decode(&bytes).is_err(), "{at}");
    }
}

#[test]
fn transfers_take_turns_within_the_window() {
    let mut link = Link::new(3);
    link.post(Operation::Read, 1, 1000);
    link.post(Operation::Read, 2, 2);
    let next = |link: &mut Link| link.next(Operation::Read).map(|chunk| (chunk.transfer, chunk.number));
    assert_eq!(
        [next(&mut link), next(&mut link), next(&mut link), next(&mut link)],
        [Some((1, 0)), Some((2, 0)), Some((1, 1)), None]
    );
    assert!(link.next(Operation::Write).is_none());
    assert!(link.arrived(false));
    assert_eq!(next(&mut link), Some((2, 1)));
    assert_eq!(link.cancel(1), 998);
    assert!(link.arrived(false) && link.arrived(false) && link.arrived(false) && link.is_idle());
}

#[test]
fn commands_about_chunks_are_heard_once_and_when_they_are_due() {
    let mut link = Link::new(8);
    link.post(Operation::Write, 1, 2);
    let first = link.next(Operation::Write).expect("the window has room");
    let chunk = first.chunk;
    assert!(link.heard(&Command::Done { chunk }).is_err(), "before it was pulled");
    assert!(matches!(link.heard(&Command::Pull { chunk }), Ok(News::Send(pulled)) if pulled.number == 0));
    assert!(link.heard(&Command::Pull { chunk }).is_err(), "twice");
    let refused = Command::Refused { chunk, range: 0, refusal: Refusal::UnknownKey };
    assert!(link.heard(&refused).is_err(), "after it was pulled");
    assert!(matches!(link.heard(&Command::Done { chunk }), Ok(News::Done(_))));
    assert!(link.heard(&Command::Done { chunk }).is_err());
    assert!(link.heard(&Command::Pull { chunk: 77 }).is_err());
    assert!(link.heard(&Command::Note { bytes: 0 }).is_err());
}

#[test]
fn a_short_write_is_done_or_refused_without_a_pull() {
    for refused in [false, true] {
        let mut link = Link::new(8);
        link.post(Operation::Write, 1, 1);
        let chunk = link.next(Operation::Write).expect("the window has room").chunk;
        link.put(chunk);
        assert!(link.heard(&Command::Pull { chunk }).is_err(), "its bytes are on their way");
        let refusal = Refusal::UnknownKey;
        let news = if refused {
            link.heard(&Command::Refused { chunk, range: 0, refusal })
        } else {
            link.heard(&Command::Done { chunk })
        };
        let is_over = matches!(news, Ok(News::Done(_) | News::Refused { is_over: true, .. }));
        assert!(is_over && link.is_idle());
    }
}

#[test]
fn a_refused_read_is_over_when_both_its_message_and_its_reason_have_come() {
    for is_message_first in [false, true] {
        let mut link = Link::new(8);
        link.post(Operation::Read, 1, 1);
        let chunk = link.next(Operation::Read).expect("the window has room").chunk;
        let refused = Command::Refused { chunk, range: 3, refusal: Refusal::OutOfRange };
        let is_over = |news| matches!(news, Ok(News::Refused { range: 3, is_over: true, .. }));
        if is_message_first {
            assert!(!link.arrived(true) && !link.is_idle());
            assert!(is_over(link.heard(&refused)));
        } else {
            assert!(!is_over(link.heard(&refused)));
            assert!(link.heard(&refused).is_err(), "twice");
            assert!(link.arrived(true));
        }
        assert!(link.is_idle());
    }
}

#[test]
fn a_peer_has_no_more_open_than_its_window() {
    let mut link = Link::new(2);
    for operation in [Operation::Read, Operation::Write] {
        assert!(link.requested(operation).is_ok() && link.requested(operation).is_ok());
        assert!(link.requested(operation).is_err());
        link.served(operation);
        link.served(operation);
        assert!(link.requested(operation).is_ok());
    }
}
