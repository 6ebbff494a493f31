from __future__ import annotations

from collections.abc import Iterator

import gputcp
import pytest


@pytest.fixture
def endpoint() -> Iterator[gputcp.Endpoint]:
    with gputcp.Endpoint(streams=2, timeout=5) as endpoint:
        yield endpoint
