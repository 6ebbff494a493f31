"""New weights from a trainer to two servers, version by version.

The trainer lends its weights. After each step it tells all servers the version, and each reads the weights into
a second set of its own, checks them, and goes over to it. The trainer waits for both before the next step, since
that changes the weights. Where PyTorch is installed the weights are its tensors, or else NumPy's arrays.
"""

import asyncio
import importlib
import json
import multiprocessing
import zlib
from multiprocessing.connection import Connection
from typing import Any

import gputcp
import numpy as np

SHAPES = {"embedding": (1000, 256), "attention": (256, 768), "feed_forward": (256, 1024), "norm": (256,)}
VERSIONS = 5
SERVERS = 2

try:
    torch: Any = importlib.import_module("torch")
except ImportError:
    torch = None


def zeros() -> dict[str, Any]:
    return {name: torch.zeros(shape) if torch else np.zeros(shape, np.float32) for name, shape in SHAPES.items()}


def checksum(tensor: Any) -> int:
    return zlib.crc32(np.asarray(tensor).tobytes())


def step(weights: dict[str, Any], version: int) -> None:
    """Stands for a step of training: it changes all weights, in place."""
    random = np.random.default_rng(version)
    for tensor in weights.values():
        np.asarray(tensor)[...] += random.normal(size=tensor.shape)


def serve(number: int, pipe: Connection) -> None:
    asyncio.run(serve_all(number, pipe))


async def serve_all(number: int, pipe: Connection) -> None:
    used, spare = zeros(), zeros()
    with gputcp.Endpoint() as endpoint:
        regions = {id(tensor): endpoint.register(tensor) for part in (used, spare) for tensor in part.values()}
        pipe.send(endpoint.address)
        trainer, keys = pipe.recv()
        peer, version = endpoint.connect(trainer), 0
        while version < VERSIONS:
            # Of several versions that were announced, the last is there to be read.
            _, note = (await asyncio.wait_for(endpoint.next_notes(), 10))[-1]
            news = json.loads(note)
            into = {name: regions[id(tensor)] for name, tensor in spare.items()}
            blocks = [(region, 0, keys[name], 0, region.nbytes) for name, region in into.items()]
            # The note of the read tells the trainer that this server has the version.
            await peer.read(blocks, note=b"%d %d" % (number, news["version"]))
            for name, tensor in spare.items():
                assert checksum(tensor) == news["checksums"][name], name
            used, spare, version = spare, used, news["version"]
        # The trainer's memory is read no more: the notes have told it so.
    print(f"server {number} has gone over to version {version}")


def main() -> None:
    context = multiprocessing.get_context("spawn")
    pipes, servers = [], []
    for number in range(SERVERS):
        here, there = multiprocessing.Pipe()
        servers.append(context.Process(target=serve, args=(number, there)))
        servers[-1].start()
        pipes.append(here)

    weights = zeros()
    with gputcp.Endpoint() as endpoint:
        regions = {name: endpoint.register(tensor, "r") for name, tensor in weights.items()}
        peers = []
        for pipe in pipes:
            peers.append(endpoint.connect(pipe.recv()))
            pipe.send((endpoint.address, {name: region.key for name, region in regions.items()}))
        for version in range(1, VERSIONS + 1):
            step(weights, version)
            checksums = {name: checksum(tensor) for name, tensor in weights.items()}
            for peer in peers:
                peer.notify(json.dumps({"version": version, "checksums": checksums}).encode())
            waited_for = set(range(SERVERS))
            while waited_for:
                notes = endpoint.notes(timeout=10)
                assert notes, f"the servers {waited_for} have not read version {version}"
                for _, note in notes:
                    number, read = map(int, note.split())
                    assert read == version
                    waited_for.remove(number)
        for server in servers:
            server.join(10)
            assert server.exitcode == 0, server.exitcode
    nbytes = sum(region.nbytes for region in regions.values())
    kind = "PyTorch" if torch else "NumPy"
    print(f"{VERSIONS} versions of {nbytes >> 10} KiB ({kind}) read by {SERVERS} servers, every byte right")


if __name__ == "__main__":
    main()
