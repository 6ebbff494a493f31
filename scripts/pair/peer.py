"""One of two processes: the initiator (0) posts every transfer, the target (1) does nothing but fill and verify.

A transfer is timed from its post until NIXL says that it is done. Its destination is cleared before, and compared after, each
outside of the timed part.
"""

import os
import time
import traceback

NAMES = "initiator", "target"


def run(end, chosen, configuration, seed, lead, other):
    """The whole life of a peer; the lead hears of results, or of a failure."""
    # Stdout is the table's: what NIXL and UCX say goes to stderr.
    os.dup2(2, 1)
    os.environ.update(configuration["env"])
    try:
        work(end, chosen, configuration["backend"], seed, lead, other)
    except BaseException:
        lead.send({"failed": NAMES[end], "why": traceback.format_exc()})
    lead.close()


def work(end, chosen, backend, seed, lead, other):
    nixl_agent, nixl_agent_config = api()
    agent = nixl_agent(NAMES[end], nixl_agent_config(backends=[backend]))
    for case in chosen.cases:
        memory = memory_of(end, chosen, case)
        registered = agent.register_memory([(memory.address, case.places * case.block, memory.device, "")], memory.kind)
        order = case.order(end)
        other.send((agent.get_agent_metadata(), (memory.kind, blocks(memory, case, order))))
        metadata, remote = other.recv()
        agent.add_remote_agent(metadata)
        if end == 0:
            for operation in chosen.operations:
                lead.send(measure(agent, chosen, case, operation, memory, order, remote, seed, other))
            other.send(None)
        else:
            serve(case, memory, order, other)
        agent.remove_remote_agent(NAMES[1 - end])
        # Both have left before the memory goes.
        other.send(None)
        other.recv()
        agent.deregister_memory(registered)


def api():
    """NIXL's module, under whichever name it is installed."""
    for name in ("nixl", "nixl_cu12", "nixl_cu13"):
        try:
            module = __import__(f"{name}._api", fromlist=["nixl_agent"])
            return module.nixl_agent, module.nixl_agent_config
        except ImportError as error:
            why = error
    raise why


def memory_of(end, chosen, case):
    from . import memory

    if chosen.memory[end] == "DRAM":
        return memory.Host(case.places, case.block)
    return memory.Gpu(case.places, case.block, chosen.gpus[end])


def blocks(memory, case, order):
    return [(memory.address + at * case.block, case.block, memory.device) for at in order]


def measure(agent, chosen, case, operation, memory, order, remote, seed, other):
    """All iterations of one operation, in the initiator."""
    from .memory import pattern

    rows = pattern(case, seed)
    source_is_here = operation == "WRITE"

    def ask(what):
        other.send((what, operation, seed))
        return other.recv()

    if source_is_here:
        memory.clear()
        memory.put(order, rows)
    else:
        ask("fill")
    began = time.perf_counter()
    mine = agent.prep_xfer_dlist("NIXL_INIT_AGENT", blocks(memory, case, order), memory.kind)
    kind, places = remote
    theirs = agent.prep_xfer_dlist(NAMES[1], places, kind)
    numbers = list(range(case.blocks))
    handle = agent.make_prepped_xfer(operation, mine, numbers, theirs, numbers)
    prepared = time.perf_counter() - began
    seconds, faults = [], 0
    deadline = time.monotonic() + chosen.seconds
    while len(seconds) < chosen.least or (time.monotonic() < deadline and len(seconds) < chosen.most):
        if source_is_here:
            ask("clear")
        else:
            memory.clear()
        began = time.perf_counter()
        state = agent.transfer(handle)
        while state == "PROC":
            state = agent.check_xfer_state(handle)
        took = time.perf_counter() - began
        if state != "DONE":
            raise RuntimeError(f"{operation} of {case.text} ended as {state}")
        good = ask("verify") if source_is_here else memory.has(order, rows)
        faults += not good
        seconds.append(took)
    agent.release_xfer_handle(handle)
    for prepped in (mine, theirs):
        agent.release_dlist_handle(prepped)
    # The first one may connect.
    return {"case": case.text, "operation": operation, "bytes": case.bytes, "seconds": seconds[1:] or seconds,
            "first": seconds[0], "prepare": prepared, "faults": faults}


def serve(case, memory, order, other):
    """The orders that the target takes."""
    from .memory import pattern

    while (asked := other.recv()) is not None:
        what, _, seed = asked
        answer = True
        if what == "fill":
            memory.clear()
            memory.put(order, pattern(case, seed))
        elif what == "clear":
            memory.clear()
        else:
            answer = memory.has(order, pattern(case, seed))
        other.send(answer)
