//! How connections begin. Bare connectors send any bytes to a live listener, and a live connector is answered
//! with any.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use gputcp::{Connector, Key};
use gputcp_fuzz::{Rng, mutate, near, run, watch_panics};
use gputcp_proto::{
    frame::{Join, JoinVerdict, Token, Welcome},
    handle::Handle,
};

use crate::{
    bounded,
    common::{listen, somewhere, soon},
    plan::Plan,
};

#[test]
fn whoever_comes_a_listener_takes_in_an_honest_sender() {
    watch_panics();
    let counts = run("a live listener", |random, counts| {
        bounded(|| {
            let plan = Plan::draw(random);
            let options = plan.options.clone().with_key(key(random));
            let (mut listener, handle) = listen(&options);
            let mut sockets = vec![];
            for _ in 0..random.usize(1..16) {
                let mut socket = TcpStream::connect(handle.address).unwrap();
                counts.one("connections");
                let said = said(random, &plan, &handle, options.key.as_ref());
                counts.one("frames");
                let _ = socket.write_all(&said);
                if random.u8(0..4) > 0 {
                    sockets.push(socket);
                }
                // One whole connection may well come of it.
                drop(listener.poll().unwrap());
            }
            let honest = Connector::new(&handle, options.clone()).unwrap();
            let connecting = thread::spawn(move || honest.connect(soon()));
            let until = soon();
            while !connecting.is_finished() {
                assert!(Instant::now() < until, "an honest sender is kept out");
                drop(listener.accept(Instant::now() + Duration::from_millis(2)));
            }
            connecting.join().unwrap().unwrap();
        });
    });
    assert!(counts.of("connections") > 0);
}

#[test]
fn however_a_connector_is_answered_it_has_a_connection_or_an_error() {
    watch_panics();
    let counts = run("a live connector", |random, counts| {
        counts.one("connections");
        bounded(|| {
            let plan = Plan::draw(random);
            let options = plan.options.clone().with_key(key(random));
            let listener = TcpListener::bind(somewhere()).unwrap();
            let handle = Handle::at(listener.local_addr().unwrap(), Token([5; 16]));
            let honest = Connector::new(&handle, options.clone()).unwrap();
            let timeout = Duration::from_millis(if random.u8(0..10) == 0 { 100 } else { 1000 });
            let (mut fork, key) = (random.fork(), options.key.clone());
            let stay = timeout < Duration::from_secs(1);
            let answering = thread::spawn(move || {
                let mut sockets: Vec<TcpStream> = vec![];
                for _ in 0..=plan.options.streams {
                    let (mut socket, _) = listener.accept().unwrap();
                    let mut join = [0; Join::BYTES];
                    socket.read_exact(&mut join).unwrap();
                    let join = Join::decode(&join).unwrap();
                    if join.index == 0 {
                        let answer = answer(&mut fork, &plan, &join, key.as_ref());
                        let _ = socket.write_all(&answer);
                        if answer.len() < Welcome::BYTES && !stay {
                            continue;
                        }
                    }
                    sockets.push(socket);
                }
                sockets
            });
            counts.one("frames");
            let comm = honest.connect(Instant::now() + timeout);
            if let Ok(comm) = &comm {
                counts.one("connected");
                assert!(comm.max_receives() <= options.max_receives);
            }
            drop(answering.join());
        });
    });
    assert!(counts.of("connections") > 0);
}

fn key(random: &mut Rng) -> Option<Key> {
    (random.u8(0..3) == 0).then(|| Key::of(b"a key of both ends").unwrap())
}

/// Returns the first bytes of a connector: a join or a part of it, right or nearly so, of one of two
/// connections.
fn said(random: &mut Rng, plan: &Plan, handle: &Handle, key: Option<&Key>) -> Vec<u8> {
    let mut join = plan.join(handle);
    join.comm_token = Token([random.u8(0..2); 16]);
    join.index = random.u16(0..=join.streams);
    match random.u8(0..12) {
        0 => join.streams = near(random, join.streams.into()) as u16,
        1 => join.index = near(random, join.index.into()) as u16,
        2 => join.slots = near(random, join.slots.into()) as u16,
        3 => join.piece_bytes = near(random, join.segment_bytes.into()) as u32,
        4 => join.inline_bytes = near(random, 256 << 10) as u32,
        5 => join.eager_places = near(random, 8) as u16,
        6 => join.max_receives = near(random, 8) as u16,
        7 => join.listen_token = Token([0; 16]),
        _ => {}
    }
    let mut said = join.proved(key).encode().to_vec();
    match random.u8(0..6) {
        0 => mutate(random, &mut said),
        1 => said.truncate(random.usize(..said.len())),
        2 => said.extend_from_slice(&[1; 64]),
        3 if random.bool() => said.fill_with(|| random.u8(..)),
        _ => {}
    }
    said
}

/// Returns the answer of a listener, likewise.
fn answer(random: &mut Rng, plan: &Plan, to: &Join, key: Option<&Key>) -> Vec<u8> {
    let mut welcome = plan.welcome();
    match random.u8(0..8) {
        0 => welcome.slots = near(random, welcome.slots.into()) as u16,
        1 => welcome.inline_bytes = near(random, 256 << 10) as u32,
        2 => welcome.eager_places = random.u16(0..=255),
        3 => welcome.max_receives = random.u16(0..=255),
        4 => {
            let refusals =
                [JoinVerdict::WrongToken, JoinVerdict::BadSettings, JoinVerdict::Busy, JoinVerdict::WrongKey];
            welcome.verdict = random.choice(refusals).unwrap();
        }
        _ => {}
    }
    let mut answer = welcome.proved(to, key).encode().to_vec();
    match random.u8(0..6) {
        0 => mutate(random, &mut answer),
        1 => answer.truncate(random.usize(..answer.len())),
        2 => answer.extend_from_slice(&[9; 40]),
        _ => {}
    }
    answer
}
