//! Closing with requests in flight: after the peer's death, and in mid-transfer.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Check, Run, Scope};
use crate::{
    bench::{BenchPlugin, pause},
    block::Block,
    meeting::Bench,
    posting::PostedRequest,
    raw::P,
    source::{NET, PROXY, nccl},
    stop::{Seen, Stop, fail, skip},
};

pub(super) const CHECKS: &[Check] = &[
    Check {
        id: "close-with-dead-peer-does-not-hang",
        expected: "after the peer's process was killed, test ends in an error or not at all, but for messages that had \
                   come whole. All closes return",
        because: "NCCL closes in its clean-up after an error: a close that waits for the peer hangs the job's end",
        sources: &[nccl(PROXY, 1751, 1758), nccl(NET, 1136, 1168), nccl(NET, 1181, 1209)],
        scope: Scope::ALL,
        run: Run::Pair { receiving: dead_surviving, sending: dead_dying },
    },
    Check {
        id: "close-mid-transfer",
        expected: "closes succeed with requests in flight, and nothing is written to their memory afterwards",
        because: "ncclCommAbort closes connections with requests in flight, and the user's memory is the user's again",
        sources: &[
            nccl("src/init.cc", 2503, 2541),
            nccl(PROXY, 988, 991),
            nccl(NET, 1161, 1167),
            nccl(NET, 1203, 1208),
        ],
        scope: Scope::ALL,
        run: Run::Pair { receiving: mid_receiving, sending: mid_sending },
    },
];

fn dead_surviving(bench: &mut Bench) -> Seen {
    // The survivor receives on one connection and sends on another.
    let (listening, recv_comm) = bench.meet_sender()?;
    let send_comm = bench.meet_receiver()?;
    // A third connection stays idle: its receives get no message.
    let (idle_listening, idle_comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    let receives = receive_few(plugin, recv_comm, FEW, BYTES)?;
    let idle = receive_few(plugin, idle_comm, FEW / 2, IDLE_BYTES)?;
    let blocks = messages(plugin, send_comm, FEW)?;
    // This side sends after the other side has posted a receive.
    bench.link.meet()?;
    let sends = send_these(plugin, send_comm, blocks)?;
    bench.link.tell(b"sent")?;
    if !matches!(bench.link.hear(), Err(Stop::Alone)) {
        return fail("the sides lost step");
    }
    // The plugin has some time to notice; closing comes next, with or without an error.
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
        [false, false] => "test told neither",
    };
    Ok(format!("{told}; all was closed within {:.0} ms", took.as_secs_f64() * 1e3))
}

fn dead_dying(bench: &mut Bench) -> Seen {
    let send_comm = bench.meet_receiver()?;
    let (_, recv_comm) = bench.meet_sender()?;
    bench.meet_receiver()?;
    let plugin = &bench.plugin;
    // Messages are in flight both ways, and the other side waits for more.
    receive_few(plugin, recv_comm, 1, BYTES)?;
    let blocks = messages(plugin, send_comm, FEW / 2)?;
    bench.link.meet()?;
    bench.link.hear()?;
    send_these(plugin, send_comm, blocks)?;
    // In a millisecond some of the bytes arrive, and hardly all.
    let until = Instant::now() + Duration::from_millis(1);
    while Instant::now() < until {
        plugin.attend_to_one(send_comm);
        pause();
    }
    let own = rustix::process::getpid();
    let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

/// Checks a receive that is done although its sender was killed: all of its message must have come before.
fn whole(request: &PostedRequest, said: usize) -> Result<(), Stop> {
    if said != BYTES {
        return fail(format!("of {BYTES} bytes from a sender that was killed, test said done, with {said}"));
    }
    let right = request.block.check(BYTES, 1);
    right.or_else(|why| fail(format!("test said done, and the sender was killed before all had come: {why}")))
}

/// Returns whether `test` answers an error soon for one of these requests, the oldest first. Requests may
/// have been done before the end came: `done` judges those by the sizes that `test` wrote.
fn fails(
    bench: &Bench,
    requests: &[PostedRequest],
    done: impl Fn(&PostedRequest, usize) -> Result<(), Stop>,
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

fn mid_receiving(bench: &mut Bench) -> Seen {
    let (listening, comm) = bench.meet_sender()?;
    let plugin = &bench.plugin;
    // One more receive than sends, so that one is in flight at the close.
    let posted = receive_few(plugin, comm, FEW + 1, BYTES)?;
    bench.link.meet()?;
    let open = plugin.outstanding().in_flight(comm);
    close_in_time(|| plugin.close_recv_as_it_is(comm))?;
    bench.plugin.close_listen(listening.comm)?;
    // From here on the memory is this side's again. The fill hides earlier writes. It takes milliseconds, and
    // begins with the newest receive.
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
    Ok(format!("{open} receives were in flight"))
}

fn mid_sending(bench: &mut Bench) -> Seen {
    let comm = bench.meet_receiver()?;
    let plugin = &bench.plugin;
    send_these(plugin, comm, messages(plugin, comm, FEW)?)?;
    bench.link.meet()?;
    let open = plugin.outstanding().in_flight(comm);
    close_in_time(|| plugin.close_send_as_it_is(comm))?;
    match open {
        0 => skip("every send was done before it could be closed over"),
        open => Ok(format!("{open} sends were in flight")),
    }
}

fn close_in_time(close: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let began = Instant::now();
    close().map_err(|stop| stop.told(|why| format!("with requests in flight, {why}")))?;
    match began.elapsed() {
        took if took < SOON => Ok(()),
        took => fail(format!("with requests in flight, closing took {:.1} s", took.as_secs_f64())),
    }
}

/// Posts a few receives, at least one, until the plugin takes no more.
fn receive_few(plugin: &BenchPlugin, comm: P, few: usize, bytes: usize) -> Result<Vec<PostedRequest>, Stop> {
    let blocks = (0..few).map(|_| plugin.room(comm, bytes)).collect::<Result<Vec<Block>, Stop>>()?;
    post_few(plugin, blocks, |block| plugin.recv(comm, block), |block| plugin.irecv(comm, block))
}

/// Posts sends, at least one, until the plugin takes no more. The other side has posted receives.
fn send_these(plugin: &BenchPlugin, comm: P, blocks: Vec<Block>) -> Result<Vec<PostedRequest>, Stop> {
    post_few(plugin, blocks, |block| plugin.send(comm, block), |block| plugin.isend(comm, block))
}

/// Returns the messages' memory, made first so that the sends are in flight together.
fn messages(plugin: &BenchPlugin, comm: P, few: usize) -> Result<Vec<Block>, Stop> {
    (0..few).map(|_| plugin.message(comm, BYTES, 1)).collect()
}

/// Posts one request as long as it takes, and the others until "not yet" means "full".
fn post_few(
    plugin: &BenchPlugin,
    blocks: Vec<Block>,
    first: impl Fn(Block) -> Result<PostedRequest, Stop>,
    more: impl Fn(Block) -> Result<Option<PostedRequest>, Stop>,
) -> Result<Vec<PostedRequest>, Stop> {
    let mut blocks = blocks.into_iter();
    let mut posted = Vec::new();
    if let Some(block) = blocks.next() {
        posted.push(first(block)?);
    }
    for block in blocks {
        match plugin.persist(|| more(block))? {
            Some(request) => posted.push(request),
            None => break,
        }
    }
    Ok(posted)
}

const FEW: usize = 4;
/// The length of a message: more than sockets hold, so that it is in flight for long.
const BYTES: usize = 8 << 20;
/// The length of a receive that gets no message.
const IDLE_BYTES: usize = 4096;
const MINE: u8 = 0x99;
/// The time within which a close returns that does not hang.
const SOON: Duration = Duration::from_secs(5);
/// The time in which a plugin may notice a peer's death before the check closes all the same.
const NOTICED: Duration = Duration::from_millis(300);
/// The time in which a late write shows.
const QUIET: Duration = Duration::from_millis(150);
