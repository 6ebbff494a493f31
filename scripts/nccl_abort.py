#!/usr/bin/env python3
"""Does a job end when one of its ranks dies or falls silent, over the gputcp plugin?

Ranks of PyTorch run all_reduces without end. In the midst of them one is killed (SIGKILL), or stopped (SIGSTOP), and every other
rank must end with an error within a bound. Nobody may hang, and nobody may take wrong data for right. Four cases:

  killed, watchdog    PyTorch as it comes (TORCH_NCCL_ASYNC_ERROR_HANDLING=3): its watchdog thread asks NCCL for errors, hears of
                      the broken connection that the plugin reports, and ends the process. NCCL is not asked to clean up
  killed, wait        TORCH_NCCL_BLOCKING_WAIT=1: there is no watchdog; wait() asks NCCL for errors, aborts the communicator, so
                      that NCCL has the plugin close connections whose peer is dead, and raises. The program then exits in good
                      order. That it "noticed" includes this abort
  stopped, watchdog   a stopped process keeps its connections and its kernel acknowledges data, so only time tells: the group's
                      timeout (--timeout) has to end the process
  stopped, wait       the same by wait(); the plugin closes connections whose peer is alive and silent

PyTorch's dumps before its end are switched off (TORCH_NCCL_DUMP_ON_TIMEOUT=0), as they take up to a minute. The plugin's own
GPUTCP_TIMEOUT may strike before the group's; both are fine. One line per case and rank on stdout, with the time from the signal.
Exit code 0 if all ended in time, else 1.
"""

import signal
import sys
import time

from ranks import document, environment, launch, log, options

MODES = {"watchdog": {"TORCH_NCCL_ASYNC_ERROR_HANDLING": "3"}, "wait": {"TORCH_NCCL_BLOCKING_WAIT": "1"}}
QUICK_END = {
    "TORCH_NCCL_DUMP_ON_TIMEOUT": "0",
    "TORCH_NCCL_WAIT_TIMEOUT_DUMP_MILSEC": "1000",
    "TORCH_NCCL_LOG_CPP_STACK_ON_UNCLEAN_SHUTDOWN": "0",
}


def parse():
    made = options.parser(__doc__)
    made.add_argument("--victim", type=int, metavar="RANK", help="who is killed or stopped (default: the last rank)")
    made.add_argument("--bytes", type=int, default=16 << 20, metavar="B", help="of each all_reduce (default 16 MiB)")
    made.add_argument("--bound", type=float, default=20, metavar="S", help="seconds to end in (default 20)")
    made.add_argument("--timeout", type=float, default=8, metavar="S", help="the group's timeout for a stopped rank (default 8)")
    made.add_argument("--only", choices=("killed", "stopped"), help="half of the cases")
    # Which case a rank is in.
    made.add_argument("--how", choices=("killed", "stopped"), help=options.HIDDEN)
    made.add_argument("--mode", choices=tuple(MODES), help=options.HIDDEN)
    chosen = options.checked(made)
    chosen.victim = chosen.ranks - 1 if chosen.victim is None else chosen.victim
    if not 0 <= chosen.victim < chosen.ranks:
        made.error(f"--victim: there are ranks 0 to {chosen.ranks - 1}")
    return chosen


def lead(chosen):
    """All cases, one after another."""
    cases = [(how, mode) for how in ("killed", "stopped") for mode in MODES if chosen.only in (None, how)]
    # All are run, whatever one comes to.
    ends = []
    good = all([case(chosen, how, mode, ends) for how, mode in cases])
    document.write(chosen, "gputcp.nccl-abort/1", victim=chosen.victim, ends=ends)
    return good


def case(chosen, how, mode, ends_of_all):
    """One case, whose ends it adds: whether all survivors ended with an error in time."""
    net = (environment.gputcp(chosen.plugin) if chosen.backend == "nccl" else {}) | MODES[mode] | QUICK_END
    bound_s = chosen.bound + (chosen.timeout if how == "stopped" else 0)
    with launch.Ranks(chosen, f"{how}-{mode}", net, ["--how", how, "--mode", mode]) as ranks:
        wait_for_loops(chosen, ranks)
        ranks.signal(chosen.victim, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
        struck = time.monotonic()
        survivors = set(range(chosen.ranks)) - {chosen.victim}
        living, told = set(survivors), {rank: [] for rank in range(chosen.ranks)}
        codes, ends = {}, {}
        while living and (event := ranks.next(struck + bound_s)):
            if isinstance(event, launch.Ended):
                living.discard(event.rank)
                codes[event.rank], ends[event.rank] = event.code, event.at - struck
            else:
                told[event.rank].append((event.at - struck, event.fields))
        good = True
        for rank in sorted(survivors):
            fault = verdict(mode, rank in living, codes.get(rank), told[rank], bound_s)
            name = f"{how}, {mode}"
            end = {"case": name, "rank": rank, "end_s": ends.get(rank), "code": codes.get(rank), "fault": fault}
            ends_of_all.append(end | {"events": [{"at_s": at} | fields for at, fields in told[rank]]})
            good = report(name, rank, fault, ends.get(rank), codes.get(rank), told[rank]) and good
        if chosen.backend == "nccl":
            good = report_logs(chosen, ranks) and good
        if living:
            ranks.autopsy(living)
        elif not good:
            for rank in survivors:
                ranks.show(rank)
    return good


def wait_for_loops(chosen, ranks):
    """Until every rank is in the midst of its all_reduces."""
    looping, until = set(), time.monotonic() + 90
    while len(looping) < chosen.ranks:
        event = ranks.next(until)
        if not isinstance(event, launch.Said) or "looping" not in event.fields:
            ranks.autopsy(set(range(chosen.ranks)))
            raise launch.Failed(f"the ranks did not begin: {event or 'nothing happened for 90 s'}")
        looping.add(event.rank)
    time.sleep(1)


def verdict(mode, lives, code, told, bound_s):
    """What is wrong with a survivor's end, or None."""
    if lives:
        return f"still there after {bound_s:.0f} s"
    if wrong := [fields["wrong"] for _, fields in told if "wrong" in fields]:
        return f"took wrong data for right: {wrong[0]}"
    if mode == "wait" and (code or not any("aborted_s" in fields for _, fields in told)):
        return f"{launch.ending(code)} instead of an orderly end after the error"
    if mode == "watchdog" and code == 0:
        return "ended as if all were well"
    return None


def report(name, rank, fault, end_s, code, told):
    """Prints how one survivor ended; whether it was good."""
    events = [] if end_s is None else [f"ended after {end_s:.2f} s with {launch.ending(code)}"]
    for at, fields in told:
        if "noticed" in fields:
            events.append(f"noticed after {at:.2f} s: {fields['noticed'][:160]}")
        if "error" in fields:
            events.append(f"error after {at:.2f} s: {fields['error'][:160]}")
        if "aborted_s" in fields:
            left = f"{sum(fields['threads'].values())} threads and {sum(fields['descriptors'].values())} descriptors"
            events.append(f"abort took {fields['aborted_s']:.2f} s, {left} more than at the start")
    print(f"{'FAIL' if fault else 'ok':4} {name:18} rank {rank}  {'; '.join(([fault] if fault else []) + events)}", flush=True)
    return not fault


def report_logs(chosen, ranks):
    """Says what the plugin told NCCL's log; whether the plugin was what carried the data."""
    good = True
    for rank in range(chosen.ranks):
        read = log.read(ranks.log(rank))
        for fault in read.objections("gputcp"):
            print(f"FAIL                    rank {rank}  {fault}", flush=True)
            good = False
        for warning in [warning for warning in read.warnings if "NET/gputcp" in warning][:1]:
            print(f"                        rank {rank}  {warning}", flush=True)
    return good


def main():
    chosen = parse()
    if chosen.as_rank is None:
        launch.run(lambda: lead(chosen))
    from ranks import rank
    from work import abort

    rank.run(chosen, lambda one: abort.loop(one, chosen))


if __name__ == "__main__":
    sys.exit(main())
