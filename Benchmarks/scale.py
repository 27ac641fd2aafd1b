#!/usr/bin/env python3
"""A model of the time of one update on 1 to 512 workers, from costs measured on one machine. docs/scale.md has the conclusions.

    Benchmarks/scale.py                                   the tables, in Markdown
    Benchmarks/scale.py check 4 0.1 3000 --cores 2        one prediction: workers, Gbit/s, words an update
    Benchmarks/scale.py measure --texts F --vectors D     measures COSTS here (5 minutes; Linux, built programs): one line for each

A worker here is a host with one compute thread and one contribution an update. A host with 16 threads and 16 lanes also sends one
contribution: for the network it is one worker, for compute it is sixteen. Standard library only.
"""
import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TICKS = os.sysconf("SC_CLK_TCK")

# What `measure` printed; seconds and bytes. Defaults of spacy2: width 96, depth 4, 2000 rows, vectors of 300 floats, CURVE on.
COSTS = {
    # Every float of the model: what each worker receives with an order.
    "parameters": 4_412_000,
    # Bytes of a contribution by the words of its lanes: (words, bytes). Linear between them, constant beyond. The rows of the tables that
    # are touched (at most 1.92 MB) and everything else (2.49 MB). Film reviews of 280 words: a node of 100 words is often empty.
    "contribution": [(0, 0), (100, 1_222_000), (300, 2_618_000), (1_000, 3_209_000), (3_000, 3_550_000), (10_000, 3_789_000),
                     (30_000, 3_882_000), (100_000, 4_000_000)],
    # One thread, for each word.
    "compute_word": 12.2e-6,
    # Coordinator's main thread: Adam, averages, hash of the parameters; and for each byte of a contribution: hash, sum.
    "step": 0.0023,
    "step_byte": 0.3e-9,
    # Worker: sum, encode, hash, for each byte of its contribution.
    "encode_byte": 0.45e-9,
    # libzmq's I/O thread for each byte, with and without CURVE; sending and receiving cost the same.
    "curve_byte": 0.95e-9,
    "clear_byte": 0.22e-9,
    # The share of a link's bits that is left for frames' bodies (after Ethernet, IP, TCP, ZMTP, CURVE).
    "goodput": 0.94,
}


def between(points, x):
    """Linear between points, constant outside."""
    if x <= points[0][0]:
        return points[0][1]
    for (x0, y0), (x1, y1) in zip(points, points[1:]):
        if x <= x1:
            return y0 + (y1 - y0) * (x - x0) / (x1 - x0)
    return points[-1][1]


class Model:
    """Times of one update's parts."""

    def __init__(self, costs, workers, gigabits, words, *, parameters=1.0, contributions=1.0, threads=1, racks=0, delay=False, curve=True,
                 in_turn=False, cores=None):
        """parameters, contributions: their size relative to float32. threads: libzmq's, on the coordinator. racks: reducers between the
        coordinator and the workers; 0: a star. in_turn: the coordinator sends to one worker after another, so that contributions of the
        first arrive while parameters of the last are sent; otherwise all workers have theirs at the same time, when the last byte has been sent.
        cores: that all computing workers share (the test bed); None: each has its own."""
        self.costs, self.workers, self.delay = costs, workers, delay
        byte = costs["curve_byte" if curve else "clear_byte"]
        line = 8 / (gigabits * 1e9 * costs["goodput"])
        own = words / workers
        down = costs["parameters"] * parameters
        up = between(costs["contribution"], own) * contributions
        self.compute = own * costs["compute_word"] * max(1, workers / cores if cores else 1)
        self.down = self.up = 0.0
        levels = [racks, math.ceil(workers / racks)] if racks else [workers]
        for fan in levels:
            # One link carries everything to `fan` peers; its I/O threads encrypt for each of them. libzmq encrypts a frame as a whole: the first
            # is sent when it is done, and the last is decrypted after it has arrived.
            self.down += byte * down + max(fan * down * line, fan * down * byte / threads) + byte * down
            self.up += byte * up + max(fan * up * line, fan * up * byte / threads) + byte * up
        if in_turn:
            one_up = 2 * byte * up + up * max(line, byte / threads)
            one_down = down * max(line, byte / threads)
            # The first worker's contribution can begin to arrive when one worker has its parameters.
            self.up = max(one_up, workers * (one_up - 2 * byte * up) + one_down - self.down)
        summed = levels[0] * up
        self.step = costs["step"] + summed * costs["step_byte"] + up * costs["encode_byte"]
        if racks:
            self.up += levels[1] * up * costs["step_byte"]

    @property
    def total(self):
        if self.delay:
            # Parameters of update u + 1 travel while contributions of u are computed and arrive: the slowest of these sets the pace.
            return max(self.down, self.up, self.compute) + self.step
        return self.down + self.compute + self.up + self.step


LEVERS = [
    ("as it is", {}),
    ("bf16 contributions", {"contributions": 0.5}),
    ("bf16 parameters", {"parameters": 0.5}),
    ("bf16 both ways", {"contributions": 0.5, "parameters": 0.5}),
    ("4 I/O threads", {"threads": 4}),
    ("reducers, one for √N workers", {"racks": "root"}),
    ("one-step delay", {"delay": True}),
    ("orders one after the other", {"in_turn": True}),
    ("bf16 both ways + one after the other", {"contributions": 0.5, "parameters": 0.5, "in_turn": True}),
    ("bf16 both ways + reducers", {"contributions": 0.5, "parameters": 0.5, "racks": "root"}),
]


def model(costs, workers, gigabits, words, lever):
    settings = dict(lever)
    if settings.get("racks") == "root":
        settings["racks"] = math.isqrt(workers) if workers >= 4 else 0
    return Model(costs, workers, gigabits, words, **settings)


def tables(costs):
    sizes = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    for words in (3_000, 12_000, 24_000, 100_000):
        print(f"\n### {words:,} words an update\n")
        print("| workers | " + " | ".join(f"{g} Gbit/s: s, words/s, speed-up" for g in (1, 10, 100)) + " |")
        print("|---|---|---|---|")
        for workers in sizes:
            cells = []
            for gigabits in (1, 10, 100):
                total, alone = (model(costs, n, gigabits, words, {}).total for n in (workers, 1))
                cells.append(f"{total:.3f}, {words / total:,.0f}, {alone / total:.1f}x")
            print(f"| {workers} | " + " | ".join(cells) + " |")
    print("\n### Where the star ends: the number of workers that gives most words/s, and what it gives\n")
    print("| words an update | " + " | ".join(f"{g} Gbit/s" for g in (1, 10, 100)) + " |\n|---|---|---|---|")
    for words in (3_000, 12_000, 24_000, 100_000):
        cells = []
        for gigabits in (1, 10, 100):
            best = min(range(1, 513), key=lambda n: model(costs, n, gigabits, words, {}).total)
            alone, total = (model(costs, n, gigabits, words, {}).total for n in (1, best))
            cells.append(f"{best}: {words / total:,.0f} words/s, {alone / total:.1f}x")
        print(f"| {words:,} | " + " | ".join(cells) + " |")
    for workers, gigabits, words in ((16, 1, 24_000), (16, 10, 24_000), (64, 10, 100_000), (64, 100, 100_000)):
        print(f"\n### Levers: {workers} workers, {gigabits} Gbit/s, {words:,} words an update\n")
        print("| lever | parameters out s | compute s | contributions in s | step s | update s | against as it is |\n|---|---|---|---|---|---|---|")
        base = model(costs, workers, gigabits, words, {}).total
        for name, lever in LEVERS:
            it = model(costs, workers, gigabits, words, lever)
            print(f"| {name} | {it.down:.3f} | {it.compute:.3f} | {it.up:.3f} | {it.step:.3f} | {it.total:.3f} | {base / it.total:.2f}x |")
        it = model(costs, workers, gigabits, 4 * words, {})
        print(f"| updates of {4 * words:,} words | {it.down:.3f} | {it.compute:.3f} | {it.up:.3f} | {it.step:.3f} | {it.total:.3f} "
              f"| {4 * base / it.total:.2f}x words/s |")


# Measuring -----------------------------------------------------------------------------------------------------------------------


def thread_times(pid):
    """Seconds of CPU by the name of the thread."""
    times = {}
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            name, _, rest = (task / "stat").read_text().partition("(")[2].rpartition(")")
        except OSError:
            continue
        fields = rest.split()
        times[name] = times.get(name, 0) + (int(fields[11]) + int(fields[12])) / TICKS
    return times


class Run:
    """A coordinator with workers that reach it by TCP on this machine."""

    def __init__(self, options, folder, workers, words, curve):
        self.words, self.processes = words, []
        keys = folder / "keys"
        if not keys.exists():
            subprocess.run([options.bin / "t2v-coordinator", "keygen", keys], check=True, stdout=subprocess.DEVNULL)
        output = folder / f"out-{workers}-{words}-{curve}"
        command = [options.bin / "t2v-coordinator", "pretrain", options.texts, options.vectors, output, "--lanes", str(workers),
                   "--batch-size", str(words), "--workers", "0", "--min-workers", str(workers), "--bind", "tcp://127.0.0.1:*",
                   "--metrics", "127.0.0.1:0", "--cache", folder / "cache", *options.options.split()]
        command += ["--key", keys / "coordinator.key", "--allow", keys / "worker.pub"] if curve else ["--insecure"]
        self.log = folder / f"{output.name}.log"
        self.coordinator = self.start(command, self.log)
        endpoint = self.wait(r"listening on (tcp\S+)")
        self.metrics = self.wait(r"metrics on (http\S+)")
        for number in range(workers):
            command = [options.bin / "t2v-worker", "--connect", endpoint, "--threads", "1", "--cache", folder / f"cache-{number}"]
            if curve:
                command += ["--server-key", keys / "coordinator.pub", "--key", keys / "worker.key"]
            self.start(command, folder / f"worker-{number}.log")

    def start(self, command, log):
        with open(log, "wb") as file:
            process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=file, stderr=file)
        self.processes.append(process)
        return process

    def wait(self, pattern):
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and self.coordinator.poll() is None:
            if found := re.search(pattern, self.log.read_text(errors="replace")):
                return found[1]
            time.sleep(0.05)
        sys.exit(f"error: no {pattern} from the coordinator:\n{self.log.read_text(errors='replace')}")

    def sample(self):
        text = urllib.request.urlopen(self.metrics, timeout=10).read().decode()
        values = {name: float(value) for name, value in re.findall(r"^t2v_(\w+) (\S+)$", text, re.M)}
        return values, [thread_times(process.pid) for process in self.processes]

    def steady(self, seconds, updates):
        """What a few seconds of training cost, for each update: (bytes to workers, bytes from workers, threads of the coordinator,
        threads of the first worker)."""
        while self.sample()[0].get("updates_total", 0) < 3:
            if self.coordinator.poll() is not None:
                sys.exit(f"error: the coordinator has ended:\n{self.log.read_text(errors='replace')}")
            time.sleep(0.2)
        time.sleep(1)
        (first, before), began = self.sample(), time.monotonic()
        while True:
            time.sleep(0.5)
            last, after = self.sample()
            count = last["updates_total"] - first["updates_total"]
            if time.monotonic() - began > seconds and count >= updates or time.monotonic() - began > 60:
                break

        def gone(index):
            return {name: (value - before[index].get(name, 0)) / count for name, value in after[index].items()}

        return {"updates": count, "out": (last["sent_bytes_total"] - first["sent_bytes_total"]) / count,
                "in": (last["received_bytes_total"] - first["received_bytes_total"]) / count,
                "coordinator": gone(0), "worker": gone(1), "seconds": (time.monotonic() - began) / count}

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()


def measure(options):
    options.bin = options.bin.resolve()
    folder = Path(tempfile.mkdtemp(prefix="t2v-scale-"))
    try:
        rows = []
        cases = [(1, words, True) for words in (100, 300, 1_000, 3_000, 10_000, 30_000)]
        cases += [(workers, 300, curve) for workers in (2, 4) for curve in (True, False)] + [(1, 300, False)]
        for workers, words, curve in cases:
            run = Run(options, folder, workers, words, curve)
            try:
                found = run.steady(options.seconds, 10)
            finally:
                run.stop()
            io = {side: sum(value for name, value in found[side].items() if name.startswith("ZMQbg/IO")) for side in ("coordinator", "worker")}
            main = {name: value for name, value in found["coordinator"].items() if not name.startswith("ZMQ")}
            rows.append({"workers": workers, "words": words, "curve": curve, "out": found["out"], "in": found["in"],
                         "main": sum(main.values()), "io": io["coordinator"], "io_byte": io["coordinator"] / (found["out"] + found["in"]),
                         "worker_io": io["worker"], "worker": sum(found["worker"].values()) - io["worker"], "seconds": found["seconds"]})
            print(json.dumps({key: float(f"{value:.4g}") if isinstance(value, float) else value for key, value in rows[-1].items()}), flush=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(dest="verb")
    check = verbs.add_parser("check")
    check.add_argument("workers", type=int)
    check.add_argument("gigabits", type=float)
    check.add_argument("words", type=int)
    check.add_argument("--cores", type=int, help="cores that all workers share; default: each has its own")
    check.add_argument("--bf16", action="store_true")
    check.add_argument("--in-turn", action="store_true")
    verb = verbs.add_parser("measure")
    shared = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
    verb.add_argument("--texts", type=Path, default=shared / "imdb-reviews-10000.jsonl")
    verb.add_argument("--vectors", type=Path, default=shared / "en-vectors-20k-spacy2.3")
    verb.add_argument("--bin", type=Path, default=ROOT / ".build/release")
    verb.add_argument("--options", default="", help="more options of pretrain")
    verb.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    if options.verb == "measure":
        measure(options)
    elif options.verb == "check":
        half = 0.5 if options.bf16 else 1
        it = Model(COSTS, options.workers, options.gigabits, options.words, cores=options.cores, parameters=half, contributions=half,
                   in_turn=options.in_turn)
        print(f"out {it.down:.3f} s, compute {it.compute:.3f} s, in {it.up:.3f} s, step {it.step:.3f} s; update {it.total:.3f} s")
    else:
        tables(COSTS)


if __name__ == "__main__":
    main()
