"""Agents in one process: each operation, sizes and alignments, notifications, repost, abort, threads."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from nixl_cu12 import _bindings
from nodes import Cache, agent, contents, finished, move, notes, until

KINDS = ["DRAM", "VRAM"]


def pair(kind: str, *shape: int, **parameters: str) -> tuple[Any, Any, Cache, Cache]:
    """Two agents that know each other; VRAM is that of software GPUs, two layers on each."""
    a, b = agent("a", vram="soft", **parameters), agent("b", vram="soft", **parameters)
    caches = Cache(a, *shape, kind), Cache(b, *shape, kind)
    a.add_remote_agent(b.get_agent_metadata())
    b.add_remote_agent(a.get_agent_metadata())
    return a, b, *caches


def handle_of(a: Any, b: str, operation: str, here: Cache, there: Cache, order: Any, note: bytes = b"") -> Any:
    local, remote = here.prepared(), a.prep_xfer_dlist(b, there.descriptors, there.kind)
    return a.make_prepped_xfer(operation, local, list(range(len(order))), remote, [int(at) for at in order], note)


@pytest.mark.parametrize("kind", KINDS)
def test_blocks_are_read_and_written_anywhere_and_again(kind: str) -> None:
    # Six layers are three devices: a transfer has nine parts.
    a, b, here, there = pair(kind, 6, 16, 12_345)
    order = np.random.default_rng(1).permutation(there.blocks)
    handle = handle_of(a, "b", "READ", here, there, order, b"read")
    for round in range(3):
        there.fill(100 * round)
        move(a, handle, b"read")
        assert (here.whole() == there.whole()[order]).all()
    assert notes(b, 3) == {"a": [b"read"] * 3}
    here.fill(7)
    writing = handle_of(a, "b", "WRITE", here, there, order, b"written")
    assert a.transfer(writing, b"written") in ("PROC", "DONE")
    # The notification is the only word to the target, and the initiator does not poll.
    assert notes(b) == {"a": [b"written"]}
    assert (there.whole()[order] == here.whole()).all()
    assert finished(a, writing) == "DONE"


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_any_sizes_and_alignments(kind: str) -> None:
    a, b, here, there = pair(kind, 4, 1, 3_000_000)
    draw = np.random.default_rng(2)
    for round in range(40):
        there.fill(round)
        expected = [layer.copy() for layer in here.layers]
        local, remote = [], []
        at = [0] * len(here.layers)
        for _ in range(int(draw.integers(1, 60))):
            nbytes = int(min(2 ** draw.uniform(0, 20), 1 << 20))
            # Sources may overlap, destinations may not.
            to, source = int(draw.integers(4)), int(draw.integers(4))
            start = int(draw.integers(0, 3_000_000 - nbytes))
            gap = int(draw.integers(0, 100))
            if at[to] + gap + nbytes > 3_000_000:
                continue
            at[to] += gap
            local.append((here.layers[to].ctypes.data + at[to], nbytes, here.devices[to]))
            remote.append((there.layers[source].ctypes.data + start, nbytes, there.devices[source]))
            expected[to][at[to] : at[to] + nbytes] = there.layers[source][start : start + nbytes]
            at[to] += nbytes
        lists = a.get_xfer_descs(local, kind), a.get_xfer_descs(remote, kind)
        handle = a.initialize_xfer("READ", *lists, "b")
        move(a, handle)
        for found, wanted in zip(here.layers, expected, strict=True):
            assert (found == wanted).all()


def test_host_and_device_memory_mix() -> None:
    a, b = agent("a", vram="soft"), agent("b", vram="soft")
    host, device = Cache(a, 2, 8, 5000, "DRAM"), Cache(b, 4, 4, 5000, "VRAM")
    a.add_remote_agent(b.get_agent_metadata())
    device.fill(1)
    move(a, handle_of(a, "b", "READ", host, device, range(16)))
    assert (host.whole() == device.whole()).all()
    host.fill(2)
    move(a, handle_of(a, "b", "WRITE", host, device, range(16)))
    assert (host.whole() == device.whole()).all()


def test_an_agent_moves_its_own_memory() -> None:
    a = agent("a")
    cache = Cache(a, 2, 10, 4096)
    cache.fill(3)
    before = cache.whole()
    local, remote = cache.prepared(), a.prep_xfer_dlist("a", cache.descriptors, "DRAM")
    handle = a.make_prepped_xfer("WRITE", local, list(range(10)), remote, list(range(10, 20)), b"to myself")
    move(a, handle, b"to myself")
    assert (cache.whole()[10:] == before[:10]).all()
    assert notes(a) == {"a": [b"to myself"]}
    a.send_notif("a", b"alone")
    assert notes(a) == {"a": [b"alone"]}


def test_notifications_of_any_length_name_their_sender() -> None:
    target, senders = agent("target"), [agent(f"sender {at}") for at in range(3)]
    sent = {}
    for at, sender in enumerate(senders):
        sender.add_remote_agent(target.get_agent_metadata())
        sent[f"sender {at}"] = [contents(at, nbytes).tobytes() for nbytes in (0, 1, 20_000, 300_000)]
        for note in sent[f"sender {at}"]:
            sender.send_notif("target", note)
    assert notes(target, 12) == sent
    with pytest.raises(_bindings.nixlInvalidParamError):
        senders[0].send_notif("target", bytes((16 << 20) + 1))


def test_a_long_notification_follows_its_data() -> None:
    a, b, here, there = pair("DRAM", 1, 32, 100_000)
    here.fill(4)
    note = contents(5, 50_000).tobytes()
    handle = handle_of(a, "b", "WRITE", here, there, range(32), note)
    assert a.transfer(handle, note) in ("PROC", "DONE")
    assert notes(b) == {"a": [note]}
    assert (here.whole() == there.whole()).all()


def test_the_same_memory_is_registered_twice() -> None:
    a, b, here, there = pair("DRAM", 1, 4, 4096)
    whole = there.layers[0]
    again = b.register_memory([(whole.ctypes.data, whole.nbytes, 0, "")], "DRAM")
    part = b.register_memory([(whole.ctypes.data + 100, 5000, 0, "")], "DRAM")
    a.remove_remote_agent("b")
    a.add_remote_agent(b.get_agent_metadata())
    there.fill(6)
    move(a, handle_of(a, "b", "READ", here, there, range(4)))
    assert (here.whole() == there.whole()).all()
    b.deregister_memory(part)
    b.deregister_memory(again)


def test_a_released_transfer_ends_and_memory_can_be_taken_back() -> None:
    a, b, here, there = pair("DRAM", 4, 64, 1 << 18)
    there.fill(8)
    for _ in range(20):
        handle = handle_of(a, "b", "READ", here, there, range(there.blocks), b"never")
        a.transfer(handle, b"never")
        a.release_xfer_handle(handle)
    here.deregister()
    for layer in here.layers:
        layer[:] = 1
    # What was under way is over: no byte changes any more.
    move(b, handle_of(b, "b", "READ", there, there, range(1)))
    assert all((layer == 1).all() for layer in here.layers)


def test_a_transfer_that_is_under_way_is_not_posted_again() -> None:
    a, b, here, there = pair("DRAM", 1, 64, 1 << 20)
    handle = handle_of(a, "b", "READ", here, there, range(64))
    a.transfer(handle)
    with pytest.raises(_bindings.nixlRepostActiveError):
        while True:
            a.transfer(handle)
    assert finished(a, handle) == "DONE"


def test_threads_share_an_agent() -> None:
    a, b, here, there = pair("DRAM", 8, 32, 4096)
    there.fill(9)
    failures: list[BaseException] = []

    def work(layer: int) -> None:
        try:
            rows = range(layer * 32, layer * 32 + 32)
            local, remote = here.prepared(), a.prep_xfer_dlist("b", there.descriptors, "DRAM")
            for _ in range(30):
                handle = a.make_prepped_xfer("READ", local, list(rows), remote, list(rows), b"x")
                move(a, handle, b"x")
                a.release_xfer_handle(handle)
        except BaseException as error:
            failures.append(error)

    def meet(number: int) -> None:
        try:
            for at in range(5):
                other = agent(f"other {number} {at}")
                cache = Cache(other, 1, 4, 1000)
                cache.fill(at)
                a.add_remote_agent(other.get_agent_metadata())
                space = Cache(a, 1, 4, 1000)
                move(a, handle_of(a, f"other {number} {at}", "READ", space, cache, range(4)))
                assert (space.whole() == cache.whole()).all()
                a.remove_remote_agent(f"other {number} {at}")
                space.deregister()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(at,), daemon=True) for at in range(8)]
    threads += [threading.Thread(target=meet, args=(at,), daemon=True) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    assert not failures, failures
    assert (here.whole() == there.whole()).all()
    assert len(notes(b, 240)["a"]) == 240


def test_many_agents_of_one_process_write_to_one() -> None:
    target = agent("target")
    cache = Cache(target, 8, 8, 10_000)
    sources = []
    for at in range(8):
        source = agent(f"source {at}")
        own = Cache(source, 1, 8, 10_000)
        own.fill(at)
        source.add_remote_agent(target.get_agent_metadata())
        local = own.prepared()
        remote = source.prep_xfer_dlist("target", cache.descriptors, "DRAM")
        rows = list(range(at * 8, at * 8 + 8))
        handle = source.make_prepped_xfer("WRITE", local, list(range(8)), remote, rows, b"%d" % at)
        source.transfer(handle, b"%d" % at)
        sources.append((source, own, handle))
    assert notes(target, 8) == {f"source {at}": [b"%d" % at] for at in range(8)}
    assert (cache.whole() == np.concatenate([own.whole() for _, own, _ in sources])).all()


def test_parameters_are_listed_and_bad_ones_refused(capfd: pytest.CaptureFixture[str]) -> None:
    a = agent("a", streams="1", timeout="", interface="=lo")
    assert a.get_backend_mem_types("GPUTCP") == ["DRAM_SEG", "VRAM_SEG"]
    assert {"streams", "interface", "key_file", "port", "timeout"} <= set(a.get_plugin_params("GPUTCP"))
    for name, value, why in [
        ("stream", "4", "there is no parameter stream: there are streams"),
        ("streams", "0", 'the parameter streams is "0"'),
        ("interface", "=nosuch", "GPUTCP_INTERFACE"),
        ("key_file", "/nowhere", "/nowhere"),
        ("address", "192.0.2.1", "could not listen"),
    ]:
        with pytest.raises(_bindings.nixlBackendError):
            agent("b", **{name: value})
        assert why in capfd.readouterr().err


def test_memory_that_is_none_is_refused(capfd: pytest.CaptureFixture[str]) -> None:
    a = agent("a")
    for memory, kind, why in [
        ((0, 4096, 0, ""), "DRAM", "are no memory"),
        ((4096, 4096, 0, ""), "VRAM", "could not use GPU 0"),
    ]:
        with pytest.raises(_bindings.nixlBackendError):
            a.register_memory([memory], kind)
        assert why in capfd.readouterr().err


def test_ports_are_taken_from_the_one_that_is_set() -> None:
    agents = [agent(f"a {at}", port="29500") for at in range(3)]
    cache, other = Cache(agents[0], 1, 2, 1000), Cache(agents[2], 1, 2, 1000)
    other.fill(1)
    agents[0].add_remote_agent(agents[2].get_agent_metadata())
    move(agents[0], handle_of(agents[0], "a 2", "READ", cache, other, range(2)))
    assert (cache.whole() == other.whole()).all()


def test_agents_with_another_key_do_not_meet(tmp_path: Any, capfd: pytest.CaptureFixture[str]) -> None:
    keys = []
    for name in ("one", "two"):
        (tmp_path / name).write_text(f"the key of {name}, long enough\n")
        (tmp_path / name).chmod(0o600)
        keys.append(str(tmp_path / name))
    a, b, c = agent("a", key_file=keys[0]), agent("b", key_file=keys[0]), agent("c", key_file=keys[1])
    caches = [Cache(of, 1, 2, 1000) for of in (a, b, c)]
    caches[1].fill(1)
    for other in (b, c):
        a.add_remote_agent(other.get_agent_metadata())
    move(a, handle_of(a, "b", "READ", caches[0], caches[1], range(2)))
    assert (caches[0].whole() == caches[1].whole()).all()
    handle = handle_of(a, "c", "READ", caches[0], caches[2], range(2))
    with pytest.raises(_bindings.nixlNotAllowedError):
        a.transfer(handle)
        until("end", lambda: a.check_xfer_state(handle) != "PROC")
    assert "asks for a key, or has another one" in capfd.readouterr().err


def test_a_list_of_a_hundred_thousand_blocks() -> None:
    a, b, here, there = pair("DRAM", 10, 10_000, 64)
    there.fill(11)
    order = np.random.default_rng(3).permutation(there.blocks)
    move(a, handle_of(a, "b", "READ", here, there, order))
    assert (here.whole() == there.whole()[order]).all()


def test_an_agent_is_reached_at_several_addresses() -> None:
    addresses = "127.0.0.2,127.0.0.3"
    a, b = agent("a", address=addresses), agent("b", address=addresses)
    caches = Cache(a, 1, 40, 100_000), Cache(b, 1, 40, 100_000)
    caches[1].fill(1)
    a.add_remote_agent(b.get_agent_metadata())
    move(a, handle_of(a, "b", "READ", *caches, range(40)))
    assert (caches[0].whole() == caches[1].whole()).all()
