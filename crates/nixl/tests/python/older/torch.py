"""In the place of PyTorch: NIXL 1.0's module imports it, for the type alone. These tests use NumPy."""


class Tensor:
    """No object is one."""
