"""The command `gputcp`: `gputcp run` is this package's own; all else is the command of the project."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from . import nccl
from ._errors import UsageError

_USAGE = """\
usage: gputcp run [--] PROGRAM [ARGS]
  starts a program, such as torchrun train.py, with NCCL's network plugin of gputcp switched on; the processes
  that it starts have the same setting\
"""


def main() -> int:
    """Replaces this process by the program, and returns only if that fails."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["run"]:
        return _run(arguments[1:])
    command = Path(__file__).parent / "_native" / "gputcp"
    if not command.is_file():
        return _fail(f"this installation has no command at {command}: build the wheel by cargo xtask python")
    return _become(str(command), [str(command), *arguments], os.environ.copy())


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["--"]:
        del arguments[0]
    elif arguments[:1] in ([], ["-h"], ["--help"]) or arguments[0].startswith("-"):
        print(_USAGE, file=sys.stdout if arguments[:1] in (["-h"], ["--help"]) else sys.stderr)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    if not arguments:
        return _fail("no program was named: gputcp run -- torchrun train.py")
    try:
        objections = nccl.objections()
        if objections:
            return _fail("; ".join(objections))
        variables = nccl.variables()
    except UsageError as error:
        return _fail(str(error))
    print(f"gputcp: NCCL's network is {variables['NCCL_NET_PLUGIN']}, on all ranks started here", file=sys.stderr)
    return _become(arguments[0], arguments, os.environ | variables)


def _become(program: str, arguments: list[str], environment: dict[str, str]) -> int:
    try:
        os.execvpe(program, arguments, environment)
    except OSError as error:
        return _fail(f"could not start {program}: {error.strerror}", 127)


def _fail(sentence: str, code: int = 2) -> int:
    print(f"gputcp: {sentence}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
