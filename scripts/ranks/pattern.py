"""Data that is different everywhere and whose sums over all ranks are exact in its type, made on the device."""

import torch

POISON = 0xA5
BORDER = 33

# The largest whole number up to which every whole number has a place in the type. Those of 64-bit types are far smaller than
# need be, and large enough.
EXACT = {
    torch.int8: 127,
    torch.uint8: 255,
    torch.int32: 2**31 - 1,
    torch.int64: 2**40,
    torch.float16: 2**11,
    torch.bfloat16: 2**8,
    torch.float32: 2**24,
    torch.float64: 2**40,
}


def whole(dtype, seed, count, ranks, device):
    """`count` whole numbers of that type as int64, so small that the sum of those of `ranks` ranks is exact."""
    limit = EXACT[dtype] // ranks
    mixed = torch.arange(count, dtype=torch.int64, device=device)
    # A multiplicative hash in 32 bits, with factors that keep the products within 63.
    mixed.mul_(0x2C1B3C6D).add_((seed * 0x297A2D39) & 0xFFFFFFFF).bitwise_and_(0xFFFFFFFF)
    mixed.bitwise_xor_(mixed >> 15).mul_(0x2545F491).bitwise_and_(0xFFFFFFFF)
    mixed.bitwise_xor_(mixed >> 13)
    if dtype == torch.uint8:
        return mixed.remainder_(limit + 1)
    return mixed.remainder_(2 * limit + 1).sub_(limit)


def data(dtype, seed, count, ranks, device):
    """The same numbers in their own type."""
    return whole(dtype, seed, count, ranks, device).to(dtype)


def summed(dtype, seeds, count, ranks, device):
    """The sum of the data of several seeds."""
    total = torch.zeros(count, dtype=torch.int64, device=device)
    for seed in seeds:
        total += whole(dtype, seed, count, ranks, device)
    return total.to(dtype)


class Guarded:
    """A buffer for results, full of poison and between two borders of poison, at an odd address for its type."""

    def __init__(self, dtype, count, device):
        self.all = torch.empty(count + 2 * BORDER, dtype=dtype, device=device)
        self.all.view(torch.uint8).fill_(POISON)
        self.inner = self.all[BORDER : BORDER + count]

    def fault(self, expected):
        """What is wrong with it, in a sentence, or None."""
        for name, border in (("before", self.all[:BORDER]), ("behind", self.all[-BORDER:])):
            if not bool((border.view(torch.uint8) == POISON).all()):
                return f"something was written {name} the buffer"
        return fault(self.inner, expected)


def fault(got, expected):
    """Where and how two tensors differ, or None."""
    if torch.equal(got, expected):
        return None
    wrong = (got != expected).nonzero().flatten()
    at = int(wrong[0])
    return f"{len(wrong)} of {len(got)} elements are wrong, the first at {at}: {got[at].item()}, not {expected[at].item()}"
