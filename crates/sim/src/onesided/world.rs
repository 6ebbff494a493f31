//! The world: queues between the ends, users, an adversary, and the demands on what becomes of it all.

use std::collections::VecDeque;

use gputcp_proto::onesided::{command::Command, key::Operation, regions::Refusal};

use super::{
    Party,
    end::End,
    memory::Region,
    user::{self, Transfer},
};
use crate::seeds::caught;

/// The numbers of a run.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Transfers that are done.
    pub done: u64,
    /// Transfers that were refused.
    pub refused: u64,
    /// Transfers that were cancelled before their end.
    pub cancelled: u64,
    /// Whether a command was changed on its way.
    pub is_tampered: bool,
    /// Whether an end found that its peer broke the rules.
    pub has_violation: bool,
    /// Steps that did something.
    pub steps: u64,
}

struct World {
    rng: fastrand::Rng,
    ends: [End; 2],
    /// Messages on their way on each data connection, by the end that sends.
    data: [VecDeque<Vec<u8>>; 2],
    transfers: u64,
    tampers: bool,
    summary: Summary,
    log: Option<Vec<String>>,
}

/// Runs the world of a seed.
///
/// # Errors
/// The demand that was broken, in a sentence.
pub fn run(seed: u64) -> Result<Summary, String> {
    let mut world = World::new(seed, None);
    world.go().and_then(|()| world.check_end())?;
    Ok(world.summary)
}

/// Runs the world of a seed, in which a panic is a broken demand, too.
///
/// # Errors
/// As [`run`].
pub fn outcome(seed: u64) -> Result<Summary, String> {
    caught(|| run(seed))?
}

/// Runs the world of a seed, and returns all that happens, too.
pub fn replay(seed: u64) -> (Result<Summary, String>, Vec<String>) {
    let mut world = World::new(seed, Some(vec![]));
    let result = world.go().and_then(|()| world.check_end());
    let lines = world.log.take().unwrap_or_default();
    (result.map(|()| world.summary), lines)
}

impl World {
    fn new(seed: u64, log: Option<Vec<String>>) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let window = rng.usize(1..=8);
        let mut ends = [End::new(window), End::new(window)];
        for end in &mut ends {
            let regions = rng.usize(1..=5);
            end.memory = (0..regions).map(|_| Region::register(&mut rng, &mut end.regions)).collect();
        }
        let (transfers, tampers) = (rng.u64(1..=12), rng.u8(..4) == 0);
        let (data, summary) = (Default::default(), Summary::default());
        Self { rng, ends, data, transfers, tampers, summary, log }
    }

    /// Notes what happens, if the run is a replay.
    fn say(&mut self, party: Party, what: impl FnOnce(&End) -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!("{:>6}  {party:5}  {}", self.summary.steps, what(&self.ends[party.index()])));
        }
    }

    /// Lets things happen until nothing can.
    fn go(&mut self) -> Result<(), String> {
        let mut idle = 0;
        // The rarest thing happens once in 36 draws.
        while idle < 1200 {
            if self.summary.steps > 200_000 {
                return Err("it goes on without end".into());
            }
            let party = if self.rng.bool() { Party::Left } else { Party::Right };
            match self.step(party) {
                Ok(true) => (idle, self.summary.steps) = (0, self.summary.steps + 1),
                Ok(false) => idle += 1,
                Err(_) if self.summary.is_tampered => {
                    self.summary.has_violation = true;
                    return Ok(());
                }
                Err(violation) => return Err(format!("the {party} end is blamed: {violation}")),
            }
        }
        Ok(())
    }

    /// Does one thing at an end. Returns whether there was something to do.
    fn step(&mut self, party: Party) -> Result<bool, String> {
        let (here, there) = self.pair(party);
        let told = |moved: Result<bool, gputcp_proto::Violation>| moved.map_err(|why| why.to_string());
        match self.rng.u8(..9) {
            0 => self.begin(party),
            1 => Ok(self.ends[here].post()),
            2 => Ok(match self.ends[here].send() {
                Some(bytes) => {
                    self.say(party, |_| format!("sends {} bytes", bytes.len()));
                    self.data[here].push_back(bytes);
                    true
                }
                None => false,
            }),
            // Messages meet the receives that are posted, in their order.
            3 if !self.ends[here].posted.is_empty() => match self.data[there].pop_front() {
                Some(bytes) => {
                    self.say(party, |_| format!("receives {} bytes", bytes.len()));
                    told(self.ends[here].receive(&bytes).map(|()| true))
                }
                None => Ok(false),
            },
            4 => told(self.ends[here].unpacked()),
            5 | 6 => match self.ends[there].commands.pop_front() {
                Some(mut message) => {
                    if self.tampers && self.rng.u8(..20) == 0 {
                        gputcp_fuzz::mutate(&mut self.rng, &mut message);
                        self.summary.is_tampered = true;
                    }
                    self.say(party, |end| match Command::decode(&message) {
                        Ok((command, _)) if end.due.is_none() => format!("hears {command:?}"),
                        _ => format!("hears {} bytes", message.len()),
                    });
                    told(self.ends[here].hear(&message).map(|()| true))
                }
                None => Ok(false),
            },
            7 => Ok(self.use_it(party)),
            8 if self.rng.u8(..30) == 0 => Ok(self.end_a_region(party)),
            _ => Ok(false),
        }
    }

    fn begin(&mut self, party: Party) -> Result<bool, String> {
        let operation = if self.rng.bool() { Operation::Read } else { Operation::Write };
        let end = &mut self.ends[party.index()];
        let Some(begun) = end.begin(operation, &mut self.rng) else { return Ok(false) };
        if let Some(log) = &mut self.log {
            log.push(format!("{:>6}  {party:5}  begins a chunk of transfer {begun}", self.summary.steps));
        }
        // A transfer waits for one chunk of each other one at most.
        let most = end.transfers.iter().filter(|transfer| transfer.operation == operation).count();
        for transfer in end.transfers.iter_mut().filter(|transfer| transfer.operation == operation) {
            let waits = !transfer.is_over() && !transfer.is_cancelled && transfer.refusal.is_none();
            transfer.passed = if transfer.id == begun || !waits { 0 } else { transfer.passed + 1 };
            // Those that are begun whole wait for nothing.
            if transfer.passed >= most && end.rules.waits(transfer.id) {
                return Err(format!("{} chunks of others passed transfer {}", transfer.passed, transfer.id));
            }
        }
        Ok(true)
    }

    /// Has the user post a transfer, or cancel one.
    fn use_it(&mut self, party: Party) -> bool {
        let here = party.index();
        if self.rng.u8(..100) == 0 {
            let count = self.ends[here].transfers.len();
            if count == 0 {
                return false;
            }
            let at = self.rng.usize(0..count);
            let end = &mut self.ends[here];
            let (id, is_over) = (end.transfers[at].id, end.transfers[at].is_over());
            end.transfers[at].is_cancelled |= !is_over;
            end.give_up(id);
            return !is_over;
        }
        if self.transfers == 0 {
            return false;
        }
        self.transfers -= 1;
        let [left, right] = &mut self.ends;
        let (own, other) = if here == 0 { (left, right) } else { (right, left) };
        let drawn = user::draw(&mut self.rng, self.transfers, &mut own.memory, &mut other.memory);
        let Some(transfer) = drawn else { return false };
        let end = &mut self.ends[here];
        end.rules.post(transfer.operation, transfer.id, transfer.left);
        end.transfers.push(transfer);
        self.say(party, |end| {
            let Some(Transfer { id, operation, left, is_bad, .. }) = end.transfers.last() else {
                return String::new();
            };
            format!(
                "posts transfer {id}, a {operation} of {left} chunks{}",
                if *is_bad { ", bad" } else { "" }
            )
        });
        true
    }

    /// Has the owner deregister a region that is no local side of its own transfers.
    fn end_a_region(&mut self, party: Party) -> bool {
        let end = &mut self.ends[party.index()];
        let at = self.rng.usize(0..end.memory.len());
        let is_used = |transfer: &Transfer| {
            let mut blocks = (0..transfer.plan.chunks()).flat_map(|chunk| transfer.plan.blocks(chunk));
            !transfer.is_over() && blocks.any(|block| block.local as usize == at)
        };
        if end.memory[at].is_revoked || end.transfers.iter().any(is_used) {
            return false;
        }
        end.memory[at].is_revoked = true;
        if let Some(log) = &mut self.log {
            log.push(format!("{:>6}  {party:5}  deregisters region {at}", self.summary.steps));
        }
        let key = end.memory[at].key;
        end.regions.revoke(&key);
        end.forget();
        true
    }

    /// Checks that every transfer has ended as it must, and that nothing is held.
    fn check_end(&mut self) -> Result<(), String> {
        if !self.summary.is_tampered {
            for party in Party::BOTH {
                let end = &self.ends[party.index()];
                let other = &self.ends[party.other().index()];
                for transfer in &end.transfers {
                    check(transfer, end, other)
                        .map_err(|why| format!("transfer {} of the {party} end: {why}", transfer.id))?;
                    match (transfer.refusal, transfer.is_cancelled) {
                        (Some(_), _) => self.summary.refused += 1,
                        (None, true) => self.summary.cancelled += 1,
                        (None, false) => self.summary.done += 1,
                    }
                }
                if !end.rules.is_idle() {
                    return Err(format!("the {party} end has chunks under way, and nothing goes on"));
                }
            }
        }
        for party in Party::BOTH {
            let end = &mut self.ends[party.index()];
            end.end();
            for region in &mut end.memory {
                end.regions.revoke(&region.key);
                if !end.regions.forget(&region.key) {
                    return Err(format!("a region of the {party} end is held for good: {:?}", region.key));
                }
            }
        }
        Ok(())
    }

    const fn pair(&self, party: Party) -> (usize, usize) {
        (party.index(), party.other().index())
    }
}

/// Checks a transfer's end: it is over, refused with cause alone, and done means that all bytes are in place.
fn check(transfer: &Transfer, end: &End, other: &End) -> Result<(), String> {
    if !transfer.is_over() {
        return Err("it is not over, and nothing goes on".into());
    }
    let has_cause = |refusal| match refusal {
        Refusal::OutOfRange => transfer.is_bad,
        Refusal::UnknownKey => transfer.remotes.iter().any(|&at| other.memory[at].is_revoked),
        Refusal::NotAllowed => transfer.is_forbidden,
    };
    match transfer.refusal {
        Some(refusal) if has_cause(refusal) => return Ok(()),
        Some(refusal) => return Err(format!("it was refused without cause: {refusal}")),
        None if transfer.is_cancelled => return Ok(()),
        None if transfer.is_bad => return Err("a block beyond its region was not refused".into()),
        None if transfer.is_forbidden => {
            return Err("an operation that is not allowed was not refused".into());
        }
        None => {}
    }
    let blocks = (0..transfer.plan.chunks()).flat_map(|chunk| transfer.plan.blocks(chunk));
    let mut found: Vec<u8> = vec![];
    for block in blocks {
        let (memory, offset) = match transfer.operation {
            Operation::Read => (&end.memory[block.local as usize], block.local_offset),
            Operation::Write => (&other.memory[transfer.remotes[block.remote as usize]], block.remote_offset),
        };
        found.extend_from_slice(&memory.bytes[offset as usize..(offset + block.bytes) as usize]);
    }
    if found == transfer.content.concat() { Ok(()) } else { Err("its bytes are not in place".into()) }
}
