"""Agents of NIXL with the backend GPUTCP, in this process and in others. Every wait has a bound."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from nixl_cu12._api import nixl_agent, nixl_agent_config

BACKEND = "GPUTCP"
SOON = 20.0


def agent(name: str, **parameters: str) -> nixl_agent:
    made = nixl_agent(name, nixl_agent_config(backends=[]))
    made.create_backend(BACKEND, parameters)
    return made


def contents(seed: int, nbytes: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, nbytes, np.uint8)


def until(what: str, found: Callable[[], Any], seconds: float = SOON) -> Any:
    deadline = time.monotonic() + seconds
    while not (result := found()):
        assert time.monotonic() < deadline, f"no {what} within {seconds} s"
        time.sleep(0.0005)
    return result


class Cache:
    """A cache of some layers, each registered alone, in blocks: as vLLM's connector has them."""

    def __init__(self, of: nixl_agent, layers: int, blocks: int, block: int, kind: str = "DRAM") -> None:
        self.agent, self.kind, self.block = of, kind, block
        self.blocks = layers * blocks
        self.layers = [np.zeros(blocks * block, np.uint8) for _ in range(layers)]
        # Two layers to a device, where layers are spread over devices.
        self.devices = [layer // 2 if kind == "VRAM" else 0 for layer in range(layers)]
        ranges = [
            (layer.ctypes.data, layer.nbytes, device, "")
            for layer, device in zip(self.layers, self.devices, strict=True)
        ]
        self.registered = of.register_memory(ranges, kind)
        self.descriptors = [
            (layer.ctypes.data + at * block, block, device)
            for layer, device in zip(self.layers, self.devices, strict=True)
            for at in range(blocks)
        ]

    def fill(self, seed: int) -> None:
        for number, layer in enumerate(self.layers):
            layer[:] = contents(seed + number, layer.nbytes)

    def whole(self) -> np.ndarray:
        """The blocks, one row each."""
        return np.concatenate(self.layers).reshape(self.blocks, self.block)

    def prepared(self) -> Any:
        return self.agent.prep_xfer_dlist("NIXL_INIT_AGENT", self.descriptors, self.kind)

    def deregister(self) -> None:
        self.agent.deregister_memory(self.registered)


def blocks_of(seed: int, layers: int, blocks: int, block: int) -> np.ndarray:
    """What `Cache.whole` is after `Cache.fill`."""
    return np.concatenate([contents(seed + at, blocks * block) for at in range(layers)]).reshape(-1, block)


def finished(of: nixl_agent, handle: Any, seconds: float = SOON) -> str:
    """Waits for a transfer that was posted, and returns its last state."""
    return until("end", lambda: (state := of.check_xfer_state(handle)) != "PROC" and state, seconds)


def move(of: nixl_agent, handle: Any, note: bytes = b"") -> None:
    assert of.transfer(handle, note) in ("PROC", "DONE")
    assert finished(of, handle) == "DONE"


def notes(of: nixl_agent, count: int = 1) -> dict[str, list[bytes]]:
    """Waits for so many notifications, and returns all that have come."""
    found: dict[str, list[bytes]] = {}

    def enough() -> bool:
        for name, some in of.get_new_notifs().items():
            found.setdefault(name, []).extend(some)
        return sum(map(len, found.values())) >= count

    until(f"{count} notifications", enough)
    return found


class Node:
    """An agent with a cache, in another process: it takes orders from a pipe, and does nothing by itself."""

    def __init__(self, name: str, *shape: Any, **parameters: str) -> None:
        self.pipe, there = multiprocessing.Pipe()
        context = multiprocessing.get_context("spawn")
        self.process = context.Process(target=_serve, args=(there, name, shape, parameters), daemon=True)
        self.process.start()
        there.close()
        self.metadata, self.descriptors = self.answer()

    def answer(self) -> Any:
        assert self.pipe.poll(SOON), "the other process does not answer"
        return self.pipe.recv()

    def ask(self, what: str, *arguments: Any) -> Any:
        self.pipe.send((what, arguments))
        return self.answer()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join(SOON)

    def close(self) -> None:
        self.pipe.close()
        with contextlib.suppress(ProcessLookupError):
            # A test may have stopped it.
            os.kill(self.process.pid, signal.SIGCONT)
        self.process.join(SOON)
        assert self.process.exitcode in (0, -signal.SIGKILL), "the other process did not end well"


class _Served:
    """The orders that a node takes."""

    def __init__(self, name: str, shape: tuple[Any, ...], parameters: dict[str, str]) -> None:
        self.agent = agent(name, **parameters)
        self.cache = Cache(self.agent, *shape)
        self.handle: Any = None

    def hello(self) -> tuple[bytes, list[tuple[int, int, int]]]:
        return self.agent.get_agent_metadata(), self.cache.descriptors

    def fill(self, seed: int) -> None:
        self.cache.fill(seed)

    def whole(self) -> np.ndarray:
        return self.cache.whole()

    def notes(self, count: int) -> dict[str, list[bytes]]:
        return notes(self.agent, count)

    def add(self, metadata: bytes) -> None:
        self.agent.add_remote_agent(metadata)

    def move(
        self,
        operation: str,
        remote: str,
        descriptors: list[tuple[int, int, int]],
        here: Iterable[int],
        there: Iterable[int],
        note: bytes,
    ) -> None:
        """Moves blocks from or to a remote agent, in one transfer."""
        local = self.cache.prepared()
        other = self.agent.prep_xfer_dlist(remote, descriptors, self.cache.kind)
        self.handle = self.agent.make_prepped_xfer(operation, local, list(here), other, list(there), note)
        move(self.agent, self.handle, note)

    def again(self) -> None:
        """Posts the transfer again, and does not wait for it."""
        self.agent.transfer(self.handle)

    def deregister(self) -> None:
        self.cache.deregister()

    def send(self, remote: str, note: bytes) -> None:
        self.agent.send_notif(remote, note)


def _serve(pipe: Connection, name: str, shape: tuple[Any, ...], parameters: dict[str, str]) -> None:
    served = _Served(name, shape, parameters)
    pipe.send(served.hello())
    try:
        while True:
            what, arguments = pipe.recv()
            pipe.send(getattr(served, what)(*arguments))
    except EOFError:
        pass
