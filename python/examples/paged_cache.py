"""A paged KV cache moves from a prefill server to a decode server, block by block, by their indices.

Each server has its own pool of blocks. The prefill server writes the blocks of a finished prompt into those
that the decode server has set aside. The note, which arrives after the data, names the request.
"""

import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import gputcp
import numpy as np

BLOCK_BYTES = 64 << 10
POOL_BLOCKS = 1024
REQUESTS = 8
BLOCKS_OF_REQUEST = 64


def contents(request: int) -> np.ndarray:
    """Stands for the keys and values that a model computes for a prompt."""
    return np.random.default_rng(request).integers(0, 256, (BLOCKS_OF_REQUEST, BLOCK_BYTES), np.uint8)


def prefill(pipe: Connection) -> None:
    pool = np.zeros((POOL_BLOCKS, BLOCK_BYTES), np.uint8)
    with gputcp.Endpoint() as endpoint, endpoint.register(pool, "r") as region:
        address, key = pipe.recv()
        peer = endpoint.connect(address)
        free = np.random.default_rng(1).permutation(POOL_BLOCKS)
        transfers = []
        for request in range(REQUESTS):
            _, theirs = pipe.recv()
            mine, free = free[:BLOCKS_OF_REQUEST], free[BLOCKS_OF_REQUEST:]
            pool[mine] = contents(request)
            transfers.append(peer.write_blocks(region, key, mine, theirs, BLOCK_BYTES, note=b"%d" % request))
        for transfer in transfers:
            transfer.wait(10)
        pipe.recv()


async def decode(pipe: Connection) -> None:
    pool = np.zeros((POOL_BLOCKS, BLOCK_BYTES), np.uint8)
    with gputcp.Endpoint() as endpoint, endpoint.register(pool, "w") as region:
        pipe.send((endpoint.address, region.key))
        blocks = np.random.default_rng(2).permutation(POOL_BLOCKS).reshape(-1, BLOCKS_OF_REQUEST)
        began = time.perf_counter()
        for request in range(REQUESTS):
            pipe.send((request, blocks[request]))
        arrived: list[int] = []
        while len(arrived) < REQUESTS:
            arrived += [int(note) for _, note in await asyncio.wait_for(endpoint.next_notes(), 10)]
        seconds = time.perf_counter() - began
        pipe.send("done")
    for request in arrived:
        assert np.array_equal(pool[blocks[request]], contents(request)), request
    mebibytes = REQUESTS * BLOCKS_OF_REQUEST * BLOCK_BYTES >> 20
    print(f"{len(arrived)} requests, {mebibytes} MiB in {seconds:.3f} s with their computation, every byte right")


def main() -> None:
    here, there = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=prefill, args=(there,))
    server.start()
    asyncio.run(decode(here))
    server.join(10)
    assert server.exitcode == 0, server.exitcode


if __name__ == "__main__":
    main()
