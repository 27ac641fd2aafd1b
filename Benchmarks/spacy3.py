"""t2v against spaCy 3's own pretrain, with configs of examples/configs. bench.py runs it with the Python of the real spaCy 3.8; by hand:

    PYTHONPATH=python T2V_BIN=.build/release .venvs/spacy-3.8/bin/python Benchmarks/spacy3.py [--texts FILE.jsonl] [--vectors FOLDER38]
        [--seconds 30] [--repeats 3] [--only SETTING ...]

For each setting and round: spaCy on one pinned core, t2v on the same core, t2v on all cores that this process may use, one after the other
(`spacy t2v bench`). Ratios are taken within a round. Prints a line of JSON for each setting; progress goes to standard error.
"""
import argparse
import contextlib
import io
import json
import os
import statistics
import sys
from pathlib import Path

import spacy
from t2v.bench import bench

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
SETTINGS = {
    "96/4, characters": ("small-96.cfg", False, []),
    "96/4, characters, 12,000 words an update": ("small-96.cfg", False, ["--pretraining.batcher.size", "12000"]),
    "256/8, static vectors, characters": ("vectors-256.cfg", True, []),
    "256/8, static vectors, characters, 12,000 words an update": ("vectors-256.cfg", True, ["--pretraining.batcher.size", "12000"]),
    "256/8, static vectors, characters, bf16": ("vectors-256.cfg", True, ["--t2v.precision", "bf16"]),
    "vectors objective": ("vectors-objective.cfg", True, []),
}


def has_bf16():
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text().split()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", type=Path, default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--vectors", type=Path, default=SHARED / "en-vectors-20k-spacy3.8")
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=[], choices=list(SETTINGS))
    options = parser.parse_args()
    for name, (config, needs_vectors, overrides) in SETTINGS.items():
        if options.only and name not in options.only:
            continue
        if name.endswith("bf16") and not has_bf16():
            print(f"{name}: left out, this CPU has no AVX512-BF16", file=sys.stderr, flush=True)
            continue
        if needs_vectors:
            overrides = [*overrides, "--paths.vectors", str(options.vectors)]
        rounds = []
        for _ in range(options.repeats):
            with contextlib.redirect_stdout(io.StringIO()):
                rounds.append(bench(ROOT / "examples/configs" / config, options.texts, options.seconds, None, overrides))
            print(name, *(f"{figure.words_per_second:,.0f}" for figure in rounds[-1]), file=sys.stderr, flush=True)
        columns = list(zip(*rounds))
        print(json.dumps({
            "setting": name,
            "spacy": spacy.__version__,
            "programs": [
                {
                    "program": figures[0].program,
                    "cores": figures[0].cores,
                    "words_per_second": statistics.median(figure.words_per_second for figure in figures),
                    "times": statistics.median(figure.words_per_second / base.words_per_second for figure, base in zip(figures, columns[0])),
                    "memory": max(figure.memory for figure in figures),
                }
                for figures in columns
            ],
        }), flush=True)


if __name__ == "__main__":
    main()
