//! The checks: one for each demand of NCCL's on a plugin.
//!
//! Most have two sides in two processes: the receiving side listens, the sending side connects. Unless a check is about
//! just that, a side keeps to what the most modest plugins take: the oldest request is asked for first, few are in flight.

mod close;
mod connect;
mod data;
mod gpu;
mod memory;
mod order;
mod progress;
mod requests;
mod sizes;
mod slots;
mod start;
mod strays;
mod threads;

use crate::{bench::Plugin, meeting::Bench, probe::PROBE, stop::Seen};

/// A demand, and how it is checked.
#[derive(Debug)]
pub struct Check {
    /// Its name: small letters, digits and dashes.
    pub id: &'static str,
    /// What the plugin must do.
    pub expected: &'static str,
    /// What of NCCL's depends on it.
    pub because: &'static str,
    /// The first version of the interface that has the demand.
    pub since: u32,
    pub(crate) run: Run,
}

/// Who takes part.
#[derive(Debug)]
pub(crate) enum Run {
    /// One process, which starts the plugin itself.
    Alone(fn(&mut Plugin) -> Seen),
    /// Two processes, in which the plugin is started.
    Pair { receiving: fn(&mut Bench) -> Seen, sending: fn(&mut Bench) -> Seen },
}

impl Check {
    /// Whether it has two sides.
    #[must_use]
    pub const fn is_pair(&self) -> bool {
        matches!(self.run, Run::Pair { .. })
    }

    /// The check of this name.
    #[must_use]
    pub fn named(id: &str) -> Option<&'static Self> {
        CHECKS.iter().find(|check| check.id == id)
    }

    /// The check of this name, or the probe that comes before them.
    #[must_use]
    pub fn named_or_probe(id: &str) -> Option<&'static Self> {
        Self::named(id).or_else(|| (id == PROBE.id).then_some(&PROBE))
    }
}

/// All checks, in the order of a plugin's life.
pub const CHECKS: &[Check] = &[
    Check {
        id: "init-counts-references",
        expected: "init may be called for several communicators; ending one leaves the others working",
        because: "since v11 NCCL calls init once per communicator, before that once per process and network",
        since: 5,
        run: Run::Alone(start::init_counts_references),
    },
    Check {
        id: "finalize-accepts-null",
        expected: "finalize exists and takes NULL",
        because: "NCCL 2.28 calls finalize(ctx) even after an init that failed",
        since: 11,
        run: Run::Alone(start::finalize_accepts_null),
    },
    Check {
        id: "device-count",
        expected: "devices says the same number each time, at least 1",
        because: "with 0 devices NCCL goes on to the next plugin; it asks for the properties of each",
        since: 5,
        run: Run::Alone(start::device_count),
    },
    Check {
        id: "device-names-unique",
        expected: "no two devices have the same name",
        because: "NCCL's topology, and NCCL_IB_MERGE_NICS, tell devices apart by name",
        since: 5,
        run: Run::Alone(start::device_names_unique),
    },
    Check {
        id: "properties-sane",
        expected: "names and a pciPath, if any, that stay where they are, host pointers, dma-bufs only with regMrDmaBuf, at least one comm and receive; from v9 on \
                   0 < maxP2pBytes ≤ 2^40 and one device behind it: itself",
        because: "NCCL keeps the pointers, and divides by these numbers",
        since: 5,
        run: Run::Alone(start::properties_sane),
    },
    Check {
        id: "virtual-devices",
        expected: "makeVDevice joins two devices to one that comes behind all others and names both behind it; or refuses, by \
                   any error but ncclInvalidUsage, and changes nothing",
        because: "NCCL counts devices again after joining some, takes the new ones for virtual, and 2.24 ends at that error",
        since: 9,
        run: Run::Alone(start::virtual_devices),
    },
    Check {
        id: "listen-does-not-block",
        expected: "listen returns at once, though nobody connects",
        because: "NCCL listens before it tells anybody the handle: whoever waits there waits for ever",
        since: 5,
        run: Run::Alone(connect::listen_does_not_block),
    },
    Check {
        id: "handle-128-bytes",
        expected: "listen and connect write to the 128 bytes of the handle, and not beside them",
        because: "NCCL keeps handles in its own structures, and sends 128 bytes of each to the other side",
        since: 5,
        run: Run::Pair { receiving: connect::handle_receiving, sending: connect::handle_sending },
    },
    Check {
        id: "connect-accept-not-yet",
        expected: "while the other side is missing, connect and accept return success and NULL at once; called again with \
                   the same handle memory, they give the connection",
        because: "one proxy thread makes all of a GPU's connections by turns: whoever waits there stops the others",
        since: 5,
        run: Run::Pair { receiving: connect::not_yet_receiving, sending: connect::not_yet_sending },
    },
    Check {
        id: "dev-handle-null-pointer-accepted",
        expected: "connect and accept take a device handle argument that is NULL, or points to NULL",
        because: "NCCL passes those where it wants no device handle",
        since: 7,
        run: Run::Pair { receiving: connect::dev_handle_receiving, sending: connect::dev_handle_sending },
    },
    Check {
        id: "accept-survives-strays",
        expected: "connections of port scanners do not keep accept from giving the right one",
        because: "an error of accept ends the communicator, and its port is open to the network",
        since: 5,
        run: Run::Pair { receiving: strays::receiving, sending: strays::sending },
    },
    Check {
        id: "several-accepts",
        expected: "one listen comm gives several connections",
        because: "NCCL listens once per channel and peer, and its bootstrap through a plugin accepts more than once",
        since: 5,
        run: Run::Pair { receiving: connect::several_receiving, sending: connect::several_sending },
    },
    Check {
        id: "null-mhandle",
        expected: "isend and irecv take NULL for a registration",
        because: "NCCL passes NULL where it has not registered memory",
        since: 5,
        run: Run::Pair { receiving: memory::null_mhandle_receiving, sending: memory::null_mhandle_sending },
    },
    Check {
        id: "deregister-in-flight",
        expected: "deregMr succeeds while requests with that registration are in flight, and the data arrives",
        because: "NCCL takes user registrations back when it likes",
        since: 5,
        run: Run::Pair { receiving: memory::deregister_receiving, sending: memory::deregister_sending },
    },
    Check {
        id: "requests-32",
        expected: "32 receives can be in flight on a connection, and as many sends: 32 for each of maxRecvs",
        because: "NCCL_NET_MAX_REQUESTS is 32 since 2.19, times maxRecvs for sends; its pipeline is 8 deep, so that 16 are enough",
        since: 5,
        run: Run::Pair { receiving: requests::count_receiving, sending: requests::count_sending },
    },
    Check {
        id: "full-is-null-not-error",
        expected: "without a free slot, isend and irecv return success and NULL, and work again once one is free",
        because: "NCCL asks again later; any error ends the communicator",
        since: 5,
        run: Run::Pair { receiving: requests::full_receiving, sending: requests::full_sending },
    },
    Check {
        id: "never-in-progress-code",
        expected: "no function answers 7 (ncclInProgress)",
        because: "NCCL takes every code but 0 for an error; \"not yet\" is success with NULL, or done = 0",
        since: 5,
        run: Run::Pair { receiving: requests::in_progress_receiving, sending: requests::in_progress_sending },
    },
    Check {
        id: "irecv-overwrites-request-0x1",
        expected: "irecv writes its request always, NULL included, whatever it held before",
        because: "for LL and LL128 the request arrives as 0x1: left there, NCCL takes it for a request",
        since: 9,
        run: Run::Pair { receiving: requests::overwrites_receiving, sending: requests::overwrites_sending },
    },
    Check {
        id: "posted-order",
        expected: "sends meet receives in the order in which both were posted",
        because: "NCCL posts the steps of a channel in order, all with the same tag",
        since: 5,
        run: Run::Pair { receiving: order::posted_receiving, sending: order::posted_sending },
    },
    Check {
        id: "grouped-tags",
        expected: "within a grouped receive the tag says which part a send is for",
        because: "with maxRecvs > 1 NCCL receives from several ranks in one request",
        since: 5,
        run: Run::Pair { receiving: order::grouped_receiving, sending: order::grouped_sending },
    },
    Check {
        id: "size-zero",
        expected: "messages of 0 bytes are sent and received as any other",
        because: "NCCL sends empty steps where a rank has no data",
        since: 5,
        run: Run::Pair { receiving: sizes::zero_receiving, sending: sizes::zero_sending },
    },
    Check {
        id: "receive-larger-than-send",
        expected: "a receive may be larger than its send; test says the size of the send, and writes nothing behind it",
        because: "NCCL posts receives of a whole slice and goes by the size that test says",
        since: 5,
        run: Run::Pair { receiving: sizes::smaller_receiving, sending: sizes::smaller_sending },
    },
    Check {
        id: "send-larger-than-receive",
        expected: "a send that is larger than its receive ends in 5 (ncclInvalidUsage), on either side, and writes nothing \
                   beyond the receive",
        because: "ranks whose sizes differ must be told so; a message cut short would be wrong results",
        since: 5,
        run: Run::Pair { receiving: sizes::larger_receiving, sending: sizes::larger_sending },
    },
    Check {
        id: "test-any-order",
        expected: "test may be called for any request in flight, not only the oldest",
        because: "NCCL asks for the requests of its sub-operations by turns",
        since: 5,
        run: Run::Pair { receiving: order::any_order_receiving, sending: order::any_order_sending },
    },
    Check {
        id: "done-once",
        expected: "test writes done each time: 0 as long as the request is not done, then once 1",
        because: "NCCL's variable for done holds no value before the call",
        since: 5,
        run: Run::Pair { receiving: progress::done_receiving, sending: progress::done_sending },
    },
    Check {
        id: "null-sizes",
        expected: "test takes NULL for sizes",
        because: "NCCL passes NULL where it does not want to know, as for sends",
        since: 5,
        run: Run::Pair { receiving: sizes::null_receiving, sending: sizes::null_sending },
    },
    Check {
        id: "progress-without-test",
        expected: "posted requests go on though nobody calls test",
        because: "the progress thread serves many connections; a peer waits for data, not for this side's next test",
        since: 5,
        run: Run::Pair { receiving: progress::without_receiving, sending: progress::without_sending },
    },
    Check {
        id: "slot-reuse",
        expected: "a slot can be used again after done = 1, or after irecvConsumed where the plugin has that, not before",
        because: "NCCL sends without end over one connection; with irecvConsumed the GPU still reads the slot's data",
        since: 5,
        run: Run::Pair { receiving: slots::receiving, sending: slots::sending },
    },
    Check {
        id: "gpu-data-at-done",
        expected: "what was received to GPU memory is there when test says done",
        because: "from compute capability 9.0 on NCCL does not call iflush unless forceFlush is 1",
        since: 5,
        run: Run::Pair { receiving: gpu::done_receiving, sending: gpu::sending },
    },
    Check {
        id: "iflush",
        expected: "iflush of received GPU memory succeeds, and its request, if it gives one, ends",
        because: "NCCL flushes after receiving to the memory of GPUs that need it, or with forceFlush",
        since: 5,
        run: Run::Pair { receiving: gpu::flush_receiving, sending: gpu::sending },
    },
    Check {
        id: "unpack-queue",
        expected: "receive k is described in row k mod 16 of the queue: fragments of the bounce region that make up its data",
        because: "NCCL's kernels find what was received by counting receives, and unpack it from there",
        since: 7,
        run: Run::Pair { receiving: gpu::queue_receiving, sending: gpu::sending },
    },
    Check {
        id: "close-with-dead-peer-does-not-hang",
        expected: "after the peer's process was killed, test ends in an error or not at all, but for what had come whole, \
                   and all closes return",
        because: "NCCL closes in its clean-up after an error: whoever waits there hangs the job's end",
        since: 5,
        run: Run::Pair { receiving: close::dead_surviving, sending: close::dead_dying },
    },
    Check {
        id: "close-mid-transfer",
        expected: "closes succeed with requests in flight, and nothing is written to their memory afterwards",
        because: "ncclCommAbort closes whatever is under way, and the memory is freed next",
        since: 5,
        run: Run::Pair { receiving: close::mid_receiving, sending: close::mid_sending },
    },
    Check {
        id: "threads",
        expected: "four threads use four connections at once",
        because: "NCCL has a progress thread per GPU, and several GPUs may be in one process",
        since: 5,
        run: Run::Pair { receiving: threads::receiving, sending: threads::sending },
    },
    Check {
        id: "data-integrity",
        expected: "messages of many sizes, several in flight, arrive as they were sent",
        because: "nothing above the plugin looks at the data again",
        since: 5,
        run: Run::Pair { receiving: data::receiving, sending: data::sending },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_of_a_kind_and_fit_for_a_command_line() {
        for (index, check) in CHECKS.iter().enumerate() {
            let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
            assert!(check.id.bytes().all(plain), "{}", check.id);
            assert!(CHECKS[..index].iter().all(|other| other.id != check.id), "{}", check.id);
            assert_eq!(Check::named(check.id).map(|found| found.id), Some(check.id));
        }
        assert!(Check::named(PROBE.id).is_none(), "the probe is no check");
    }
}
