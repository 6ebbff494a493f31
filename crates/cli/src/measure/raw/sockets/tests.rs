//! The ceiling of a whole session whose two ends are threads of this process. The software GPU stands in
//! for a real one. Its lanes work as a GPU's do, and the settings say that a GPU's memory is moved.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::Duration,
};

use crate::session::Kind;
use gputcp_gpu::{Device, Pattern, SoftOptions};

use super::*;
use crate::{
    bootstrap::{
        link::Link,
        message::{TcpCounters, Work, from_hex},
    },
    interrupt::Interrupt,
    measure::{
        raw::{RawListener, connect},
        run::{Outcome, run},
        side::Side,
        tally::Tally,
    },
    report::{CeilingKind, gpus::Gpus},
    settings::{
        Flow, Memory, SocketSettings, Unpack, asked::MeasureArgs, environment::Environment,
        request::MeasureRequest,
    },
};

const BYTES: u64 = (3 << 20) + 12_345;

fn settings(args: MeasureArgs) -> Settings {
    let args = MeasureArgs { size: Some(BYTES), ..args };
    let asked = MeasureRequest::new(args, &Environment::default()).unwrap().settings;
    let sockets = SocketSettings { segment_bytes: Some(64 << 10), ..asked.sockets };
    Settings { memory: Memory::Cuda, streams: 3, sockets, ..asked }
}

/// Returns the run of a message alone.
const fn alone(bytes: u64) -> Begin {
    Begin { work: Work::Raw, bytes, iteration: 1, rounds: 1 }
}

fn links() -> [(Link, Role); 2] {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    [(near, Role::Client), (far, Role::Server)].map(|(stream, role)| {
        (Link::new(stream, role, Interrupt::new().unwrap(), "the other end".into()).unwrap(), role)
    })
}

/// Exchanges the frames that both ends send before they are set up.
fn greet(link: &mut Link, role: Role) {
    let soon = Instant::now() + Duration::from_secs(10);
    for (speaker, kind) in [
        (Role::Client, Kind::Hello),
        (Role::Server, Kind::Hello),
        (Role::Client, Kind::Settings),
        (Role::Server, Kind::Accept),
    ] {
        if role == speaker {
            link.say(kind, &(), soon).unwrap();
        } else {
            link.hear::<()>(kind, soon).unwrap();
        }
    }
}

/// Lives one end's life: a message, two runs of the ceiling, a message.
fn live(mut link: Link, role: Role, settings: &Settings) -> Vec<Outcome> {
    greet(&mut link, role);
    let device =
        Device::soft(SoftOptions { lateness: Duration::from_micros(200), seed: 3, ..SoftOptions::default() });
    let mut side = Side::set_up(&mut link, role, settings.clone(), Some(&device), None).unwrap();
    let kind = match settings.flow {
        Flow::Forward | Flow::RoundTrip => Kind::BeginForward,
        Flow::Backward => Kind::BeginBackward,
        Flow::Both => Kind::BeginBoth,
    };
    let bytes = settings.sizes[0];
    let rounds = settings.messages(bytes);
    let outcomes = [(Work::Transfer, 1), (Work::Raw, 1), (Work::Raw, 1), (Work::Transfer, 1 + rounds)].map(
        |(work, iteration)| {
            let begin = Begin { work, bytes, iteration, rounds };
            let soon = Instant::now() + Duration::from_secs(10);
            if role == Role::Client {
                link.say(kind, &begin, soon).unwrap();
            } else {
                assert_eq!(link.hear::<Begin>(kind, soon).unwrap(), begin);
            }
            run(&mut side, &mut link, role, &begin).unwrap()
        },
    );
    side.close(role).unwrap();
    outcomes.into()
}

fn session(settings: &Settings) -> Vec<Outcome> {
    let [(near, client), (far, server)] = links();
    thread::scope(|scope| {
        let served = scope.spawn(move || live(far, server, settings));
        let outcomes = live(near, client, settings);
        served.join().unwrap();
        outcomes
    })
}

#[test]
fn a_pipelines_bytes_are_verified_at_their_destination_in_every_direction_and_mode() {
    for args in [
        MeasureArgs::default(),
        MeasureArgs { reverse: true, unpack: Some(Unpack::Copy), ..Default::default() },
        MeasureArgs { bidir: true, unpack: Some(Unpack::Host), ..Default::default() },
        MeasureArgs { channels: Some(2), unpack: Some(Unpack::None), ..Default::default() },
    ] {
        let settings = settings(args);
        let outcomes = session(&settings);
        let mut slices = Tally::new(settings.flow, TcpCounters::default());
        for outcome in &outcomes {
            let flows = [&outcome.sent, &outcome.received];
            let wanted = [settings.flow.forward(), settings.flow.backward()];
            assert_eq!(flows.map(Option::is_some), wanted);
            for flow in flows.into_iter().flatten() {
                assert_eq!((flow.sent.bytes, flow.received.unpacked), (BYTES, BYTES));
                assert_eq!(flow.received.verified, Some(true));
            }
            slices.add(BYTES, outcome, &[]);
        }
        let rows = slices.rows(BYTES, &settings, &Gpus::default(), Some(&slices));
        assert!(rows.iter().all(|row| row.ceiling.unwrap().kind == CeilingKind::GpuPipeline));
    }
}

#[test]
fn a_burst_goes_through_the_pipelines_as_one_and_each_of_its_messages_is_verified() {
    for args in [MeasureArgs::default(), MeasureArgs { bidir: true, ..Default::default() }] {
        let asked = MeasureArgs { depth: Some(3), ..args };
        let settings = Settings { sizes: vec![20_001], ..settings(asked) };
        for outcome in session(&settings) {
            for flow in [&outcome.sent, &outcome.received].into_iter().flatten() {
                assert_eq!((flow.sent.bytes, flow.received.unpacked), (256 * 20_001, 256 * 20_001));
                assert_eq!(flow.received.verified, Some(true));
                let is_raw = flow.received.chunks == 1;
                assert_eq!(flow.received.message_times_ns.len(), if is_raw { 0 } else { 256 });
            }
        }
    }
}

#[test]
fn the_software_gpus_ceiling_is_bare_sockets() {
    let settings = Settings { memory: Memory::Soft, ..settings(MeasureArgs::default()) };
    let outcomes = session(&settings);
    // The data of bare sockets is not verified: they move the message's memory, and not its data.
    let verified: Vec<_> =
        outcomes.iter().map(|outcome| outcome.sent.as_ref().unwrap().received.verified).collect();
    assert_eq!(verified, [Some(true), None, None, Some(true)]);
    assert_eq!(crate::measure::tally::kind(&settings), CeilingKind::Sockets);
}

/// Makes the raw sockets of one end, with a pipeline each, and the other ends.
fn one_end(settings: &Settings, device: &Device) -> (RawSockets, TcpStream) {
    let options = gputcp::Options::default().with_device(device.clone());
    let spec = PipelineSpec::of(settings, &options).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (far, _) = listener.accept().unwrap();
    (RawSockets::start(vec![near.into()], settings, Some(&spec)).unwrap(), far)
}

#[test]
fn a_share_of_more_slices_than_one_message_has_comes_in_pieces() {
    let bytes = (4 << 10) * (4096 + 3) + 1;
    let settings = Settings { chunk_bytes: 4 << 10, ..settings(MeasureArgs::default()) };
    let (device, pattern) = (Device::soft(SoftOptions::default()), Pattern { seed: 1, iteration: 2 });
    let (mut sockets, mut far) = one_end(&settings, &device);
    let buffer = device.allocate(bytes).unwrap();
    let mut area = Area::of(&buffer, &settings).unwrap();
    let mut message = vec![0; bytes as usize];
    pattern.fill(0, &mut message);
    // Bare bytes, and nothing else: any end of a TCP connection will do.
    sockets.start_receiving(&mut area, &alone(bytes)).unwrap();
    far.write_all(&message).unwrap();
    sockets.finish().unwrap();
    assert_eq!(buffer.verify(pattern, 0, bytes), Ok(Ok(())));
    sockets.start_sending(&mut area, &alone(bytes)).unwrap();
    let mut echo = vec![0; bytes as usize];
    far.read_exact(&mut echo).unwrap();
    sockets.finish().unwrap();
    assert!(echo == message);
}

#[test]
fn a_silent_peer_ends_a_pipeline_for_good() {
    let settings = Settings { timeout_ms: 500, ..settings(MeasureArgs::default()) };
    let device = Device::soft(SoftOptions::default());
    let (mut sockets, _silent) = one_end(&settings, &device);
    let mut area = Area::of(&device.allocate(BYTES).unwrap(), &settings).unwrap();
    let mut fails = || {
        sockets.start_receiving(&mut area, &alone(BYTES)).unwrap();
        sockets.finish().unwrap_err().to_string()
    };
    let began = Instant::now();
    let (first, second) = (fails(), fails());
    assert!(first.contains("no progress (the bound is --timeout)"), "{first}");
    assert!(second.contains("the lane stopped"), "{second}");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_lost_gpu_is_no_lost_peer() {
    let settings = settings(MeasureArgs::default());
    let device = Device::soft(SoftOptions { lost_after: Some(3), ..SoftOptions::default() });
    let (mut sockets, mut far) = one_end(&settings, &device);
    let mut area = Area::of(&device.allocate(BYTES).unwrap(), &settings).unwrap();
    thread::scope(|scope| {
        // Its socket is shut down with the rest of the session's, and not before.
        scope.spawn(move || drop(far.write_all(&vec![1; BYTES as usize])));
        sockets.start_receiving(&mut area, &alone(BYTES)).unwrap();
        let failure = sockets.finish().unwrap_err();
        drop(sockets);
        assert!(matches!(&failure, Failure::Run(text) if !text.contains("peer")), "{failure}");
    });
}

#[test]
fn a_thread_that_panics_is_heard_of() {
    let settings = settings(MeasureArgs::default());
    let (mut sockets, _far) = one_end(&settings, &Device::soft(SoftOptions::default()));
    // No memory to send five bytes from: nothing that is dealt looks like this.
    let nothing = gputcp_gpu::Buffer::host(1).unwrap().read(0, 0).unwrap();
    sockets.workers[0].give(Job::Send(nothing, Length { bytes: 5, message_bytes: 5 })).unwrap();
    sockets.open += 1;
    let failure = sockets.finish().unwrap_err();
    assert!(matches!(&failure, Failure::Run(text) if text.contains("a bug in gputcp")), "{failure}");
}

#[test]
fn whoever_comes_the_raw_sockets_are_those_of_the_other_side() {
    let settings = settings(MeasureArgs::default());
    let local = "127.0.0.1:0".parse().unwrap();
    gputcp_fuzz::run("a raw listener", |random, counts| {
        let [(mut near, _), (mut far, _)] = links();
        let listener = RawListener::open(local).unwrap();
        let handle = listener.handle(local);
        let token: [u8; 16] = from_hex(&handle.token).unwrap();
        let mut strangers: Vec<TcpStream> = vec![];
        for _ in 0..random.usize(0..20) {
            let mut stranger = TcpStream::connect(handle.address).unwrap();
            counts.one("strangers");
            // With the token, but none of the numbers that are waited for; or nearly the token.
            let number = random.u16(3..).to_le_bytes();
            let mut said = [&token[..], &number].concat();
            match random.u8(0..5) {
                0 => said[..16].fill(random.u8(..)),
                1 => said.truncate(random.usize(..18)),
                2 => said.extend_from_slice(&[0; 20]),
                3 => said[random.usize(..16)] ^= 1 << random.u32(0..8),
                _ => {}
            }
            let _ = stranger.write_all(&said);
            if random.bool() {
                strangers.push(stranger);
            }
        }
        thread::scope(|scope| {
            let connecting = scope.spawn(|| connect(&mut far, &handle, 3, &settings, None, local));
            let soon = Instant::now() + Duration::from_secs(10);
            let mut here = listener.accept(&mut near, 3, &settings, None, soon).unwrap();
            let mut there = connecting.join().unwrap().unwrap();
            // The bytes of one end come to the other.
            let [mut source, mut destination] = [1, 2].map(|iteration| {
                let buffer = gputcp_gpu::Buffer::host(BYTES).unwrap();
                buffer.fill(Pattern { seed: 1, iteration }, 0, BYTES).unwrap();
                (Area::of(&buffer, &settings).unwrap(), buffer)
            });
            here.start_receiving(&mut destination.0, &alone(BYTES)).unwrap();
            there.start_sending(&mut source.0, &alone(BYTES)).unwrap();
            here.finish().unwrap();
            there.finish().unwrap();
            assert_eq!(destination.1.verify(Pattern { seed: 1, iteration: 1 }, 0, BYTES), Ok(Ok(())));
        });
    });
}
