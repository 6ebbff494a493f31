"""The examples run, and the stubs agree with the module."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import gputcp
import pytest

EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(example: Path) -> None:
    assert EXAMPLES
    done = subprocess.run([sys.executable, example], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and done.stdout and not done.stderr, done.stdout + done.stderr


def test_everything_public_has_a_page() -> None:
    for name in gputcp.__all__:
        thing = getattr(gputcp, name)
        assert thing.__module__ == "gputcp" and thing.__doc__, name
        for part in vars(thing).values():
            if callable(part) and not getattr(part, "__name__", "_").startswith("_"):
                assert part.__doc__, part
