"""A rank: who it is, its device, its process groups, and the pipe on which it reports to the leading process."""

import ctypes
import datetime
import faulthandler
import json
import os
import resource
import signal
import sys
import traceback

import torch
import torch.distributed as dist


class Rank:
    """This process, one of `count` alike."""

    def __init__(self, options):
        self.number, self.count = options.as_rank, options.ranks
        self.backend = options.backend
        if options.device == "cuda":
            self.device = torch.device("cuda", self.number % options.gpus)
            torch.cuda.set_device(self.device)
        else:
            self.device = torch.device("cpu")
            torch.set_num_threads(1)
        self.pipe = os.fdopen(options.say_to, "w", buffering=1)
        self.store = dist.TCPStore("127.0.0.1", options.store_port, is_master=False, timeout=datetime.timedelta(seconds=120))

    def say(self, **fields):
        """Tells the leading process."""
        print(json.dumps(fields), file=self.pipe, flush=True)

    def open_group(self, name="world", timeout_s=60):
        """The group of all ranks; the communicator is made now, not with the first operation."""
        dist.init_process_group(
            self.backend,
            store=dist.PrefixStore(name, self.store),
            rank=self.number,
            world_size=self.count,
            timeout=datetime.timedelta(seconds=timeout_s),
            device_id=self.device if self.device.type == "cuda" else None,
        )

    def meet(self, place):
        """Waits for all ranks without touching NCCL. A place is for one meeting."""
        if self.store.add(f"{place}/here", 1) == self.count:
            self.store.set(f"{place}/go", "1")
        self.store.wait([f"{place}/go"])

    def finish_device(self):
        """Waits until the GPU has done all that was asked of it."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def run(options, main):
    """Runs `main(rank)` in this process, a rank: says `finished` if it returns, else `error`."""
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    die_with_parent()
    # A core of a process with a GPU is large, and slow to write.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    rank = Rank(options)
    try:
        main(rank)
        rank.say(finished=True)
    except Exception as error:  # Whatever it is, the leading process has to hear it.
        traceback.print_exc()
        rank.say(error=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
        sys.stderr.flush()
        # Not an orderly exit: that would wait for ranks which may never come.
        os._exit(1)


def die_with_parent():
    """Has the kernel kill this process when the leading one is gone, however it went (`PR_SET_PDEATHSIG`)."""
    parent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(1, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
