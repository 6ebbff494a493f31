"""What other programs call by the package's entry points."""

from __future__ import annotations

import logging


def vllm() -> None:
    """Makes the weight transfer backend known in a process of vLLM. An old vLLM starts without it."""
    try:
        from . import vllm as adapter

        adapter.register()
    except Exception as error:
        logging.getLogger("gputcp").warning("the weight transfer backend gputcp is not there: %s", error)
