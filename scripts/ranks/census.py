"""What this process holds, by /proc/self: threads by name, descriptors by kind, memory."""

import collections
import os
import pathlib
import re
import time


def threads():
    """Threads by name. Numbers in names are left out, so that two communicators' threads count as alike."""
    found = collections.Counter()
    for task in pathlib.Path("/proc/self/task").iterdir():
        try:
            found[re.sub(r"\d+", "", (task / "comm").read_text()).strip()] += 1
        except OSError:
            continue
    return found


def descriptors():
    """Open descriptors by kind: `socket`, `pipe`, `anon_inode:[eventfd]`, or a path."""
    found = collections.Counter()
    for link in pathlib.Path("/proc/self/fd").iterdir():
        try:
            found[re.sub(r":\[\d+\]$", "", os.readlink(link))] += 1
        except OSError:
            continue
    return found


def resident_bytes():
    """The process's resident memory."""
    return int(pathlib.Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def grown(before, after):
    """What there is more of than before, by name."""
    return {name: after[name] - before[name] for name in after if after[name] > before[name]}


def settled(before_threads, before_descriptors, within_s):
    """What is left over after that time at most: threads and descriptors that were not there before."""
    until = time.monotonic() + within_s
    while True:
        extra_threads = grown(before_threads, threads())
        extra_descriptors = grown(before_descriptors, descriptors())
        if not extra_threads and not extra_descriptors or time.monotonic() > until:
            return extra_threads, extra_descriptors
        time.sleep(0.05)
