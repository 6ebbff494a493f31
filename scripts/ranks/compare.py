"""The same work over several networks: fresh processes for each, as NCCL reads its settings once, in alternating rounds."""

import sys
import time

from . import environment, launch, log

EIGHT_CHANNELS = {"NCCL_MIN_P2P_NCHANNELS": "8", "NCCL_NCHANNELS_PER_NET_PEER": "8", "NCCL_MIN_NCHANNELS": "8"}
FOUR_BY_FOUR = {"NCCL_SOCKET_NTHREADS": "4", "NCCL_NSOCKS_PERTHREAD": "4"}
CONFIG = "one more: the plugin with these variables, or another network with NCCL_NET=..."


def options(made, rounds, limit):
    """Adds the options of a comparison to a parser."""
    made.add_argument("--rounds", type=int, default=rounds, metavar="N", help=f"starts of each configuration (default {rounds})")
    made.add_argument("--only", metavar="NAME,...", help="these configurations of the list, in this order; the first is the base")
    made.add_argument("--config", action="append", default=[], metavar="NAME:VAR=VALUE,...", help=CONFIG)
    made.add_argument("--limit", type=float, default=limit, metavar="S", help=f"seconds for one start (default {limit})")


def networks(plugin, fast_socket=None):
    """Environments by name: NCCL's own sockets, and the plugin."""
    gputcp, socket = environment.gputcp(plugin or ""), environment.socket()
    known = {
        "socket": socket,
        "socket-4x4": socket | FOUR_BY_FOUR,
        "socket-4x4-8ch": socket | FOUR_BY_FOUR | EIGHT_CHANNELS,
        "gputcp": gputcp,
        "gputcp-8ch": gputcp | EIGHT_CHANNELS,
    }
    if fast_socket:
        known["fast-socket"] = {"NCCL_NET_PLUGIN": fast_socket, "NCCL_NET": "FastSocket"}
    return known


def chosen_ones(chosen, known, usual):
    """The environments of --only, else the usual ones, and those of --config. Raises ValueError with a sentence."""
    names = chosen.only.split(",") if chosen.only else usual
    if unknown := [name for name in names if name not in known]:
        raise ValueError(f"--only: there is no {unknown[0]}, but {', '.join(known)}")
    found = {name: known[name] for name in names}
    for text in chosen.config:
        name, _, pairs = text.partition(":")
        pairs = [pair for pair in pairs.split(",") if pair]
        if not name or name in found or not all(environment.is_pair(pair) for pair in pairs):
            raise ValueError(f"--config {text}: expected a new NAME:VAR=VALUE,VAR=VALUE")
        extra = dict(pair.split("=", 1) for pair in pairs)
        found[name] = (environment.socket() if extra.get("NCCL_NET") == "Socket" else known["gputcp"]) | extra
    return found


def starts(chosen, measures):
    """Every start. `measures(kind, bytes, fields of each rank)` makes a measure of what the ranks said."""
    made = []
    for round_ in range(chosen.rounds):
        names = list(chosen.configurations)
        for name in names if round_ % 2 == 0 else reversed(names):
            made.append(start(chosen, round_, name, measures))
    return made


def start(chosen, round_, name, measures):
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
        for (kind, bytes_), by_rank in said.items():
            one["measures"].append(measures(kind, bytes_, by_rank))
            faults = [f"rank {rank}, {kind} of {bytes_} B: {fault}" for rank, fields in by_rank.items() for fault in fields["faults"]]
            one["measures"][-1]["faults"] = faults
            one["faults"] += faults
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


def measure(chosen, kind, bytes_, by_rank, seconds, wire_bytes):
    """A measure: the seconds of each iteration, and the CPU time of all ranks."""
    return {
        "kind": kind,
        "bytes": bytes_,
        "ranks": chosen.ranks,
        "seconds": [round(each, 9) for each in seconds],
        "wire_bytes": wire_bytes,
        "cpu_s": sum(fields["cpu_s"] for fields in by_rank.values()),
        "main_cpu_s": sum(fields["main_cpu_s"] for fields in by_rank.values()),
    }


def slowest(by_rank):
    """Seconds of each iteration on its slowest rank."""
    return [max(each) for each in zip(*(fields["seconds"] for fields in by_rank.values()))]


def named(configurations):
    """The environments for a document: files without their folders, which are this machine's own affair."""
    return {name: {key: value.rpartition("/")[2] for key, value in net.items()} for name, net in configurations.items()}
