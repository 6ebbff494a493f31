//! One transfer, or a burst of them, on either end.
//!
//! The order: data made, outside the clock → key at the client → transfer → note at the server → Sent and
//! Received reconciled. The server's key travels in Filled or in Go. Regions are registered for one run,
//! because their memory is then verified, or moved by bare sockets. Each transfer of a burst has places of
//! its own in them.

use std::time::{Duration, Instant};

use gputcp::{
    Origin,
    onesided::{Block, Region, RemoteKey, Rights, Transfer},
};
use gputcp_gpu::Buffer;

use super::{Connected, LOOK};
use crate::{
    bootstrap::{
        link::Link,
        message::{Begin, Filled, Go, Received, Sent, from_hex, to_hex},
    },
    failure::Failure,
    interrupt::Interrupt,
    measure::{
        burst,
        damage::Damage,
        run::{Clock, Outcome, settle},
        side::tcp_counters,
    },
    session::{Kind, Role},
    settings::{OneSided, Operation, Settings},
};

/// One end of a run.
pub(in crate::measure) struct Run<'a> {
    /// This end.
    pub(in crate::measure) end: &'a Connected,
    /// The settings that both ends agreed on.
    pub(in crate::measure) settings: &'a Settings,
    /// This end's region.
    pub(in crate::measure) buffer: &'a Buffer,
    /// The fault to commit on purpose.
    pub(in crate::measure) damage: Damage,
    /// The client's word.
    pub(in crate::measure) begin: &'a Begin,
}

impl Run<'_> {
    /// Runs it; both ends call this. The time is the client's, from the post of the prepared transfer until
    /// it is done.
    ///
    /// # Errors
    /// If anything of it fails: then nothing of it counts.
    pub(in crate::measure) fn run(&self, link: &mut Link, role: Role) -> Result<Outcome, Failure> {
        let Self { end, settings, buffer, damage, begin } = *self;
        let OneSided { op, blocks, .. } = end.places.one_sided;
        let sends = (role == Role::Client) == (op == Operation::Write);
        let interrupt = link.interrupt().clone();
        for (base, alone) in self.transfers() {
            if sends {
                end.places.make((buffer, base), &alone, &interrupt)?;
                damage.apply(buffer, base + end.places.middle_of_source(), &alone)?;
            } else {
                end.places.make_gaps((buffer, base), &alone, &interrupt)?;
            }
        }
        let rights = match op {
            Operation::Read => Rights::Read,
            Operation::Write => Rights::Write,
        };
        let region = end.endpoint.register(buffer, rights)?;
        let clock = match role {
            Role::Client => self.initiate(link, &region)?,
            Role::Server => self.serve(link, &region)?,
        };
        region.deregister(settings.timeout())?;
        for (base, alone) in self.transfers().filter(|_| !sends) {
            // Only the client damages anything: here a read that has come.
            damage.apply(buffer, base + end.places.middle_of_destination(), &alone)?;
        }
        let (time_ns, cpu_ns) = (clock.time.as_nanos() as u64, clock.cpu.as_nanos() as u64);
        let (bytes, chunks) = (begin.all_bytes(), u64::from(blocks) * begin.rounds);
        let message_times_ns = clock.message_times_ns;
        let sent = sends.then(|| {
            let tcp = end.counters().and_then(|counters| tcp_counters(&counters.sending));
            Sent { bytes, chunks, cpu_ns, tcp }
        });
        let received = || -> Result<Option<Received>, Failure> {
            if sends {
                return Ok(None);
            }
            let mismatch = if settings.verify { self.check(&interrupt)? } else { None };
            let verified = settings.verify.then_some(mismatch.is_none());
            // The end of the transfer says that all of it has landed.
            let (landed, unpacked) = (bytes, bytes);
            let message_times_ns = if role == Role::Client { message_times_ns.clone() } else { Vec::new() };
            Ok(Some(Received {
                time_ns,
                landed,
                unpacked,
                chunks,
                cpu_ns,
                verified,
                mismatch,
                message_times_ns,
            }))
        };
        let mut outcome = settle(link, (begin, &burst::name(begin)), self.stall_timeout(), sent, received)?;
        if let (Role::Client, Some(flow)) = (role, &mut outcome.sent) {
            flow.time_ns = time_ns;
            flow.received.message_times_ns = message_times_ns;
        }
        Ok(outcome)
    }

    /// Returns each transfer as a run of its own, with the start of its places.
    fn transfers(&self) -> impl Iterator<Item = (u64, Begin)> {
        (0..).map(|n| self.end.places.base(n)).zip(self.begin.messages().map(|(_, alone)| alone))
    }

    /// Compares the whole destination with its data. Returns the first difference in words, if there is one.
    fn check(&self, interrupt: &Interrupt) -> Result<Option<String>, Failure> {
        for (base, alone) in self.transfers() {
            if let Some(mismatch) = self.end.places.check((self.buffer, base), &alone, interrupt)? {
                return Ok(Some(burst::mismatch(self.begin, &alone, mismatch)));
            }
        }
        Ok(None)
    }

    /// Begins the transfers and waits for their end.
    fn initiate(&self, link: &mut Link, region: &Region) -> Result<Elapsed, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let deadline = Instant::now() + self.stall_timeout();
        let key = match op {
            Operation::Read => link.hear::<Filled>(Kind::Filled, deadline)?.key,
            Operation::Write => {
                link.say(Kind::Filled, &Filled::default(), deadline)?;
                link.hear::<Go>(Kind::Go, deadline)?.key
            }
        };
        let key = self.key_of(key.as_deref(), link.peer())?;
        let bases = (0..self.begin.rounds).map(|n| self.end.places.base(n));
        let mut transfers =
            bases.map(|base| self.prepare(region, &key, base)).collect::<Result<Vec<_>, _>>()?;
        if op == Operation::Read {
            link.say(Kind::Go, &Go::default(), deadline)?;
        }
        let clock = Clock::start();
        let message_times_ns = self.carry(&mut transfers, link)?;
        Ok(Elapsed { time: clock.time(), cpu: clock.cpu(), message_times_ns })
    }

    /// Carries out the transfers, of which as many as the depth are under way. Returns the time of each, from
    /// its post until it is seen done; one alone takes as long as its run.
    fn carry(&self, transfers: &mut [Transfer], link: &mut Link) -> Result<Vec<u64>, Failure> {
        let deadline = Instant::now() + self.transfer_timeout();
        if let [alone] = transfers {
            alone.post(Some(&self.note()))?;
            self.wait(alone, link, deadline)?;
            return Ok(Vec::new());
        }
        let (depth, mut begun) = (usize::from(self.settings.depth), Vec::with_capacity(transfers.len()));
        let mut times: Vec<Option<Duration>> = vec![None; transfers.len()];
        for oldest in 0..transfers.len() {
            while begun.len() < transfers.len().min(oldest + depth) {
                begun.push(Instant::now());
                transfers[begun.len() - 1].post(None)?;
            }
            if times[oldest].is_none() {
                self.wait(&transfers[oldest], link, deadline)?;
            }
            // Others may have been done before it.
            for n in oldest..begun.len() {
                if times[n].is_none() && matches!(transfers[n].poll(), Ok(progress) if progress.is_done()) {
                    times[n] = Some(begun[n].elapsed());
                }
            }
        }
        self.end.peer.notify(&self.note())?;
        Ok(times.into_iter().map(|time| time.unwrap_or_default().as_nanos() as u64).collect())
    }

    /// Lets the other side transfer, and waits for its note.
    fn serve(&self, link: &mut Link, region: &Region) -> Result<Elapsed, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let deadline = Instant::now() + self.stall_timeout();
        let key = Some(to_hex(&region.key().encode()));
        let clock = match op {
            Operation::Read => {
                let clock = Clock::start();
                link.say(Kind::Filled, &Filled { key }, deadline)?;
                link.hear::<Go>(Kind::Go, deadline)?;
                clock
            }
            Operation::Write => {
                link.hear::<Filled>(Kind::Filled, deadline)?;
                let clock = Clock::start();
                link.say(Kind::Go, &Go { key }, deadline)?;
                clock
            }
        };
        // The client prepares the transfer meanwhile.
        let bound = self.transfer_timeout() + self.stall_timeout();
        if !self.end.hear(&self.note(), link, Instant::now() + bound)? {
            return Err(late(link.peer(), "end", op, bound));
        }
        Ok(Elapsed { time: clock.time(), cpu: clock.cpu(), message_times_ns: Vec::new() })
    }

    /// Prepares a transfer whose places start at `base`.
    fn prepare(&self, local: &Region, remote: &RemoteKey, base: u64) -> Result<Transfer, Failure> {
        let OneSided { op, block_bytes: bytes, .. } = self.end.places.one_sided;
        let blocks = self.end.places.blocks().map(|(source, destination)| {
            let (local_offset, remote_offset) = match op {
                Operation::Read => (destination, source),
                Operation::Write => (source, destination),
            };
            Block {
                local,
                local_offset: base + local_offset,
                remote,
                remote_offset: base + remote_offset,
                bytes,
            }
        });
        Ok(self.end.peer.prepare(op.into(), blocks)?)
    }

    /// Waits for the end of the transfer, and looks at the other side meanwhile.
    fn wait(&self, transfer: &Transfer, link: &mut Link, deadline: Instant) -> Result<(), Failure> {
        let bound = self.transfer_timeout();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let _ = transfer.wait(left.min(LOOK));
            match transfer.poll() {
                Ok(progress) if progress.is_done() => return Ok(()),
                Ok(_) if left.is_zero() => {
                    return Err(late(link.peer(), "complete", self.end.places.one_sided.op, bound));
                }
                Ok(_) => link.watch(&[], Instant::now())?,
                // The blocks are right, and the key is the peer's: it has refused what it offered.
                Err(error) if error.origin() == Origin::Caller => {
                    return Err(Failure::Peer(format!("{}: {error}", link.peer())));
                }
                Err(error) => return Err(error.into()),
            };
        }
    }

    /// Returns the key that the other side has given.
    fn key_of(&self, text: Option<&str>, peer: &str) -> Result<RemoteKey, Failure> {
        let OneSided { op, .. } = self.end.places.one_sided;
        let key = text.and_then(from_hex::<{ RemoteKey::BYTES }>);
        let key = key.and_then(|bytes| RemoteKey::decode(&bytes).ok());
        key.filter(|key| key.bytes() == self.buffer.bytes() && key.rights().allow(op.into()))
            .ok_or_else(|| Failure::Peer(format!("{peer} gave no key for the {op} that was agreed on")))
    }

    /// Returns the note behind this run's transfer.
    const fn note(&self) -> [u8; 8] {
        self.begin.iteration.to_le_bytes()
    }

    /// Returns how long a side may be silent that makes or verifies the data meanwhile.
    fn stall_timeout(&self) -> Duration {
        self.settings.stall_timeout(self.end.places.one_sided.work_bytes().saturating_mul(self.begin.rounds))
    }

    /// Returns how long the transfers may take in all: the timeout, and the time that a link of 8 Mb/s needs.
    /// The library bounds the time without progress.
    fn transfer_timeout(&self) -> Duration {
        self.settings.timeout() + Duration::from_micros(self.begin.all_bytes())
    }
}

/// The time and the CPU time of a run.
struct Elapsed {
    time: Duration,
    cpu: Duration,
    message_times_ns: Vec<u64>,
}

fn late(peer: &str, did: &str, op: Operation, bound: Duration) -> Failure {
    Failure::Peer(format!(
        "{peer} did not {did} a one-sided {op} within {:.1} s: it is stuck, or the network lost it (the bound is --timeout)",
        bound.as_secs_f64()
    ))
}
