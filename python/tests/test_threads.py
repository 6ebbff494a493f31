"""Threads, tasks, and the life of objects."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import gputcp
import numpy as np
import pytest
from peers import SOON, lender, pattern

BYTES = 1 << 20


def read_eight(endpoint: gputcp.Endpoint, other: Any) -> gputcp.Transfer:
    region = endpoint.register(bytearray(8))
    return endpoint.connect(other.address).read([(region, 0, other.key, 0, 8)])


@pytest.mark.parametrize("wait", ["transfer", "notes"])
def test_other_threads_run_while_one_waits(endpoint: gputcp.Endpoint, wait: str) -> None:
    ended = threading.Event()

    def wait_for_it(transfer: gputcp.Transfer) -> None:
        if wait == "notes":
            assert endpoint.notes(timeout=0.5) == []
        else:
            with pytest.raises(gputcp.TimeoutError):
                transfer.wait(0.5)
        ended.set()

    with lender(8) as other, other.stopped():
        transfer = read_eight(endpoint, other)
        thread, began, count = threading.Thread(target=wait_for_it, args=(transfer,)), time.monotonic(), 0
        thread.start()
        while not ended.is_set() and time.monotonic() - began < SOON:
            assert not transfer.done()
            count += 1
        thread.join()
        assert 0.4 < time.monotonic() - began < SOON
        assert count > 1000, "the waiting thread has kept the interpreter"


def test_ctrl_c_ends_a_wait(endpoint: gputcp.Endpoint) -> None:
    with lender(8) as other, other.stopped():
        transfer = read_eight(endpoint, other)
        timer = threading.Timer(0.2, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT])
        began = time.monotonic()
        timer.start()
        with pytest.raises(KeyboardInterrupt):
            transfer.wait(4)
        assert time.monotonic() - began < 3
        timer.join()


def test_a_wait_does_not_keep_another_thread_from_cancelling(endpoint: gputcp.Endpoint) -> None:
    failures: list[BaseException] = []

    def wait(transfer: gputcp.Transfer) -> None:
        try:
            transfer.wait(SOON)
        except gputcp.Error as error:
            failures.append(error)

    with lender(8) as other:
        with other.stopped():
            transfer = read_eight(endpoint, other)
            threads = [threading.Thread(target=wait, args=(transfer,)) for _ in range(4)]
            for thread in threads:
                thread.start()
            time.sleep(0.05)
            transfer.cancel()
        for thread in threads:
            thread.join(SOON)
    assert len(failures) == 4 and all("cancelled" in str(failure) for failure in failures)


def test_threads_post_and_wait_on_one_endpoint(endpoint: gputcp.Endpoint) -> None:
    """Many threads, whose waits, posts and releases of memory cross: none waits for another forever."""
    with lender(BYTES) as other:
        peer, theirs = endpoint.connect(other.address), pattern(2, BYTES)

        def work(number: int) -> None:
            for at in range(40):
                mine = bytearray(4096)
                region = endpoint.register(mine)
                offset = (number * 40 + at) * 512
                transfer = peer.read([(region, 0, other.key, offset, 4096)])
                transfer.wait(SOON)
                transfer.post()
                transfer.wait(SOON)
                assert mine == theirs[offset : offset + 4096].tobytes()
                if at % 2:
                    region.deregister()
                    mine.clear()

        threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SOON)
            assert not thread.is_alive()


def test_tasks_await_transfers_and_notes(endpoint: gputcp.Endpoint) -> None:
    mine = np.zeros(BYTES, np.uint8)

    async def program(other: Any) -> None:
        region, peer = endpoint.register(mine), endpoint.connect(other.address)

        async def read(at: int) -> None:
            await peer.read([(region, at * 4096, other.key, at * 4096, 4096)])

        await asyncio.gather(*(read(at) for at in range(BYTES // 4096)))
        assert np.array_equal(mine, pattern(2, BYTES))

        # A note that no task waits for any more is not lost.
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(endpoint.next_notes(), 0.05)
        notes = asyncio.create_task(endpoint.next_notes())
        await asyncio.sleep(0)
        other.ask("notify", endpoint.address, b"hello")
        assert await asyncio.wait_for(notes, SOON) == [(other.address, b"hello")]

        other.ask("deregister")
        with pytest.raises(gputcp.Error, match="no region has its key"):
            await peer.read([(region, 0, other.key, 0, 8)])

    with lender(BYTES) as other:
        asyncio.run(program(other))


def test_a_loop_sleeps_and_a_cancelled_task_leaves_its_transfer(endpoint: gputcp.Endpoint) -> None:
    async def sleeps(transfer: gputcp.Transfer) -> None:
        cpu = time.process_time()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(_end(transfer), 0.5)
        assert time.process_time() - cpu < 0.3
        assert not transfer.done()

    with lender(8) as other:
        with other.stopped():
            transfer = read_eight(endpoint, other)
            asyncio.run(sleeps(transfer))
        transfer.wait(SOON)


async def _end(transfer: gputcp.Transfer) -> None:
    await transfer


def test_objects_live_as_long_as_their_region(endpoint: gputcp.Endpoint) -> None:
    class Array(np.ndarray):
        """A type whose objects can be watched."""

    mine = pattern(1, BYTES).view(Array)
    expected, alive = mine.tobytes(), weakref.ref(mine)
    region = endpoint.register(mine)
    del mine
    gc.collect()
    assert alive() is not None
    with lender(BYTES) as other:
        endpoint.connect(other.address).write([(region, 0, other.key, 0, BYTES)]).wait(SOON)
        assert other.contents().tobytes() == expected
    region.deregister()
    gc.collect()
    assert alive() is None


def test_a_region_that_is_let_go_of_lets_go_of_its_object(endpoint: gputcp.Endpoint) -> None:
    memory = bytearray(BYTES)
    region = endpoint.register(memory)
    with pytest.raises(BufferError):
        memory.clear()
    del region
    deadline = time.monotonic() + SOON
    while memory:
        assert time.monotonic() < deadline
        try:
            memory.clear()
        except BufferError:
            time.sleep(0.001)


def test_memory_of_dlpack_is_kept_and_let_go_of(endpoint: gputcp.Endpoint) -> None:
    class Tensor:
        def __init__(self, array: np.ndarray) -> None:
            self.array = array

        def __dlpack__(self, **options: Any) -> Any:
            return self.array.__dlpack__(**options)

    array = pattern(1, BYTES).reshape(4, -1)
    before = sys.getrefcount(array)
    region = endpoint.register(Tensor(array))
    assert sys.getrefcount(array) > before and region.nbytes == BYTES
    with lender(BYTES) as other:
        endpoint.connect(other.address).read([(region, 0, other.key, 0, BYTES)]).wait(SOON)
        assert np.array_equal(array.reshape(-1), other.contents())
    region.deregister()
    assert sys.getrefcount(array) == before
    with pytest.raises(gputcp.UsageError, match="must be contiguous"):
        endpoint.register(Tensor(array[:, ::2]))


def test_nothing_is_left_of_a_thousand_regions_and_awaited_transfers(endpoint: gputcp.Endpoint) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    async def program(other: Any, count: int) -> None:
        peer = endpoint.connect(other.address)
        for _ in range(count):
            with endpoint.register(bytearray(64)) as region:
                await peer.read([(region, 0, other.key, 0, 64)])

    with lender(BYTES) as other:
        asyncio.run(program(other, 10))
        before = descriptors()
        asyncio.run(program(other, 1000))
        # Connections may still be coming up, a few descriptors each; one for each transfer would be a thousand.
        assert descriptors() < before + 20
