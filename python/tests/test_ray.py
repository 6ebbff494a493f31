"""Ray's tensor transport, between real actors; skipped where Ray or PyTorch is missing."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

torch: Any = pytest.importorskip("torch", reason="needs PyTorch")
ray: Any = pytest.importorskip("ray", reason="needs Ray 2.57 or later")

import gputcp  # noqa: E402
import gputcp.ray  # noqa: E402

# Before the actors' classes name it.
gputcp.ray.register()
gputcp.ray.register()

pytestmark = pytest.mark.filterwarnings("ignore")
SOON = 60


def pattern(seed: int, shape: tuple[int, ...], dtype: Any = None) -> Any:
    drawn = torch.randint(0, 100, shape, generator=torch.Generator().manual_seed(seed))
    return drawn.to(dtype or torch.float32)


def some(seed: int) -> dict[str, Any]:
    """An object with tensors of several types at several places."""
    return {
        "half": pattern(seed, (3, 5), torch.bfloat16),
        "list": [pattern(seed + 1, (), torch.int64), torch.empty(0, 3), pattern(seed + 2, (7,), torch.bool)],
        "large": pattern(seed + 3, (1 << 20,), torch.complex64),
        "text": "not a tensor",
    }


def tensors_of(found: dict[str, Any]) -> list[Any]:
    return [found["half"], *found["list"], found["large"]]


def is_some(found: dict[str, Any], seed: int) -> bool:
    expected = some(seed)
    pairs = zip(tensors_of(found), tensors_of(expected), strict=True)
    return found["text"] == expected["text"] and all(a.dtype == b.dtype and torch.equal(a, b) for a, b in pairs)


class Source:
    @ray.method(tensor_transport="GPUTCP")  # type: ignore[untyped-decorator]
    def some(self, seed: int) -> Any:
        return some(seed)

    @ray.method(tensor_transport="GPUTCP")  # type: ignore[untyped-decorator]
    def strided(self) -> Any:
        return torch.zeros(8, 4).T

    def put(self, seed: int) -> Any:
        gputcp.ray.register()
        self.held = pattern(seed, (1 << 18,))
        return ray.put([self.held], _tensor_transport="GPUTCP")

    def loans(self) -> int:
        from ray.experimental.rdt.util import get_tensor_transport_manager

        return len(get_tensor_transport_manager("GPUTCP")._lent)

    def pid(self) -> int:
        return os.getpid()


class Sink:
    def is_some(self, found: Any, seed: int) -> bool:
        return is_some(found, seed)

    def is_put(self, references: Any, seed: int) -> bool:
        (found,) = ray.get(references[0])
        return bool(torch.equal(found, pattern(seed, (1 << 18,))))


@pytest.fixture(scope="module")
def actors() -> Iterator[tuple[Any, Any]]:
    # The actors' processes find this module too.
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {"env_vars": {"PYTHONPATH": paths}}
    options = {"include_dashboard": False, "logging_level": "error", "log_to_driver": False}
    ray.init(num_cpus=8, runtime_env=environment, **options)
    try:
        yield ray.remote(Source), ray.remote(enable_tensor_transport=True)(Sink)
    finally:
        ray.shutdown()


def test_actors_hand_tensors_over(actors: tuple[Any, Any]) -> None:
    source, sink = (kind.remote() for kind in actors)
    for seed in range(5):
        reference = source.some.remote(seed)
        assert ray.get(sink.is_some.remote(reference, seed), timeout=SOON)
    # The driver has a part in it as any actor has.
    assert is_some(ray.get(reference, timeout=SOON), 4)
    put = ray.get(source.put.remote(11), timeout=SOON)
    assert ray.get(sink.is_put.remote([put], 11), timeout=SOON)
    del reference, put
    gc.collect()
    deadline = time.monotonic() + SOON
    while ray.get(source.loans.remote(), timeout=SOON):
        assert time.monotonic() < deadline, "a loan is left, and no reference"
        time.sleep(0.1)


def test_tensors_arrive_in_given_buffers(actors: tuple[Any, Any]) -> None:
    source = actors[0].remote()
    put = ray.get(source.put.remote(3), timeout=SOON)
    target = torch.zeros(1 << 18)
    ray.experimental.set_target_for_ref(put, [target])
    (found,) = ray.get(put, timeout=SOON)
    assert found.data_ptr() == target.data_ptr() and torch.equal(target, pattern(3, (1 << 18,)))


def test_a_tensor_with_gaps_is_refused(actors: tuple[Any, Any]) -> None:
    with pytest.raises(gputcp.UsageError, match="not contiguous"):
        ray.get(actors[0].remote().strided.remote(), timeout=SOON)


def test_a_dead_actor_is_an_error_in_time(actors: tuple[Any, Any]) -> None:
    source = actors[0].remote()
    reference = source.some.remote(1)
    ray.wait([reference], fetch_local=False, timeout=SOON)
    os.kill(ray.get(source.pid.remote()), signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(ray.exceptions.RayError):
        ray.get(reference, timeout=SOON)
    assert time.monotonic() - began < SOON / 2
    source, sink = (kind.remote() for kind in actors)
    assert ray.get(sink.is_some.remote(source.some.remote(2), 2), timeout=SOON)
