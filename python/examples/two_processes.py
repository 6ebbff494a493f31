"""Two processes: one lends its memory, the other reads it, changes it, and writes it back."""

import multiprocessing
from multiprocessing.connection import Connection

import gputcp


def lend(pipe: Connection) -> None:
    memory = bytearray(b"the lender's bytes")
    with gputcp.Endpoint() as endpoint:
        region = endpoint.register(memory)
        # The address and the key reach the peer in any way. From here on the endpoint serves by itself.
        pipe.send((endpoint.address, region.key))
        [(_, note)] = endpoint.notes(timeout=10)
        region.deregister()
    print(f"the peer says {note.decode()!r}; the lender's memory is {memory.decode()!r}")


def main() -> None:
    here, there = multiprocessing.Pipe()
    lender = multiprocessing.get_context("spawn").Process(target=lend, args=(there,))
    lender.start()
    address, key = here.recv()

    memory = bytearray(18)
    with gputcp.Endpoint() as endpoint:
        region = endpoint.register(memory)
        peer = endpoint.connect(address)
        peer.read([(region, 0, key, 0, 18)]).wait(10)
        print(f"the borrower read {memory.decode()!r}")
        memory[4:10] = b"reader"
        peer.write([(region, 4, key, 4, 6)], note=b"six bytes changed").wait(10)
        lender.join(10)
    assert lender.exitcode == 0, lender.exitcode


if __name__ == "__main__":
    main()
