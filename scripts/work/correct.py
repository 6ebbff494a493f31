"""What a rank does in nccl_correct.py: every check, against values made by `ranks.pattern`."""

import contextlib
import gc
import random
import time

import torch
import torch.distributed as dist

from ranks import census, pattern

TYPES = ("int8", "uint8", "int32", "int64", "float16", "bfloat16", "float32", "float64")
KIB, MIB = 1 << 10, 1 << 20
# Bytes, and elements more or less.
SIZES = [(0, 0), (0, 1), (0, 3)]
SIZES += [(bytes_, more) for bytes_ in (4 * KIB, 128 * KIB) for more in (-1, 0, 1)]
SIZES += [(MIB, 0), (64 * MIB, 3)]
# The first communicators load, cache and pool what stays for good.
WARM_CYCLES = 3


class Checks:
    """What one rank checks. All ranks do the same in the same order, whatever they find."""

    def __init__(self, rank, chosen):
        self.rank, self.chosen = rank, chosen
        self.faults = []

    def all(self):
        rank = self.rank
        rank.open_group()
        for operation in (self.send_recv, self.all_reduce, self.all_gather, self.reduce_scatter, self.all_to_all, self.broadcast):
            for name in TYPES:
                self.sizes(operation, getattr(torch, name), name)
        with self.reported("all_to_all ragged", "parts of 0 bytes to 3 MiB, 6 rounds"):
            self.ragged()
        with self.reported("batched send/recv", "everybody to everybody, 12 batches"):
            self.batched()
        with self.reported("in flight", "48 operations at once, waited for in reverse"):
            self.in_flight()
        with self.reported("two communicators", "40 operations on each, on a stream each"):
            self.two_communicators()
        rank.finish_device()
        dist.destroy_process_group()
        with self.reported("made and destroyed", f"{self.chosen.cycles} times two communicators, nothing left over"):
            self.cycles()

    @contextlib.contextmanager
    def reported(self, name, what):
        """Reports the faults found inside as one check."""
        began = time.monotonic()
        yield
        self.rank.say(check=name, what=what, faults=self.faults[:5], seconds=time.monotonic() - began)
        self.faults = []

    def expect(self, what, fault):
        """Keeps a fault, if it is one."""
        if fault:
            self.faults.append(f"{what}: {fault}")

    def sizes(self, operation, dtype, type_name):
        """One operation in one type, in every size."""
        counts = [bytes_ // dtype.itemsize + more for bytes_, more in SIZES if bytes_ <= self.chosen.max_bytes]
        with self.reported(f"{operation.__name__} {type_name}", f"{len(counts)} sizes, 0 to {counts[-1]} elements"):
            for case, count in enumerate(counts):
                for what, got, expected in operation(dtype, count, 1000 * case):
                    self.rank.finish_device()
                    self.expect(f"{count} elements{what}", got.fault(expected))

    def mine(self, dtype, seed, count):
        return pattern.data(dtype, seed, count, self.rank.count, self.rank.device)

    def room(self, dtype, count):
        return pattern.Guarded(dtype, count, self.rank.device)

    def sum(self, dtype, seed, count):
        seeds = range(seed, seed + self.rank.count)
        return pattern.summed(dtype, seeds, count, self.rank.count, self.rank.device)

    # Each operation yields what it is, where the result is, and what it should be.

    def send_recv(self, dtype, count, seed):
        for source in range(self.rank.count):
            destination = (source + 1) % self.rank.count
            if self.rank.number == source:
                dist.send(self.mine(dtype, seed + source, count), destination)
            elif self.rank.number == destination:
                got = self.room(dtype, count)
                dist.recv(got.inner, source)
                yield f" from rank {source}", got, self.mine(dtype, seed + source, count)

    def all_reduce(self, dtype, count, seed):
        got = self.room(dtype, count)
        got.inner.copy_(self.mine(dtype, seed + self.rank.number, count))
        dist.all_reduce(got.inner)
        yield "", got, self.sum(dtype, seed, count)

    def all_gather(self, dtype, count, seed):
        got = self.room(dtype, count * self.rank.count)
        dist.all_gather_into_tensor(got.inner, self.mine(dtype, seed + self.rank.number, count))
        parts = [self.mine(dtype, seed + source, count) for source in range(self.rank.count)]
        yield "", got, torch.cat(parts)

    def reduce_scatter(self, dtype, count, seed):
        got = self.room(dtype, count)
        dist.reduce_scatter_tensor(got.inner, self.mine(dtype, seed + self.rank.number, count * self.rank.count))
        all_parts = self.sum(dtype, seed, count * self.rank.count)
        yield "", got, all_parts[count * self.rank.number : count * (self.rank.number + 1)]

    def all_to_all(self, dtype, count, seed):
        ranks, me = self.rank.count, self.rank.number
        got = self.room(dtype, count * ranks)
        parts = [self.mine(dtype, seed + me * ranks + destination, count) for destination in range(ranks)]
        dist.all_to_all_single(got.inner, torch.cat(parts))
        parts = [self.mine(dtype, seed + source * ranks + me, count) for source in range(ranks)]
        yield "", got, torch.cat(parts)

    def broadcast(self, dtype, count, seed):
        for root in range(self.rank.count):
            got = self.room(dtype, count)
            if self.rank.number == root:
                got.inner.copy_(self.mine(dtype, seed + root, count))
            dist.broadcast(got.inner, root)
            yield f" from rank {root}", got, self.mine(dtype, seed + root, count)

    def ragged(self):
        ranks, me, dtype = self.rank.count, self.rank.number, torch.int32
        dice = random.Random(7)
        for round_ in range(6):
            choices = (0, 1, 77, 32 * KIB + 1, 3 * MIB // 4)
            lengths = [[min(dice.choice(choices), self.chosen.max_bytes // 4) for _ in range(ranks)] for _ in range(ranks)]
            seed = 5000 + 100 * round_
            out = [self.mine(dtype, seed + me * ranks + to, lengths[me][to]) for to in range(ranks)]
            take = [lengths[source][me] for source in range(ranks)]
            got = self.room(dtype, sum(take))
            dist.all_to_all_single(got.inner, torch.cat(out), take, lengths[me])
            self.rank.finish_device()
            expected = [self.mine(dtype, seed + source * ranks + me, take[source]) for source in range(ranks)]
            self.expect(f"round {round_}", got.fault(torch.cat(expected)))

    def batched(self):
        ranks, me, dtype = self.rank.count, self.rank.number, torch.float32

        def count(source, to):
            return min(1 + (source * 7 + to * 3 + batch * 11) ** 4, self.chosen.max_bytes // 4)

        for batch in range(12):
            others = [other for other in range(ranks) if other != me]
            seed = 9000 + 100 * batch
            rooms = {other: self.room(dtype, count(other, me)) for other in others}
            works = [dist.P2POp(dist.isend, self.mine(dtype, seed + me * ranks + to, count(me, to)), to) for to in others]
            works += [dist.P2POp(dist.irecv, rooms[source].inner, source) for source in others]
            for work in dist.batch_isend_irecv(works):
                work.wait()
            self.rank.finish_device()
            for source in others:
                expected = self.mine(dtype, seed + source * ranks + me, count(source, me))
                self.expect(f"batch {batch} from rank {source}", rooms[source].fault(expected))

    def in_flight(self):
        ranks, me, dtype = self.rank.count, self.rank.number, torch.float32
        dice = random.Random(11)
        begun = []
        factor = torch.ones(512, 512, device=self.rank.device)
        for number in range(48):
            count = min(int(2 ** dice.uniform(0, 20)), self.chosen.max_bytes // 4)
            seed = 20000 + 100 * number
            if number % 3 == 0:
                got = self.room(dtype, count)
                got.inner.copy_(self.mine(dtype, seed + me, count))
                work = dist.all_reduce(got.inner, async_op=True)
                expected = self.sum(dtype, seed, count)
            elif number % 3 == 1:
                got = self.room(dtype, count * ranks)
                work = dist.all_gather_into_tensor(got.inner, self.mine(dtype, seed + me, count), async_op=True)
                expected = torch.cat([self.mine(dtype, seed + source, count) for source in range(ranks)])
            else:
                got = self.room(dtype, count)
                if me == number % ranks:
                    got.inner.copy_(self.mine(dtype, seed, count))
                work = dist.broadcast(got.inner, number % ranks, async_op=True)
                expected = self.mine(dtype, seed, count)
            begun.append((number, work, got, expected))
            factor = (factor @ factor) / 512
        for _, work, _, _ in reversed(begun):
            work.wait()
        self.rank.finish_device()
        for number, _, got, expected in begun:
            self.expect(f"operation {number}", got.fault(expected))
        self.expect("the product computed meanwhile", pattern.fault(factor.flatten(), torch.ones_like(factor).flatten()))

    def two_communicators(self):
        me, dtype = self.rank.number, torch.float32
        groups = [dist.new_group(list(range(self.rank.count))) for _ in range(2)]
        cuda = self.rank.device.type == "cuda"
        streams = [torch.cuda.Stream() for _ in groups] if cuda else [None, None]
        dice = random.Random(13)
        begun = []
        for number in range(40):
            count = min(int(2 ** dice.uniform(0, 20)), self.chosen.max_bytes // 4)
            for which, (group, stream) in enumerate(zip(groups, streams)):
                with torch.cuda.stream(stream) if cuda else contextlib.nullcontext():
                    seed = 40000 + 1000 * which + 10 * number
                    got = self.room(dtype, count)
                    got.inner.copy_(self.mine(dtype, seed + me, count))
                    work = dist.all_reduce(got.inner, group=group, async_op=True)
                    begun.append((f"communicator {which}, operation {number}", work, got, self.sum(dtype, seed, count), stream))
        for _, work, _, _, stream in begun:
            with torch.cuda.stream(stream) if cuda else contextlib.nullcontext():
                work.wait()
        self.rank.finish_device()
        for what, _, got, expected, _ in begun:
            self.expect(what, got.fault(expected))

    def cycles(self):
        """Two communicators at a time: a group of its own, and one within it, which PyTorch splits off the first."""
        for cycle in range(WARM_CYCLES):
            self.cycle(cycle)
        time.sleep(2)
        before = census.threads(), census.descriptors()
        for cycle in range(WARM_CYCLES, WARM_CYCLES + self.chosen.cycles):
            self.cycle(cycle)
        # Connections part in their own time; what is still there after that is left over.
        for what, more in zip(("threads", "descriptors"), census.settled(*before, 10)):
            self.expect(f"{what} left over", str(more) if more else None)

    def cycle(self, cycle):
        self.rank.open_group(f"cycle {cycle}")
        within = dist.new_group(list(range(self.rank.count)))
        for which, group in enumerate((None, within)):
            count, seed = 10007 * (1 + which), 60000 + 100 * cycle + 10 * which
            got = self.room(torch.int32, count)
            got.inner.copy_(self.mine(torch.int32, seed + self.rank.number, count))
            dist.all_reduce(got.inner, group=group)
            self.rank.finish_device()
            self.expect(f"cycle {cycle}, communicator {which}", got.fault(self.sum(torch.int32, seed, count)))
        dist.destroy_process_group()
        del within, group
        gc.collect()
        self.rank.meet(f"after cycle {cycle}")
