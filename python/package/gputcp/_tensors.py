"""Tensors of PyTorch as memory of endpoints, for the adapters: a process has an endpoint for each device."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ._errors import UsageError
from ._gputcp import Endpoint, Region, Transfer


class Place(NamedTuple):
    """The address and the key by which a peer reads a tensor."""

    address: bytes
    key: bytes


class Reading:
    """Tensors that are being read from peers. One that is let go of is cancelled."""

    def __init__(self, transfers: list[Transfer], regions: list[Region]) -> None:
        self._transfers, self._regions = transfers, regions

    def wait(self, timeout: float) -> None:
        """Waits until all tensors are here. At the end of the timeout the reading goes on."""
        deadline = time.monotonic() + timeout
        for transfer in self._transfers:
            transfer.wait(max(0.0, deadline - time.monotonic()))
        # A region of ended transfers is not waited for.
        while self._regions:
            self._regions.pop().deregister()

    def cancel(self) -> None:
        for transfer in self._transfers:
            transfer.cancel()


class Endpoints:
    """The endpoints of a process, all on one of its addresses, each made when it is first needed."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._of_device: dict[str, Endpoint] = {}
        self._lock = threading.Lock()

    def lend(self, tensors: Sequence[Any]) -> tuple[list[Place | None], list[Region]]:
        """Lets peers read the tensors until the regions are deregistered. An empty tensor has no place."""
        settle(tensors)
        places: list[Place | None] = []
        regions = []
        for tensor in tensors:
            if tensor.numel() == 0:
                places.append(None)
                continue
            endpoint = self._endpoint(tensor)
            region = endpoint.register(_bytes_of(tensor), "r")
            places.append(Place(endpoint.address, region.key))
            regions.append(region)
        return places, regions

    def read(self, tensors: Sequence[Any], places: Sequence[Place | None]) -> Reading:
        """Begins to read peers' tensors into these, one by one."""
        # Memory that was just allocated may still be in use by kernels that were started before.
        settle(tensors)
        lists: dict[tuple[Endpoint, bytes], list[tuple[Region, int, bytes, int, int]]] = {}
        regions = []
        for tensor, place in zip(tensors, places, strict=True):
            if place is None:
                continue
            endpoint = self._endpoint(tensor)
            # Of a peer's rights, one is needed, and its key is given to none.
            region = endpoint.register(_bytes_of(tensor), "w")
            regions.append(region)
            blocks = lists.setdefault((endpoint, place.address), [])
            blocks.append((region, 0, place.key, 0, region.nbytes))
        begun = [endpoint.connect(address).read(blocks) for (endpoint, address), blocks in lists.items()]
        return Reading(begun, regions)

    def close(self) -> None:
        with self._lock:
            endpoints = list(self._of_device.values())
            self._of_device.clear()
        for endpoint in endpoints:
            endpoint.close()

    def _endpoint(self, tensor: Any) -> Endpoint:
        device = str(tensor.device)
        if tensor.device.type not in ("cpu", "cuda"):
            raise UsageError(f"a tensor on the device {device} was given: gputcp moves those on cpu and cuda")
        with self._lock:
            if device not in self._of_device:
                self._of_device[device] = Endpoint(self._address, device=device, **_settings(os.environ))
            return self._of_device[device]


def settle(tensors: Sequence[Any]) -> None:
    """Waits for the kernels of all GPUs that hold one of the tensors."""
    devices = {tensor.device for tensor in tensors if tensor.device.type == "cuda"}
    if devices:
        import torch

        for device in devices:
            torch.cuda.synchronize(device)


def _bytes_of(tensor: Any) -> Any:
    import torch

    if not tensor.is_contiguous():
        raise UsageError("a tensor that is not contiguous was given: give tensor.contiguous()")
    if tensor.is_conj() or tensor.is_neg():
        raise UsageError("a tensor with values to be conjugated was given: give tensor.resolve_conj().resolve_neg()")
    return tensor.detach().reshape(-1).view(torch.uint8)


def _settings(environment: Any) -> dict[str, Any]:
    """Returns an endpoint's settings by the variables that the NCCL plugin has too."""
    settings: dict[str, Any] = {}
    for name, setting, kind in (("GPUTCP_STREAMS", "streams", int), ("GPUTCP_TIMEOUT", "timeout", float)):
        if value := environment.get(name):
            try:
                settings[setting] = kind(value)
            except ValueError:
                raise UsageError(f"the variable {name} is {value!r}: give a number") from None
    if path := environment.get("GPUTCP_KEY_FILE"):
        try:
            settings["key"] = Path(path).read_bytes()
        except OSError as error:
            raise UsageError(f"the key file {path} (the variable GPUTCP_KEY_FILE): {error.strerror}") from None
    elif value := environment.get("GPUTCP_KEY"):
        settings["key"] = value
    return settings
