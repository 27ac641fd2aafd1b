#!/usr/bin/env python3
"""The memory of a coordinator and its workers, apart from mapped files.

    Benchmarks/footprint.py [--config examples/configs/vectors-256.cfg] [--vectors FOLDER38] [--texts FILE.jsonl] [--workers 2] [--seconds 20]
        [--python .venvs/spacy-3.8/bin/python] [--bin .build/release]

Trains a compiled config and reads /proc/PID/smaps ten times a second. For each t2v process it prints the peaks of private anonymous memory
and of shared memory (parameters and gradients, which the processes share), the largest anonymous areas, and the goal for a worker: the
parameters' bytes and 300 MB. Standard library only.
"""
import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

from processes import family, memory

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))


def areas(pid):
    """(name of the area, anonymous bytes, shared memory's bytes) of each mapping."""
    found, name = [], ""
    for line in Path(f"/proc/{pid}/smaps").read_text().splitlines():
        first, *rest = line.split()
        if not first.endswith(":"):
            name, size = (rest[4] if len(rest) > 4 else "(no name)"), 0
        elif first == "Rss:":
            size = int(rest[0]) << 10
        elif first == "Anonymous:":
            is_shared = name.startswith(("/memfd:", "/dev/shm", "/dev/zero"))
            found.append((name, int(rest[0]) << 10, size if is_shared else 0))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default=ROOT / "examples/configs/vectors-256.cfg")
    parser.add_argument("--vectors", default=SHARED / "en-vectors-20k-spacy3.8")
    parser.add_argument("--texts", default=SHARED / "imdb-reviews-300.jsonl")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--python", default=Path(os.environ.get("T2V_VENVS", ROOT / ".venvs")) / "spacy-3.8/bin/python")
    parser.add_argument("--bin", type=Path, default=ROOT / ".build/release")
    options, overrides = parser.parse_known_args()
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "python"), "T2V_BIN": str(options.bin)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        subprocess.run(
            [options.python, "-W", "ignore", "-m", "t2v", "compile", options.config, folder / "job", "--paths.raw_text", options.texts,
             "--paths.vectors", options.vectors, "--verify", "0", *overrides], check=True, env=environment, stdout=subprocess.DEVNULL)
        command = [options.bin / "t2v-coordinator", "pretrain", "--job", folder / "job", folder / "out", "--workers", str(options.workers)]
        peaks, largest, training = {}, {}, None
        with open(folder / "log", "w") as log:
            child = subprocess.Popen([*command, "--cache", folder / "cache"], stdout=log, stderr=subprocess.STDOUT)
            while child.poll() is None:
                for pid in family(child.pid):
                    try:
                        program, seen = memory(pid)[0], areas(pid)
                    except (OSError, TypeError):  # it has ended
                        continue
                    anonymous, shared = sum(area[1] for area in seen), sum(area[2] for area in seen)
                    before = peaks.get(pid, (program, 0, 0))
                    if anonymous > before[1]:
                        largest[pid] = sorted(((size >> 20, area) for area, size, _ in seen), reverse=True)[:6]
                    peaks[pid] = (program, max(anonymous, before[1]), max(shared, before[2]))
                if training is None and "training:" in (folder / "log").read_text():
                    training = time.monotonic()
                if training is not None and time.monotonic() > training + options.seconds:
                    child.terminate()
                    training = float("inf")
                time.sleep(0.1)
        if training is None:
            raise SystemExit((folder / "log").read_text())
        # A checkpoint holds the parameters, their averages and two moments.
        parameters = max(path.stat().st_size for path in (folder / "out/t2v/checkpoints").glob("*.safetensors")) // 4
    print(f"parameters: {parameters >> 20} MiB; the goal for a worker: {(parameters + 300_000_000) >> 20} MiB")
    for pid, (program, anonymous, shared) in peaks.items():
        print(json.dumps({"program": program, "anonymous_mib": anonymous >> 20, "shared_mib": shared >> 20, "largest": largest.get(pid)}))


if __name__ == "__main__":
    main()
