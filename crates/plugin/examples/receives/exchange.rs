//! Messages of all lengths, driven by one thread or by several that have connections of their own.
//!
//! Each lands whole, with its size, whatever the order in which requests are polled.

use std::{collections::VecDeque, thread};

use crate::ends::{Answer, End, OpenRequest, meet};

/// Messages over each connection.
const MESSAGES: u64 = 500;
/// The requests in flight at each end, the most that NCCL has (`NCCL_NET_MAX_REQUESTS`).
const DEPTH: usize = 32;
/// Connections that each thread makes one after another.
const CONNECTIONS: u64 = 3;

pub(crate) fn all(version: u32, threads: u64) -> Answer<()> {
    thread::scope(|scope| {
        let one = |thread: u64| move || connections(version, thread);
        let running: Vec<_> = (0..threads).map(|thread| scope.spawn(one(thread))).collect();
        running
            .into_iter()
            .try_for_each(|thread| thread.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    println!("v{version}: {} messages landed whole, {threads} threads", threads * CONNECTIONS * MESSAGES);
    Ok(())
}

fn connections(version: u32, thread: u64) -> Answer<()> {
    for connection in 0..CONNECTIONS {
        let (sending, receiving) = meet(version)?;
        let mut exchange = Exchange::new(sending, receiving, thread << 32 | connection);
        exchange.run().map_err(|why| format!("thread {thread}, connection {connection}: {why}"))?;
        // The end that closes first does not wait for the other.
        if connection % 2 == 0 {
            sending.close_send()?;
            receiving.close_receive()?;
        } else {
            receiving.close_receive()?;
            sending.close_send()?;
        }
    }
    Ok(())
}

/// Both ends of a connection, driven by one thread.
struct Exchange {
    ends: [End; 2],
    random: Random,
    sends: VecDeque<Flight>,
    receives: VecDeque<Flight>,
}

/// A request, the memory that is lent for it, and the number of its message.
struct Flight {
    request: OpenRequest,
    memory: Vec<u8>,
    number: u64,
}

impl Exchange {
    fn new(sending: End, receiving: End, seed: u64) -> Self {
        let (sends, receives) = (VecDeque::new(), VecDeque::new());
        Self { ends: [sending, receiving], random: Random(seed), sends, receives }
    }

    fn run(&mut self) -> Answer<()> {
        let [sending, receiving] = self.ends;
        let (mut sent, mut received) = (0, 0);
        while received < MESSAGES || !self.sends.is_empty() || !self.receives.is_empty() {
            // Receives are posted before their messages, or behind. Both ends are this thread's, so it waits
            // for neither.
            for _ in 0..self.random.below(8) {
                if received < MESSAGES && self.receives.len() < DEPTH {
                    let mut parts = [vec![0; length(received) + self.random.below(100) as usize]];
                    if let Some(request) = receiving.try_receive(&mut parts, &[0])? {
                        let [memory] = parts;
                        self.receives.push_back(Flight { request, memory, number: received });
                        received += 1;
                    }
                }
            }
            for _ in 0..self.random.below(8) {
                if sent < MESSAGES && self.sends.len() < DEPTH {
                    let mut memory = message(sent);
                    if let Some(request) = sending.try_send(&mut memory, 0)? {
                        self.sends.push_back(Flight { request, memory, number: sent });
                        sent += 1;
                    }
                }
            }
            self.ask()?;
        }
        Ok(())
    }

    /// Polls some requests, in any order.
    fn ask(&mut self) -> Answer<()> {
        for (end, flights) in self.ends.into_iter().zip([&mut self.sends, &mut self.receives]) {
            for _ in 0..4 {
                let Some(at) =
                    (!flights.is_empty()).then(|| self.random.below(flights.len() as u64) as usize)
                else {
                    break;
                };
                let Some(sizes) = end.test(flights[at].request)? else { continue };
                let Some(Flight { memory, number, .. }) = flights.remove(at) else { continue };
                let expected = message(number);
                if sizes[0] != expected.len() as i32 {
                    return Err(format!("message {number}: test said {}, not {}", sizes[0], expected.len()));
                }
                let (whole, rest) = memory.split_at(expected.len());
                if whole != expected || rest.iter().any(|&byte| byte != 0) {
                    return Err(format!("message {number} is not where it belongs, or more is"));
                }
            }
        }
        thread::yield_now();
        Ok(())
    }
}

/// Returns a message's length: none at all, one that travels on the control socket, or one in segments.
fn length(number: u64) -> usize {
    let spread = Random(number).below(1000) as usize;
    match number % 11 {
        0 => 0,
        1..=4 => spread,
        5..=7 => 60 * spread,
        8 | 9 => 300 * spread,
        _ => 2000 * spread,
    }
}

fn message(number: u64) -> Vec<u8> {
    (0..length(number)).map(|byte| (byte as u64 * 7 + number * 31) as u8 | 1).collect()
}

/// The generator SplitMix64 (Steele, Lea, Flood 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}
