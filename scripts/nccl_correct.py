#!/usr/bin/env python3
"""Is every byte right that NCCL moves over the gputcp plugin?

Starts N ranks of PyTorch on this machine, one per GPU, with NVLink and shared memory switched off, and proves, from NCCL's own
log, that all connections went over the plugin. Then it checks, against values computed exactly on the GPU:

  - send/recv, all_reduce, all_gather, reduce_scatter, all_to_all and broadcast, in 8 types and 11 sizes around the borders of
    chunks, into buffers at odd addresses, whose surroundings must stay untouched;
  - an all_to_all with parts of different and no length, and everybody sending to everybody in one batch;
  - 48 operations in flight at once while the GPU computes, and two communicators at once on two streams;
  - 20 times: two communicators made, used and destroyed. Afterwards the process has no more threads and descriptors than before.

One line per check on stdout. Exit code 0 if all are right, else 1.
"""

import sys

from ranks import document, environment, launch, log, options


def parse():
    made = options.parser(__doc__)
    made.add_argument("--max-bytes", type=int, default=1 << 30, metavar="B", help="leave out larger sizes")
    made.add_argument("--cycles", type=int, default=20, metavar="N", help="communicators made and destroyed (default 20)")
    made.add_argument("--limit", type=float, default=420, metavar="S", help="seconds for the whole run (default 420)")
    return options.checked(made)


def lead(chosen):
    """Starts the ranks and prints a check when all of them have said it."""
    said, good, checks = {}, True, []

    def report(name, faults, what, seconds):
        """Prints one check and keeps it; whether it was good."""
        print(f"{'FAIL' if faults else 'ok':4} {name:28} {seconds:6.2f} s  {what}", flush=True)
        for fault in faults:
            print(f"       {fault}", flush=True)
        checks.append({"name": name, "what": what, "seconds": seconds, "faults": faults})
        return not faults

    def heard(event):
        nonlocal good
        name = event.fields["check"]
        said.setdefault(name, {})[event.rank] = event.fields
        if len(said[name]) < chosen.ranks:
            return
        faults = [f"rank {rank}: {fault}" for rank, fields in sorted(said[name].items()) for fault in fields["faults"]]
        good = report(name, faults, event.fields["what"], max(fields["seconds"] for fields in said[name].values())) and good

    net = environment.gputcp(chosen.plugin) if chosen.backend == "nccl" else {}
    with launch.Ranks(chosen, "correct", net) as ranks:
        try:
            ranks.collect(chosen.limit, heard)
        finally:
            if chosen.backend == "nccl":
                good = report_network(chosen, ranks, report) and good
    missing = [name for name, ranks_said in said.items() if len(ranks_said) < chosen.ranks]
    document.write(chosen, "gputcp.nccl-correct/1", checks=checks, missing=missing)
    if missing:
        raise launch.Failed(f"not all ranks reported on {', '.join(missing)}")
    return good


def report_network(chosen, ranks, report):
    """Says what NCCL's logs prove."""
    logs = [log.read(ranks.log(rank)) for rank in range(chosen.ranks)]
    faults = [f"rank {rank}: {fault}" for rank, one in enumerate(logs) for fault in one.objections("gputcp")]
    connections = sum(one.carried["gputcp"] for one in logs)
    channels = "{} channels, {} per peer".format(*logs[0].channels)
    for rank, one in enumerate(logs):
        for warning in one.warnings[:5]:
            print(f"rank {rank}: NCCL warned: {warning}", file=sys.stderr)
        faults += [f"rank {rank}: the plugin warned: {warning}" for warning in one.warnings if "NET/gputcp" in warning]
    what = f"NCCL {logs[0].version}, {connections} connections over gputcp {logs[0].interface}, {channels}"
    return report("network", faults, what, 0)


def main():
    chosen = parse()
    if chosen.as_rank is None:
        launch.run(lambda: lead(chosen))
    from ranks import rank
    from work import correct

    rank.run(chosen, lambda one: correct.Checks(one, chosen).all())


if __name__ == "__main__":
    sys.exit(main())
