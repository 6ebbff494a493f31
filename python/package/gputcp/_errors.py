"""The exceptions. Each says in one sentence the event, the side concerned, and the remedy."""

import builtins


class Error(Exception):
    """A transfer or an endpoint failed."""


class PeerError(Error, ConnectionError):
    """The peer failed, or is gone."""


class UsageError(Error, ValueError):
    """The caller asked for something impossible, or for a block that the peer refuses."""


class TimeoutError(Error, builtins.TimeoutError):
    """A wait reached its bound."""


for _class in (Error, PeerError, UsageError, TimeoutError):
    _class.__module__ = "gputcp"
