#!/usr/bin/env python3
"""A model of one host with 1 to 64 cores: how much faster than on one core an update is, from costs that are measured here.

    Benchmarks/host.py JOB [JOB ...] [--texts FILE.jsonl] [--words 3000 12000 48000] [--core 0]

JOB is a compiled job. `t2v-coordinator profile` says what a word, a lane, the last sum of a host and the coordinator's step cost on one core.
The lengths of documents come from the texts: documents are not split, so the lanes of an update are uneven, and an update is over when its
last thread is. The model leaves out memory bandwidth, and clock rates that fall with the number of busy cores. Standard library only.
"""
import argparse
import heapq
import json
import os
import random
import re
import statistics
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
BIN = Path(os.environ.get("T2V_BIN", ROOT / ".build/release"))
# Words to tokens, in English reviews.
TOKENS_A_WORD = 1.17
UPDATES = 60
# Milliseconds from a step's end to the next gradients: messages, and waking threads.
TURN = 0.3


def profile(job, lanes, words, core, *more):
    """CPU milliseconds of an update: its lanes with the sums made between them, each of two workers' last sums, the coordinator's step."""
    text = subprocess.run(
        ["taskset", "-c", str(core), BIN / "t2v-coordinator", "profile", "--job", job, "--batch-size", str(words), "--lanes", str(lanes),
         *map(str, more)], check=True, capture_output=True, text=True).stdout
    patterns = r"words in ([\d.]+) ms", r"worker, per update: .*? ([\d.]+) ms", r"coordinator, per update: .*? ([\d.]+) ms"
    return [float(re.search(pattern, text)[1]) for pattern in patterns]


def document_lengths(path, shortest=5, longest=500):
    lengths = []
    with open(path, encoding="utf-8") as file:
        for line in file:
            count = int(len(json.loads(line)["text"].split()) * TOKENS_A_WORD)
            if shortest <= count < longest:
                lengths.append(count)
    return lengths


def updates(lengths, words, lanes):
    """Words of each lane in each of some updates: a document belongs to the update that covers its end in the lane."""
    share, rows = words / lanes, [[0] * lanes for _ in range(UPDATES)]
    for lane in range(lanes):
        total = 0
        while True:
            length = random.choice(lengths)
            total += length
            update = int((total - 1) // share)
            if update >= UPDATES:
                break
            rows[update][lane] += length
    return rows


def group_size(lanes, threads, words):
    """How many lanes a thread computes together (Sources/Core/Numerics/Reduce/LaneGroups.swift)."""
    size = 1
    while size < 16 and words // lanes * size * 2 <= 2048 and lanes // (size * 2) >= 4 * threads:
        size *= 2
    return size


def makespan(costs, threads, dealt):
    """When the last thread is done: with lanes assigned in advance, or taken by free threads, the longest first."""
    if dealt:
        each = len(costs) // threads
        return max(sum(costs[i * each:(i + 1) * each]) for i in range(threads))
    ends = [0.0] * threads
    for cost in sorted(costs, reverse=True):
        heapq.heappush(ends, heapq.heappop(ends) + cost)
    return max(ends)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("jobs", nargs="+", type=Path)
    parser.add_argument("--texts", type=Path, default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--words", type=int, nargs="+", default=[3000, 12000, 48000])
    parser.add_argument("--core", type=int, default=0)
    options = parser.parse_args()
    random.seed(1)
    lengths = document_lengths(options.texts)
    for job in options.jobs:
        few, many = profile(job, 4, 12000, options.core), profile(job, 64, 12000, options.core)
        apart = profile(job, 64, 12000, options.core, "--threads", 64)
        a_lane = max(0.0, (apart[0] - few[0]) / 60)
        groups = 64 // group_size(64, 1, 12000)
        a_neighbour = max(0.0, (many[0] - few[0] - (groups - 4) * a_lane) / (64 - groups))
        a_word = (few[0] - 4 * a_lane) / 12000
        for costs in few, many, apart:
            costs[1] *= 2
        last, step = few[1:]
        print(f"\n{job.name}: {a_word * 1e3:.1f} us a word, {a_lane:.2f} ms a lane, {a_neighbour:.2f} ms a lane that is computed together with "
              f"another, last sums {last:.1f} ms, step {step:.1f} ms; 64 lanes take {sum(many) / sum(few):.2f} times the CPU time of 4 at "
              f"12,000 words an update, one by one {sum(apart) / sum(few):.2f} times\n")
        print("| words an update | cores | a worker a core, a lane each | one worker, a lane a thread | 2 lanes a thread | 4 | 8 |")
        print("|---|---|---|---|---|---|---|")
        for words in options.words:
            def mean(lanes, threads, dealt):
                size = 1 if dealt else group_size(lanes, threads, words)
                def costs(row):
                    return [sum(row[i:i + size]) * a_word + a_lane + (size - 1) * a_neighbour for i in range(0, lanes, size)]
                return statistics.mean(makespan(costs(row), threads, dealt) for row in updates(lengths, words, lanes))

            alone = mean(4, 1, True) + last + step + TURN
            for cores in (2, 4, 8, 16, 32, 64):
                cells = []
                for lanes, dealt in [(max(4, cores), True), *((max(4, cores * each), False) for each in (1, 2, 4, 8))]:
                    if words / lanes < 64:
                        cells.append("")
                        continue
                    serial = (last + step) / cores + TURN
                    cells.append(f"{alone / (mean(lanes, cores, dealt) + serial):.1f}")
                print(f"| {words:,} | {cores} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
