#!/usr/bin/env python3
"""Trains on a corpus that is larger than the memory it may use.

    sudo Benchmarks/memory.py [--texts FILE.jsonl] [--vectors FOLDER] [--gigabytes 3] [--limit-gigabytes 1.5] [--seconds 60] [--folder /var/tmp]

Copies the texts, with each line made different, until the corpus has that size; then runs a coordinator and 2 workers in a control group of
their own (cgroup 1 or 2) with that limit: every page that they touch counts, anonymous, shared and page cache; the kernel drops clean pages
of mapped files when the limit is near, and kills processes if that does not help. Stops after --seconds of training. Prints each process's
peak of pages that cannot be dropped (RssAnon, RssShmem) and the group's events. Needs root. Standard library only.
"""
import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from processes import greater, memory

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
IS_TWO = Path("/sys/fs/cgroup/cgroup.controllers").exists()
GROUP = Path("/sys/fs/cgroup/t2v-memory" if IS_TWO else "/sys/fs/cgroup/memory/t2v-memory")
LIMIT, PEAK = ("memory.max", "memory.peak") if IS_TWO else ("memory.limit_in_bytes", "memory.max_usage_in_bytes")


def make_corpus(source, path, size):
    lines = [line for line in open(source, "rb").read().split(b"\n") if line.startswith(b'{"text": "')]
    written, copy = 0, 0
    with open(path, "wb", buffering=1 << 20) as out:
        while written < size:
            mark = b'{"text": "Copy %d. ' % copy
            for line in lines:
                written += out.write(mark + line[10:] + b"\n")
            copy += 1
    return written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--vectors", default=SHARED / "en-vectors-20k-spacy2.3")
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--limit-gigabytes", type=float, default=1.5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--folder", default="/var/tmp")
    options = parser.parse_args()
    if os.geteuid() != 0 or not GROUP.parent.is_dir():
        sys.exit("error: this needs root and control groups for memory")
    with tempfile.TemporaryDirectory(prefix="t2v-memory-", dir=options.folder) as folder:
        corpus = Path(folder) / "texts.jsonl"
        size = make_corpus(options.texts, corpus, int(options.gigabytes * 2**30))
        print(f"corpus: {size / 2**30:.2f} GiB", flush=True)
        GROUP.mkdir(exist_ok=True)
        try:
            (GROUP / LIMIT).write_text(str(int(options.limit_gigabytes * 2**30)))
            run(options, corpus, Path(folder))
        finally:
            for pid in (GROUP / "cgroup.procs").read_text().split():
                os.kill(int(pid), signal.SIGKILL)
            time.sleep(1)
            GROUP.rmdir()


def run(options, corpus, folder):
    peaks, began, training = {}, time.monotonic(), None
    with open(folder / "log", "w+") as log:
        child = subprocess.Popen(
            [ROOT / ".build/release/t2v-coordinator", "pretrain", corpus, options.vectors, folder / "out", "--workers", "2", "-i", "1", "-bs",
             "12000", "--cache", folder / "cache"],
            stdout=log, stderr=subprocess.STDOUT, preexec_fn=lambda: (GROUP / "cgroup.procs").write_text(str(os.getpid())))
        while child.poll() is None:
            time.sleep(0.5)
            for pid in (GROUP / "cgroup.procs").read_text().split():
                if found := memory(pid):
                    peaks[pid] = (found[0], greater(found[1], peaks.get(pid, found)[1]))
            text = (folder / "log").read_text()
            if training is None and "training:" in text:
                training = time.monotonic()
                print(f"prepared and planned after {training - began:.0f} s", flush=True)
            if training is not None and time.monotonic() > training + options.seconds:
                child.send_signal(signal.SIGTERM)
                training = float("inf")
    print((folder / "log").read_text().strip())
    print(f"exit status {child.returncode} (75: stopped by this script, with a checkpoint)")
    for pid, (name, sizes) in peaks.items():
        print(f"{name:16} peak MB: anonymous {sizes[0]:.0f}, shared memory {sizes[1]:.0f}, mapped files {sizes[2]:.0f}")
    peak = GROUP / PEAK
    print(f"group: peak {int(peak.read_text()) / 2**20:.0f} MiB of everything" if peak.exists() else "group:")
    if IS_TWO:
        events = dict(line.split() for line in (GROUP / "memory.events").read_text().splitlines())
        print(f"reached the limit {events['max']} times, killed {events['oom_kill']}")
    else:
        print(f"reached the limit {(GROUP / 'memory.failcnt').read_text().strip()} times")


if __name__ == "__main__":
    main()
