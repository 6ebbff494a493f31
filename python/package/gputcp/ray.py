"""Ray's tensor transport over gputcp, for Ray 2.57 and later.

    import gputcp.ray, ray

    gputcp.ray.register()                       # before the actors are made, in the process that makes them

    @ray.remote(num_gpus=1)
    class Trainer:
        @ray.method(tensor_transport="GPUTCP")
        def weights(self): return torch.randn(1024, 1024, device="cuda")

    @ray.remote(num_gpus=1, enable_tensor_transport=True)
    class Server:
        def load(self, weights): ...

    server.load.remote(trainer.weights.remote())

The tensors of an object stay in the actor that made them. One that needs them reads them from there, between
any CPUs and GPUs. Actors listen on the address of their node, and have the variables GPUTCP_STREAMS,
GPUTCP_TIMEOUT, GPUTCP_KEY_FILE and GPUTCP_KEY.
"""

from __future__ import annotations

import contextlib
import math
import threading
import weakref
from dataclasses import dataclass, field
from typing import Any

from ._errors import Error, TimeoutError, UsageError
from ._gputcp import Region
from ._tensors import Endpoints, Place, Reading

try:
    import ray
    from ray.exceptions import RayDirectTransportError
    from ray.experimental import CommunicatorMetadata, TensorTransportManager, TensorTransportMetadata
    from ray.experimental.rdt.tensor_transport_manager import FetchRequest
except ImportError as error:
    raise ImportError(f"gputcp.ray needs Ray 2.57 or later ({error}): pip install 'ray>=2.57'") from error

__all__ = ["NAME", "TensorTransport", "register"]

NAME = "GPUTCP"


def register() -> None:
    """Makes the transport known to Ray by its name, "GPUTCP". A second call does nothing."""
    import torch
    from ray.experimental import register_tensor_transport

    # Ray refuses a name that it has, such as in an actor, where it has registered the driver's transports.
    with contextlib.suppress(ValueError):
        register_tensor_transport(NAME, ["cuda", "cpu"], TensorTransport, torch.Tensor)


@dataclass
class Metadata(TensorTransportMetadata):  # type: ignore[misc]
    """Shapes and types of an object's tensors, and where they are."""

    places: list[Place | None] = field(default_factory=list)


@dataclass
class Fetch(FetchRequest):  # type: ignore[misc]
    """An object's tensors on their way."""

    reading: Reading | None = None


class TensorTransport(TensorTransportManager):  # type: ignore[misc]
    """The transport that Ray makes in each process, once."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Made in the process that has tensors: a driver that only passes objects on needs none.
        self._endpoints: Endpoints | None = None
        self._lent: dict[str, tuple[Metadata, list[Region]]] = {}
        # Those that Ray still holds, with their objects.
        self._readings: weakref.WeakKeyDictionary[Reading, str] = weakref.WeakKeyDictionary()

    def tensor_transport_backend(self) -> str:
        return NAME

    @staticmethod
    def is_one_sided() -> bool:
        return True

    @staticmethod
    def can_abort_transport() -> bool:
        return True

    def actor_has_tensor_transport(self, actor: Any) -> bool:
        group = actor.__ray_call__.options(concurrency_group="_ray_system")
        return bool(ray.get(group.remote(_has_gputcp)))

    def extract_tensor_transport_metadata(self, obj_id: str, rdt_object: list[Any]) -> Metadata:
        """Lets peers read an object's tensors until Ray calls `garbage_collect`."""
        with self._lock:
            # A task that Ray has run again: the object is that of the first run.
            if obj_id in self._lent:
                return self._lent[obj_id][0]
        kinds = {tensor.device.type for tensor in rdt_object}
        if len(kinds) > 1:
            both = " and ".join(sorted(kinds))
            raise UsageError(f"an object's tensors are on {both}: return those of each device apart")
        places, regions = self._own_endpoints().lend(rdt_object)
        meta = [(tensor.shape, tensor.dtype) for tensor in rdt_object]
        metadata = Metadata(meta, next(iter(kinds), None), places)
        with self._lock:
            self._lent[obj_id] = (metadata, regions)
        return metadata

    def get_communicator_metadata(
        self, src_actor: Any, dst_actor: Any, backend: str | None = None
    ) -> CommunicatorMetadata:
        return CommunicatorMetadata()

    def fetch_multiple_tensors(
        self,
        obj_id: str,
        tensor_transport_metadata: Metadata,
        communicator_metadata: CommunicatorMetadata,
        target_buffers: list[Any] | None = None,
    ) -> Fetch:
        """Begins to read an object's tensors, into the buffers if there are some."""
        import torch

        device = tensor_transport_metadata.tensor_device
        described = tensor_transport_metadata.tensor_meta
        tensors = target_buffers or [torch.empty(shape, dtype=dtype, device=device) for shape, dtype in described]
        try:
            reading = self._own_endpoints().read(tensors, tensor_transport_metadata.places)
        except Error as error:
            raise RayDirectTransportError(f"object {obj_id}: {error}") from error
        with self._lock:
            self._readings[reading] = obj_id
        return Fetch(obj_id, tensors, reading)

    def wait_fetch_complete(self, fetch_request: Fetch, timeout: float = -1) -> list[Any]:
        """Waits for the tensors, for ever if the timeout is -1: a peer that dies fails them in time."""
        reading = fetch_request.reading
        if reading is None:
            return list(fetch_request.tensors)
        try:
            reading.wait(math.inf if timeout < 0 else timeout)
        except TimeoutError:
            raise
        except Error as error:
            raise RayDirectTransportError(f"object {fetch_request.obj_id}: {error}") from error
        return list(fetch_request.tensors)

    def recv_multiple_tensors(
        self,
        obj_id: str,
        tensor_transport_metadata: Metadata,
        communicator_metadata: CommunicatorMetadata,
        target_buffers: list[Any] | None = None,
    ) -> list[Any]:
        """Reads an object's tensors."""
        return self.wait_fetch_complete(
            self.fetch_multiple_tensors(obj_id, tensor_transport_metadata, communicator_metadata, target_buffers)
        )

    def send_multiple_tensors(
        self, tensors: list[Any], tensor_transport_metadata: Metadata, communicator_metadata: CommunicatorMetadata
    ) -> None:
        raise NotImplementedError("the receiver reads the tensors, and the sender takes no part")

    def garbage_collect(self, obj_id: str, tensor_transport_meta: Metadata, tensors: list[Any]) -> None:
        """Ends the loan of an object's tensors, when no reference to the object is left."""
        with self._lock:
            _, regions = self._lent.pop(obj_id, (None, []))
        for region in regions:
            region.deregister()

    def abort_transport(self, obj_id: str, communicator_metadata: CommunicatorMetadata) -> None:
        """Cancels the reading of an object."""
        with self._lock:
            readings = [reading for reading, read in self._readings.items() if read == obj_id]
        for reading in readings:
            reading.cancel()

    def _own_endpoints(self) -> Endpoints:
        with self._lock:
            if self._endpoints is None:
                address = ray.util.get_node_ip_address()
                self._endpoints = Endpoints(f"[{address}]:0" if ":" in address else f"{address}:0")
            return self._endpoints


def _has_gputcp(_actor: Any) -> bool:
    """Runs in an actor; one without the package fails to find this function, and Ray says so."""
    return True
