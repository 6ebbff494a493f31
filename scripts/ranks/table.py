"""The table of nccl_bench.py: a row for each measurement, a column for each configuration."""

from statistics import median

LATENCY_BELOW = 1 << 20
WIDTH = 16
TITLE = 34


def lines(about, names, starts):
    """The whole table."""
    versions = " + ".join(sorted({start["nccl"] for start in starts if start["nccl"]})) or "none"
    yield (f"# NCCL {versions}, PyTorch {about['torch']}, {about['ranks']} ranks on {about['gpus']} GPUs ({about['gpu']}), "
           f"{about['cores']} cores, Linux {about['kernel']}, {about['interface']}, {about['backend']}")
    yield f"# medians of {about['rounds']} rounds; in brackets: times as fast as {names[0]}, or times its CPU"
    yield row("", names)
    yield row("network", ["+".join(of(starts, name)[0]["networks"]) or "-" for name in names])
    yield row("channels, per peer", ["{}, {}".format(*of(starts, name)[0]["channels"]) for name in names])
    for kind, bytes_ in measured(starts):
        if kind not in ("idle", "waiting"):
            unit = "µs" if bytes_ < LATENCY_BELOW else "GB/s"
            yield row(f"{title(kind, bytes_)}, {unit}", cells(names, starts, kind, bytes_, speed))
    for kind, bytes_ in measured(starts):
        if kind in ("all_reduce", "in a row") and bytes_ >= LATENCY_BELOW:
            yield row(f"CPU s/GB, {title(kind, bytes_)}", cells(names, starts, kind, bytes_, cost))
            yield row("  with the threads that wait", cells(names, starts, kind, bytes_, whole_cost))
    for kind, text in (("waiting", "cores while waiting, one rank"), ("idle", "cores idle, all ranks")):
        yield row(text, cells(names, starts, kind, 0, cores))
    if faults := sum(len(start["faults"]) for start in starts):
        yield f"# {faults} faults, said on stderr as they came"
    else:
        network = "every network as asked for" if about["backend"] == "nccl" else "a rehearsal that says nothing of any network"
        yield f"# {len(starts)} starts, every iteration verified, {network}"


def row(title, cells_):
    """One line."""
    return f"{title:{TITLE}}" + "".join(f"{cell:>{WIDTH}}" for cell in cells_)


def title(kind, bytes_):
    """A measurement's name."""
    return f"{kind} {human(bytes_)}"


def human(bytes_):
    """64K, 1M: as sizes are given."""
    for scale, unit in ((1 << 30, "G"), (1 << 20, "M"), (1 << 10, "K")):
        if bytes_ >= scale and bytes_ % scale == 0:
            return f"{bytes_ // scale}{unit}"
    return str(bytes_)


def of(starts, name):
    """The starts of one configuration."""
    return [start for start in starts if start["config"] == name]


def measured(starts):
    """Kinds and sizes in the order in which they were measured."""
    return list(dict.fromkeys((one["kind"], one["bytes"]) for start in starts for one in start["measures"]))


def cells(names, starts, kind, bytes_, figure):
    """The figure of each configuration, and its ratio to the first one's."""
    base = rounds(starts, names[0], kind, bytes_, figure)
    for name in names:
        mine = rounds(starts, name, kind, bytes_, figure)
        pairs = [(mine[round_], base[round_]) for round_ in mine if round_ in base]
        if not mine:
            yield "-"
        elif name == names[0] or not pairs or not all(one[1] and other[1] for one, other in pairs):
            yield shown(median(value for value, _ in mine.values())) + " " * 7
        else:
            ratio = median(one[1] / other[1] for one, other in pairs)
            yield f"{shown(median(value for value, _ in mine.values()))} {f'({ratio:.2f})':>6}"


def rounds(starts, name, kind, bytes_, figure):
    """A configuration's figure in each round, as what is shown and what is compared."""
    found = [(start["round"], one) for start in of(starts, name) for one in start["measures"]]
    return {round_: figure(one) for round_, one in found if (one["kind"], one["bytes"]) == (kind, bytes_)}


def shown(value):
    """Three digits."""
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def speed(one):
    """µs or GB/s; compared is the inverse of the time."""
    seconds = median(one["seconds"])
    if one["bytes"] < LATENCY_BELOW:
        return seconds * 1e6, 1 / seconds
    rate = one["wire_bytes"] / len(one["seconds"]) / seconds / 1e9
    if one["kind"] == "all_reduce":
        rate /= one["ranks"]
    return rate, rate


def cost(one):
    """CPU seconds per GB without the main threads."""
    value = (one["cpu_s"] - one["main_cpu_s"]) / (one["wire_bytes"] / 1e9)
    return value, value


def whole_cost(one):
    """CPU seconds per GB of everything."""
    value = one["cpu_s"] / (one["wire_bytes"] / 1e9)
    return value, value


def cores(one):
    """CPU seconds per second without the main threads. Near nothing in most cases, so not compared."""
    return (one["cpu_s"] - one["main_cpu_s"]) / median(one["seconds"]), None
