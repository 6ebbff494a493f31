"""Awaiting transfers and notes: an event loop sleeps on one descriptor for each endpoint that its tasks use."""

from __future__ import annotations

import asyncio
import contextlib
import weakref
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._gputcp import Endpoint, Transfer


class _Waiters:
    """The tasks of one event loop that wait for one endpoint."""

    def __init__(self, loop: asyncio.AbstractEventLoop, source: Endpoint | Transfer) -> None:
        self.loop = loop
        self.watch = source._watch()
        self.tasks = 0
        self.waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}
        loop.add_reader(self.watch.fileno(), self.wake)

    def wake(self) -> None:
        """Wakes the tasks whose event has come, or has become an error, which they find themselves."""
        self.watch.clear()
        for future, is_due in self.waiting.items():
            if future.done():
                continue
            try:
                due = is_due()
            except Exception:
                due = True
            if due:
                future.set_result(None)

    async def event(self, is_due: Callable[[], bool]) -> None:
        """Sleeps until the next event for which `is_due` holds."""
        future = self.loop.create_future()
        self.waiting[future] = is_due
        try:
            await future
        finally:
            del self.waiting[future]


_waiters: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, _Waiters]] = weakref.WeakKeyDictionary()


@contextlib.contextmanager
def _joined(source: Endpoint | Transfer) -> Iterator[_Waiters]:
    loop, identity = asyncio.get_running_loop(), source._identity
    of_loop = _waiters.setdefault(loop, {})
    waiters = of_loop.get(identity)
    if waiters is None:
        waiters = of_loop[identity] = _Waiters(loop, source)
    waiters.tasks += 1
    try:
        yield waiters
    finally:
        waiters.tasks -= 1
        if waiters.tasks == 0:
            loop.remove_reader(waiters.watch.fileno())
            del of_loop[identity]


async def end_of(transfer: Transfer) -> None:
    """Returns when the transfer is done. A task that is cancelled meanwhile leaves it under way."""
    if transfer.done():
        return
    with _joined(transfer) as waiters:
        # The end may have come before the descriptor was there to tell.
        while not transfer.done():
            await waiters.event(transfer.done)


async def next_notes(endpoint: Endpoint) -> list[tuple[bytes, bytes]]:
    """Returns the notes that have come, as soon as there is one. A task that is cancelled takes none."""
    notes = endpoint.notes()
    if notes:
        return notes
    with _joined(endpoint) as waiters:
        while not (notes := endpoint.notes()):
            await waiters.event(lambda: True)
    return notes
