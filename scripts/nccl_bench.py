#!/usr/bin/env python3
"""How fast is NCCL over the gputcp plugin, compared with NCCL's own sockets in the same run?

Runs several configurations in turn, each in fresh processes, as NCCL reads its settings once, and each as often as --rounds
says, in alternating order, so that a drifting machine harms all alike:

  socket              NCCL's built-in sockets, defaults
  socket-4x4          4 threads with 4 sockets each
  socket-4x4-8ch      the same with 8 channels
  gputcp              the plugin, defaults
  gputcp-8ch          the plugin with 8 channels

Measured from GPU memory to GPU memory, with NVLink and shared memory switched off: a send from GPU 0 to GPU 1 with a one-byte
reply, 8 sends in a row with one reply, and all_reduce over all ranks (bus bandwidth: 2 (N-1) / N bytes for each). Below 1 MiB as
microseconds, from there as GB/s, which are decimal. Every iteration is verified outside of the timed part, and which network and
how many channels were used is read from NCCL's own log.

CPU seconds per GB are those of all ranks during the timed parts, per GB that goes over the network. The main thread spins while it
waits for the GPU, in any configuration; it is left out of the first figure and in the second. "Cores while waiting" is what
one rank's other threads burn in a receive for which nobody sends; "idle" is without any operation.

A table on stdout: medians of the rounds' medians. The ratio in each cell compares with the first configuration, round by round,
then the median. Exit code 0 if every configuration ran over its network and every byte was right, else 1.
"""

import os
import platform
import sys

from ranks import compare, document, launch, options, table

SCHEMA = "gputcp.nccl-bench/2"
USUAL = ["socket", "socket-4x4", "socket-4x4-8ch", "gputcp", "gputcp-8ch"]
SIZES = "8,64K,1M,16M,64M,256M"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse():
    made = options.parser(__doc__)
    compare.options(made, rounds=2, limit=90)
    made.add_argument("--sizes", type=sizes, default=sizes(SIZES), metavar="LIST", help=f"default {SIZES}")
    made.add_argument("--row-from", type=size, default=size("64K"), help="smallest size that is sent in a row (default 64K)")
    made.add_argument("--row-to", type=size, default=size("64M"), help="largest size that is sent in a row (default 64M)")
    made.add_argument("--volume", type=size, default=size("256M"), help="bytes to move per size, for its iterations (default 256M)")
    made.add_argument("--least", type=int, default=8, metavar="N", help="iterations per size at least (default 8; at most 100)")
    chosen = options.checked(made)
    if chosen.as_rank is None:
        try:
            chosen.configurations = compare.chosen_ones(chosen, compare.networks(chosen.plugin), USUAL)
        except ValueError as why:
            made.error(str(why))
    return chosen


def size(text):
    """Bytes from 8, 64K, 1M, 2G."""
    scale = UNITS.get(text[-1:].upper(), 1)
    return int(text[:-1] if scale > 1 else text) * scale


def sizes(text):
    """A list of sizes."""
    return [size(one) for one in text.split(",")]


def lead(chosen):
    """All starts, then the table."""
    starts = compare.starts(chosen, lambda kind, bytes_, by_rank: measure(chosen, kind, bytes_, by_rank))
    document.write(chosen, SCHEMA, environments=compare.named(chosen.configurations), starts=starts)
    for line in table.lines(about_machine(chosen), list(chosen.configurations), starts):
        print(line)
    return not any(one["faults"] for one in starts)


def measure(chosen, kind, bytes_, by_rank):
    """One measurement from what the ranks said of it."""
    if kind == "all_reduce":
        seconds = compare.slowest(by_rank)
        wire = 2 * (chosen.ranks - 1) * bytes_ * len(seconds)
    else:
        seconds = by_rank[min(by_rank)]["seconds"]
        wire = sum(fields.get("messages", 0) for fields in by_rank.values()) * bytes_
    return compare.measure(chosen, kind, bytes_, by_rank, seconds, wire)


def about_machine(chosen):
    """What the table says of the machine."""
    import torch

    gpus = torch.cuda.device_count() if chosen.device == "cuda" else 0
    return {
        "ranks": chosen.ranks,
        "gpus": gpus,
        "gpu": ", ".join(sorted({torch.cuda.get_device_name(gpu) for gpu in range(gpus)})) or "none",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "torch": torch.__version__,
        "interface": chosen.interface,
        "backend": chosen.backend,
        "rounds": chosen.rounds,
    }


def main():
    chosen = parse()
    if chosen.as_rank is None:
        launch.run(lambda: lead(chosen))
    from ranks import rank
    from work import bench

    rank.run(chosen, lambda one: bench.Bench(one, chosen).all())


if __name__ == "__main__":
    sys.exit(main())
