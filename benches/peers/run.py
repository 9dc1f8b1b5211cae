#!/usr/bin/env python3
"""Our relay beside others, interleaved in one run: what a frame, a client and a connect cost the relay.

    benches/peers/run.py                      everything, five repetitions
    benches/peers/run.py --only warren-ws,forwarder-ws --cells frames --repetitions 3
    benches/peers/run.py --only warren-quic --cells idle --clients 100000 --repetitions 1 --keep /var/tmp/peers
    benches/peers/run.py --table results/*.jsonl

Linux, two cores or more: the relay runs on the first, the load on the second. Builds what it needs. iroh-relay
(cargo install iroh-relay --locked --features server) and nats-server (Debian package) are used when they are on the
PATH, or where IROH_RELAY and NATS_SERVER say, and are named and left out otherwise.
"""
import argparse
import contextlib
import datetime
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import tempfile
import time

import relays
import table

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
LOAD_CORE = "1"
STORM_CLIENTS = 1_000
# Files of the relay that are not connections, as Warren counts them, and a few more.
OTHER_FILES = 300
# Who floods somebody else's receiver has no contract with it.
ENVIRONMENT = {"fairness": {"WARREN__RELAY__CONTRACT_GATE": "false"}}


def build(binary):
    """The server, unless one was named, and the tools of this folder."""
    if not binary:
        subprocess.run(["cargo", "build", "--locked", "--release", "--bin", "warren"], cwd=ROOT, check=True)
    subprocess.run(["cargo", "build", "--locked", "--release"], cwd=HERE, check=True)
    tools = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", HERE / "target")) / "release"
    return pathlib.Path(binary or ROOT / "target" / "release" / "warren"), tools


def busy_cores():
    """Cores in use just now."""
    def seconds():
        with open("/proc/stat") as file:
            ticks = list(map(int, file.readline().split()[1:]))
        return (sum(ticks[0:3]) + sum(ticks[5:7])) / os.sysconf("SC_CLK_TCK")
    before = seconds()
    time.sleep(0.25)
    return (seconds() - before) / 0.25


def wait_for_quiet(most):
    """Waits a while until the machine is nearly idle; false when it stays busy."""
    end = time.time() + most
    while busy_cores() > 0.1:
        if time.time() > end:
            return False
        time.sleep(0.3)
    return True


class Bench:
    def __init__(self, options, tools, out):
        self.options, self.tools, self.out = options, tools, out

    def measure(self, relay, repetition, cell, **arguments):
        """One cell against a running relay; its line goes to the results. Again when neighbours disturbed it."""
        best = None
        for _ in range(1 + self.options.retries):
            is_quiet = wait_for_quiet(self.options.patience)
            measured = self.load(relay, cell, arguments)
            if measured is None:
                return
            measured |= {"peer": relay.name, "repetition": repetition, "quiet": is_quiet}
            if best is None or measured["others"] < best["others"]:
                best = measured
            if best["others"] < 0.3:
                break
        self.out.write(json.dumps(best) + "\n")
        self.out.flush()
        print(f"  {relay.name:15} {table.describe(best)}", flush=True)

    def load(self, relay, cell, arguments):
        command = [*relays.PRIORITY, "taskset", "-c", LOAD_CORE, self.tools / "load", cell, "--proto", relay.proto,
                   "--to", f"127.0.0.1:{relay.port}", "--pid", str(relay.process.pid)]
        if relay.parties:
            command += ["--parties", relay.parties, "--telemetry", relay.telemetry]
        for name, value in arguments.items():
            command += [f"--{name.replace('_', '-')}", str(value)]
        dropped = relay.dropped()
        pipe = subprocess.PIPE
        with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as load:
            try:
                if arguments.get("beside") == "restart" and load.stdout.readline():
                    relay.stop(self.options.restart_signal)
                    dropped = {}
                    relay.start()
                    load.stdin.write(f"{relay.process.pid}\n")
                    load.stdin.flush()
                out, error = load.communicate(timeout=300 + arguments.get("clients", 0) // 50)
            except BaseException:
                load.kill()
                raise
        if load.returncode or error or not out:
            print(f"  {relay.name}: {cell} {arguments} ({load.returncode}): {error[-600:]}", flush=True)
        if not out:
            return None
        dropped = {reason: count - dropped.get(reason, 0) for reason, count in relay.dropped().items()}
        return json.loads(out) | {"dropped": {reason: count for reason, count in dropped.items() if count}}

    def frames(self, relay, repetition):
        ms = self.options.ms
        for size in self.options.sizes:
            for pairs in (1, 100):
                self.measure(relay, repetition, "frames", size=size, pairs=pairs, window=256 if pairs == 1 else 32, ms=ms)

    def batches(self, relay, repetition):
        """Writes of a few frames, the next when they have arrived: no backlog that would be batched on the way."""
        for size in self.options.sizes:
            for batch in (1, 8, 16):
                self.measure(relay, repetition, "frames", size=size, pairs=10, window=batch, batch=batch,
                             ms=self.options.ms)

    def lone(self, relay, repetition):
        # Long: what one frame costs varies by a third from second to second.
        self.measure(relay, repetition, "lone", size=1400, rate=2000, ms=3000)

    def idle(self, relay, repetition):
        self.measure(relay, repetition, "idle", clients=self.possible(relay, self.options.clients or 10_000))

    def possible(self, relay, clients):
        """A UDP socket serves many clients, a TCP connection takes a file at either end."""
        if not relay.proto.endswith("quic") and clients > self.options.files:
            clients = self.options.files
            print(f"  {relay.name}: only {clients} clients, the limit of open files", flush=True)
        return clients

    def fairness(self, relay, repetition):
        """A flood to somebody else, one to the same receiver, one to a client that does not read."""
        for beside in ("flood", "same", "deaf"):
            self.measure(relay, repetition, "fairness", beside=beside)

    def storm(self, relay, repetition):
        """Everybody connects at once beside a pair that is there already."""
        self.newcomers(relay, repetition, "storm")

    def restart(self, relay, repetition):
        """Everybody is connected, the relay ends and is started again: a pair comes back first, then all the others at
        once."""
        self.newcomers(relay, repetition, "restart")

    def newcomers(self, relay, repetition, beside):
        # Besides the pair two are connected already.
        clients = self.possible(relay, self.options.clients or STORM_CLIENTS) - 4
        self.measure(relay, repetition, "fairness", beside=beside, clients=clients)

    def scale(self, relay, repetition):
        most = self.possible(relay, 2 * self.options.most_pairs) // 2
        for pairs in (10, 100, 1_000, most):
            # Warren announces a client 5 s after it came: that is the cost of a connect, not of a frame.
            self.measure(relay, repetition, "frames", size=1400, pairs=pairs, window=16, warm_ms=8000, ms=2000)


def kept(folder):
    """The folder with Warren's data and clients: one that stays, or one for this run."""
    if not folder:
        return tempfile.TemporaryDirectory()
    pathlib.Path(folder).mkdir(parents=True, exist_ok=True)
    return contextlib.nullcontext(folder)


def numbers(text):
    return [int(number) for number in text.split(",")]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", nargs="+", metavar="FILE", help="print the table of earlier results, run nothing")
    parser.add_argument("--only", help="peers, by name: " + ", ".join(relays.NAMES))
    parser.add_argument("--cells", default="frames,batches,lone,idle,fairness,storm,restart,scale")
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--sizes", type=numbers, default=[100, 1400, 4096])
    parser.add_argument("--ms", type=int, default=700, help="length of a frames cell")
    parser.add_argument("--clients", type=int, help="of idle (default 10,000), storm and restart (1,000)")
    parser.add_argument("--restart-signal", type=lambda name: signal.Signals[f"SIG{name}"], default=signal.SIGKILL,
                        help="what ends the relay in the restart cell: KILL (default) or TERM")
    parser.add_argument("--most-pairs", type=int, default=10_000, help="of the scale cell")
    parser.add_argument("--retries", type=int, default=1, help="of a cell that neighbours on the machine disturbed")
    parser.add_argument("--patience", type=float, default=3, help="seconds to wait for a quiet machine before each cell")
    parser.add_argument("--warren", help="the binary to measure; default: built here")
    parser.add_argument("--keep", metavar="FOLDER", help="for Warren's data and clients, to use them again next time")
    parser.add_argument("--out", help="file for the lines of results")
    options = parser.parse_args()
    if options.table:
        table.show([json.loads(line) for file in options.table for line in open(file)])
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    options.files = hard - OTHER_FILES
    cells = options.cells.split(",")
    binary, tools = build(options.warren)
    results = HERE / "results"
    results.mkdir(exist_ok=True)
    file = options.out or results / f"{datetime.datetime.now():%Y-%m-%d-%H%M%S}.jsonl"
    with kept(options.keep) as folder, open(file, "a") as out:
        known = relays.known(pathlib.Path(folder), binary, tools)
        wanted = options.only.split(",") if options.only else relays.NAMES
        missing = [name for name in wanted if not known[name].is_installed()]
        if missing:
            print("not installed, left out:", ", ".join(missing))
        pairs = {"frames": 100, "batches": 10, "lone": 1, "scale": options.most_pairs, "fairness": 2,
                 "idle": (options.clients or 10_000) // 2, "storm": (options.clients or STORM_CLIENTS) // 2}
        pairs["restart"] = pairs["storm"]
        present = [known[name] for name in wanted if name not in missing]
        if any(relay.needs_parties for relay in present):
            # Idle clients have nobody to talk to, newcomers are beside one pair that has.
            talking = pairs | {"idle": 0, "storm": 1, "restart": 1}
            contracts = max(talking[cell] for cell in cells)
            relays.seed(known["warren-ws"], max(pairs[cell] for cell in cells), contracts)
        bench = Bench(options, tools, out)
        for repetition in range(options.repetitions):
            for relay in present:
                print(f"repetition {repetition + 1} of {options.repetitions}: {relay.name}", flush=True)
                for cell in cells:
                    # A fresh process for what measures memory or fills tables.
                    relay.start(ENVIRONMENT.get(cell, {}))
                    try:
                        getattr(bench, cell)(relay, repetition)
                    finally:
                        relay.stop()
    table.show([json.loads(line) for line in open(file)])
    print(f"\nlines in {file}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    main()
