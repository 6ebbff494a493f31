"""vLLM's weight transfer over gputcp, by the backend's name "gputcp", for vLLM 0.32 and later.

vLLM finds the backend where the package is installed: `--weight-transfer-config '{"backend": "gputcp"}'`. The
trainer has the other end:

    from gputcp.vllm import TrainerInfo
    from vllm.distributed.weight_transfer.base import ModuleSource
    from vllm.distributed.weight_transfer.clients import HTTPVLLMWeightSyncClient
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

    engine = WeightTransferTrainerFactory.trainer_init(
        TrainerInfo(rank=0, address="10.0.0.1:0"),
        client=HTTPVLLMWeightSyncClient("http://server:8000"), source=ModuleSource(model))
    engine.send_weights()

The tensors stay in the trainer while all workers read them, a chunk after the other. Both ends have the
variables GPUTCP_STREAMS, GPUTCP_TIMEOUT, GPUTCP_KEY_FILE and GPUTCP_KEY.
"""

from __future__ import annotations

import contextlib
import math
import socket
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from ._errors import UsageError
from ._tensors import Endpoints, Place, Reading

try:
    import torch
    from vllm.distributed.weight_transfer.base import (
        TrainerInitInfo,
        TrainerWeightTransferEngine,
        WeightTransferEngine,
        WeightTransferInitInfo,
        WeightTransferUpdateInfo,
    )
    from vllm.distributed.weight_transfer.factory import WeightTransferEngineFactory, WeightTransferTrainerFactory
except ImportError as error:
    raise ImportError(f"gputcp.vllm needs vLLM 0.32 or later ({error}): pip install 'vllm>=0.32'") from error

__all__ = ["NAME", "TrainerEngine", "TrainerInfo", "WorkerEngine", "register"]

NAME = "gputcp"


def register() -> None:
    """Makes the backend known to vLLM's factories. A second call does nothing."""
    # A factory refuses a name that it has.
    with contextlib.suppress(ValueError):
        WeightTransferEngineFactory.register_engine(NAME, WorkerEngine)
    with contextlib.suppress(ValueError):
        WeightTransferTrainerFactory.register_engine(NAME, TrainerEngine)


@dataclass
class WorkerInfo(WeightTransferInitInfo):  # type: ignore[misc]
    """What a worker is told at first: the trainer's address, of which it takes the machine."""

    trainer: str


@dataclass
class Chunk(WeightTransferUpdateInfo):  # type: ignore[misc]
    """Some tensors of the trainer, and where workers read them. It travels as JSON, so bytes are in hex."""

    names: list[str]
    dtypes: list[str]
    shapes: list[list[int]]
    addresses: list[str]
    keys: list[str]

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.names, self.dtypes, self.shapes, self.addresses, self.keys)}) != 1:
            raise ValueError("a chunk of weights has as many names as types, shapes, addresses and keys")

    def place(self, at: int) -> Place | None:
        if not self.keys[at]:
            return None
        return Place(bytes.fromhex(self.addresses[at]), bytes.fromhex(self.keys[at]))

    def allocate(self, at: int, device: Any) -> Any:
        dtype = getattr(torch, self.dtypes[at], None)
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"the weight {self.names[at]} has the type {self.dtypes[at]!r}, which torch has not")
        return torch.empty(self.shapes[at], dtype=dtype, device=device)


class WorkerEngine(WeightTransferEngine):  # type: ignore[misc]
    """A worker's end: it reads the trainer's tensors, and the model loads them as from a checkpoint."""

    init_info_cls = WorkerInfo
    update_info_cls = Chunk

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._endpoints: Endpoints | None = None

    def init_transfer_engine(self, init_info: WorkerInfo) -> None:
        self.shutdown()
        self._endpoints = Endpoints(_own_address(init_info.trainer))

    def start_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import initialize_layerwise_reload

        initialize_layerwise_reload(self.model)

    def finish_weight_update(self) -> None:
        from vllm.model_executor.model_loader.reload import finalize_layerwise_reload

        finalize_layerwise_reload(self.model, self.model_config)

    def receive_weights(self, update_info: Chunk) -> None:
        # Of models with heads for several tokens, a chunk has no complete set.
        from vllm.model_executor.model_loader.mtp_validation import disable_mtp_completeness_check

        with disable_mtp_completeness_check():
            self.model.load_weights(self._read(update_info))

    def shutdown(self) -> None:
        if self._endpoints is not None:
            self._endpoints.close()
            self._endpoints = None

    def _read(self, chunk: Chunk) -> Iterator[tuple[str, Any]]:
        """Yields the tensors; some more are on their way while the model loads one."""
        if self._endpoints is None:
            raise UsageError("weights were sent before init_weight_transfer_engine: call it first")
        ahead: deque[tuple[str, Any, Reading]] = deque()
        under_way = 0
        for at, name in enumerate(chunk.names):
            tensor = chunk.allocate(at, self.device)
            ahead.append((name, tensor, self._endpoints.read([tensor], [chunk.place(at)])))
            under_way += tensor.nbytes
            while ahead and under_way > AHEAD_BYTES:
                under_way -= ahead[0][1].nbytes
                yield _arrived(*ahead.popleft())
        while ahead:
            yield _arrived(*ahead.popleft())


@dataclass
class TrainerInfo(TrainerInitInfo):  # type: ignore[misc]
    """The trainer's settings. The address is one of its machine that workers reach, with port 0."""

    backend: ClassVar[str] = NAME
    address: str = "127.0.0.1:0"
    # The tensors of one chunk: those that a source has to gather are in memory at once.
    chunk_bytes: int = 1 << 30


class TrainerEngine(TrainerWeightTransferEngine):  # type: ignore[misc]
    """A trainer's end, on each of its ranks: all gather, and rank 0 lends the tensors to the workers."""

    init_info_cls = TrainerInfo

    def __init__(self, info: TrainerInfo, **arguments: Any) -> None:
        super().__init__(is_sender=info.is_sender, **arguments)
        self._chunk_bytes = info.chunk_bytes
        self._endpoints = Endpoints(info.address)

    @classmethod
    def trainer_init(cls, init_info: TrainerInfo, *, client: Any, source: Any = None) -> TrainerEngine:
        if source is None:
            raise UsageError("no source of weights was given: give source=ModuleSource(model)")
        engine = cls(init_info, client=client, source=source)
        if engine.is_sender:
            client.init_weight_transfer_engine({"trainer": init_info.address})
        return engine

    def send_weights(self) -> None:
        """Has all workers read the weights, and returns when they have."""
        if self.is_sender:
            self.client.start_weight_update()
        tensors: list[tuple[str, Any]] = []
        held = 0
        for name, tensor in self.source:
            # Other ranks only take part in the gathering of each tensor.
            if not self.is_sender:
                continue
            tensors.append((name, tensor.detach().contiguous()))
            held += tensor.nbytes
            if held >= self._chunk_bytes:
                self._lend(tensors)
                tensors, held = [], 0
        if self.is_sender:
            self._lend(tensors)
            self.client.finish_weight_update()

    def shutdown(self) -> None:
        self._endpoints.close()

    def _lend(self, tensors: list[tuple[str, Any]]) -> None:
        if not tensors:
            return
        places, regions = self._endpoints.lend([tensor for _, tensor in tensors])
        try:
            self.client.update_weights(
                {
                    "names": [name for name, _ in tensors],
                    "dtypes": [str(tensor.dtype).removeprefix("torch.") for _, tensor in tensors],
                    "shapes": [list(tensor.shape) for _, tensor in tensors],
                    "addresses": [place.address.hex() if place else "" for place in places],
                    "keys": [place.key.hex() if place else "" for place in places],
                }
            )
        finally:
            for region in regions:
                region.deregister()


def _arrived(name: str, tensor: Any, reading: Reading) -> tuple[str, Any]:
    reading.wait(math.inf)
    return name, tensor


def _own_address(trainer: str) -> str:
    """Returns the address of this machine from which the trainer is reached, with port 0."""
    host = trainer.rpartition(":")[0].strip("[]")
    try:
        family, kind, _, _, place = socket.getaddrinfo(host, 9, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind) as probe:
            # Datagrams have no connection: nothing is sent.
            probe.connect(place)
            address = probe.getsockname()[0]
    except OSError as error:
        raise UsageError(f"the trainer's address {trainer!r} is not reached from here: {error}") from None
    return f"[{address}]:0" if ":" in address else f"{address}:0"


# As much of the weights is read ahead of the model's loading.
AHEAD_BYTES = 256 << 20
