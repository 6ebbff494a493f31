"""The transfers that are measured: how many blocks of how many bytes, in a row or scattered at both ends."""

import dataclasses
import random

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
USUAL = "1x64M,1x512M,16x4M,2000x64K~,2000x16K~,64x4K~"
# Below this the table has microseconds.
LATENCY_BELOW = 1 << 20


@dataclasses.dataclass(frozen=True)
class Case:
    """A list of blocks."""

    text: str
    blocks: int
    block: int
    scattered: bool

    @property
    def bytes(self):
        return self.blocks * self.block

    @property
    def places(self):
        """The blocks that each end's memory has room for."""
        return 2 * self.blocks if self.scattered else self.blocks

    def order(self, end):
        """The places of the blocks at one end (0 or 1)."""
        if not self.scattered:
            return list(range(self.blocks))
        return random.Random(end).sample(range(self.places), self.blocks)


def parse(text):
    """Cases from 16x4M,64x4K~: the tilde has them scattered."""
    return [one(part) for part in text.split(",")]


def one(text):
    blocks, _, block = text.rstrip("~").partition("x")
    scale = UNITS.get(block[-1:].upper(), 1)
    case = Case(text, int(blocks), int(block[:-1] if scale > 1 else block) * scale, text.endswith("~"))
    if case.blocks < 1 or case.block < 1:
        raise ValueError(f"{text} has no bytes")
    return case
