"""A second process: it lends memory, and says what is in it when it is asked."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from multiprocessing.connection import Connection
from typing import Any

import gputcp
import numpy as np

SOON = 20.0


class Lender:
    """The other process, in the view of a test."""

    def __init__(self, nbytes: int, rights: str, **options: Any) -> None:
        self.pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_lend, args=(there, nbytes, rights, options), daemon=True)
        self.process.start()
        there.close()
        self.address, self.key = self.ask()

    def ask(self, *question: Any) -> Any:
        if question:
            self.pipe.send(question)
        assert self.pipe.poll(SOON), "the other process does not answer"
        return self.pipe.recv()

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        """The process does nothing meanwhile, and its connections stay."""
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)

    def contents(self) -> np.ndarray:
        return np.frombuffer(self.ask("contents"), np.uint8)

    def notes(self) -> list[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = self.ask("notes")
        return found


@contextlib.contextmanager
def lender(nbytes: int, rights: str = "rw", **options: Any) -> Iterator[Lender]:
    other = Lender(nbytes, rights, **options)
    try:
        yield other
    finally:
        with contextlib.suppress(OSError):
            other.pipe.send(("end",))
        other.process.join(SOON)
        assert not other.process.is_alive()


def pattern(seed: int, nbytes: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)


def _lend(pipe: Connection, nbytes: int, rights: Any, options: dict[str, Any]) -> None:
    memory = pattern(2, nbytes)
    with gputcp.Endpoint(**options) as endpoint:
        region = endpoint.register(memory, rights)
        pipe.send((endpoint.address, region.key))
        while True:
            match pipe.recv():
                case ("contents",):
                    pipe.send(memory.tobytes())
                case ("notes",):
                    pipe.send(endpoint.notes(timeout=SOON))
                case ("notify", address, note):
                    endpoint.connect(address).notify(note)
                    pipe.send(None)
                case ("die",):
                    os._exit(1)
                case ("deregister",):
                    region.deregister(SOON)
                    pipe.send(None)
                case _:
                    region.deregister(SOON)
                    return
