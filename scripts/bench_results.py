#!/usr/bin/env python3
"""Takes the project's figures on this machine and writes them into a folder, a JSON document for each question.

`cargo xtask bench-report` makes docs/benchmarks/README.md of these documents. This program needs Python alone, and a built
gputcp; it runs where there is neither cargo nor a network. The questions:

  host         host memory beside bare sockets
  soft         the software GPU beside bare sockets
  gpu          GPU memory beside the bare pipeline over the same sockets; skipped without a GPU
  sizes        messages from 4 KiB to 256 MiB, in each kind of memory that the machine has
  round-trips  there and back, from 1 KiB to 1 MiB
  nccl         NCCL over the plugin beside its own sockets (nccl_bench.py); skipped without PyTorch or with one GPU
  train-step   a training step (train_step.py); likewise

Each command runs as often as --rounds says, in turn with the others of its question, so that a drifting machine harms all alike.
A document holds every report as the command printed it. Exit code 0 if every command succeeded, else 1; what was written
before stays.
"""

import argparse
import datetime
import json
import os
import pathlib
import subprocess
import sys
import time

from ranks import document, machine

SCRIPTS = pathlib.Path(__file__).resolve().parent
SCHEMA = "gputcp.results/1"
LIMIT_S = 300
BUSY = 0.5
MIB_64, MIB_256, GIB_1 = ["-s", "64M", "-n", "40"], ["-s", "256M", "-n", "15"], ["-s", "1G", "-n", "6"]
QUICK = ["-s", "1M", "-n", "10"]
SWEEP = ["-b", "4K", "-e", "256M", "-f", "4", "-t", "1"]
LATENCIES = ["--latency", "-b", "1K", "-e", "1M", "-f", "4", "-n", "1000"]


def parse():
    made = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("folder", type=pathlib.Path, help="where the documents go; it is made")
    made.add_argument("--gputcp", metavar="PATH", help="the command (default: the release build in target/)")
    made.add_argument("--plugin", metavar="PATH", help="libnccl-net-gputcp.so (default: beside the command)")
    made.add_argument("--machine", metavar="NAME", help="what the machine is called in the documents (default: its host name)")
    made.add_argument("--rounds", type=int, default=3, metavar="N", help="runs of each command (default 3)")
    made.add_argument("--only", metavar="QUESTION,...", help=f"of {', '.join(QUESTIONS)}")
    made.add_argument("--quick", action="store_true", help="small and short: tries the program out, the figures are worth nothing")
    made.add_argument("--fast-socket", metavar="PATH", help="train-step: the FastSocket plugin, for comparison")
    chosen = made.parse_args()
    chosen.only = chosen.only.split(",") if chosen.only else list(QUESTIONS)
    if unknown := [name for name in chosen.only if name not in QUESTIONS]:
        made.error(f"--only: there is no {unknown[0]}, but {', '.join(QUESTIONS)}")
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", machine.ROOT / "target"))
    chosen.gputcp = pathlib.Path(chosen.gputcp or target / "release" / "gputcp").resolve()
    if not chosen.gputcp.is_file():
        made.error(f"there is no command at {chosen.gputcp}: build it (cargo build --release) or name it with --gputcp")
    beside = [chosen.gputcp.parent / name for name in ("libnccl-net-gputcp.so", "libnccl_net_gputcp.so")]
    chosen.plugin = chosen.plugin or next((str(path) for path in beside if path.is_file()), None)
    return chosen


class Run:
    """One use of this program."""

    def __init__(self, chosen):
        self.chosen = chosen
        said = subprocess.run([chosen.gputcp, "--version"], capture_output=True, text=True, timeout=60, check=True).stdout
        self.version = said.split()[1]
        self.commit = said.strip().partition("(")[2].rstrip(")") or None
        self.machine = machine.facts(chosen.machine)
        self.good = True

    def all(self):
        self.chosen.folder.mkdir(parents=True, exist_ok=True)
        for question in self.chosen.only:
            began = time.monotonic()
            done = QUESTIONS[question](self, question)
            if done:
                say(f"{question}: {time.monotonic() - began:.0f} s")
        return self.good

    def memories(self):
        return ["host", "soft"] + (["cuda"] if self.machine["gpus"] else [])

    def path(self, question):
        return self.chosen.folder / f"{self.machine['name']}.{question}.json"

    def measure(self, question, commands):
        """Runs each command in each round, and writes the document."""
        runs, load = [], machine.load_per_core()
        if load > BUSY:
            say(f"{question}: the machine is busy ({load} threads want each core): the figures will be low")
        for round_ in range(self.chosen.rounds):
            for arguments in commands if round_ % 2 == 0 else reversed(commands):
                report = self.report(arguments)
                if report:
                    runs.append({"command": " ".join(["gputcp", *arguments]), "round": round_, "report": report})
        self.good = self.good and len(runs) == len(commands) * self.chosen.rounds
        fields = {
            "schema": SCHEMA,
            "question": question,
            "machine": self.machine,
            "version": self.version,
            "commit": self.commit,
            "taken": datetime.date.today().isoformat(),
            "load_per_core": load,
            "runs": runs,
        }
        self.path(question).write_text(document.text(fields))
        return True

    def report(self, arguments):
        """What one command printed, or None, with a sentence on stderr."""
        shown = " ".join(["gputcp", *arguments])
        command = [self.chosen.gputcp, *arguments, "--quiet", "-J"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GPUTCP_")}
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, env=environment)
        except subprocess.TimeoutExpired:
            return say(f"{shown} did not end within {LIMIT_S} s")
        if done.returncode:
            return say(f"{shown} failed with exit code {done.returncode}: {done.stderr.strip()}")
        return json.loads(done.stdout)

    def transfers(self, question, memory, more=()):
        sizes = [QUICK] if self.chosen.quick else [MIB_64, MIB_256, *more]
        return self.measure(question, [["loopback", "-m", memory, *size] for size in sizes])

    def host(self, question):
        return self.transfers(question, "host")

    def soft(self, question):
        return self.transfers(question, "soft")

    def gpu(self, question):
        if not self.machine["gpus"]:
            return say("gpu: skipped, no GPU")
        return self.transfers(question, "cuda", [GIB_1, [*GIB_1, "-P", "12"]])

    def sizes(self, question):
        sweep = ["-b", "4K", "-e", "1M", "-f", "4", "-n", "10"] if self.chosen.quick else SWEEP
        return self.measure(question, [["loopback", "-m", memory, *sweep] for memory in self.memories()])

    def round_trips(self, question):
        sweep = [*LATENCIES[:-1], "50"] if self.chosen.quick else LATENCIES
        return self.measure(question, [["loopback", "-m", memory, *sweep] for memory in self.memories()])

    def nccl(self, question):
        quick = ["--only", "socket,gputcp", "--sizes", "8,64K,1M", "--volume", "2M"] if self.chosen.quick else []
        return self.script(question, "nccl_bench.py", quick)

    def train_step(self, question):
        more = ["--fast-socket", self.chosen.fast_socket] if self.chosen.fast_socket else []
        return self.script(question, "train_step.py", more + (["--tiny"] if self.chosen.quick else []))

    def script(self, question, name, more):
        """Runs another program of this folder, which writes its own document."""
        if len(self.machine["gpus"]) < 2:
            return say(f"{question}: skipped, fewer than two GPUs")
        if not self.chosen.plugin:
            self.good = False
            return say(f"{question}: there is no plugin beside the command: name it with --plugin")
        command = [sys.executable, SCRIPTS / name, "--json", self.path(question), "--rounds", str(self.chosen.rounds)]
        command += ["--machine", self.machine["name"], "--plugin", self.chosen.plugin, *more]
        command += ["--commit", self.commit] if self.commit else []
        done = subprocess.run(command, stdout=sys.stderr)
        self.good = self.good and done.returncode == 0
        return True


def say(text):
    print(text, file=sys.stderr, flush=True)


QUESTIONS = {
    "host": Run.host,
    "soft": Run.soft,
    "gpu": Run.gpu,
    "sizes": Run.sizes,
    "round-trips": Run.round_trips,
    "nccl": Run.nccl,
    "train-step": Run.train_step,
}


if __name__ == "__main__":
    sys.exit(0 if Run(parse()).all() else 1)
