//! Closing what is under way: after the peer's death, and in mid-transfer.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    bench::{Request, pause},
    block::Block,
    meeting::Bench,
    stop::{Seen, Stop, fail},
};

pub(super) fn dead_surviving(bench: &mut Bench) -> Seen {
    // A connection each way: the survivor receives on one and sends on the other.
    let (listening, recv_comm) = bench.meet_sender()?;
    let send_comm = bench.meet_receiver()?;
    // And one on which nothing is ever sent.
    let (idle_listening, idle_comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let receives = in_flight(FEW, || plugin.room(recv_comm, BYTES), |block| plugin.irecv(recv_comm, block))?;
    let sends =
        in_flight(FEW, || plugin.message(send_comm, BYTES, 1), |block| plugin.isend(send_comm, block))?;
    let idle =
        in_flight(FEW / 2, || plugin.room(idle_comm, IDLE_BYTES), |block| plugin.irecv(idle_comm, block))?;
    bench.link.tell(b"posted")?;
    if !matches!(bench.link.hear(), Err(Stop::Alone)) {
        return fail("the sides lost step");
    }
    // Some time to notice; whether an error is answered or not, closing comes next.
    let noticed = [
        fails(bench, &receives, whole)?,
        // A send may be done as soon as its data is on its way.
        fails(bench, &sends, |_, _| Ok(()))?,
    ];
    fails(bench, &idle, |_, said| fail(format!("nothing was sent, and test said done, with {said} bytes")))?;
    let began = Instant::now();
    bench.plugin.call("closeRecv", |raw| raw.close_recv(recv_comm));
    bench.plugin.call("closeSend", |raw| raw.close_send(send_comm));
    bench.plugin.call("closeRecv", |raw| raw.close_recv(idle_comm));
    for listener in [listening.comm, idle_listening.comm] {
        bench.plugin.call("closeListen", |raw| raw.close_listen(listener));
    }
    let took = began.elapsed();
    if took > SOON {
        return fail(format!("closing took {:.1} s", took.as_secs_f64()));
    }
    let told = match noticed {
        [true, true] => "test answered errors to receiver and sender",
        [true, false] => "test answered an error to the receiver",
        [false, true] => "test answered an error to the sender",
        [false, false] => "test told nobody",
    };
    Ok(format!("{told}; all was closed within {:.0} ms", took.as_secs_f64() * 1e3))
}

pub(super) fn dead_dying(bench: &mut Bench) -> Seen {
    let send_comm = bench.meet_receiver()?;
    let (_, recv_comm) = bench.meet_sender()?;
    bench.meet_receiver()?;
    bench.link.hear()?;
    let plugin = &bench.plugin;
    // Something is under way both ways, and the other side waits for more.
    plugin.irecv(recv_comm, plugin.room(recv_comm, BYTES)?)?;
    in_flight(FEW / 2, || plugin.message(send_comm, BYTES, 1), |block| plugin.isend(send_comm, block))?;
    // So that some of it comes, and hardly all.
    thread::sleep(Duration::from_millis(1));
    let own = rustix::process::getpid();
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// A receive that is done although its sender was killed: all of its message must have come before.
fn whole(request: &Request, said: usize) -> Result<(), Stop> {
    if said != BYTES {
        return fail(format!("of {BYTES} bytes from a sender that was killed, test said done, with {said}"));
    }
    let right = request.block.check(BYTES, 1);
    right.or_else(|why| fail(format!("test said done, and the sender was killed before all had come: {why}")))
}

/// Whether test answers an error soon, for one of these, the oldest first. Some may have been done before the end came: `done`
/// judges those, and the sizes that test said.
fn fails(
    bench: &Bench,
    requests: &[Request],
    done: impl Fn(&Request, usize) -> Result<(), Stop>,
) -> Result<bool, Stop> {
    let until = Instant::now() + NOTICED;
    let mut open = requests.iter();
    let mut oldest = open.next();
    while let Some(request) = oldest
        && Instant::now() < until
    {
        match bench.plugin.test(*request) {
            Err(_) => return Ok(true),
            Ok(Some(said)) => {
                done(request, said)?;
                oldest = open.next();
            }
            Ok(None) => pause(),
        }
    }
    Ok(false)
}

pub(super) fn mid_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let posted = in_flight(FEW, || plugin.room(comm, BYTES), |block| plugin.irecv(comm, block))?;
    bench.link.meet()?;
    close_in_time(|| bench.plugin.close_recv_as_it_is(comm))?;
    bench.plugin.close_listen(listening.comm)?;
    // From here on the memory is this side's again. What is written before this is over goes unseen: it takes milliseconds,
    // and begins with what came last.
    for request in posted.iter().rev() {
        request.block.fill_with(MINE);
    }
    thread::sleep(QUIET);
    for request in &posted {
        let own = request.block.is_all(MINE) && request.block.check_guards().is_ok();
        if !own {
            return fail("the memory of a receive was written after closeRecv had returned");
        }
    }
    Ok(format!("{} receives were in flight", posted.len()))
}

pub(super) fn mid_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let plugin = &bench.plugin;
    let posted = in_flight(FEW, || plugin.message(comm, BYTES, 1), |block| plugin.isend(comm, block))?;
    bench.link.meet()?;
    close_in_time(|| bench.plugin.close_send_as_it_is(comm))?;
    Ok(format!("{} sends were in flight", posted.len()))
}

fn close_in_time(close: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let began = Instant::now();
    close().map_err(|stop| match stop {
        Stop::Failed(why) => Stop::Failed(format!("with requests in flight, {why}")),
        other => other,
    })?;
    match began.elapsed() {
        took if took < SOON => Ok(()),
        took => fail(format!("with requests in flight, closing took {:.1} s", took.as_secs_f64())),
    }
}

/// A few requests, as far as the plugin takes them now. Their memory is made first, so that they are under way together.
fn in_flight(
    few: usize,
    memory: impl Fn() -> Result<Block, Stop>,
    one: impl Fn(Block) -> Result<Option<Request>, Stop>,
) -> Result<Vec<Request>, Stop> {
    let mut blocks = (0..few).map(|_| memory()).collect::<Result<Vec<Block>, Stop>>()?.into_iter();
    let mut posted = Vec::new();
    let mut next = blocks.next();
    for _ in 0..100 {
        let Some(block) = next else { break };
        match one(block)? {
            Some(request) => {
                posted.push(request);
                next = blocks.next();
            }
            None => pause(),
        }
    }
    Ok(posted)
}

const FEW: usize = 4;
/// More than sockets hold, so that it is under way for long.
const BYTES: usize = 8 << 20;
/// Of a receive that gets nothing.
const IDLE_BYTES: usize = 4096;
const MINE: u8 = 0x99;
/// What does not hang is done by then.
const SOON: Duration = Duration::from_secs(5);
/// How long a peer's death may stay unnoticed before closing is tried all the same.
const NOTICED: Duration = Duration::from_millis(300);
/// A late write comes within this, if one comes.
const QUIET: Duration = Duration::from_millis(150);
