"""What NCCL wrote about itself with NCCL_DEBUG=INFO. The sentences are those of NCCL 2.28.9, and stable since 2.19."""

import collections
import dataclasses
import re

NETWORK = re.compile(r"NCCL INFO Using network (\S+)")
VERSION = re.compile(r"NCCL version (\S+)")
CHANNELS = re.compile(r"(\d+) coll channels.* (\d+) p2p channels, (\d+) p2p channels per peer")
LOADED = re.compile(r"NET/Plugin: Loaded net plugin \S+ \((v\d+)\)")
NOTE = re.compile(r"NCCL INFO (NET/\S+ ?: .*)")
NOTES = 8
VIA = re.compile(r"Channel \d+(?:/\d+)? : .* via (?:NET/([^/\s]+)|(P2P|SHM))")


@dataclasses.dataclass
class Log:
    """One rank's log."""

    version: str = ""
    #: Of a plugin's interface, as `v11`.
    interface: str = ""
    networks: set = dataclasses.field(default_factory=set)
    #: Connections by what carries them: a network's name, `P2P` or `SHM`.
    carried: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    #: Of the first communicator: channels for collectives, and per peer for send and receive.
    channels: tuple = (0, 0)
    warnings: list = dataclasses.field(default_factory=list)
    #: What networks say about themselves, each sentence once: versions, interfaces, sockets.
    notes: list = dataclasses.field(default_factory=list)

    def objections(self, network):
        """Why this log does not prove that everything went over this network."""
        if self.networks != {network}:
            yield f"NCCL used {', '.join(sorted(self.networks)) or 'no network'}, not {network}"
        if not self.carried[network]:
            yield f"no connection was made over {network}"
        others = {name: count for name, count in self.carried.items() if name != network}
        if others:
            yield f"there were connections over others: {others}"


def read(path):
    """The log at this path; an empty one if there is none."""
    log = Log()
    try:
        text = path.read_text(errors="replace")
    except OSError:
        return log
    for line in text.splitlines():
        if found := NETWORK.search(line):
            log.networks.add(found[1])
        elif found := VIA.search(line):
            log.carried[found[1] or found[2]] += 1
        elif found := CHANNELS.search(line):
            log.channels = log.channels if any(log.channels) else (int(found[1]), int(found[3]))
        elif found := VERSION.search(line):
            log.version = log.version or found[1]
        elif found := LOADED.search(line):
            log.interface = found[1]
        elif found := NOTE.search(line):
            if found[1] not in log.notes and len(log.notes) < NOTES:
                log.notes.append(found[1])
        elif " NCCL WARN " in line:
            log.warnings.append(line.split(" NCCL WARN ", 1)[1])
    return log
