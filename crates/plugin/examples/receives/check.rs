//! Groups of eight whose messages come in many orders and lengths. Each lands at the place of its tag, with
//! its size.

use std::thread;

use crate::ends::{Answer, End, meet};

/// Two receives are of one tag: the first in the group takes the first of its messages.
const TAGS: [i32; 8] = [3, 17, 3, -1, 0, i32::MAX, i32::MIN, 4];
const ROOM: usize = 150_000;
const ROUNDS: usize = 40;

pub(crate) fn all(version: u32) -> Answer<()> {
    let (sending, receiving) = meet(version)?;
    let most = receiving.max_receives()?;
    if most != TAGS.len() {
        return Err(format!("maxRecvs is {most}, not 8: set GPUTCP_MAX_RECEIVES=8"));
    }
    thread::scope(|scope| {
        let sent = scope.spawn(move || send(sending));
        receive(receiving)?;
        sent.join().map_err(|_| "the sender panicked")?
    })?;
    sending.close_send()?;
    receiving.close_receive()?;
    println!("v{version}: {ROUNDS} groups of {most} landed where their tags say");
    Ok(())
}

fn send(end: End) -> Answer<()> {
    for round in 0..ROUNDS {
        let mut messages: Vec<_> = (0..TAGS.len()).map(|at| message(round, at)).collect();
        let mut order: Vec<usize> = (0..TAGS.len()).collect();
        order.rotate_left(round % TAGS.len());
        if round % 2 == 0 {
            order.reverse();
        }
        // Messages of one tag go in their order.
        let place = |wanted| order.iter().position(|&at| at == wanted).unwrap_or(0);
        let (first, second) = (place(0), place(2));
        if second < first {
            order.swap(first, second);
        }
        let mut posted = Vec::new();
        for at in order {
            posted.push((end.send(&mut messages[at], TAGS[at])?, at));
        }
        for (request, at) in posted {
            let said = end.wait(request)?[0];
            if said != length(round, at) as i32 {
                return Err(format!("a send of {} bytes is done with {said}", length(round, at)));
            }
        }
    }
    Ok(())
}

/// Receives all groups, two posted at a time.
fn receive(end: End) -> Answer<()> {
    let mut posted = Vec::new();
    for round in 0..=ROUNDS {
        if round < ROUNDS {
            let mut room = vec![vec![0; ROOM]; TAGS.len()];
            posted.push((end.receive(&mut room, &TAGS)?, room));
        }
        let Some(before) = round.checked_sub(1) else { continue };
        let (request, room) = posted.remove(0);
        let sizes = end.wait(request)?;
        for (at, (got, size)) in room.iter().zip(sizes).enumerate() {
            let expected = message(before, at);
            if size != expected.len() as i32 {
                return Err(format!("group {before}, part {at}: test said {size}, not {}", expected.len()));
            }
            if got[..expected.len()] != expected || got[expected.len()..].iter().any(|&byte| byte != 0) {
                return Err(format!("group {before}, part {at} has not its message, or more than that"));
            }
        }
    }
    Ok(())
}

/// Returns a message's length: none at all, one that travels on the control socket, or one in segments.
const fn length(round: usize, at: usize) -> usize {
    [0, 1, 4096, 70_001, ROOM, 16 << 10, 8, 33][(round + 3 * at) % 8]
}

fn message(round: usize, at: usize) -> Vec<u8> {
    (0..length(round, at)).map(|byte| (byte * 7 + round * 31 + at * 101 + 1) as u8 | 1).collect()
}
