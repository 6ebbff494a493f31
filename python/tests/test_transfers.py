"""Transfers between two processes: every byte is compared."""

from __future__ import annotations

import array
from collections.abc import Callable
from typing import Any

import gputcp
import numpy as np
import pytest
from peers import SOON, lender, pattern

BYTES = 4 << 20


@pytest.mark.parametrize("device", [None, "soft"])
def test_bytes_are_read_and_written(device: str | None) -> None:
    mine = pattern(1, BYTES)
    with lender(BYTES, device=device, streams=2) as other, gputcp.Endpoint(device=device, streams=2) as here:
        region, peer = here.register(mine), here.connect(other.address)
        assert region.nbytes == BYTES and peer.address == other.address
        transfer = peer.read([(region, 7, other.key, 1000, 1 << 20)])
        transfer.wait(SOON)
        assert transfer.done() and transfer.nbytes == 1 << 20
        expected, theirs = pattern(1, BYTES), pattern(2, BYTES)
        expected[7 : 7 + (1 << 20)] = theirs[1000 : 1000 + (1 << 20)]
        assert np.array_equal(mine, expected)

        peer.write([(region, 0, other.key, 1, 3), (region, 99, other.key, 2 << 20, 1 << 20)]).wait(SOON)
        theirs[1:4], theirs[2 << 20 : 3 << 20] = mine[:3], mine[99 : 99 + (1 << 20)]
        assert np.array_equal(other.contents(), theirs)
        assert np.array_equal(mine, expected)
        assert peer.failure is None


def test_a_thousand_random_lists(endpoint: gputcp.Endpoint) -> None:
    rng = np.random.default_rng(3)
    mine, theirs = pattern(1, BYTES), pattern(2, BYTES)
    expected = mine.copy()
    with lender(BYTES) as other:
        region, peer = endpoint.register(mine), endpoint.connect(other.address)
        for number in range(1000):
            is_read = number % 2 == 0
            # Disjoint at the side that is written, anywhere at the other.
            lengths = rng.integers(1, 1 << rng.integers(1, 16), rng.integers(1, 20))
            at = np.cumsum(lengths + rng.integers(0, 50, len(lengths))) - lengths
            base = int(rng.integers(0, BYTES - int(at[-1] + lengths[-1]) + 1))
            written = [int(base + offset) for offset in at]
            sources = [int(rng.integers(0, BYTES - length + 1)) for length in lengths]
            pairs = list(zip(written, sources, map(int, lengths), strict=True))
            rng.shuffle(pairs)
            if is_read:
                peer.read([(region, to, other.key, source, length) for to, source, length in pairs]).wait(SOON)
                target, origin = expected, theirs
            else:
                peer.write([(region, source, other.key, to, length) for to, source, length in pairs]).wait(SOON)
                target, origin = theirs, expected
            for to, source, length in pairs:
                target[to : to + length] = origin[source : source + length]
        assert np.array_equal(mine, expected)
        assert np.array_equal(other.contents(), theirs)


Kind = Callable[[np.ndarray], Any]
KINDS: list[Kind] = [
    lambda indices: indices.tolist(),
    lambda indices: tuple(indices.tolist()),
    lambda indices: indices,
    lambda indices: indices.astype(np.int32),
    lambda indices: indices.astype(np.uint64),
    lambda indices: indices.astype(np.uint16),
    lambda indices: array.array("q", indices.tolist()),
    lambda indices: indices.data,
    lambda indices: np.repeat(indices, 2)[::2],
    lambda indices: OnlyDlpack(indices),
]


class OnlyDlpack:
    """As a tensor of PyTorch on the CPU: it has DLPack, and not the buffer protocol."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)


@pytest.mark.parametrize("kind", range(len(KINDS)))
def test_a_paged_cache_by_indices(endpoint: gputcp.Endpoint, kind: int) -> None:
    block_bytes, blocks = 1 << 10, 1 << 10
    mine = pattern(1, blocks * block_bytes).reshape(blocks, block_bytes)
    rng = np.random.default_rng(kind)
    local, remote = rng.permutation(blocks)[:300], rng.permutation(blocks)[:300]
    with lender(mine.nbytes) as other:
        region, peer = endpoint.register(mine), endpoint.connect(other.address)
        theirs = pattern(2, mine.nbytes).reshape(blocks, block_bytes)
        expected = mine.copy()
        expected[local] = theirs[remote]
        indices = KINDS[kind](local), KINDS[kind](remote)
        peer.read_blocks(region, other.key, *indices, block_bytes).wait(SOON)
        assert np.array_equal(mine, expected)

        indices = KINDS[kind](remote), KINDS[kind](local)
        peer.write_blocks(region, other.key, *indices, block_bytes, note=b"there").wait(SOON)
        theirs[local] = mine[remote]
        assert np.array_equal(other.contents().reshape(theirs.shape), theirs)
        assert other.notes() == [(endpoint.address, b"there")]


def test_a_transfer_is_posted_again_and_notes_come_after_it(endpoint: gputcp.Endpoint) -> None:
    mine = np.zeros(1 << 16, np.uint8)
    with lender(mine.nbytes) as other:
        region, peer = endpoint.register(mine), endpoint.connect(other.address)
        transfer = peer.write([(region, 0, other.key, 0, mine.nbytes)], note=b"0")
        for number in range(1, 20):
            transfer.wait(SOON)
            assert other.notes() == [(endpoint.address, b"%d" % (number - 1))]
            assert (other.contents() == number - 1).all()
            mine[:] = number
            transfer.post(b"%d" % number)
        transfer.wait(SOON)
        peer.notify(b"alone")
        other.ask("notify", endpoint.address, b"back")
        assert endpoint.notes(timeout=SOON) == [(other.address, b"back")]
        assert endpoint.notes() == [] and endpoint.notes(timeout=0.01) == []
