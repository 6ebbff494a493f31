"""The memory of one end: NumPy's for DRAM, PyTorch's for a GPU."""

import numpy


class Host:
    """Host memory."""

    kind, device = "DRAM", 0

    def __init__(self, places, block):
        self.rows = numpy.zeros((places, block), numpy.uint8)
        self.address = self.rows.ctypes.data

    def put(self, order, rows):
        self.rows[order] = rows

    def clear(self):
        self.rows[:] = 0

    def has(self, order, rows):
        return bool((self.rows[order] == rows).all())


class Gpu:
    """Memory of a GPU."""

    kind = "VRAM"

    def __init__(self, places, block, device):
        import torch

        self.torch, self.device = torch, device
        self.rows = torch.zeros((places, block), dtype=torch.uint8, device=f"cuda:{device}")
        self.address = self.rows.data_ptr()
        torch.cuda.synchronize(device)

    def put(self, order, rows):
        self.rows[order] = self.torch.from_numpy(rows).to(self.rows.device)
        self.torch.cuda.synchronize(self.device)

    def clear(self):
        self.rows.zero_()
        self.torch.cuda.synchronize(self.device)

    def has(self, order, rows):
        found = self.torch.equal(self.rows[order], self.torch.from_numpy(rows).to(self.rows.device))
        self.torch.cuda.synchronize(self.device)
        return found


def pattern(case, seed):
    """The bytes of the blocks, a row each: no two starts have the same."""
    draw = numpy.random.default_rng(seed)
    words = draw.integers(0, 1 << 63, (case.bytes + 7) // 8, numpy.int64)
    return words.view(numpy.uint8)[: case.bytes].reshape(case.blocks, case.block)
