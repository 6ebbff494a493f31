#!/usr/bin/env python3
"""How long does a training step take over the gputcp plugin, compared with NCCL's own sockets in the same run?

A GPT of 368 million parameters, 8 x 512 tokens a rank, trained by autocast to bfloat16 and SGD:

  alone                 the step without communication
  DDP, fp32 gradients   DistributedDataParallel as it is
  DDP, bf16 hook        with gradients compressed to bfloat16
  FSDP2                 fully_shard by block, parameters in bfloat16
  all-to-all            equal parts to every rank, as experts exchange tokens: 64 KiB, 1 MiB and 16 MiB a rank
  both ways             a send and a receive of 8 MiB at once with the neighbour, as stages of a pipeline do

over these networks, each in fresh processes and as often as --rounds says, in alternating order:

  socket                NCCL's built-in sockets, defaults
  socket-4x4-8ch        4 threads with 4 sockets each, 8 channels
  fast-socket           the FastSocket plugin, if --fast-socket names its file
  gputcp                the plugin, defaults
  gputcp-8ch            the plugin with 8 channels

NVLink and shared memory are switched off. Each step is timed from a barrier to the end of the GPU's work, on the slowest rank.
Weights must be equal on all ranks after DDP, whose ranks have different data; losses must be those of the step without
communication; every operation is verified outside of the timed part. Which network was used is read from NCCL's own log.

A table on stdout: medians of the rounds' medians; the ratio in each cell compares with the first network, round by round, then
the median. Exit code 0 if every network was used and everything was right, else 1.
"""

import sys
from statistics import median

from ranks import compare, document, launch, options, table

SCHEMA = "gputcp.train-step/1"
USUAL = ["socket", "socket-4x4-8ch", "gputcp", "gputcp-8ch"]
MODEL = "a GPT of 368 million parameters, 8 × 512 tokens a rank"
TINY = "a tiny GPT, for rehearsals"
KIB, MIB = 1 << 10, 1 << 20


def parse():
    made = options.parser(__doc__)
    compare.options(made, rounds=3, limit=180)
    made.add_argument("--fast-socket", metavar="PATH", help="the FastSocket plugin, to be compared with")
    made.add_argument("--steps", type=int, default=8, metavar="N", help="timed steps of each kind (default 8)")
    made.add_argument("--operations", type=int, default=18, metavar="N", help="timed operations of each size (default 18)")
    made.add_argument("--warm-up", type=int, default=4, metavar="N", help="steps or operations before (default 4)")
    made.add_argument("--tiny", action="store_true", help="a tiny model and small operations: a rehearsal")
    chosen = options.checked(made)
    if min(chosen.steps, chosen.operations, chosen.rounds) < 1 or chosen.warm_up < 0:
        made.error("--steps, --operations and --rounds: 1 or more")
    chosen.all_to_all = [64 * KIB] if chosen.tiny else [64 * KIB, MIB, 16 * MIB]
    chosen.both_ways = 64 * KIB if chosen.tiny else 8 * MIB
    if chosen.as_rank is None:
        fast = [options.file_for_nccl(made, chosen.fast_socket)] if chosen.fast_socket else []
        usual = USUAL[:2] + (["fast-socket"] if fast else []) + USUAL[2:]
        try:
            chosen.configurations = compare.chosen_ones(chosen, compare.networks(chosen.plugin, *fast), usual)
        except ValueError as why:
            made.error(str(why))
    return chosen


def lead(chosen):
    """All starts, then the table."""

    def measure(kind, bytes_, by_rank):
        return compare.measure(chosen, kind, bytes_, by_rank, compare.slowest(by_rank), 0)

    starts = compare.starts(chosen, measure)
    more = {"model": TINY if chosen.tiny else MODEL, "tiny": chosen.tiny}
    document.write(chosen, SCHEMA, **more, environments=compare.named(chosen.configurations), starts=starts)
    for line in lines(chosen, list(chosen.configurations), starts):
        print(line)
    return not any(one["faults"] for one in starts)


def lines(chosen, names, starts):
    """The table."""
    versions = " + ".join(sorted({start["nccl"] for start in starts if start["nccl"]})) or "none"
    yield f"# {TINY if chosen.tiny else MODEL}; {chosen.ranks} ranks, NCCL {versions}, {chosen.interface}, {chosen.backend}"
    yield f"# medians of {chosen.rounds} rounds; in brackets: times as fast as {names[0]}"
    yield table.row("", names)
    yield table.row("network", ["+".join(table.of(starts, name)[0]["networks"]) or "-" for name in names])
    for kind, bytes_ in table.measured(starts):
        title = f"{table.title(kind, bytes_)}, µs" if bytes_ else f"{kind}, ms"
        yield table.row(title, table.cells(names, starts, kind, bytes_, time))
    if faults := sum(len(start["faults"]) for start in starts):
        yield f"# {faults} faults, said on stderr as they came"
    else:
        network = "every network as asked for" if chosen.backend == "nccl" else "a rehearsal that says nothing of any network"
        yield f"# {len(starts)} starts, everything verified, {network}"


def time(one):
    """ms of a step or µs of an operation; compared is the inverse of the time."""
    seconds = median(one["seconds"])
    return seconds * (1e6 if one["bytes"] else 1e3), 1 / seconds


def main():
    chosen = parse()
    if chosen.as_rank is None:
        launch.run(lambda: lead(chosen))
    from ranks import rank
    from work import train

    rank.run(chosen, lambda one: train.Training(one, chosen).all())


if __name__ == "__main__":
    sys.exit(main())
