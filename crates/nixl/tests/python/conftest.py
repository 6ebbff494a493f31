from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

# The bound on each wait for a peer, and the interface: read when a backend is made, in this process and others.
os.environ.setdefault("GPUTCP_TIMEOUT", "5")
os.environ.setdefault("GPUTCP_STREAMS", "2")
os.environ.setdefault("GPUTCP_INTERFACE", "lo")

import nodes  # noqa: E402
import pytest  # noqa: E402


@pytest.fixture
def node() -> Iterator[Callable[..., nodes.Node]]:
    """Makes agents in other processes, and ends them after the test."""
    made: list[nodes.Node] = []

    def make(name: str, *shape: Any, **parameters: str) -> nodes.Node:
        made.append(nodes.Node(name, *shape, **parameters))
        return made[-1]

    yield make
    for one in made:
        one.close()
