"""Errors: the library's sentences, as Python's exceptions."""

from __future__ import annotations

import builtins
import pickle
from typing import Any

import gputcp
import numpy as np
import pytest
from peers import SOON, lender, pattern


def test_the_exceptions_are_builtin_ones_too() -> None:
    assert issubclass(gputcp.UsageError, (gputcp.Error)) and issubclass(gputcp.UsageError, ValueError)
    assert issubclass(gputcp.PeerError, gputcp.Error) and issubclass(gputcp.PeerError, ConnectionError)
    assert issubclass(gputcp.TimeoutError, gputcp.Error)
    assert issubclass(gputcp.TimeoutError, builtins.TimeoutError)
    error = pickle.loads(pickle.dumps(gputcp.TimeoutError("a sentence")))
    assert type(error) is gputcp.TimeoutError and str(error) == "a sentence"


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"address": "nowhere.invalid:0"}, "could not listen on nowhere.invalid:0"),
        ({"address": "0.0.0.0:0"}, "peers need an address that they can reach"),
        ({"streams": 0}, "0 streams were asked for"),
        ({"streams": -1}, "-1 streams were asked for"),
        ({"streams": 1 << 20}, "1048576 streams were asked for"),
        ({"key": "short"}, "the endpoint has a key of 5 bytes"),
        ({"key": 7}, "neither bytes nor str"),
        ({"timeout": -1}, "a timeout of -1 seconds was given"),
        ({"timeout": float("nan")}, "a timeout of NaN seconds was given"),
    ],
)
def test_an_endpoint_that_cannot_be(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(gputcp.UsageError, match=sentence):
        gputcp.Endpoint(**settings)


def test_blocks_that_cannot_be(endpoint: gputcp.Endpoint) -> None:
    with lender(4096, "r") as other:
        region, peer = endpoint.register(bytearray(4096)), endpoint.connect(other.address)
        key = other.key

        def refused(sentence: str, *blocks: Any) -> None:
            with pytest.raises(gputcp.UsageError, match=sentence):
                peer.read(blocks)

        refused("8 bytes from 4090 are not within the local region", (region, 4090, key, 0, 8))
        refused("block 1 of a read is bad: .* remote region", (region, 0, key, 0, 8), (region, 0, key, 4096, 1))
        refused("block 0 is no", (region, -1, key, 0, 8))
        refused("block 0 is no", (region, 1 << 70, key, 0, 8))
        refused("block 0 is no", (key, 0, region, 0, 8))
        refused("block 1 is no", (region, 0, key, 0, 8), (region, 0, key, 0))
        refused("block 0 is no", "abcde")
        refused("a region's key has 40 bytes, and 3 were given", (region, 0, b"abc", 0, 8))
        refused("a region's key is none", (region, 0, bytes(40), 0, 8))
        with pytest.raises(gputcp.UsageError, match="the remote region allows no write"):
            peer.write([(region, 0, key, 0, 8)])
        with pytest.raises(gputcp.UsageError, match="2 local and 1 remote indices"):
            peer.read_blocks(region, key, [0, 1], [0], 8)
        with pytest.raises(gputcp.UsageError, match="the local index -1 is none"):
            peer.read_blocks(region, key, np.array([0, -1]), np.array([0, 1]), 8)
        with pytest.raises(gputcp.UsageError, match="the remote index -1 is none"):
            peer.read_blocks(region, key, [0], [-1], 8)
        with pytest.raises(gputcp.UsageError, match="the local index 'a' is none"):
            peer.read_blocks(region, key, ["a"], [0], 8)  # type: ignore[list-item]
        with pytest.raises(gputcp.UsageError, match="the local index .*0.5.* is none"):
            peer.read_blocks(region, key, np.array([0.5]), [0], 8)
        with pytest.raises(gputcp.UsageError, match="neither an array of integers .* nor a sequence"):
            peer.read_blocks(region, key, None, [0], 8)  # type: ignore[arg-type]
        with pytest.raises(gputcp.UsageError, match="the local indices are an array of 2 dimensions: give one"):
            peer.read_blocks(region, key, np.array([[0, 1]]), np.array([0, 1]), 8)
        for nbytes in (-1, 1 << 70, 0.5):
            with pytest.raises(gputcp.UsageError, match=f"blocks of {nbytes} bytes were asked for"):
                peer.read_blocks(region, key, [0], [0], nbytes)  # type: ignore[arg-type]
        with pytest.raises(gputcp.UsageError, match="is past every region"):
            peer.read_blocks(region, key, [1 << 62], [0], 8)
        with pytest.raises(gputcp.UsageError, match="not within the local region"):
            peer.read_blocks(region, key, [512], [0], 8)
        with pytest.raises(gputcp.UsageError, match="128 bytes, and 3 were given"):
            endpoint.connect(b"abc")
        with pytest.raises(gputcp.UsageError, match="a note of 100000 bytes"):
            peer.notify(bytes(100_000))


def test_memory_that_cannot_be_registered(endpoint: gputcp.Endpoint) -> None:
    grid = np.zeros((8, 8), np.uint8)
    for part in (grid[:, :4], grid[::2], grid[:, 1]):
        with pytest.raises(gputcp.UsageError, match=r"a numpy.ndarray, whose memory must be contiguous"):
            endpoint.register(part)
    # In any order of the dimensions, memory without gaps is contiguous.
    endpoint.register(grid.T)
    endpoint.register(grid[2:4])
    with pytest.raises(gputcp.UsageError, match="it has no bytes"):
        endpoint.register(bytearray())
    with pytest.raises(gputcp.UsageError, match="a list: it has neither the buffer protocol"):
        endpoint.register([1, 2, 3])
    with pytest.raises(gputcp.UsageError, match='the rights "x" are none'):
        endpoint.register(bytearray(8), "x")  # type: ignore[arg-type]
    with pytest.raises(gputcp.UsageError, match="memory of GPU was registered: make the endpoint with"):
        endpoint.register(OnGpu((4, 4), None))
    with pytest.raises(gputcp.UsageError, match="must be contiguous"):
        endpoint.register(OnGpu((4, 4), (32, 4)))


class OnGpu:
    """As an array of CuPy, of which only the description is looked at."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...] | None) -> None:
        data = (1 << 40, False)
        self.__cuda_array_interface__ = {"data": data, "shape": shape, "strides": strides, "typestr": "<f4"}


def test_a_read_only_object_is_only_read(endpoint: gputcp.Endpoint) -> None:
    memory = bytes(pattern(1, 4096))
    frozen = np.frombuffer(memory, np.uint8)
    for read_only in (memory, frozen):
        with pytest.raises(gputcp.UsageError, match="a read-only object was registered for writes"):
            endpoint.register(read_only)
    region = endpoint.register(frozen, "r")
    with lender(4096) as other:
        peer = endpoint.connect(other.address)
        with pytest.raises(gputcp.UsageError, match="whose object is read-only"):
            peer.read([(region, 0, other.key, 0, 8)])
        with pytest.raises(gputcp.UsageError, match="whose object is read-only"):
            peer.read_blocks(region, other.key, [0], [0], 8)
        peer.write([(region, 0, other.key, 0, 4096)]).wait(SOON)
        assert np.array_equal(other.contents(), frozen)


def test_a_peer_refuses_a_region_that_is_gone(endpoint: gputcp.Endpoint) -> None:
    with lender(4096) as other:
        region, peer = endpoint.register(bytearray(4096)), endpoint.connect(other.address)
        other.ask("deregister")
        with pytest.raises(gputcp.Error, match="the peer refused block 0 of a read: no region has its key"):
            peer.read([(region, 0, other.key, 0, 8)]).wait(SOON)
        region.deregister()
        region.deregister()
        with pytest.raises(gputcp.UsageError, match="a transfer names a region that is deregistered"):
            peer.read([(region, 0, other.key, 0, 8)])


def test_a_dead_peer_fails_its_transfers(endpoint: gputcp.Endpoint) -> None:
    with lender(4096) as other:
        region, peer = endpoint.register(bytearray(4096)), endpoint.connect(other.address)
        transfer = peer.read([(region, 0, other.key, 0, 4096)])
        transfer.wait(SOON)
        other.pipe.send(("die",))
        with pytest.raises(gputcp.PeerError) as found:
            for _ in range(10_000):
                transfer.post()
                transfer.wait(SOON)
        assert isinstance(found.value, ConnectionError)
        with pytest.raises(gputcp.PeerError):
            peer.read([(region, 0, other.key, 0, 8)])
        assert isinstance(peer.failure, gputcp.PeerError)


def test_a_wait_has_a_bound_and_a_cancelled_transfer_an_end(endpoint: gputcp.Endpoint) -> None:
    with lender(8) as other:
        region, peer = endpoint.register(bytearray(8)), endpoint.connect(other.address)
        with other.stopped():
            transfer = peer.read([(region, 0, other.key, 0, 8)])
            with pytest.raises(gputcp.TimeoutError, match="a one-sided transfer with its peer took longer than"):
                transfer.wait(0.05)
            assert not transfer.done()
            with pytest.raises(gputcp.UsageError, match="under way"):
                transfer.post()
            assert repr(transfer) == "<gputcp.Transfer of 8 bytes, under way>"
            transfer.cancel()
        with pytest.raises(gputcp.Error, match="cancelled"):
            transfer.wait(SOON)
        assert repr(transfer) == "<gputcp.Transfer of 8 bytes, failed>"
        transfer.post()
        transfer.wait(SOON)
        assert repr(transfer) == "<gputcp.Transfer of 8 bytes, done>"


def test_a_closed_endpoint_says_so() -> None:
    with gputcp.Endpoint() as endpoint:
        region = endpoint.register(bytearray(8))
        peer = endpoint.connect(gputcp.Endpoint().address)
    for use in (endpoint.notes, lambda: endpoint.register(bytearray(8)), lambda: endpoint.connect(peer.address)):
        with pytest.raises(gputcp.UsageError, match="the endpoint is closed"):
            use()
    with pytest.raises(gputcp.Error):
        peer.read([(region, 0, region.key, 0, 8)])
    endpoint.close()
    region.deregister()


def test_both_ends_need_the_same_key() -> None:
    with lender(8, key="0123456789abcdef" * 2) as other:
        for key, is_same in (("0123456789abcdef" * 2, True), (b"fedcba9876543210" * 2, False), (None, False)):
            with gputcp.Endpoint(key=key, timeout=5) as endpoint:
                region, peer = endpoint.register(bytearray(8)), endpoint.connect(other.address)
                transfer = peer.read([(region, 0, other.key, 0, 8)])
                if is_same:
                    transfer.wait(SOON)
                else:
                    with pytest.raises(gputcp.PeerError, match="key"):
                        transfer.wait(SOON)
