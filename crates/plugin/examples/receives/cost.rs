//! The cost of eight messages as eight receives and as a group of eight.
//!
//! Two threads poll all the time, as NCCL's do.

use std::{env, process::Command, thread, time::Instant};

use rustix::time::{ClockId, clock_gettime};

use crate::ends::{Answer, End, OpenRequest, meet};

/// The cost of a round of eight messages.
#[derive(Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall_us: f64,
    /// The time of all threads of both ends.
    pub(crate) cpu_us: f64,
}

const MESSAGES: usize = 8;
const VERSION: u32 = 11;
/// The number of processes for each figure. The two kinds run in turn, and either is first every other time.
const TURNS: usize = 21;

pub(crate) fn table() -> Answer<()> {
    println!("# rounds of {MESSAGES} messages over the loopback, medians of {TURNS} processes each, in turn");
    println!("#             ahead:  rounds whose receives are posted at a time");
    println!("{:>8} {:>6} {:>24} {:>24}", "", "", "8 receives", "1 group of 8");
    println!("{:>8} {:>6} {:>12}{:>12} {:>12}{:>12}", "bytes", "ahead", "µs", "CPU µs", "µs", "CPU µs");
    for (bytes, rounds) in [(8, 3000), (64 << 10, 1000), (512 << 10, 200)] {
        for ahead in [1, 4] {
            let (mut singles, mut groups) = (Vec::new(), Vec::new());
            for turn in 0..TURNS {
                if turn % 2 == 0 {
                    singles.push(start(1, bytes, ahead, rounds)?);
                }
                groups.push(start(MESSAGES, bytes, ahead, rounds)?);
                if turn % 2 == 1 {
                    singles.push(start(1, bytes, ahead, rounds)?);
                }
            }
            let [single, group] = [median(&singles), median(&groups)];
            println!(
                "{bytes:>8} {ahead:>6} {:>12.1}{:>12.1} {:>12.1}{:>12.1}",
                single.wall_us, single.cpu_us, group.wall_us, group.cpu_us
            );
        }
    }
    Ok(())
}

/// Measures in a process of its own.
fn start(max_receives: usize, bytes: usize, ahead: usize, rounds: usize) -> Answer<Cost> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(own);
    command.env("GPUTCP_MAX_RECEIVES", max_receives.to_string()).env("NCCL_SOCKET_IFNAME", "=lo");
    command.args(["cost", &bytes.to_string(), &ahead.to_string(), &rounds.to_string()]);
    let output = command.output().map_err(|error| error.to_string())?;
    let said = String::from_utf8_lossy(&output.stdout);
    let numbers: Vec<f64> = said.split_whitespace().filter_map(|word| word.parse().ok()).collect();
    match numbers[..] {
        [wall_us, cpu_us] => Ok(Cost { wall_us, cpu_us }),
        _ => Err(format!("a measurement failed: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

fn median(costs: &[Cost]) -> Cost {
    let middle = |of: fn(&Cost) -> f64| {
        let mut values: Vec<f64> = costs.iter().map(of).collect();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
    };
    Cost { wall_us: middle(|cost| cost.wall_us), cpu_us: middle(|cost| cost.cpu_us) }
}

/// Times rounds after a tenth as many of warm-up, grouped if the plugin groups.
pub(crate) fn measure(bytes: usize, ahead: usize, rounds: usize) -> Answer<Cost> {
    let (sending, receiving) = meet(VERSION)?;
    let each = receiving.max_receives()?.min(MESSAGES);
    let warm_up = rounds.div_ceil(10);
    let cost = thread::scope(|scope| {
        let sent = scope.spawn(move || send(sending, bytes, warm_up + rounds));
        let mut ring = Ring::new(receiving, bytes, ahead, each);
        ring.receive(warm_up)?;
        let (began, cpu) = (Instant::now(), cpu_us());
        ring.receive(rounds)?;
        let (wall_us, cpu_us) = (began.elapsed().as_secs_f64() * 1e6, cpu_us() - cpu);
        sent.join().map_err(|_| "the sender panicked")??;
        let round = rounds as f64;
        Ok::<_, String>(Cost { wall_us: wall_us / round, cpu_us: cpu_us / round })
    })?;
    sending.close_send()?;
    receiving.close_receive()?;
    Ok(cost)
}

fn send(end: End, bytes: usize, rounds: usize) -> Answer<()> {
    let mut messages = vec![vec![1; bytes]; MESSAGES];
    for _ in 0..rounds {
        let mut posted = [None; MESSAGES];
        for (tag, (place, message)) in posted.iter_mut().zip(&mut messages).enumerate() {
            *place = Some(end.send(message, tag as i32)?);
        }
        for request in posted.into_iter().flatten() {
            end.wait(request)?;
        }
    }
    Ok(())
}

/// The receives of several rounds, each posted again when its round is over.
///
/// All receives are posted at the end of a phase too, so the sender never waits for the next.
struct Ring {
    end: End,
    rooms: Vec<Vec<Vec<u8>>>,
    posted: Vec<Vec<OpenRequest>>,
    each: usize,
    next: usize,
}

impl Ring {
    fn new(end: End, bytes: usize, ahead: usize, each: usize) -> Self {
        let rooms = vec![vec![vec![0; bytes]; MESSAGES]; ahead];
        Self { end, rooms, posted: vec![Vec::new(); ahead], each, next: 0 }
    }

    fn receive(&mut self, rounds: usize) -> Answer<()> {
        for at in 0..self.rooms.len() {
            if self.posted[at].is_empty() {
                self.post(at)?;
            }
        }
        for _ in 0..rounds {
            for request in std::mem::take(&mut self.posted[self.next]) {
                self.end.wait(request)?;
            }
            self.post(self.next)?;
            self.next = (self.next + 1) % self.rooms.len();
        }
        Ok(())
    }

    fn post(&mut self, at: usize) -> Answer<()> {
        let tags: [i32; MESSAGES] = std::array::from_fn(|tag| tag as i32);
        for (parts, tags) in self.rooms[at].chunks_mut(self.each).zip(tags.chunks(self.each)) {
            self.posted[at].push(self.end.receive(parts, tags)?);
        }
        Ok(())
    }
}

fn cpu_us() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 * 1e6 + time.tv_nsec as f64 / 1e3
}
