"""The leading process: starts the ranks, hears them, and sees to it that none outlives the run or its time."""

import dataclasses
import json
import os
import pathlib
import selectors
import shutil
import signal
import subprocess
import sys
import tempfile
import time

from . import environment

# How often the processes are looked at, to see which have ended.
LOOK_S = 0.02


class Failed(Exception):
    """A run that did not do its work; the text is a sentence."""


@dataclasses.dataclass
class Said:
    """One message of one rank."""

    rank: int
    fields: dict
    at: float


@dataclasses.dataclass
class Ended:
    """A rank's process is gone; negative codes are signals."""

    rank: int
    code: int
    at: float


class Ranks:
    """The processes of one start, which has a name. Leaving the `with` kills whatever still runs."""

    def __init__(self, options, name, net, arguments=()):
        import torch.distributed as dist

        if options.device == "cuda":
            options.gpus = gpus(options)
        self.options = options
        self.folder = pathlib.Path(options.keep) / name if options.keep else pathlib.Path(tempfile.mkdtemp(prefix="nccl-ranks-"))
        self.folder.mkdir(parents=True, exist_ok=True)
        # The store is here and not in rank 0, so that it survives any rank.
        self.store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
        self.selector = selectors.DefaultSelector()
        self.processes, self.pipes, self.unread = {}, {}, {}
        self.running, self.waiting = set(), []
        try:
            for rank in range(options.ranks):
                self._start(rank, net, arguments)
        except BaseException:
            self.close()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def log(self, rank):
        """Where NCCL's log of a rank is."""
        return self.folder / f"rank-{rank}.nccl"

    def next(self, until):
        """What happens next, or None if nothing did until that time (of `time.monotonic`)."""
        while not self.waiting:
            left = until - time.monotonic()
            if left <= 0:
                return None
            for key, _ in self.selector.select(min(left, LOOK_S)):
                self._read(key.data)
            for rank in [rank for rank in self.running if self.processes[rank].poll() is not None]:
                self._read(rank)
                self.running.discard(rank)
                self.waiting.append(Ended(rank, self.processes[rank].returncode, time.monotonic()))
        return self.waiting.pop(0)

    def collect(self, limit_s, heard):
        """Waits until all ranks have finished, and gives each message to `heard`.

        Raises `Failed` if one reports an error, ends badly, or `limit_s` passes; the others get five seconds then."""
        deadline, living, finished, failure = time.monotonic() + limit_s, set(self.processes), set(), None
        while living:
            event = self.next(deadline)
            if event is None:
                if failure is None:
                    failure = f"ranks {sorted(living)} did not end within {limit_s:.0f} s"
                self.autopsy(living)
                break
            why = None
            if isinstance(event, Ended):
                living.discard(event.rank)
                if event.code or event.rank not in finished:
                    why = f"rank {event.rank} ended with {ending(event.code)} before it had finished"
            elif "error" in event.fields:
                why = f"rank {event.rank}: {event.fields['error']}"
            elif "finished" in event.fields:
                finished.add(event.rank)
            else:
                heard(event)
            if why and failure is None:
                failure = why
                deadline = min(deadline, time.monotonic() + 5)
                self.show(event.rank)
        if failure:
            raise Failed(failure)

    def signal(self, rank, number):
        """Sends a signal to a rank."""
        self.processes[rank].send_signal(number)

    def autopsy(self, ranks):
        """Says on stderr where these ranks hang: their Python stacks and what each thread of theirs does."""
        for rank in ranks:
            if self.processes[rank].poll() is None:
                self.signal(rank, signal.SIGUSR1)
        time.sleep(1)
        for rank in sorted(ranks):
            self.show(rank)
            for task in sorted(pathlib.Path(f"/proc/{self.processes[rank].pid}/task").glob("*")):
                try:
                    name, stat = (task / "comm").read_text().strip(), (task / "stat").read_text().rpartition(")")[2].split()
                    print(f"    thread {name}: {stat[0]}, {(int(stat[11]) + int(stat[12])) / 100} CPU s", file=sys.stderr)
                except OSError:
                    continue

    def show(self, rank):
        """Says on stderr what a rank printed last, and what NCCL warned of."""
        for line in tail(self.folder / f"rank-{rank}.err", 25):
            print(f"  rank {rank}: {line}", file=sys.stderr)
        for line in [line for line in tail(self.log(rank), 2000) if " WARN " in line][-5:]:
            print(f"  rank {rank}, NCCL: {line}", file=sys.stderr)

    def close(self):
        """Kills what runs, and forgets everything but a folder that is to be kept."""
        for process in self.processes.values():
            if process.poll() is None:
                process.kill()
        for rank, process in self.processes.items():
            try:
                process.wait(timeout=20)
            except subprocess.TimeoutExpired:
                print(f"rank {rank}, process {process.pid}, does not end even when it is killed", file=sys.stderr)
        self.selector.close()
        for hear in self.pipes.values():
            os.close(hear)
        if not self.options.keep:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _start(self, rank, net, arguments):
        # A log of an earlier run must not speak for this one.
        self.log(rank).unlink(missing_ok=True)
        hear, say = os.pipe()
        os.set_blocking(hear, False)
        command = [sys.executable, "-u", sys.argv[0], *sys.argv[1:], *arguments, "--as-rank", str(rank), "--say-to", str(say)]
        command += ["--store-port", str(self.store.port), "--gpus", str(self.options.gpus or 0)]
        with open(self.folder / f"rank-{rank}.err", "wb") as printed:
            self.processes[rank] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env=environment.of_rank(rank, self.options, net, self.log(rank)),
                pass_fds=[say],
            )
        os.close(say)
        self.pipes[rank], self.unread[rank] = hear, b""
        self.selector.register(hear, selectors.EVENT_READ, rank)
        self.running.add(rank)

    def _read(self, rank):
        while rank in self.pipes:
            try:
                piece = os.read(self.pipes[rank], 1 << 16)
            except BlockingIOError:
                return
            if not piece:
                hear = self.pipes.pop(rank)
                self.selector.unregister(hear)
                os.close(hear)
            lines = (self.unread[rank] + piece).split(b"\n")
            self.unread[rank] = lines.pop()
            self.waiting += [Said(rank, json.loads(line), time.monotonic()) for line in lines]


def gpus(options):
    """How many GPUs the ranks spread over, or `Failed` if they do not fit."""
    import torch

    there = torch.cuda.device_count()
    if there == 0:
        raise Failed("this machine has no GPU that PyTorch can use; --backend gloo --device cpu rehearses without")
    if options.ranks > there and not options.share_gpus:
        raise Failed(f"{options.ranks} ranks need as many GPUs, this machine has {there}: add --share-gpus or lower --ranks")
    return min(there, options.ranks)


def ending(code):
    """How a process ended, in words."""
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


def tail(path, lines):
    """The last lines of a file, of its last megabyte at most."""
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - (1 << 20)))
            return file.read().decode(errors="replace").splitlines()[-lines:]
    except OSError:
        return []


def run(main):
    """Runs a leading process: exit code 0 if `main` returns True, else 1, with a sentence on stderr if it raised `Failed`."""
    try:
        good = main()
    except Failed as why:
        print(f"failed: {why}", file=sys.stderr)
        good = False
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        good = False
    sys.exit(0 if good else 1)
