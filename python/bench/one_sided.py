"""Measures one-sided transfers as `cargo bench -p gputcp --bench one_sided -- host` does, through Python.

Both endpoints are in this process, over the loopback. Each case is posted again and again; and begun anew each
time from tuples and from indices, with what that costs. Every byte is compared afterwards.
"""

import statistics
import time
from collections.abc import Callable

import gputcp
import numpy as np

ROOM = 256 << 20


def median(count: int, work: Callable[[], None]) -> float:
    times = []
    for _ in range(count):
        began = time.perf_counter()
        work()
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def main() -> None:
    mine, theirs = np.zeros(ROOM, np.uint8), np.random.default_rng(7).integers(0, 256, ROOM, np.uint8)
    kept = theirs.copy()
    with gputcp.Endpoint() as here, gputcp.Endpoint() as there:
        local, remote = here.register(mine), there.register(theirs)
        peer, key = here.connect(there.address), remote.key
        print(f"{'blocks':>16}  operation  posted again  from tuples  from indices")
        for count, nbytes in [(1, 64 << 20), (16, 4 << 20), (2000, 64 << 10), (2000, 16 << 10), (64, 4 << 10)]:
            spread = max(ROOM // nbytes // count, 1)
            indices = np.random.default_rng(1).permutation(count) * spread
            tuples = [(local, int(at) * nbytes, key, int(at) * nbytes, nbytes) for at in indices]
            repeats = 12 if count * nbytes > 32 << 20 else 60
            for operation in ("read", "write"):
                begin = getattr(peer, operation)
                begin_blocks = getattr(peer, f"{operation}_blocks")
                transfer = begin(tuples)
                transfer.wait()

                def again(transfer: gputcp.Transfer = transfer) -> None:
                    transfer.post()
                    transfer.wait()

                times = [
                    median(repeats, again),
                    median(repeats, lambda: begin(tuples).wait()),
                    median(repeats, lambda: begin_blocks(local, key, indices, indices, nbytes).wait()),
                ]
                row = f"{f'{count} x {nbytes >> 10} KiB':>16}  {operation:>9}"
                for seconds, width in zip(times, (12, 11, 12), strict=True):
                    rate = f"{count * nbytes / seconds / 1e9:.2f} GB/s"
                    row += f"  {rate if count * nbytes > 1 << 20 else f'{seconds * 1e6:.0f} us':>{width}}"
                print(row)
        peer.read([(local, 0, key, 0, ROOM)]).wait()
    assert np.array_equal(theirs, kept), "the peer's bytes were changed"
    assert np.array_equal(mine, kept), "bytes that were read are wrong"


if __name__ == "__main__":
    main()
