//! Bursts: messages that are moved without a pause arrive whole, with no more in flight than was asked for.

mod common;

use std::{thread, time::Duration};

use common::{TIMEOUT, TestMemory, close, options, pair, pair_of};
use gputcp::{
    Result, SendComm, SendRequest, Sent,
    contract::SendEnd,
    transfer::{Burst, Message, Moved, Plan, Receiver, Sender, Step},
};
use gputcp_gpu::{Buffer, Pattern};

const PLAN: Plan = Plan { chunk_bytes: 64 << 10, window: 12, timeout: TIMEOUT };
const RECV_PLAN: Plan = Plan { chunk_bytes: 64 << 10, window: 16, timeout: TIMEOUT };

/// A connection that counts what is in flight on it.
struct Counting {
    comm: SendComm,
    in_flight: usize,
    most: usize,
}

impl SendEnd for Counting {
    type Request = SendRequest;

    fn batch(&self) -> usize {
        self.comm.batch()
    }

    fn isend(&mut self, source: &Buffer, offset: u64, bytes: u64) -> Result<Option<SendRequest>> {
        let request = SendEnd::isend(&mut self.comm, source, offset, bytes)?;
        self.in_flight += usize::from(request.is_some());
        self.most = self.most.max(self.in_flight);
        Ok(request)
    }

    fn wait(&mut self, request: SendRequest, timeout: Duration) -> Result<Sent> {
        self.in_flight -= 1;
        self.comm.wait(request, timeout)
    }
}

const fn burst(buffer: &Buffer, offset: u64, bytes: u64, messages: u64, depth: u64) -> Burst<'_> {
    Burst { first: Message { buffer, offset, bytes }, messages, depth }
}

#[test]
fn every_message_of_a_burst_is_at_its_place() {
    for (memory, connections) in [(TestMemory::Host, 1), (TestMemory::Soft, 1), (TestMemory::Host, 3)] {
        let opts = options(2).with_device(memory.device());
        let (sends, mut recvs): (Vec<_>, Vec<_>) =
            (0..connections).map(|_| pair_of(opts.clone(), &opts)).unzip();
        let mut sends: Vec<_> =
            sends.into_iter().map(|comm| Counting { comm, in_flight: 0, most: 0 }).collect();
        let (from, to) = (memory.buffer(8 << 20), memory.buffer(8 << 20));
        let (mut sender, mut receiver) =
            (Sender::new(PLAN, connections), Receiver::new(RECV_PLAN, connections));
        for (bytes, messages, depth) in [
            (0, 3, 2),
            (1, 200, 4),
            (4096, 100, 1),
            (4096, 100, 16),
            (65_536, 20, 3),
            (65_537, 20, 3),
            (999_999, 8, 2),
            (1 << 20, 7, 16),
        ] {
            let what = format!("{messages} messages of {bytes} bytes, {depth} in flight");
            let pattern = |message| Pattern { seed: bytes + depth, iteration: message };
            for message in 0..messages {
                from.fill(pattern(message), 3 + message * bytes, bytes).unwrap();
            }
            let receiving = receiver.post(&mut recvs, burst(&to, 5, bytes, messages, depth)).unwrap();
            let mut over = 0;
            let moved = thread::scope(|scope| {
                let (sender, sends, burst) =
                    (&mut sender, &mut sends, burst(&from, 3, bytes, messages, depth));
                let sending = scope.spawn(move || sender.send(sends, burst).unwrap());
                let each = |step| match step {
                    Step::Begun(message) => assert!(message < over + depth, "{what}: {step:?}, {over} over"),
                    Step::Over(message) => {
                        assert_eq!(message, over, "{what}");
                        over += 1;
                    }
                };
                let received = receiver.finish_with(&mut recvs, receiving, each).unwrap();
                assert_eq!(sending.join().unwrap(), received, "{what}");
                received
            });
            let chunks = messages * bytes.div_ceil(PLAN.chunk_bytes).max(1);
            assert_eq!((moved, over), (Moved { chunks, bytes: messages * bytes }, messages), "{what}");
            for message in 0..messages {
                let at = 5 + message * bytes;
                assert_eq!(to.verify(pattern(message), at, bytes).unwrap(), Ok(()), "{message} of {what}");
            }
            let most: usize = sends.iter_mut().map(|comm| std::mem::take(&mut comm.most)).sum();
            if chunks == messages {
                // Each connection had its most at a time of its own.
                let bound = depth as usize * if connections > 1 { connections } else { 1 };
                assert!(most <= bound, "{what}: {most} were in flight");
                assert!(connections > 1 || most == (depth as usize).min(PLAN.window), "{what}: {most}");
            }
        }
        close(sends.into_iter().map(|counting| counting.comm).collect(), recvs);
    }
}

#[test]
fn the_next_message_begins_before_the_last_one_is_over() {
    let (sender, receiver) = pair(&options(1));
    let (mut sends, mut recvs) = (vec![sender], vec![receiver]);
    let (from, to) = (TestMemory::Host.buffer(4 << 20), TestMemory::Host.buffer(4 << 20));
    let mut steps = Vec::new();
    let mut receiver = Receiver::new(RECV_PLAN, 1);
    let receiving = receiver.post(&mut recvs, burst(&to, 0, 1 << 20, 4, 2)).unwrap();
    thread::scope(|scope| {
        let (sends, burst) = (&mut sends, burst(&from, 0, 1 << 20, 4, 2));
        scope.spawn(move || Sender::new(PLAN, 1).send(sends, burst).unwrap());
        receiver.finish_with(&mut recvs, receiving, |step| steps.push(step)).unwrap();
    });
    let at = |step| steps.iter().position(|&it| it == step).unwrap();
    for message in 1..4 {
        assert!(at(Step::Begun(message)) < at(Step::Over(message - 1)), "{steps:?}");
        assert!(message < 2 || at(Step::Over(message - 2)) < at(Step::Begun(message)), "{steps:?}");
    }
    close(sends, recvs);
}
