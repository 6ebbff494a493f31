"""What a rank does in nccl_soak.py: all_reduces of random sizes from a seed, each verified; its own holdings now and then."""

import random

import torch
import torch.distributed as dist

from ranks import census, pattern


def loop(rank, chosen):
    """All buffers are made before the first operation, so that what grows is not ours."""
    rank.open_group()
    most = chosen.max_bytes // 4
    # Every operation takes a window of these at random, plus its own number: nothing that was sent before is right again.
    data = pattern.data(torch.int32, rank.number, most, rank.count, rank.device).div_(2, rounding_mode="floor")
    total = torch.zeros_like(data)
    for number in range(rank.count):
        total += pattern.data(torch.int32, number, most, rank.count, rank.device).div_(2, rounding_mode="floor")
    got, expected = torch.empty_like(data), torch.empty_like(data)
    dice, faults, bytes_ = random.Random(chosen.seed), [], 0
    for done in range(chosen.count + 1):
        if done % max(chosen.count // chosen.samples, 1) == 0 or done == chosen.count:
            rank.say(done=done, bytes=bytes_, faults=faults[:3], wrong=len(faults), holds=holdings(rank))
        if done == chosen.count:
            break
        count = min(int(2 ** dice.uniform(0, most.bit_length())), most)
        start = dice.randint(0, most - count)
        torch.add(data[start : start + count], done, out=got[:count])
        dist.all_reduce(got[:count])
        torch.add(total[start : start + count], done * rank.count, out=expected[:count])
        if fault := pattern.fault(got[:count], expected[:count]):
            faults.append(f"all_reduce {done}, of {count} elements: {fault}")
        bytes_ += 4 * count
    dist.destroy_process_group()


def holdings(rank):
    """Memory in bytes, threads and descriptors. Of the GPU's memory, what all its processes use."""
    held = {
        "resident": census.resident_bytes(),
        "threads": sum(census.threads().values()),
        "descriptors": sum(census.descriptors().values()),
    }
    if rank.device.type == "cuda":
        free, total = torch.cuda.mem_get_info()
        held["GPU memory"] = total - free
    return held
