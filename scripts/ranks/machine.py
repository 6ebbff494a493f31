"""What a machine is, for the results that are taken on it. Needs neither PyTorch nor a GPU."""

import os
import pathlib
import platform
import subprocess

ROOT = pathlib.Path(__file__).resolve().parents[2]


def facts(name=None):
    """The machine's name, processor, memory, kernel and GPUs."""
    gpus, driver = gpus_and_driver()
    return {
        "name": name or platform.node(),
        "cpu": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release().partition("-")[0],
        "gpus": gpus,
        "driver": driver,
    }


def load_per_core():
    """How many threads wanted each core in the last minute: a busy machine gives low figures."""
    return round(os.getloadavg()[0] / len(os.sched_getaffinity(0)), 2)


def processor():
    """The processor as the kernel names it."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def gpus_and_driver():
    """The names of the GPUs in their order, and the driver's version; nothing where there is no NVIDIA driver."""
    try:
        said = subprocess.run(
            ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"],
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout
    except (OSError, subprocess.SubprocessError):
        return [], None
    rows = [[cell.strip() for cell in line.split(",")] for line in said.splitlines() if line.strip()]
    return [row[0] for row in rows], rows[0][-1] if rows else None


def commit():
    """The commit of this work tree, with ", modified" behind it if files differ from it; None without git."""
    try:
        def git(*arguments):
            command = ["git", "-C", str(ROOT), *arguments]
            return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout.strip()

        if pathlib.Path(git("rev-parse", "--show-toplevel")).resolve() != ROOT:
            return None
        modified = ", modified" if git("status", "--porcelain", "--untracked-files=no") else ""
        return git("rev-parse", "--short=12", "HEAD") + modified
    except (OSError, subprocess.SubprocessError):
        return None
