#!/usr/bin/env python3
"""How fast does NIXL move blocks over one backend, compared with another in the same run?

Two processes of this machine have an agent each. Configurations run in turn, each in fresh processes, as often as --rounds says,
in alternating order, so that a drifting machine harms all alike:

  ucx             NIXL's UCX backend over TCP, other defaults
  ucx-pipelined   with UCX_RMA_PPLN_ENABLE=y
  ucx-tuned       with the best settings that were found for TCP
  gputcp          the backend of this repository

Another one is given as NAME=BACKEND[,VAR=VALUE...] in --only. UCX has UCX_TLS=tcp (for GPUs tcp,cuda_copy) and UCX_NET_DEVICES of --interface:
between processes of one machine it would not use TCP otherwise.

A case 2000x64K~ is one transfer of 2000 blocks of 64 KiB, scattered at both ends; without the tilde the blocks are in a row.
Every iteration is verified outside of the timed part. A table on stdout: medians of the rounds' medians, GB/s (decimal), below
1 MiB microseconds; in brackets the times that it is as fast as the first configuration, the median of the rounds. Exit codes: 0 if
all bytes were right, 1 if not or a process failed, 2 usage.
"""

import argparse
import datetime
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import sys
import time
from statistics import median

from pair import cases, peer
from ranks import document, machine

ROOT = pathlib.Path(__file__).resolve().parents[1]
SCHEMA = "gputcp.nixl-bench/2"
PLUGIN = "libplugin_GPUTCP.so"
TUNED = {"UCX_TCP_TX_SEG_SIZE": "512K", "UCX_TCP_RX_SEG_SIZE": "512K", "UCX_MAX_RNDV_LANES": "4", "UCX_TCP_MAX_NUM_EPS": "64",
         "UCX_RNDV_FRAG_SIZE": "host:4M,cuda:4M"}


def known(chosen):
    """The configurations that have names."""
    ucx = {"UCX_TLS": "tcp,cuda_copy" if "VRAM" in chosen.memory else "tcp", "UCX_NET_DEVICES": chosen.interface}
    gputcp = {"NIXL_PLUGIN_DIR": str(chosen.plugin.parent), "GPUTCP_INTERFACE": f"={chosen.interface}"}
    return {
        "ucx": {"backend": "UCX", "env": ucx},
        "ucx-pipelined": {"backend": "UCX", "env": ucx | {"UCX_RMA_PPLN_ENABLE": "y"}},
        "ucx-tuned": {"backend": "UCX", "env": ucx | TUNED},
        "gputcp": {"backend": "GPUTCP", "env": gputcp},
    }


def memories(text):
    """The kinds of memory of both ends; one is that of both."""
    kinds = tuple(text.upper().split(","))
    if len(kinds) not in (1, 2) or not set(kinds) <= {"DRAM", "VRAM"}:
        raise argparse.ArgumentTypeError(f"{text} is no memory: give DRAM or VRAM, or two of them")
    return kinds if len(kinds) == 2 else kinds * 2


def parse():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--only", default="ucx,gputcp", metavar="LIST", help="configurations, separated by commas or, with settings, "
                      "by semicolons (default ucx,gputcp)")
    made.add_argument("--cases", type=cases.parse, default=cases.parse(cases.USUAL), metavar="LIST", help=f"default {cases.USUAL}")
    made.add_argument("--operations", type=lambda text: text.upper().split(","), default=["READ", "WRITE"], metavar="LIST")
    made.add_argument("--memory", type=memories, default=("DRAM", "DRAM"), metavar="KIND[,KIND]",
                      help="DRAM (default) or VRAM, of the initiator and of the target; VRAM needs PyTorch and a GPU")
    made.add_argument("--gpus", type=lambda text: [int(gpu) for gpu in text.split(",")], default=[0, 1], metavar="A,B",
                      help="the GPUs of both processes (default 0,1; may be the same)")
    made.add_argument("--rounds", type=int, default=2, metavar="N", help="starts of each configuration (default 2)")
    made.add_argument("--seconds", type=float, default=1.0, help="time for the iterations of a case (default 1)")
    made.add_argument("--least", type=int, default=3, metavar="N", help="iterations at least (default 3)")
    made.add_argument("--most", type=int, default=50, metavar="N", help="iterations at most (default 50)")
    made.add_argument("--limit", type=float, default=600, metavar="SECONDS", help="a start that takes longer has failed (default 600)")
    made.add_argument("--plugin", type=pathlib.Path, default=None, metavar="PATH", help=f"the file {PLUGIN} (default: in target/release)")
    made.add_argument("--interface", default="lo", metavar="NAME", help="the interface for all configurations (default lo)")
    made.add_argument("--json", metavar="FILE", help="write the results as a document")
    made.add_argument("--machine", metavar="NAME", help="what the document calls this machine (default: its host name)")
    made.add_argument("--commit", metavar="HASH", help="the commit that the plugin was built from (default: this work tree's)")
    chosen = made.parse_args()
    chosen.load_per_core = machine.load_per_core()
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    chosen.plugin = (chosen.plugin or target / "release" / PLUGIN).resolve()
    try:
        chosen.configurations = dict(configuration(text, known(chosen)) for text in split(chosen.only))
    except ValueError as why:
        made.error(str(why))
    if any(one["backend"] == "GPUTCP" for one in chosen.configurations.values()) and not chosen.plugin.is_file():
        made.error(f"there is no backend at {chosen.plugin}: build it (cargo build --release -p gputcp-nixl) or name it with --plugin")
    if set(chosen.operations) - {"READ", "WRITE"}:
        made.error("--operations: READ, WRITE or both")
    return chosen


def split(text):
    return [part.strip() for part in text.split(";" if ";" in text or "=" in text else ",")]


def configuration(text, named):
    """A configuration from its name, or from NAME=BACKEND,VAR=VALUE,..."""
    name, _, rest = text.partition("=")
    if not rest:
        if name not in named:
            raise ValueError(f"--only {name}: there are {', '.join(named)}, or give NAME=BACKEND,VAR=VALUE")
        return name, named[name]
    backend, *pairs = rest.split(",")
    env = {}
    for pair in pairs:
        variable, equals, value = pair.partition("=")
        if not equals:
            raise ValueError(f"--only {text}: {pair} is no VAR=VALUE")
        env[variable] = value
    like = next((one["env"] for one in named.values() if one["backend"] == backend), {})
    return name, {"backend": backend, "env": like | env}


def lead(chosen):
    """All starts, then the table."""
    starts, names = [], list(chosen.configurations)
    for round_ in range(chosen.rounds):
        for name in names if round_ % 2 == 0 else reversed(names):
            started = start(chosen, chosen.configurations[name], round_)
            starts.append({"round": round_, "configuration": name, **started})
            if started["failed"]:
                print(f"{name}, round {round_}: {started['failed']}", file=sys.stderr)
    if chosen.json:
        with open(chosen.json, "w") as file:
            file.write(document.text(head(chosen) | {"starts": starts}))
    for line in table(chosen, starts):
        print(line)
    return not any(one["failed"] or any(result["faults"] for result in one["results"]) for one in starts)


def start(chosen, configuration_, round_):
    """One run of both processes."""
    context = multiprocessing.get_context("spawn")
    direct = context.Pipe()
    ears, processes = [], []
    for end in (0, 1):
        ear, mouth = context.Pipe(duplex=False)
        arguments = (end, chosen, configuration_, 1000 * round_ + 7, mouth, direct[end])
        processes.append(context.Process(target=peer.run, args=arguments, daemon=True))
        processes[-1].start()
        mouth.close()
        ears.append(ear)
    for pipe in direct:
        pipe.close()
    results, failed, deadline = [], None, time.monotonic() + chosen.limit
    while ears and not failed:
        ready = multiprocessing.connection.wait(ears, timeout=max(0, deadline - time.monotonic()))
        if not ready:
            failed = f"not done within {chosen.limit:.0f} s"
        for ear in ready:
            try:
                said = ear.recv()
            except EOFError:
                ears.remove(ear)
                continue
            if "failed" in said:
                failed = f"the {said['failed']} has failed:\n{said['why']}"
            else:
                results.append(said)
    for process in processes:
        process.join(0 if failed else 20)
        if process.is_alive():
            process.kill()
    expected = len(chosen.cases) * len(chosen.operations)
    if not failed and len(results) < expected:
        failed = f"a process ended after {len(results)} of {expected} measurements"
    return {"failed": failed, "results": results}


def table(chosen, starts):
    """The lines of the table."""
    names = list(chosen.configurations)
    kinds = [kind if kind == "DRAM" else f"VRAM of GPU {gpu}" for kind, gpu in zip(chosen.memory, chosen.gpus)]
    where = "DRAM" if kinds == ["DRAM", "DRAM"] else " and ".join(kinds)
    yield f"# {where}, {chosen.interface}, {os.cpu_count()} cores, medians of {chosen.rounds} rounds; [times {names[0]}]"
    yield row("one transfer", names)
    for case in chosen.cases:
        for operation in chosen.operations:
            unit = "µs" if case.bytes < cases.LATENCY_BELOW else "GB/s"
            cells = [cell(case, operation, starts, name, names[0]) for name in names]
            yield row(f"{case.text} {operation}, {unit}", cells)
    faults = sum(result["faults"] for one in starts for result in one["results"])
    failed = sum(bool(one["failed"]) for one in starts)
    iterations = sum(len(result["seconds"]) for one in starts for result in one["results"])
    yield f"# {iterations} timed transfers, {faults} with wrong bytes, {failed} of {len(starts)} starts failed"


def cell(case, operation, starts, name, first):
    mine, base = times(case, operation, starts, name), times(case, operation, starts, first)
    if not mine:
        return "-"
    seconds = median(mine.values())
    text = f"{seconds * 1e6:.0f}" if case.bytes < cases.LATENCY_BELOW else f"{case.bytes / seconds / 1e9:.2f}"
    both = [base[round_] / mine[round_] for round_ in mine if round_ in base]
    return text if name == first or not both else f"{text} [{median(both):.1f}]"


def times(case, operation, starts, name):
    """The median of each round."""
    return {one["round"]: median(result["seconds"]) for one in starts if one["configuration"] == name
            for result in one["results"] if (result["case"], result["operation"]) == (case.text, operation)}


def row(title, cells_):
    return f"{title:<24}" + "".join(f"{text:>16}" for text in cells_)


def head(chosen):
    """The fields of the document that say what ran where."""
    return {
        "schema": SCHEMA,
        "machine": machine.facts(chosen.machine),
        "commit": chosen.commit or machine.commit(),
        "taken": datetime.date.today().isoformat(),
        "load_per_core": chosen.load_per_core,
        "memory": chosen.memory,
        "gpus": [gpu for kind, gpu in zip(chosen.memory, chosen.gpus) if kind == "VRAM"],
        "interface": chosen.interface,
        # A folder of this machine says nothing to others.
        "configurations": {name: {"backend": one["backend"], "env": {variable: value for variable, value in one["env"].items()
                                                                     if variable != "NIXL_PLUGIN_DIR"}}
                           for name, one in chosen.configurations.items()},
    }


if __name__ == "__main__":
    sys.exit(0 if lead(parse()) else 1)
