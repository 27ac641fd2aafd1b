#!/usr/bin/env python3
"""How long training pauses when a local worker is killed: the longest gap between two updates around each SIGKILL, minus the median gap.

    Tests/chaos/gap.py [--kills 20] [--workers 2] [--program .build/release/t2v-coordinator] [-- options of pretrain]

Every update appends a line to log.jsonl (-n-save-every 1), in memory (/dev/shm) so that the disk does not matter; its length is checked
every millisecond. Prints a line for each kill, then the medians. Standard library only.
"""
import argparse
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent


class Updates(threading.Thread):
    """The moments at which log.jsonl grew by a line."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.times, self.going = path, [], True

    def run(self):
        position = 0
        while self.going:
            try:
                with open(self.path, "rb") as file:
                    file.seek(position)
                    new = file.read()
            except FileNotFoundError:
                new = b""
            self.times += [time.monotonic()] * new.count(b"\n")
            position += len(new)
            time.sleep(0.001)

    def gaps(self, start, end):
        """Gaps between the updates from the last one before `start` to `end`."""
        times = [moment for moment in self.times if moment <= end]
        first = max(sum(moment < start for moment in times) - 1, 0)
        return [b - a for a, b in zip(times[first:], times[first + 1:])]


def workers_of(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--program", default=ROOT / ".build/release/t2v-coordinator")
    parser.add_argument("more", nargs="*")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    work = Path(tempfile.mkdtemp(prefix="t2v-gap-", dir=memory))
    log = open(work / "log", "ab")
    command = [options.program, "pretrain", ROOT / "demo/texts.jsonl", ROOT / "demo/vectors", work / "out", "--cache", work / "cache",
               "--workers", options.workers, "-i", 100000, "-se", 1, "--checkpoint-every", 100000, "--keep-checkpoints", 1, *options.more]
    process = subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    updates = Updates(work / "out/log.jsonl")
    updates.start()
    try:
        while len(updates.times) < 30:
            if process.poll() is not None:
                sys.exit((work / "log").read_text(errors="replace"))
            time.sleep(0.05)
        time.sleep(2)
        usual = statistics.median(updates.gaps(updates.times[5], time.monotonic()))
        extra = []
        for number in range(options.kills):
            time.sleep(dice.uniform(2, 4))
            for old in (work / "out").glob("model*.bin"):
                old.unlink(missing_ok=True)
            victim = dice.choice(workers_of(process))
            moment = time.monotonic()
            os.kill(victim, signal.SIGKILL)
            time.sleep(3)
            longest = max(updates.gaps(moment, moment + 3), default=3)
            extra.append(longest - usual)
            print(f"kill {number + 1}: longest gap {1000 * longest:.0f} ms", flush=True)
            if process.poll() is not None:
                sys.exit((work / "log").read_text(errors="replace")[-3000:])
        print(f"median gap {1000 * usual:.1f} ms; longest gap around a SIGKILL minus that: "
              f"median {1000 * statistics.median(extra):.0f} ms, worst {1000 * max(extra):.0f} ms, over {len(extra)} kills")
    finally:
        updates.going = False
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
