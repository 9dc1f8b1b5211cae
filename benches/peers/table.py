"""Medians, ranges and the targets of the relay, from lines of results."""
import collections
import statistics

# Newcomers beside a pair.
STORMS = ("storm", "restart")
# Figure, unit, and the limit of our own figure: None where only ratios are limited.
ABSOLUTE = [
    ("warren-ws", {"cell": "frames", "size": 100, "pairs": 1, "batch": 128}, "us", 0.4),
    ("warren-ws", {"cell": "frames", "size": 100, "pairs": 100, "batch": 16}, "us", 0.6),
    ("warren-ws", {"cell": "frames", "size": 1400, "pairs": 1, "batch": 128}, "us", 1.2),
    ("warren-ws", {"cell": "frames", "size": 1400, "pairs": 100, "batch": 16}, "us", 2.0),
    ("warren-ws", {"cell": "idle"}, "bytes_per_client", 12 * 1024),
    ("warren-quic", {"cell": "idle"}, "bytes_per_client", 40 * 1024),
]


def saturated(size, pairs):
    return {"cell": "frames", "size": size, "pairs": pairs, "batch": 128 if pairs == 1 else 16}


def ratios():
    """Ours, the other, the cell, the figure, and how large ours divided by theirs may be."""
    for pairs in (1, 100):
        yield "warren-ws", "forwarder-ws", saturated(100, pairs), "us", 1.5
        yield "warren-ws", "iroh", saturated(100, pairs), "us", 1 / 30
        yield "warren-ws", "forwarder-ws", saturated(1400, pairs), "us", 1.25
        yield "warren-ws", "iroh", saturated(1400, pairs), "us", 1 / 9
        yield "warren-ws", "nats", saturated(1400, pairs), "us", 1
        for size in (100, 1400):
            yield "warren-quic", "forwarder-quic", saturated(size, pairs), "us", 1.15
        for other in ("forwarder-ws", "naive-ws", "nats", "iroh"):
            yield "warren-ws", other, saturated(4096, pairs), "us", 1
    for size in (100, 1400, 4096):
        for batch in (1, 8, 16):
            for other in ("forwarder-ws", "naive-ws", "nats", "iroh"):
                yield "warren-ws", other, {"cell": "frames", "size": size, "pairs": 10, "batch": batch}, "us", 1
    for figure in ("us", "p50"):
        yield "warren-ws", "forwarder-ws", {"cell": "lone"}, figure, 1.1
        yield "warren-quic", "forwarder-quic", {"cell": "lone"}, figure, 1.1
    for other in ("forwarder-ws", "nats", "iroh"):
        yield "warren-ws", other, {"cell": "idle"}, "bytes_per_client", 1
    yield "warren-quic", "forwarder-quic", {"cell": "idle"}, "bytes_per_client", 1
    yield "warren-ws", "iroh", {"cell": "idle"}, "connect_us", 0.9


def describe(line):
    """One measurement in words."""
    if line["cell"] == "frames":
        what = f"{line['size']:5} B {line['pairs']:5} pairs, writes of {line['batch']:3}: {line['us']:7.3f} us a frame"
        return what + (f", {line['lost']} LOST" if line["lost"] else "") + disturbed(line)
    if line["cell"] == "fairness":
        text = (f"beside {line['beside']}: p50 {line['p50']:.0f} us, p99 {line['p99']:.0f} us, "
                f"alone {line['alone_p50']:.0f} and {line['alone_p99']:.0f}, median p99 of quarter seconds "
                f"{line['quarter_p99']:.0f} and {line['alone_quarter_p99']:.0f}, {line['lost']} lost")
        if line["beside"] in STORMS:
            text += (f", {line['clients']} in after {line['seconds']:.2f} s, {line['retries']} refused, "
                     f"{line['underway']} frames on their way at the end, sent late by p99 {line['late_p99']:.0f} us, "
                     f"{line['connect_us']:.0f} us a connect")
        return text + dropped(line) + (", THE PAIR ENDED" if line["ended"] else "") + disturbed(line)
    if line["cell"] == "lone":
        return (f"{line['size']:5} B alone, {line['rate']} a second: {line['us']:.2f} us a frame, "
                f"p50 {line['p50']:.0f} us, p99 {line['p99']:.0f} us" + disturbed(line))
    return (f"{line['standing']} of {line['clients']} idle: {line['bytes_per_client']:.0f} bytes a client "
            f"({line['bytes_at_half']:.0f} at half of them, {line['bytes_at_quarter']:.0f} at a quarter), "
            f"{line['idle_ms']:.1f} ms of CPU a second ({line['unused_ms']:.1f} with none), {line['connect_us']:.0f} us a "
            f"connect, {line['connects_per_s']:.0f} connects a second, {line['failed']} failed and {line['ended']} lost "
            "before all stood" + disturbed(line))


def dropped(line):
    return "".join(f", {count} dropped: {reason}" for reason, count in line.get("dropped", {}).items())


def disturbed(line):
    return f" (neighbours took {line['others']:.1f} cores)" if line["others"] >= 0.3 else ""


def key(line):
    return tuple(line.get(name) for name in ("cell", "size", "pairs", "batch", "window", "clients", "beside"))


def show(lines):
    cells = collections.OrderedDict()
    for line in lines:
        cells.setdefault(key(line), {}).setdefault(line["peer"], []).append(line)
    for cell, peers in cells.items():
        print(f"\n{title(cell)}")
        for peer, measured in peers.items():
            figures = {"frames": ["us", "frames_per_s"], "lone": ["us", "p50", "p99"],
                       "fairness": ["alone_p50", "alone_p99", "p50", "p99", "ratio"] + (
                           ["seconds", "connect_us"] if cell[-1] in STORMS else
                           ["alone_quarter_p99", "quarter_p99", "quarter_ratio"]),
                       "idle": ["bytes_per_client", "connect_us", "idle_ms", "unused_ms"]}[cell[0]]
            text = "  ".join(f"{name} {spread([line[name] for line in measured])}" for name in figures if name in measured[0])
            lost = sum(line.get("lost", 0) + missing(line) for line in measured)
            print(f"  {peer:17} n={len(measured)}  {text}" + (f"  LOST {lost}" if lost else ""))
    print("\ntargets (medians)")
    for peer, cell, figure, limit in ABSOLUTE:
        ours = median(lines, peer, cell, figure)
        if ours is not None:
            verdict(f"{peer} {words(cell)} {figure}", ours, limit)
    for ours_name, other_name, cell, figure, limit in ratios():
        ours, other = median(lines, ours_name, cell, figure), median(lines, other_name, cell, figure)
        if ours is not None and other:
            verdict(f"{ours_name} / {other_name}, {words(cell)} {figure}", ours / other, limit)
    for peer in ("warren-ws", "warren-quic"):
        for beside in ("flood", "same", "deaf", *STORMS):
            # A storm is over in a second; in floods, which last, others than the relay are kept out of the figure.
            of, figure = ("", "ratio") if beside in STORMS else (" of a quarter second", "quarter_ratio")
            worse = median(lines, peer, {"cell": "fairness", "beside": beside}, figure)
            if worse is not None:
                verdict(f"{peer}, p99{of} of a pair beside {beside} / alone", worse, 2)
    for peer in ("warren-ws", "warren-quic"):
        scale = {line["pairs"] for line in lines if line["peer"] == peer and line.get("batch") == 8 == line.get("window", 0) / 2}
        if len(scale) > 1:
            few, many = (median(lines, peer, {"pairs": pairs, "window": 16, "batch": 8}, "us")
                         for pairs in (min(scale), max(scale)))
            verdict(f"{peer}, {max(scale)} pairs / {min(scale)} pairs, us", many / few, 1.5)


def title(cell):
    name, size, pairs, batch, window, clients, beside = cell
    if name == "fairness":
        return f"one pair, 500 frames a second, beside: {beside}; latency in us"
    if name == "frames":
        return f"{size} B, {pairs} pairs, writes of {batch}, {window} on their way: CPU us of the relay per frame"
    return {"lone": f"{size} B, one frame at a time, 2000 a second: CPU us per frame, latency in us",
            "idle": f"{clients} idle clients: bytes each, CPU us per connect"}[name]


def words(cell):
    return " ".join(f"{name}={value}" for name, value in cell.items())


def median(lines, peer, cell, figure):
    """Of the lines that may be judged: a relay that lost clients looks small."""
    matching = [line[figure] for line in lines
                if line["peer"] == peer and figure in line and all(line.get(name) == cell[name] for name in cell)
                and not missing(line)]
    return statistics.median(matching) if matching else None


def missing(line):
    """Clients that do not stand at the end, or the pair."""
    return line["clients"] - line["standing"] if "standing" in line else line.get("failed", 0) + line.get("ended", 0)


def spread(values):
    form = "{:.0f}" if max(values) >= 100 else "{:.2f}"
    return form.format(statistics.median(values)) + f" ({form.format(min(values))} to {form.format(max(values))})"


def verdict(what, value, limit):
    print(f"  {'met   ' if value <= limit else 'MISSED'} {what}: {value:.3g}, at most {limit:.3g}")
