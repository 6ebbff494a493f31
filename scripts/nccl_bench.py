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
import time

from ranks import document, environment, launch, log, options, table

SCHEMA = "gputcp.nccl-bench/2"
EIGHT_CHANNELS = {"NCCL_MIN_P2P_NCHANNELS": "8", "NCCL_NCHANNELS_PER_NET_PEER": "8", "NCCL_MIN_NCHANNELS": "8"}
FOUR_BY_FOUR = {"NCCL_SOCKET_NTHREADS": "4", "NCCL_NSOCKS_PERTHREAD": "4"}
CONFIG = "one more: the plugin with these variables, or another network with NCCL_NET=..."
SIZES = "8,64K,1M,16M,64M,256M"
UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def parse():
    made = options.parser(__doc__)
    made.add_argument("--rounds", type=int, default=2, metavar="N", help="starts of each configuration (default 2)")
    made.add_argument("--only", metavar="NAME,...", help="these configurations of the list, in this order; the first is the base")
    made.add_argument("--config", action="append", default=[], metavar="NAME:VAR=VALUE,...", help=CONFIG)
    made.add_argument("--sizes", type=sizes, default=sizes(SIZES), metavar="LIST", help=f"default {SIZES}")
    made.add_argument("--row-from", type=size, default=size("64K"), help="smallest size that is sent in a row (default 64K)")
    made.add_argument("--row-to", type=size, default=size("64M"), help="largest size that is sent in a row (default 64M)")
    made.add_argument("--volume", type=size, default=size("256M"), help="bytes to move per size, for its iterations (default 256M)")
    made.add_argument("--least", type=int, default=8, metavar="N", help="iterations per size at least (default 8; at most 100)")
    made.add_argument("--limit", type=float, default=90, metavar="S", help="seconds for one start (default 90)")
    chosen = options.checked(made)
    if chosen.as_rank is None:
        try:
            chosen.configurations = configurations(chosen)
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


def configurations(chosen):
    """Environments by name, in order."""
    plugin = environment.gputcp(chosen.plugin or "")
    known = {
        "socket": environment.socket(),
        "socket-4x4": environment.socket() | FOUR_BY_FOUR,
        "socket-4x4-8ch": environment.socket() | FOUR_BY_FOUR | EIGHT_CHANNELS,
        "gputcp": plugin,
        "gputcp-8ch": plugin | EIGHT_CHANNELS,
    }
    names = chosen.only.split(",") if chosen.only else list(known)
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--only: there is no {unknown[0]}, but {', '.join(known)}")
    found = {name: known[name] for name in names}
    for text in chosen.config:
        name, _, pairs = text.partition(":")
        pairs = [pair for pair in pairs.split(",") if pair]
        if not name or name in found or not all(environment.is_pair(pair) for pair in pairs):
            raise ValueError(f"--config {text}: expected a new NAME:VAR=VALUE,VAR=VALUE")
        extra = dict(pair.split("=", 1) for pair in pairs)
        found[name] = (environment.socket() if extra.get("NCCL_NET") == "Socket" else plugin) | extra
    return found


def lead(chosen):
    """All starts, then the table."""
    about, starts = about_machine(chosen), []
    for round_ in range(chosen.rounds):
        names = list(chosen.configurations)
        for name in names if round_ % 2 == 0 else reversed(names):
            starts.append(start(chosen, round_, name))
    # With the plugin's file name alone: its folder is this machine's own affair.
    named = {name: {key: bare(value) for key, value in net.items()} for name, net in chosen.configurations.items()}
    document.write(chosen, SCHEMA, environments=named, starts=starts)
    for line in table.lines(about, list(chosen.configurations), starts):
        print(line)
    return not any(one["faults"] for one in starts)


def start(chosen, round_, name):
    """One configuration in fresh processes: what was measured, and what went wrong."""
    net = chosen.configurations[name]
    one = {"config": name, "round": round_, "faults": [], "measures": []}
    one |= {"networks": [], "notes": [], "channels": [0, 0], "nccl": ""}
    began, said = time.monotonic(), {}

    def heard(event):
        said.setdefault((event.fields["kind"], event.fields["bytes"]), {})[event.rank] = event.fields

    try:
        with launch.Ranks(chosen, f"{name}-{round_ + 1}", net) as ranks:
            try:
                ranks.collect(chosen.limit, heard)
            finally:
                if chosen.backend == "nccl":
                    network(one, ranks, net["NCCL_NET"])
        one["measures"] = [measure(chosen, kind, bytes_, by_rank) for (kind, bytes_), by_rank in said.items()]
        one["faults"] += [fault for measured in one["measures"] for fault in measured["faults"]]
        if not said:
            one["faults"].append("nothing was measured")
    except launch.Failed as why:
        one["faults"].append(str(why))
    one["took_s"] = round(time.monotonic() - began, 3)
    faults = "".join(f"\n  {fault}" for fault in one["faults"])
    print(f"round {round_ + 1}/{chosen.rounds} {name}: {one['took_s']:.1f} s, network {'+'.join(one['networks']) or 'unknown'}, "
          f"{one['channels'][0]} channels, {one['channels'][1]} per peer{faults}", file=sys.stderr, flush=True)
    return one


def network(one, ranks, expected):
    """Adds what NCCL's logs say about the network."""
    for rank in range(ranks.options.ranks):
        read = log.read(ranks.log(rank))
        one["networks"] = sorted(set(one["networks"]) | read.networks)
        one["channels"], one["nccl"], one["notes"] = read.channels, read.version, read.notes
        one["faults"] += [f"rank {rank}: {fault}" for fault in read.objections(expected)]


def measure(chosen, kind, bytes_, by_rank):
    """One measurement from what the ranks said of it."""
    if kind == "all_reduce":
        seconds = [max(each) for each in zip(*(fields["seconds"] for fields in by_rank.values()))]
        wire = 2 * (chosen.ranks - 1) * bytes_ * len(seconds)
    else:
        seconds = by_rank[min(by_rank)]["seconds"]
        wire = sum(fields.get("messages", 0) for fields in by_rank.values()) * bytes_
    return {
        "kind": kind,
        "bytes": bytes_,
        "ranks": chosen.ranks,
        "seconds": [round(each, 9) for each in seconds],
        "wire_bytes": wire,
        "cpu_s": sum(fields["cpu_s"] for fields in by_rank.values()),
        "main_cpu_s": sum(fields["main_cpu_s"] for fields in by_rank.values()),
        "faults": [f"rank {rank}, {kind} of {bytes_} B: {fault}" for rank, fields in by_rank.items() for fault in fields["faults"]],
    }


def bare(value):
    """A variable's value without the folder of a file."""
    return value.rpartition("/")[2] if value.startswith("/") else value


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
