"""NCCL's network plugin of this package: `python -m gputcp.nccl` prints the variables that switch it on."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from ._errors import UsageError

_OLDEST = (2, 12)


def plugin() -> Path:
    """Returns the path of the plugin."""
    path = Path(__file__).parent / "_native" / "libnccl-net-gputcp.so"
    if not path.is_file():
        raise UsageError(f"this installation has no NCCL plugin at {path}: build the wheel by cargo xtask python")
    return path


def variables() -> dict[str, str]:
    """Returns the environment variables with which NCCL uses the plugin, and no other network if it fails."""
    return {"NCCL_NET_PLUGIN": str(plugin()), "NCCL_NET": "gputcp", "NCCL_NET_PLUGIN_REF_COUNT": "1"}


def objections(environment: Mapping[str, str] = os.environ) -> list[str]:
    """Returns a sentence for each thing that keeps NCCL from using the plugin."""
    found = []
    for name, value in variables().items():
        other = environment.get(name, value)
        if other not in (value, "gputcp"):
            found.append(f"the variable {name} is {other!r} already, and gputcp needs {value!r}: unset {name}")
    for package in ("nvidia-nccl-cu13", "nvidia-nccl-cu12", "nvidia-nccl-cu11"):
        try:
            version = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
        numbers = tuple(int(number) for number in version.split(".")[:2] if number.isdecimal())
        if numbers < _OLDEST:
            found.append(f"the package {package} is NCCL {version}, and plugins need 2.12 or later: upgrade it")
    return found


def main() -> int:
    try:
        lines = [f"export {name}={shlex.quote(value)}" for name, value in variables().items()]
        for sentence in objections():
            print(f"gputcp: {sentence}", file=sys.stderr)
    except UsageError as error:
        print(f"gputcp: {error}", file=sys.stderr)
        return 2
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
