//! A hostile peer of an endpoint: it speaks the protocol by hand, and asks for what it may not have. It is
//! refused or cut off; no byte is read or written, and other peers go on.

use std::time::{Duration, Instant};

use gputcp::{
    Buffer, Connector, Handle, Listener, Options, RecvComm, SendComm,
    onesided::{Block, Endpoint, RemoteKey, Rights},
};

const SOON: Duration = Duration::from_secs(20);
const SECRET: std::ops::Range<usize> = 24..40;

fn options() -> Options {
    Options::default()
        .with_streams(1)
        .with_timeout(Duration::from_secs(5))
        .tuned(|tuning| tuning.eager_places = 8)
}

/// A peer made by hand: its connections to and from an endpoint.
struct Hostile {
    commands: SendComm,
    data_back: RecvComm,
    commands_back: RecvComm,
    _data: SendComm,
    _listener: Listener,
    sent: Buffer,
}

impl Hostile {
    fn meet(endpoint: &Endpoint, token: u8) -> Self {
        let deadline = Instant::now() + SOON;
        let handle = Handle::decode(&endpoint.address().to_bytes()).unwrap();
        let mut listener = Listener::bind("127.0.0.1:0".parse().unwrap(), options()).unwrap();
        let connect = |purpose: u16| {
            let options = options().tuned(|tuning| tuning.eager_places = if purpose == 2 { 8 } else { 0 });
            let mut comm = Connector::new(&handle, options).unwrap().connect(deadline).unwrap();
            let mut greeting = b"GTOG".to_vec();
            greeting.extend(purpose.to_le_bytes());
            greeting.extend(12u16.to_le_bytes());
            greeting.extend([0; 8]);
            greeting.extend([token; 16]);
            greeting.extend(listener.handle().encode());
            let buffer = Buffer::host(greeting.len() as u64).unwrap();
            buffer.copy_from_host(0, &greeting).unwrap();
            comm.send(&buffer).unwrap();
            comm
        };
        let (data, commands) = (connect(1), connect(2));
        let (mut data_back, mut commands_back) = (None, None);
        for _ in 0..2 {
            let mut comm = listener.accept(deadline).unwrap();
            let buffer = Buffer::host(160).unwrap();
            comm.recv(&buffer).unwrap();
            let mut greeting = [0; 160];
            buffer.copy_to_host(0, &mut greeting).unwrap();
            assert_eq!(greeting[16..32], [token; 16]);
            *if greeting[4] == 1 { &mut data_back } else { &mut commands_back } = Some(comm);
        }
        let sent = Buffer::host(16 << 10).unwrap();
        Self {
            commands,
            data_back: data_back.unwrap(),
            commands_back: commands_back.unwrap(),
            _data: data,
            _listener: listener,
            sent,
        }
    }

    fn say(&mut self, command: &[u8]) -> gputcp::Result<()> {
        self.sent.copy_from_host(0, command).unwrap();
        let request = self.commands.isend(&self.sent, 0, command.len() as u64)?.expect("a free slot");
        self.commands.wait(request, SOON).map(drop)
    }

    fn hear(&mut self) -> gputcp::Result<Vec<u8>> {
        let buffer = Buffer::host(16 << 10).unwrap();
        let request = self.commands_back.irecv(&buffer, 0, 16 << 10)?.expect("a free slot");
        let received = self.commands_back.wait(request, SOON)?;
        let mut bytes = vec![0; received.bytes as usize];
        buffer.copy_to_host(0, &mut bytes).unwrap();
        Ok(bytes)
    }

    /// Waits until the endpoint has cut this peer off.
    fn await_cut_off(mut self) {
        let deadline = Instant::now() + SOON;
        while self.hear().is_ok() {
            assert!(Instant::now() < deadline);
        }
    }
}

type Name<'a> = (u32, &'a [u8]);

/// A request of ranges of one region.
fn request(kind: u16, chunk: u64, name: Name<'_>, ranges: &[(u64, u32)]) -> Vec<u8> {
    let ranges: Vec<_> = ranges.iter().map(|&(offset, bytes)| (0, offset, bytes)).collect();
    request_of(kind, chunk, &[name], &ranges)
}

/// A request of ranges of several regions.
fn request_of(kind: u16, chunk: u64, names: &[Name<'_>], ranges: &[(u32, u64, u32)]) -> Vec<u8> {
    let bytes: u64 = ranges.iter().map(|&(_, _, bytes)| u64::from(bytes)).sum();
    let mut out = b"GTOC".to_vec();
    out.extend(kind.to_le_bytes());
    out.extend([0; 2]);
    out.extend(chunk.to_le_bytes());
    out.extend(bytes.to_le_bytes());
    out.extend((names.len() as u32).to_le_bytes());
    out.extend((ranges.len() as u32).to_le_bytes());
    for (place, secret) in names {
        out.extend(u64::from(*place).to_le_bytes());
        out.extend(*secret);
    }
    for (region, offset, bytes) in ranges {
        out.extend(offset.to_le_bytes());
        out.extend(bytes.to_le_bytes());
        out.extend(region.to_le_bytes());
    }
    out
}

/// An endpoint with a region of 4096 bytes under these rights, filled with 7.
fn victim(rights: Rights) -> (Endpoint, gputcp::onesided::Region, Buffer) {
    let endpoint = Endpoint::bind("127.0.0.1:0", options()).unwrap();
    let buffer = Buffer::host(4096).unwrap();
    buffer.copy_from_host(0, &[7; 4096]).unwrap();
    let region = endpoint.register(&buffer, rights).unwrap();
    (endpoint, region, buffer)
}

fn name_of(key: &RemoteKey) -> (u32, Vec<u8>) {
    let bytes = key.encode();
    (u32::from_le_bytes(bytes[4..8].try_into().unwrap()), bytes[SECRET].to_vec())
}

/// Asserts that an honest peer still reads the region, whose bytes are as they were.
fn goes_on(endpoint: &Endpoint, key: &RemoteKey) {
    let own = Endpoint::bind("127.0.0.1:0", options()).unwrap();
    let buffer = Buffer::host(4096).unwrap();
    let local = own.register(&buffer, Rights::Read).unwrap();
    let peer = own.connect(&endpoint.address()).unwrap();
    let block = Block { local: &local, local_offset: 0, remote: key, remote_offset: 0, bytes: 4096 };
    peer.read([block]).unwrap().wait(SOON).unwrap();
    local.deregister(SOON).unwrap();
    let mut bytes = [0; 4096];
    buffer.copy_to_host(0, &mut bytes).unwrap();
    assert!(bytes == [7; 4096]);
}

const GET: u16 = 1;
const OFFER: u16 = 2;
const PUT: u16 = 7;

#[test]
fn what_a_peer_may_not_have_is_refused_and_counted() {
    let (endpoint, region, _buffer) = victim(Rights::Read);
    let key = region.key();
    let (place, secret) = name_of(&key);
    let guessed = [0x55; 16];
    let mut hostile = Hostile::meet(&endpoint, 1);
    type Case<'a> = (u16, (u32, &'a [u8]), &'a [(u64, u32)], u8);
    let cases: [Case<'_>; 7] = [
        (GET, (place, &guessed), &[(0, 8)], 1),
        (GET, (place + 1, &secret), &[(0, 8)], 1),
        (GET, (u32::MAX, &secret), &[(0, 8)], 1),
        (GET, (place, &secret), &[(0, 8), (4090, 7)], 2),
        (GET, (place, &secret), &[(u64::MAX - 3, 8)], 2),
        (GET, (place, &secret), &[(1 << 40, 8)], 2),
        (OFFER, (place, &secret), &[(0, 8)], 3),
    ];
    for (number, (kind, name, ranges, reason)) in cases.into_iter().enumerate() {
        hostile.say(&request(kind, number as u64, name, ranges)).unwrap();
        let answer = hostile.hear().unwrap();
        assert_eq!((answer[4], answer[6], answer[8]), (5, reason, number as u8), "case {number}");
        if kind == GET {
            // An empty message takes the place of the bytes.
            let buffer = Buffer::host(64).unwrap();
            let posted = hostile.data_back.irecv(&buffer, 0, 64).unwrap().unwrap();
            assert_eq!(hostile.data_back.wait(posted, SOON).unwrap().bytes, 0, "case {number}");
        }
    }
    assert_eq!(endpoint.refused(), 7);
    goes_on(&endpoint, &key);
}

#[test]
fn one_bad_region_of_several_has_all_refused() {
    let (endpoint, region, _buffer) = victim(Rights::ReadWrite);
    let other = endpoint.register(&Buffer::host(100).unwrap(), Rights::Read).unwrap();
    let ((place, secret), (second, its)) = (name_of(&region.key()), name_of(&other.key()));
    let mut hostile = Hostile::meet(&endpoint, 1);
    let both: [Name<'_>; 2] = [(place, &secret), (second, &its)];
    let swapped: [Name<'_>; 2] = [(place, &its), (second, &secret)];
    type Case<'a> = (&'a [Name<'a>], &'a [(u32, u64, u32)], u8, u8);
    let cases: [Case<'_>; 4] = [
        (&both, &[(0, 0, 8), (1, 0, 8)], 3, 1),
        (&both[..1], &[(0, 0, 8), (0, 4096, 1)], 2, 1),
        (&swapped, &[(0, 0, 8), (1, 0, 8)], 1, 0),
        (&[both[0], (second, &secret)], &[(0, 0, 8)], 1, 0),
    ];
    for (number, (names, ranges, reason, range)) in cases.into_iter().enumerate() {
        hostile.say(&request_of(OFFER, number as u64, names, ranges)).unwrap();
        let answer = hostile.hear().unwrap();
        assert_eq!((answer[4], answer[6], answer[16]), (5, reason, range), "case {number}");
    }
    // A range of no region breaks the rules.
    hostile.say(&request_of(OFFER, 9, &both, &[(2, 0, 8)])).unwrap();
    hostile.await_cut_off();
    goes_on(&endpoint, &region.key());
}

#[test]
fn short_writes_are_refused_before_their_bytes_are_taken_and_of_one_length() {
    let (endpoint, region, buffer) = victim(Rights::Read);
    let (place, secret) = name_of(&region.key());
    let mut hostile = Hostile::meet(&endpoint, 1);
    // Several are on their way at a time; the bytes of each come behind its command.
    for chunk in 0..8 {
        hostile.say(&request(PUT, chunk, (place, &secret), &[(0, 8)])).unwrap();
        hostile.say(&[0; 8]).unwrap();
    }
    for chunk in 0..8 {
        let answer = hostile.hear().unwrap();
        assert_eq!((answer[4], answer[6], answer[8]), (5, 3, chunk));
    }
    region.deregister(SOON).unwrap();
    let next = endpoint.register(&buffer, Rights::ReadWrite).unwrap();
    let (place, secret) = name_of(&next.key());
    // More, fewer, or more than a short write has.
    for (token, bytes) in [(2, vec![9; 9]), (3, vec![9; 7]), (4, vec![])] {
        let mut hostile = Hostile::meet(&endpoint, token);
        hostile.say(&request(PUT, 1, (place, &secret), &[(4000, 8)])).unwrap();
        let _ = hostile.say(&bytes);
        hostile.await_cut_off();
    }
    let mut hostile = Hostile::meet(&endpoint, 5);
    hostile.say(&request(PUT, 1, (place, &secret), &[(0, 1 << 18), (0, 1)])).unwrap();
    hostile.await_cut_off();
    // Nothing of it holds the region, and nothing was written that has another place.
    next.deregister(SOON).unwrap();
    let mut bytes = [0; 4096];
    buffer.copy_to_host(0, &mut bytes).unwrap();
    assert!(bytes[..4000] == [7; 4000] && bytes[4008..] == [7; 88]);
}

#[test]
fn regions_of_host_and_device_in_one_request_cut_a_peer_off() {
    let device = gputcp::Device::soft(gputcp::SoftOptions::default());
    let endpoint = Endpoint::bind("127.0.0.1:0", options().with_device(Some(device.clone()))).unwrap();
    let buffer = Buffer::host(4096).unwrap();
    buffer.copy_from_host(0, &[7; 4096]).unwrap();
    let host = endpoint.register(&buffer, Rights::ReadWrite).unwrap();
    let soft = endpoint.register(&device.allocate(4096).unwrap(), Rights::ReadWrite).unwrap();
    let ((place, secret), (second, its)) = (name_of(&host.key()), name_of(&soft.key()));
    let mut hostile = Hostile::meet(&endpoint, 1);
    let both: [Name<'_>; 2] = [(place, &secret), (second, &its)];
    hostile.say(&request_of(GET, 1, &both, &[(0, 0, 8), (1, 0, 8)])).unwrap();
    hostile.await_cut_off();
    goes_on(&endpoint, &host.key());
    // Nothing of its request holds a region any more.
    host.deregister(SOON).unwrap();
    soft.deregister(SOON).unwrap();
}

#[test]
fn a_write_only_region_is_not_read() {
    let (endpoint, region, _buffer) = victim(Rights::Write);
    let (place, secret) = name_of(&region.key());
    let mut hostile = Hostile::meet(&endpoint, 1);
    hostile.say(&request(GET, 9, (place, &secret), &[(0, 4096)])).unwrap();
    let answer = hostile.hear().unwrap();
    assert_eq!((answer[4], answer[6]), (5, 3));
}

#[test]
fn a_key_is_stale_once_its_region_is_deregistered() {
    let (endpoint, region, buffer) = victim(Rights::ReadWrite);
    let (place, secret) = name_of(&region.key());
    let mut hostile = Hostile::meet(&endpoint, 1);
    region.deregister(SOON).unwrap();
    let next = endpoint.register(&buffer, Rights::ReadWrite).unwrap();
    assert_eq!(name_of(&next.key()).0, place, "the place is the same");
    hostile.say(&request(OFFER, 1, (place, &secret), &[(0, 8)])).unwrap();
    let answer = hostile.hear().unwrap();
    assert_eq!((answer[4], answer[6]), (5, 1));
}

#[test]
fn a_peer_that_breaks_the_rules_is_cut_off_and_others_go_on() {
    let (endpoint, region, _buffer) = victim(Rights::ReadWrite);
    let key = region.key();
    let (place, secret) = name_of(&key);
    let good = request(GET, 0, (place, &secret), &[(0, 8)]);
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut command = good.clone();
        change(&mut command);
        command
    };
    let commands = [
        b"GTOC".to_vec(),
        vec![],
        with(&|command| command[0] = 0),
        with(&|command| command[4] = 99),
        with(&|command| command[16] = 9),
        with(&|command| command[28] = 2),
        with(&|command| command.truncate(50)),
        with(&|command| command.push(0)),
        // About a chunk that the endpoint never had.
        request_of(3, 0, &[], &[]),
        request_of(4, 77, &[], &[]),
    ];
    for (number, command) in commands.iter().enumerate() {
        let mut hostile = Hostile::meet(&endpoint, number as u8);
        hostile.say(command).unwrap();
        hostile.await_cut_off();
    }
    goes_on(&endpoint, &key);
}

#[test]
fn a_peer_that_asks_for_more_than_its_window_is_cut_off() {
    let (endpoint, region, _buffer) = victim(Rights::ReadWrite);
    let key = region.key();
    let (place, secret) = name_of(&key);
    let mut hostile = Hostile::meet(&endpoint, 1);
    // It offers, and never sends: its window is 12.
    for chunk in 0..13 {
        let _ = hostile.say(&request(OFFER, chunk, (place, &secret), &[(0, 8)]));
    }
    hostile.await_cut_off();
    goes_on(&endpoint, &key);
    // Nothing of its requests holds the region any more.
    region.deregister(SOON).unwrap();
}

#[test]
fn a_greeting_has_the_endpoint_connect_to_no_other_machine() {
    let (endpoint, region, _buffer) = victim(Rights::Read);
    let handle = Handle::decode(&endpoint.address().to_bytes()).unwrap();
    let other = std::net::TcpListener::bind("127.0.0.2:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let elsewhere = Handle::at(other.local_addr().unwrap(), handle.token);
    let mut comm = Connector::new(&handle, options()).unwrap().connect(Instant::now() + SOON).unwrap();
    let mut greeting = b"GTOG".to_vec();
    greeting.extend([1, 0, 8, 0]);
    greeting.extend([0; 8]);
    greeting.extend([5; 16]);
    greeting.extend(elsewhere.encode());
    let buffer = Buffer::host(160).unwrap();
    buffer.copy_from_host(0, &greeting).unwrap();
    comm.send(&buffer).unwrap();
    // The connection that greeted so is dropped; until then, and after it, there was no call elsewhere.
    assert!(comm.close(Instant::now() + SOON).is_err());
    goes_on(&endpoint, &region.key());
    assert_eq!(other.accept().unwrap_err().kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn strangers_without_a_greeting_are_dropped() {
    let (endpoint, region, _buffer) = victim(Rights::Read);
    let handle = Handle::decode(&endpoint.address().to_bytes()).unwrap();
    let mut strangers = vec![];
    for number in 0..4u8 {
        let mut comm = Connector::new(&handle, options()).unwrap().connect(Instant::now() + SOON).unwrap();
        let buffer = Buffer::host(160).unwrap();
        buffer.copy_from_host(0, &[number; 160]).unwrap();
        // It may be cut off before the call returns.
        if number > 0
            && let Ok(Some(request)) = comm.isend(&buffer, 0, 40 * u64::from(number))
        {
            let _ = comm.wait(request, SOON);
        }
        strangers.push(comm);
    }
    goes_on(&endpoint, &region.key());
}
