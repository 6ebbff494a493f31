"""What a rank does in nccl_bench.py: every iteration is timed, paid for in CPU time and verified by itself.

The clock of send/recv is rank 0's, from the first send to the arrival of a one-byte reply, which rank 1 sends once it has all.
An all_reduce takes as long as on the slowest rank, from a barrier on. Filling, checking and waiting for each other happen outside
of the timed part.
"""

import time

import torch
import torch.distributed as dist

from ranks import pattern
from ranks.timed import Timed

IN_A_ROW = 8
WARM_UP = 3
IDLE_S = 0.5


class Bench:
    """The measurements of one rank, in the same order on all."""

    def __init__(self, rank, chosen):
        self.rank, self.chosen = rank, chosen

    def all(self):
        rank = self.rank
        rank.open_group()
        self.reply = torch.zeros(1, dtype=torch.uint8, device=rank.device)
        self.idle()
        for bytes_ in self.chosen.sizes:
            rank.meet(f"send/recv {bytes_}")
            if rank.number < 2:
                self.send_recv("send/recv", bytes_, 1)
        for bytes_ in self.chosen.sizes:
            rank.meet(f"in a row {bytes_}")
            if rank.number < 2 and self.chosen.row_from <= bytes_ <= self.chosen.row_to:
                self.send_recv("in a row", bytes_, IN_A_ROW)
        rank.meet("waiting")
        self.waiting()
        for bytes_ in self.chosen.sizes:
            rank.meet(f"all_reduce {bytes_}")
            self.all_reduce(bytes_)
        dist.destroy_process_group()

    def times(self, bytes_):
        """How often to measure, so that small sizes are many and large ones take no minutes."""
        return max(self.chosen.least, min(100, self.chosen.volume // bytes_))

    def say(self, kind, bytes_, timed, faults, **more):
        self.rank.say(kind=kind, bytes=bytes_, faults=faults[:3], **timed.fields(), **more)

    def send_recv(self, kind, bytes_, messages):
        """From rank 0 to rank 1, into buffers that were poisoned before each iteration."""
        rank, timed, faults = self.rank, Timed(), []
        data = [pattern.data(torch.uint8, seed, bytes_, 1, rank.device) for seed in range(messages)]
        rooms = [pattern.Guarded(torch.uint8, bytes_, rank.device) for _ in data] if rank.number == 1 else []
        for iteration in range(WARM_UP + self.times(bytes_ * messages)):
            if rank.number == 0:
                dist.recv(self.reply, 1)
                rank.finish_device()
                with timed.iteration(iteration >= WARM_UP):
                    for message in data:
                        dist.send(message, 1)
                    dist.recv(self.reply, 1)
                    rank.finish_device()
            else:
                for room in rooms:
                    room.all.fill_(pattern.POISON)
                rank.finish_device()
                dist.send(self.reply, 0)
                with timed.iteration(iteration >= WARM_UP):
                    for room in rooms:
                        dist.recv(room.inner, 0)
                    dist.send(self.reply, 0)
                    rank.finish_device()
                faults += [fault for room, message in zip(rooms, data) if (fault := room.fault(message))]
        self.say(kind, bytes_, timed, faults, messages=messages * len(timed.seconds) if rank.number == 0 else 0)

    def all_reduce(self, bytes_):
        """float32 sums of all ranks, in place, from fresh data in each iteration."""
        rank, timed, faults = self.rank, Timed(), []
        count = max(bytes_ // 4, 1)
        data = pattern.data(torch.float32, rank.number, count, rank.count, rank.device)
        expected = pattern.summed(torch.float32, range(rank.count), count, rank.count, rank.device)
        got = torch.empty_like(data)
        for iteration in range(WARM_UP + self.times(bytes_)):
            got.copy_(data)
            dist.barrier()
            rank.finish_device()
            with timed.iteration(iteration >= WARM_UP):
                dist.all_reduce(got)
                rank.finish_device()
            if fault := pattern.fault(got, expected):
                faults.append(fault)
        self.say("all_reduce", bytes_, timed, faults)

    def idle(self):
        """CPU time while nothing is asked of NCCL, after a first operation has made its connections."""
        dist.all_reduce(torch.ones(1, device=self.rank.device))
        self.rank.finish_device()
        self.rank.meet("idle")
        timed = Timed()
        with timed.iteration(True):
            time.sleep(IDLE_S)
        self.say("idle", 0, timed, [])

    def waiting(self):
        """CPU time of rank 1 while it waits in a receive for a sender that takes its time."""
        rank, timed = self.rank, Timed()
        if rank.number == 1:
            work = dist.irecv(self.reply, 0)
            with timed.iteration(True):
                time.sleep(IDLE_S)
            work.wait()
            rank.finish_device()
            self.say("waiting", 0, timed, [])
        elif rank.number == 0:
            time.sleep(2 * IDLE_S)
            dist.send(self.reply, 1)
            rank.finish_device()
