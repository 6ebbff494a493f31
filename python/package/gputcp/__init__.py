"""One-sided transfers over plain TCP: reads and writes of a peer's memory, without its program's part."""

from ._errors import Error, PeerError, TimeoutError, UsageError
from ._gputcp import Endpoint, Peer, Region, Transfer

__all__ = ["Endpoint", "Error", "Peer", "PeerError", "Region", "TimeoutError", "Transfer", "UsageError"]
