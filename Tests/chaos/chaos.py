#!/usr/bin/env python3
"""Random faults on real processes, for a few minutes; every run must end with the bytes of an undisturbed one.

    Tests/chaos/chaos.py [--minutes 5] [--seed N] [--program .build/release/t2v-coordinator]

Faults: SIGKILL of one or all workers, SIGSTOP of a worker for a while, SIGKILL of the coordinator, SIGTERM or SIGINT of all processes and
`resume`, a checkpoint truncated or with one bit flipped. A failing run prints its seed; `--seed` repeats the choice of faults. Standard
library only.
"""
import argparse
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
SETTINGS = ["-cw", "48", "-cd", "3", "-er", "500", "-bs", "2500", "-i", "12", "--lanes", "6"]


def hashes(folder):
    names = sorted(path for path in folder.iterdir() if path.name == "log.jsonl" or path.suffix == ".bin")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in names}


def start(options, out, cache, workers):
    command = [options.program, "pretrain", ROOT / "demo/texts.jsonl", ROOT / "demo/vectors", out, "--cache", cache, "--resume", "auto",
               "--checkpoint-every", "1", "--workers", workers, *SETTINGS]
    log = open(Path(out).parent / "log", "ab")
    return subprocess.Popen([str(word) for word in command], stdout=log, stderr=log, stdin=subprocess.DEVNULL)


def workers_of(process):
    found = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True).stdout.split()
    return [int(pid) for pid in found]


def strike(process, dice, out):
    """One fault. Returns its name."""
    children = workers_of(process)
    fault = dice.choice(["one", "one", "all", "stop", "coordinator", "coordinator", "term", "int", "checkpoint"])
    if fault == "one" and children:
        kill(dice.choice(children), signal.SIGKILL)
    elif fault == "all":
        for pid in children:
            kill(pid, signal.SIGKILL)
    elif fault == "stop" and children:
        pid = dice.choice(children)
        kill(pid, signal.SIGSTOP)
        time.sleep(dice.uniform(0.2, 12))
        kill(pid, signal.SIGCONT)
    elif fault in ("coordinator", "checkpoint"):
        kill(process.pid, signal.SIGKILL)
        process.wait()
        if fault == "checkpoint":
            damage(out, dice)
    elif fault in ("term", "int"):
        number = signal.SIGTERM if fault == "term" else signal.SIGINT
        for pid in [process.pid] + (children if fault == "term" else []):
            kill(pid, number)
        status = process.wait(timeout=30)
        if status not in (0, 75):
            raise SystemExit(f"exit status {status} after a signal, 75 expected")
    return fault


def kill(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def damage(out, dice):
    """Truncates the newest checkpoint or flips a bit in it, if there is an older one."""
    folder = out / "t2v" / "checkpoints"
    files = sorted(folder.glob("*.safetensors"), key=lambda path: int("".join(c for c in path.name if c.isdigit()))) if folder.exists() else []
    if len(files) < 2:
        return
    data = bytearray(files[-1].read_bytes())
    if dice.random() < 0.5:
        del data[dice.randrange(len(data)):]
    else:
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
    files[-1].write_bytes(data)


def disturbed(options, dice, folder, cache):
    out, faults = folder / "out", []
    deadline = time.monotonic() + 300
    process = start(options, out, cache, dice.randint(1, 4))
    while True:
        try:
            status = process.wait(timeout=dice.uniform(0.01, 2.5))
            if status == 0:
                return out, faults
            if status not in (75, -signal.SIGKILL):
                raise SystemExit(f"exit status {status}:\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
        except subprocess.TimeoutExpired:
            if len(faults) < 12:
                faults.append(strike(process, dice, out))
            if time.monotonic() > deadline:
                raise SystemExit("the run does not end")
        if process.poll() is not None and process.returncode != 0:
            process = start(options, out, cache, dice.randint(1, 4))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--program", default=ROOT / ".build/release/t2v-coordinator")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(1 << 32)
    work = Path(tempfile.mkdtemp(prefix="t2v-chaos-"))
    try:
        (work / "reference").mkdir()
        process = start(options, work / "reference/out", work / "cache", 1)
        if process.wait() != 0:
            sys.exit((work / "reference/log").read_text(errors="replace"))
        expected = hashes(work / "reference/out")
        end, runs = time.monotonic() + 60 * options.minutes, 0
        while runs == 0 or (time.monotonic() < end and options.seed is None):
            print(f"seed {seed}: ", end="", flush=True)
            folder = work / str(seed)
            folder.mkdir()
            out, faults = disturbed(options, random.Random(seed), folder, work / "cache")
            same = hashes(out) == expected
            print(f"{' '.join(faults)}: {'the same bytes' if same else 'OTHER BYTES'}", flush=True)
            if not same:
                sys.exit(f"failed; repeat it with: make chaos SEED={seed}\n{(folder / 'log').read_text(errors='replace')[-3000:]}")
            shutil.rmtree(folder)
            runs, seed = runs + 1, seed + 1
        print(f"{runs} passed, 0 failed")
    finally:
        shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
