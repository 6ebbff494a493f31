//! Lists against a naive model, hostile commands and keys, and the order of chunks.

use gputcp_fuzz::{mutate, near, run};

use super::{
    chunks::{Block, Plan},
    command::{self, COMMAND_BYTES_MAX, Command, HEAD_BYTES, RANGES_MAX, Request},
    key::{Key, Operation, Rights},
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
                local: random.u32(0..2),
                remote: random.u32(0..2),
                local_offset: random.u64(0..1 << 20) & !0xfff,
                remote_offset: random.u64(0..1 << 20) & !0xfff,
                bytes: random.choice([0, 1, 4096, 4096, 4096, 50_000]).expect("six"),
            })
            .collect();
        counts.one("plans");
        let plan = Plan::new(blocks.clone(), longest);
        assert_eq!(plan.bytes(), blocks.iter().map(|block| block.bytes).sum::<u64>());
        // Byte for byte would be long: runs of bytes, cut where either list cuts.
        let mut given = blocks.iter().copied().enumerate().filter(|(_, block)| block.bytes > 0);
        let mut open: Option<(usize, Block)> = None;
        for chunk in 0..plan.chunks() {
            let parts: Vec<Block> = plan.blocks(chunk).collect();
            assert!((1..=RANGES_MAX).contains(&parts.len()));
            assert_eq!(parts.iter().map(|part| part.bytes).sum::<u64>(), plan.chunk(chunk).bytes);
            assert!(plan.chunk(chunk).bytes <= longest);
            assert!(parts.iter().all(|part| (part.local, part.remote) == (parts[0].local, parts[0].remote)));
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
    let plan = Plan::new((0..10_000).map(block), 4 << 20);
    assert_eq!(plan.chunks(), 10);
    assert!((0..10).all(|chunk| plan.blocks(chunk).count() == 1));
}

fn message(command: &Command, ranges: &[(u64, u64)]) -> Vec<u8> {
    let mut message = command.encode().to_vec();
    ranges.iter().for_each(|&(offset, bytes)| command::put_range(&mut message, offset, bytes));
    message
}

#[test]
fn any_bytes_are_a_command_or_a_violation() {
    let counts = run("commands", |random, counts| {
        let chunk = near(random, 5);
        let ranges: Vec<(u64, u64)> =
            (0..random.usize(1..20)).map(|_| (near(random, 4096), random.u64(1..5000))).collect();
        let bytes = ranges.iter().map(|(_, bytes)| bytes).sum();
        let request = Request {
            chunk,
            bytes,
            region: (random.u32(..), [random.u8(..); 16]),
            ranges: ranges.len() as u32,
        };
        let refusals = [Refusal::UnknownKey, Refusal::OutOfRange, Refusal::NotAllowed];
        let (command, ranges) = match random.u8(0..5) {
            0 => (Command::Get(request), ranges),
            1 => (Command::Offer(request), ranges),
            2 => (Command::Pull { chunk }, vec![]),
            3 => (Command::Done { chunk }, vec![]),
            _ => {
                let refusal = random.choice(refusals).expect("three");
                (Command::Refused { chunk, range: random.u32(..), refusal }, vec![])
            }
        };
        let mut bytes = message(&command, &ranges);
        assert!(bytes.len() <= COMMAND_BYTES_MAX);
        let (found, rest) = Command::decode(&bytes).expect("what is encoded is decoded");
        assert_eq!((found, command::ranges(rest).collect::<Vec<_>>()), (command, ranges));
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
    let request = Request { chunk: 1, bytes: 30, region: (0, SECRET), ranges: 2 };
    let good = message(&Command::Get(request), &[(0, 10), (50, 20)]);
    assert!(Command::decode(&good).is_ok());
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        Command::decode(&bytes).unwrap_err().to_string()
    };
    assert!(with(&|bytes| bytes[16] = 31).contains("sum of the ranges"));
    assert!(with(&|bytes| bytes[28] = 3).contains("number of ranges"));
    assert!(with(&|bytes| bytes[28] = 0).contains("number of ranges"));
    assert!(with(&|bytes| bytes[HEAD_BYTES + 8] = 0).contains("range's length"));
    assert!(with(&|bytes| bytes[HEAD_BYTES + 15] = 255).contains("sum of the ranges"));
    assert!(with(&|bytes| bytes[HEAD_BYTES + 8..HEAD_BYTES + 16].fill(255)).contains("range's length"));
    assert!(with(&|bytes| bytes[6] = 1).contains("reserved field"));
    assert!(with(&|bytes| bytes[4] = 9).contains("unknown kind 9"));
    assert!(with(&|bytes| bytes.truncate(HEAD_BYTES - 1)).contains("length"));
}

#[test]
fn a_key_is_good_for_its_region_while_it_lives_and_for_nothing_else() {
    let mut regions = Regions::default();
    let key = regions.register(100, Rights::Read, SECRET);
    assert_eq!(Key::decode(&key.encode()), Ok(key));
    let name = (key.place() as u32, SECRET);
    let mut ask = |name, operation, ranges: &[(u64, u64)]| {
        regions.grant(name, operation, ranges.iter().copied()).map(|grant| regions.give_back(grant))
    };
    assert_eq!(ask(name, Operation::Read, &[(0, 100), (99, 1), (100, 0)]), Ok(()));
    let cases: [(_, _, &[(u64, u64)], _); 7] = [
        (name, Operation::Write, &[(0, 1)], (0, Refusal::NotAllowed)),
        (name, Operation::Read, &[(0, 1), (100, 1)], (1, Refusal::OutOfRange)),
        (name, Operation::Read, &[(0, 101)], (0, Refusal::OutOfRange)),
        (name, Operation::Read, &[(u64::MAX, 1)], (0, Refusal::OutOfRange)),
        (name, Operation::Read, &[(1, u64::MAX)], (0, Refusal::OutOfRange)),
        ((name.0, [8; 16]), Operation::Read, &[(0, 1)], (0, Refusal::UnknownKey)),
        ((name.0 + 1, SECRET), Operation::Read, &[(0, 1)], (0, Refusal::UnknownKey)),
    ];
    for (name, operation, ranges, refusal) in cases {
        assert_eq!(ask(name, operation, ranges), Err(refusal), "{ranges:?}");
    }
    // In use, it is revoked and not forgotten.
    let grant = regions.grant(name, Operation::Read, [(0, 1)].into_iter()).expect("it is registered");
    assert!(!regions.forget(&key), "its end was not asked for");
    regions.revoke(&key);
    assert_eq!(regions.grant(name, Operation::Read, [(0, 1)].into_iter()), Err((0, Refusal::UnknownKey)));
    assert!(regions.grant_own(&key).is_none() && !regions.forget(&key));
    regions.give_back(grant);
    assert!(regions.forget(&key) && regions.forget(&key));
    // Its place goes to another region, with a secret of its own.
    let next = regions.register(1 << 20, Rights::ReadWrite, [9; 16]);
    assert_eq!(next.place(), key.place());
    assert_eq!(regions.grant(name, Operation::Read, [(0, 1)].into_iter()), Err((0, Refusal::UnknownKey)));
}

#[test]
fn a_key_shows_its_secret_in_no_log() {
    let key = Regions::default().register(1, Rights::Read, [0xab; 16]);
    assert_eq!(format!("{key:?}"), "Key(0, 1 bytes, Read)");
    let mut bytes = key.encode();
    bytes[16] = 4;
    assert!(Key::decode(&bytes).is_err());
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
