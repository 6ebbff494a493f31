#!/usr/bin/env python3
"""Does NCCL over the gputcp plugin stay right, and stay the same size, over thousands of operations?

Runs --count all_reduces of random sizes, from 4 bytes to --max-bytes and about as many of each order of magnitude. The same
--seed gives the same run. Every result is compared with the exact sum on the GPU. Resident memory, GPU memory, threads and
descriptors of every rank are sampled 50 times; from the end of the first tenth on, which may load and pool what stays, no
sample may be larger than at that point by more than:

  resident memory     --memory-bound (default 64 MiB)
  GPU memory          --memory-bound; of all programs on that GPU, so nothing else may use it meanwhile
  threads             0
  descriptors         0

One line per rank on stdout. Exit code 0 if all was right and nothing grew, else 1.
"""

import sys

from ranks import document, environment, launch, log, options

MIB = 1 << 20


def parse():
    made = options.parser(__doc__)
    made.add_argument("--count", type=int, default=10000, metavar="N", help="all_reduces (default 10000)")
    made.add_argument("--seed", type=int, default=1, metavar="N", help="of the sizes (default 1)")
    made.add_argument("--max-bytes", type=int, default=16 * MIB, metavar="B", help="of an all_reduce (default 16 MiB)")
    made.add_argument("--samples", type=int, default=50, metavar="N", help="looks at memory and the like (default 50)")
    made.add_argument("--memory-bound", type=int, default=64 * MIB, metavar="B", help="growth allowed (default 64 MiB)")
    made.add_argument("--limit", type=float, default=500, metavar="S", help="seconds for the whole run (default 500)")
    chosen = options.checked(made)
    # The numbers of operations are added to the data, whose sums have to stay within 32 bits.
    if not 20 <= chosen.count <= 1_000_000_000 // chosen.ranks or not 4 <= chosen.max_bytes or chosen.samples < 10:
        made.error("--count 20 or more, up to 10⁹ over all ranks, --max-bytes 4 or more, --samples 10 or more")
    return chosen


def lead(chosen):
    """The run, then a line per rank."""
    samples = {rank: [] for rank in range(chosen.ranks)}

    def heard(event):
        samples[event.rank].append(event.fields)
        if event.rank == 0 and len(samples[0]) % 5 == 1:
            held = ", ".join(f"{name} {shown(name, value)}" for name, value in event.fields["holds"].items())
            print(f"{event.fields['done']}/{chosen.count}: {held}", file=sys.stderr, flush=True)

    net = environment.gputcp(chosen.plugin) if chosen.backend == "nccl" else {}
    good, ends = True, []
    with launch.Ranks(chosen, "soak", net) as ranks:
        ranks.collect(chosen.limit, heard)
        for rank in range(chosen.ranks):
            objections = log.read(ranks.log(rank)).objections("gputcp") if chosen.backend == "nccl" else ()
            good = report(chosen, rank, samples[rank], list(objections), ends) and good
    document.write(chosen, "gputcp.nccl-soak/1", seed=chosen.seed, ends=ends)
    return good


def report(chosen, rank, samples, faults, ends):
    """Prints what became of one rank and adds it to `ends`; whether it was good."""
    last = samples[-1]
    if last["done"] != chosen.count:
        faults.append(f"only {last['done']} of {chosen.count} were done")
    if last["wrong"]:
        faults += [f"{last['wrong']} results were wrong", *last["faults"]]
    settled = [sample["holds"] for sample in samples if sample["done"] >= chosen.count / 10]
    grown = []
    for name, first in settled[0].items():
        most = max(holds[name] for holds in settled)
        bound = chosen.memory_bound if name in ("resident", "GPU memory") else 0
        grown.append(f"{name} {shown(name, first)} → {shown(name, most)}")
        if most > first + bound:
            whose = " (of all programs on this GPU)" if name == "GPU memory" else ""
            faults.append(f"{name}{whose} grew by {shown(name, most - first)}, more than {shown(name, bound)}")
    did = f"{last['done']} all_reduces, {last['bytes'] / 1e9:.2f} GB, seed {chosen.seed}"
    print(f"{'FAIL' if faults else 'ok':4} rank {rank}: {did}; {', '.join(grown)}", flush=True)
    for fault in faults:
        print(f"       {fault}", flush=True)
    ends.append({"rank": rank, "done": last["done"], "bytes": last["bytes"], "first": settled[0], "last": last["holds"], "faults": faults})
    return not faults


def shown(name, value):
    """Memory in MiB, the rest as it is."""
    return f"{value / MIB:.1f} MiB" if name in ("resident", "GPU memory") else str(value)


def main():
    chosen = parse()
    if chosen.as_rank is None:
        launch.run(lambda: lead(chosen))
    from ranks import rank
    from work import soak

    rank.run(chosen, lambda one: soak.loop(one, chosen))


if __name__ == "__main__":
    sys.exit(main())
