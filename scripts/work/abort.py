"""What a rank does in nccl_abort.py: all_reduces without end, each verified, until another rank is gone or silent."""

import time

import torch
import torch.distributed as dist

from ranks import census, pattern

# The leading process strikes when every rank has done so many.
BEFORE_STRIKE = 5


def loop(rank, chosen):
    """Never returns by itself. In mode `wait` the error arrives here; in mode `watchdog` PyTorch ends the process."""
    before = census.threads(), census.descriptors()
    # A slow start is not to be taken for silence.
    rank.meet("here")
    rank.open_group(timeout_s=chosen.timeout if chosen.how == "stopped" else 60)
    count = chosen.bytes // 4
    data = pattern.data(torch.float32, rank.number, count, rank.count, rank.device)
    expected = pattern.summed(torch.float32, range(rank.count), count, rank.count, rank.device)
    got = torch.empty_like(data)
    try:
        done = 0
        while True:
            got.copy_(data)
            dist.all_reduce(got, async_op=True).wait()
            rank.finish_device()
            # What an aborted operation leaves behind is checked as well: an error must come before wrong data is used.
            if fault := pattern.fault(got, expected):
                rank.say(wrong=f"iteration {done}: {fault}")
                raise ValueError(fault)
            done += 1
            if done == BEFORE_STRIKE:
                rank.say(looping=True)
    except RuntimeError as error:
        if chosen.mode == "watchdog":
            raise
        rank.say(noticed=str(error).splitlines()[0])
        abort(rank, before)


def abort(rank, before):
    """Gives up the process group while a peer is dead or silent, and leaves the process in good order.

    PyTorch has aborted the communicator in which the error was before it raised it; this ends what there is besides."""
    began = time.monotonic()
    if rank.backend == "nccl":
        dist.distributed_c10d._abort_process_group()
    took_s = time.monotonic() - began
    threads, descriptors = census.settled(*before, 3)
    rank.say(aborted_s=took_s, threads=threads, descriptors=descriptors)
