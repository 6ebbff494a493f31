"""Agents in two and three processes, used as vLLM's connector uses them: the producer does nothing but look for
notifications. Peers that stop, die, come back, and change their memory."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from nixl_cu12 import _bindings
from nodes import Cache, Node, agent, blocks_of, finished, move, notes, until

MakeNode = Callable[..., Node]
LAYERS, BLOCKS, BLOCK = 8, 64, 16_384
SHAPE = LAYERS, BLOCKS, BLOCK
TIMEOUT = float(os.environ["GPUTCP_TIMEOUT"])
LOST = (_bindings.nixlRemoteDisconnectError, _bindings.nixlNotFoundError)


def prepared(of: Any, cache: Cache, name: str, descriptors: Any) -> tuple[Any, Any]:
    return cache.prepared(), of.prep_xfer_dlist(name, descriptors, cache.kind)


def lost(of: Any, handle: Any, post: bool = True) -> float:
    """Waits until a transfer fails because its peer is lost, and returns the seconds."""
    began = time.monotonic()
    with pytest.raises(LOST):
        if post:
            of.transfer(handle)
        until("failure", lambda: of.check_xfer_state(handle) != "PROC", TIMEOUT + 3)
    return time.monotonic() - began


def forget(of: Any, name: str) -> None:
    """Has NIXL forget an agent. Some versions have done so by themselves when it was lost."""
    with contextlib.suppress(_bindings.nixlNotFoundError):
        of.remove_remote_agent(name)


def test_requests_from_prefill_to_decode(node: MakeNode) -> None:
    prefill = node("prefill", *SHAPE)
    decode = agent("decode")
    cache = Cache(decode, *SHAPE)
    name = decode.add_remote_agent(prefill.metadata)
    local, remote = prepared(decode, cache, name, prefill.descriptors)
    draw = np.random.default_rng(1)
    for request in range(12):
        prefill.ask("fill", request)
        wanted = blocks_of(request, *SHAPE)
        # The blocks of a request, in all layers.
        here, there = (draw.permutation(BLOCKS)[:20] for _ in range(2))
        rows = [(np.add.outer(np.arange(LAYERS) * BLOCKS, some)).reshape(-1) for some in (here, there)]
        note = f"request {request}:1".encode()
        before = cache.whole()
        handle = decode.make_prepped_xfer("READ", local, rows[0], remote, rows[1], note)
        move(decode, handle, note)
        decode.release_xfer_handle(handle)
        assert prefill.ask("notes", 1) == {"decode": [note]}
        before[rows[0]] = wanted[rows[1]]
        assert (cache.whole() == before).all()


def test_three_processes_read_and_write(node: MakeNode) -> None:
    middle = agent("middle")
    cache = Cache(middle, *SHAPE)
    cache.fill(5)
    half = list(range(cache.blocks // 2))
    other_half = [at + len(half) for at in half]
    reader, writer = node("reader", *SHAPE), node("writer", *SHAPE)
    writer.ask("fill", 50)
    for one in (reader, writer):
        one.ask("add", middle.get_agent_metadata())
    expected = cache.whole()
    writer.pipe.send(("move", ("WRITE", "middle", cache.descriptors, half, other_half, b"written")))
    reader.pipe.send(("move", ("READ", "middle", cache.descriptors, other_half, half, b"read")))
    assert notes(middle, 2) == {"writer": [b"written"], "reader": [b"read"]}
    expected[other_half] = blocks_of(50, *SHAPE)[half]
    assert (cache.whole() == expected).all()
    writer.answer()
    reader.answer()
    assert (reader.ask("whole")[other_half] == expected[half]).all()


def test_a_peer_that_comes_late_is_waited_for(node: MakeNode) -> None:
    late = node("late", 1, 16, 50_000)
    a = agent("a")
    cache = Cache(a, 1, 16, 50_000)
    late.ask("fill", 3)
    a.add_remote_agent(late.metadata)
    local, remote = prepared(a, cache, "late", late.descriptors)
    os.kill(late.process.pid, signal.SIGSTOP)
    try:
        handle = a.make_prepped_xfer("READ", local, list(range(16)), remote, list(range(16)), b"at last")
        began = time.monotonic()
        assert a.transfer(handle, b"at last") == "PROC"
        aborted = a.make_prepped_xfer("READ", local, [0], remote, [0], b"never")
        a.transfer(aborted, b"never")
        a.release_xfer_handle(aborted)
        assert time.monotonic() - began < 0.5
        time.sleep(1)
        assert a.check_xfer_state(handle) == "PROC"
    finally:
        os.kill(late.process.pid, signal.SIGCONT)
    assert finished(a, handle) == "DONE"
    assert (cache.whole() == blocks_of(3, 1, 16, 50_000)).all()
    assert late.ask("notes", 1) == {"a": [b"at last"]}


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_lost_peer_is_told_in_time_and_others_go_on(node: MakeNode, how: str) -> None:
    shape = 4, 32, 1 << 20
    victim, other = node("victim", *shape), node("other", *shape)
    a = agent("a")
    cache = Cache(a, *shape)
    other.ask("fill", 9)
    for one in (victim, other):
        a.add_remote_agent(one.metadata)
    rows = list(range(cache.blocks))
    local, remote = prepared(a, cache, "victim", victim.descriptors)
    handle = a.make_prepped_xfer("READ", local, rows, remote, rows, b"")
    move(a, handle)
    a.transfer(handle)
    if how == "killed":
        victim.kill()
        assert lost(a, handle, post=False) < TIMEOUT - 1
    else:
        os.kill(victim.process.pid, signal.SIGSTOP)
        assert lost(a, handle, post=False) < TIMEOUT + 1.5
        os.kill(victim.process.pid, signal.SIGCONT)
    forget(a, "victim")
    local, remote = prepared(a, cache, "other", other.descriptors)
    move(a, a.make_prepped_xfer("READ", local, rows, remote, rows, b"alive"), b"alive")
    assert (cache.whole() == blocks_of(9, *shape)).all()
    cache.deregister()


def test_all_parts_of_a_transfer_to_a_lost_peer_end(node: MakeNode) -> None:
    shape = 4, 32, 1 << 20, "VRAM"
    victim, other = node("victim", *shape, vram="soft"), node("other", *shape, vram="soft")
    a = agent("a", vram="soft")
    cache = Cache(a, *shape)
    other.ask("fill", 9)
    for one in (victim, other):
        a.add_remote_agent(one.metadata)
    rows = list(range(cache.blocks))
    local, remote = prepared(a, cache, "victim", victim.descriptors)
    # From each of two devices to each of two: four parts.
    handle = a.make_prepped_xfer("WRITE", local, rows, remote, rows[16:] + rows[:16], b"never")
    move(a, handle, b"never")
    a.transfer(handle, b"never")
    victim.kill()
    assert lost(a, handle, post=False) < TIMEOUT - 1
    forget(a, "victim")
    local, remote = prepared(a, cache, "other", other.descriptors)
    move(a, a.make_prepped_xfer("READ", local, rows, remote, rows, b"alive"), b"alive")
    assert (cache.whole() == blocks_of(9, *shape[:3])).all()
    cache.deregister()


def test_an_agent_ends_in_time_although_its_peer_is_stuck(node: MakeNode) -> None:
    shape = 4, 32, 1 << 20
    stuck, leaver = node("stuck", *shape), node("leaver", *shape)
    leaver.ask("add", stuck.metadata)
    rows = list(range(128))
    leaver.ask("move", "READ", "stuck", stuck.descriptors, rows, rows, b"")
    os.kill(stuck.process.pid, signal.SIGSTOP)
    leaver.ask("again")
    began = time.monotonic()
    leaver.close()
    assert time.monotonic() - began < TIMEOUT + 1
    os.kill(stuck.process.pid, signal.SIGCONT)


def test_an_agent_that_restarts_under_its_name_is_added_again(node: MakeNode) -> None:
    shape = 2, 16, 10_000
    a = agent("a")
    cache = Cache(a, *shape)
    rows = list(range(cache.blocks))
    handle = None
    for life in range(4):
        peer = node("peer", *shape)
        peer.ask("fill", life)
        a.add_remote_agent(peer.metadata)
        local, remote = prepared(a, cache, "peer", peer.descriptors)
        handle = a.make_prepped_xfer("READ", local, rows, remote, rows, b"hello")
        move(a, handle, b"hello")
        assert (cache.whole() == blocks_of(life, *shape)).all()
        assert peer.ask("notes", 1) == {"a": [b"hello"]}
        peer.kill()
        # Either a transfer finds that it is gone, or the program knows.
        if life % 2:
            assert lost(a, handle) < TIMEOUT - 1
        forget(a, "peer")


def test_metadata_is_partial_and_reloaded(node: MakeNode) -> None:
    source = agent("source")
    first, second = Cache(source, 1, 8, 4096), Cache(source, 1, 8, 4096)
    first.fill(1)
    second.fill(2)
    reader = node("reader", 1, 8, 4096)
    rows = list(range(8))
    part = source.get_partial_agent_metadata(first.registered, True, ["GPUTCP"])
    reader.ask("add", part)
    reader.ask("move", "READ", "source", first.descriptors, rows, rows, b"")
    assert (reader.ask("whole") == first.whole()).all()
    reader.ask("add", source.get_partial_agent_metadata(second.registered, False, ["GPUTCP"]))
    reader.ask("move", "READ", "source", second.descriptors, rows, rows, b"")
    assert (reader.ask("whole") == second.whole()).all()
    third = Cache(source, 1, 8, 4096)
    third.fill(3)
    for _ in range(2):
        reader.ask("add", source.get_agent_metadata())
    reader.ask("move", "READ", "source", third.descriptors, rows, rows, b"all")
    assert (reader.ask("whole") == third.whole()).all()
    assert "reader" in notes(source)


def test_memory_that_was_taken_back_is_refused(node: MakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    source = node("source", 1, 8, 4096)
    a = agent("a")
    cache = Cache(a, 1, 8, 4096)
    cache.fill(1)
    before = cache.whole()
    a.add_remote_agent(source.metadata)
    local, remote = prepared(a, cache, "source", source.descriptors)
    source.ask("deregister")
    handle = a.make_prepped_xfer("READ", local, list(range(8)), remote, list(range(8)), b"")
    with pytest.raises(_bindings.nixlBackendError):
        a.transfer(handle)
        until("failure", lambda: a.check_xfer_state(handle) != "PROC")
    assert "the peer refused block 0 of a read" in capfd.readouterr().err
    assert (cache.whole() == before).all()
    # The link goes on.
    source.ask("add", a.get_agent_metadata())
    source.ask("send", "a", b"still here")
    assert notes(a) == {"source": [b"still here"]}


def test_the_last_words_of_an_agent_arrive(node: MakeNode) -> None:
    a = agent("a")
    cache = Cache(a, 1, 8, 4096)
    for life in range(5):
        peer = node(f"peer {life}", 1, 8, 4096)
        peer.ask("fill", life)
        peer.ask("add", a.get_agent_metadata())
        peer.ask("move", "WRITE", "a", cache.descriptors, list(range(8)), list(range(8)), b"data")
        peer.ask("send", "a", b"bye")
        peer.close()
        assert notes(a, 2) == {f"peer {life}": [b"data", b"bye"]}
        assert (cache.whole() == blocks_of(life, 1, 8, 4096)).all()


def test_a_forked_child_is_refused_and_harms_nothing(node: MakeNode) -> None:
    peer = node("peer", 1, 8, 4096)
    peer.ask("fill", 1)
    a = agent("a")
    cache = Cache(a, 1, 8, 4096)
    a.add_remote_agent(peer.metadata)
    local, remote = prepared(a, cache, "peer", peer.descriptors)
    handle = a.make_prepped_xfer("READ", local, list(range(8)), remote, list(range(8)), b"")
    move(a, handle)
    child = os.fork()
    if child == 0:
        try:
            a.transfer(handle)
            os._exit(1)
        except _bindings.nixlNotAllowedError:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    move(a, handle)
    assert (cache.whole() == blocks_of(1, 1, 8, 4096)).all()
