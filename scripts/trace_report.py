#!/usr/bin/env python3
"""Tells from traces (GPUTCP_TRACE) where messages spend their time: the median of each step, by size and situation.

Takes the files of both ends, which it matches by connection and sequence number, and needs Python alone. Times are
microseconds. The steps follow one another, from the sender's post to the moment at which the receiver's caller has
the message:

  match   the sender waits for the receive to be announced
  begin   until a thread takes the message up: wake-ups, and messages before it
  stage   the copy from the GPU, until the first bytes are written
  first   from the first call to write to the first byte read: the network, and the reader's wake-up
  bytes   from the first byte read to the last
  late    the message waits in an eager place for its receive
  unpack  the copy to the GPU, and until the end of it is noticed
  seen    until the receiver's caller asks for the message

A message is "paused" if its connection had none in flight for --pause, "alone" if it had none, else "row". Beside the
steps: "write", from the sender's first call to its last; "back", from the last bytes taken to the sender's caller. Raw
sockets are those of the command's baseline.
"""

import argparse
import bisect
import collections
import json
import statistics
import sys

STEPS = ["match", "begin", "stage", "first", "bytes", "late", "unpack", "seen"]
OF_GPU, OF_WIRE = {"stage", "unpack"}, {"first", "bytes"}


def main():
    args = arguments()
    try:
        traces = [read(path) for path in args.files]
    except (OSError, ValueError, KeyError) as error:
        sys.exit(f"{error}: is it a file that GPUTCP_TRACE named?")
    if args.merge:
        events = [event for trace in traces for event in trace]
        with open(args.merge, "w", encoding="utf-8") as file:
            json.dump({"displayTimeUnit": "ns", "traceEvents": events}, file)
    connections = gather(traces)
    rows = collections.defaultdict(list)
    unmatched = 0
    for name, ends in sorted(connections.items()):
        unmatched += classify(name, ends, rows, args.pause * 1000)
    print_steps(rows)
    print_waits(connections)
    print_losses(traces, connections, unmatched)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", metavar="FILE", help="a trace, of one process or several")
    parser.add_argument("--merge", metavar="FILE", help="write all events into one file, for a viewer")
    parser.add_argument("--pause", type=float, default=1000, metavar="µs", help="the least pause (default 1000)")
    return parser.parse_args()


def read(path):
    """Returns a file's events. Each connection's own event gets the boot of its machine, which tells clocks apart."""
    with open(path, encoding="utf-8") as file:
        document = json.load(file)
    events, boot = document["traceEvents"], None
    for event in events:
        if event["name"] == "gputcp_trace":
            event["args"]["left_out"] = document.get("otherData", event["args"]).get("left_out", 0)
            boot = event["args"]["boot"]
        elif event["name"] == "gputcp_connection":
            event["args"].setdefault("boot", boot)
    return events


class End:
    """One end of a connection: its messages by sequence number, and its waits."""

    def __init__(self, facts):
        self.facts = facts
        self.messages = collections.defaultdict(lambda: collections.defaultdict(list))
        self.waits = collections.defaultdict(list)
        self.wakes = collections.defaultdict(list)
        self.counts = {}
        self.empty = 0
        self.left_out = None


def gather(traces):
    """Returns the ends of each connection, by its name and "send" or "receive"."""
    by_pid, connections = {}, collections.defaultdict(dict)
    events = [event for trace in traces for event in trace]
    for event in events:
        if event["name"] == "gputcp_connection":
            facts = event["args"]
            by_pid[event["pid"]] = connections[facts["connection"]][facts["end"]] = End(facts)
    for event in events:
        end = by_pid.get(event["pid"])
        if end is not None:
            add(end, event)
    return connections


def add(end, event):
    phase, name, args = event["ph"], event["name"], event.get("args", {})
    # Nanoseconds, which the file has as decimals of microseconds.
    at = round(event.get("ts", 0) * 1000)
    until = at + round(event.get("dur", 0) * 1000)
    if phase in "bne" and "seq" in args:
        message = end.messages[args["seq"]]
        message[{"b": "posted", "n": "done", "e": "seen"}[phase]] = at
        if phase == "e":
            message["bytes"] = args["bytes"]
    elif phase == "X" and "seq" in args:
        end.messages[args["seq"]][name].append((at, until))
        end.empty += args.get("empty", 0)
    elif phase == "X":
        end.waits[event["tid"], name].append((at, until))
    elif name == "wake":
        end.wakes[event["tid"]].append(at)
    elif phase == "C":
        end.counts = args
    elif name == "closed":
        end.left_out = args["left_out"]


def classify(name, ends, rows, pause):
    """Adds the steps of a connection's messages to their rows. Returns how many lack an end."""
    send, receive = ends.get("send"), ends.get("receive")
    if send is None or receive is None or send.facts["boot"] != receive.facts["boot"]:
        return sum(len(end.messages) for end in ends.values())
    kind = "raw" if name.startswith("raw ") else "gputcp"
    whole = {"posted", "seen", "done"}
    by_post = sorted((m["posted"], seq) for seq, m in send.messages.items() if whole <= m.keys())
    unmatched, last_seen = 0, float("-inf")
    for index, (posted, seq) in enumerate(by_post):
        mine, theirs = send.messages[seq], receive.messages.get(seq, {})
        if not (whole <= theirs.keys() and mine.get("write") and theirs.get("read")):
            unmatched += 1
            continue
        following = by_post[index + 1][0] if index + 1 < len(by_post) else float("inf")
        if posted < last_seen or following < mine["seen"]:
            situation = "row"
        else:
            situation = "paused" if posted - last_seen >= pause else "alone"
        last_seen = max(last_seen, mine["seen"])
        rows[mine["bytes"], kind, situation].append(steps(mine, theirs))
    return unmatched


def steps(mine, theirs):
    """Returns how long each step of a message took, in nanoseconds."""
    first_write = min(at for at, _ in mine["write"])
    last_write = max(until for _, until in mine["write"])
    first_read = min(at for at, _ in theirs["read"])
    last_read = max(until for _, until in theirs["read"])
    begin = min([at for at, _ in mine.get("stage", [])] + [first_write])
    # An early message goes before its announcement is heard, and raw sockets have none.
    heard = [until for _, until in mine.get("hear announcement", []) if until <= begin]
    matched = max([mine["posted"]] + heard)
    points = [mine["posted"], matched, begin, first_write, first_read, last_read]
    points += [max(last_read, theirs["posted"]), theirs["done"], theirs["seen"]]
    found = {step: points[at + 1] - points[at] for at, step in enumerate(STEPS)}
    return found | {
        "total": theirs["seen"] - mine["posted"],
        "write": last_write - first_write,
        "back": mine["seen"] - last_write,
    }


def print_steps(rows):
    """Prints a line for each row, without the columns in which nothing took time."""
    columns = STEPS + ["total", "write", "back"]
    medians = {
        row: {name: statistics.median(message[name] for message in messages) for name in columns}
        for row, messages in sorted(rows.items())
    }
    shown_columns = [name for name in columns if any(row[name] >= 50 for row in medians.values())]
    print(f"{'bytes':>9} {'':6} {'':6} {'count':>6} ", *(f"{name:>7}" for name in shown_columns), "  GPU/wire/ours %")
    for (size, kind, situation), row in medians.items():
        whole = sum(row[step] for step in STEPS) or 1
        gpu, wire = (sum(row[step] for step in of) * 100 / whole for of in (OF_GPU, OF_WIRE))
        shares = f"{gpu:.0f}/{wire:.0f}/{100 - gpu - wire:.0f}"
        times = (f"{row[name] / 1000:7.1f}" for name in shown_columns)
        count = len(rows[size, kind, situation])
        print(f"{shown(size):>9} {kind:6} {situation:6} {count:6} ", *times, f"{shares:>17}")


def print_waits(connections):
    waits, wakes = collections.defaultdict(list), collections.defaultdict(list)
    calls = collections.Counter()
    for name, ends in connections.items():
        if name.startswith("raw "):
            continue
        for side, end in ends.items():
            for (tid, what), spans in end.waits.items():
                waits[side, what] += [until - at for at, until in spans]
                if what == "wait for work":
                    wakes[side] += wake_ups(end.wakes[tid], spans)
            calls[side, "calls of data sockets"] += end.empty
            for what, count in end.counts.items():
                calls[side, what] += count
    print(f"\n{'':8} {'threads':24} {'count':>8} {'median':>10} {'90 %':>10}")
    for (side, what), times in sorted(waits.items()):
        print_spread(side, what, times)
    for side, times in sorted(wakes.items()):
        print_spread(side, "from wake to work", times)
    for (side, what), count in sorted(calls.items()):
        print(f"{side:8} {what + ' in vain':24} {count:8}")


def wake_ups(wakes, spans):
    """Returns how long after the first wake each wait ended, where it was woken."""
    wakes, times = sorted(wakes), []
    for at, until in spans:
        place = bisect.bisect_left(wakes, at)
        if place < len(wakes) and wakes[place] < until:
            times.append(until - wakes[place])
    return times


def print_spread(side, what, times):
    times = sorted(times)
    if times:
        median, most = statistics.median(times), times[len(times) * 9 // 10]
        print(f"{side:8} {what:24} {len(times):8} {median / 1000:10.1f} {most / 1000:10.1f}")


def print_losses(traces, connections, unmatched):
    said = []
    if unmatched:
        said.append(f"{unmatched} messages are left out: an end of theirs is missing, or another machine's clock has it")
    begun = [event["args"]["left_out"] for trace in traces for event in trace if event["name"] == "gputcp_trace"]
    if sum(begun):
        said.append(f"{sum(begun)} events are left out: a ring or a file was full")
    open_ends = sum(end.left_out is None for ends in connections.values() for end in ends.values())
    if open_ends:
        said.append(f"{open_ends} ends of connections did not close: their last 50 ms may be missing")
    for line in said:
        print(f"# {line}")


def shown(size):
    for unit, name in [(1 << 20, "M"), (1 << 10, "K")]:
        if size and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


if __name__ == "__main__":
    main()
