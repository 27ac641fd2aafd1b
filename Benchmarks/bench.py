#!/usr/bin/env python3
"""Compares t2v with the real spaCy 3.8 (spacy3.py), then 2.3.9, side by side in one run, on pinned cores; writes docs/bench.md and
docs/bench-*.svg.

    Benchmarks/bench.py [--texts FILE.jsonl] [--vectors FOLDER23] [--vectors3 FOLDER38] [--records 1000] [--repeats 3]
        [--seconds 30] [--quick]

Against 2.3.9 every figure is a difference: a program runs N epochs and then M > N, each time as a whole process; the words between the two, over the time
between the two, are its words/s in the steady state. Start-up, preparation and model loading cancel out. Rounds go A B C A B C, so that a
change in the machine's speed affects all of them. Standard library only.
"""
import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
VENVS = Path(os.environ.get("T2V_VENVS", ROOT / ".venvs"))

def run(command, cores):
    """Runs a command on `cores`. Returns (seconds, CPU seconds with children, peak MB of one process)."""
    environment = dict(os.environ, OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1", PYTHONWARNINGS="ignore")
    start = time.monotonic()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            ["taskset", "-c", cores, *map(str, command)], stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
            env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.monotonic() - start
        if status:
            output.seek(0)
            sys.exit(f"{' '.join(map(str, command))}\nfailed:\n{output.read().decode(errors='replace')[-2000:]}")
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


class Bench:
    def __init__(self, options, work):
        self.options, self.work = options, work
        self.texts = work / "texts.jsonl"
        with open(options.texts, encoding="utf-8") as source, open(self.texts, "w", encoding="utf-8") as target:
            for _, line in zip(range(options.records), source):
                target.write(line)
        self.words, self.documents = None, None

    def t2v(self, epochs, cores="0", batch=3000, extra=()):
        out = self.work / "t2v"
        shutil.rmtree(out, ignore_errors=True)
        figures = run(
            [ROOT / ".build/release/t2v-coordinator", "pretrain", self.texts, self.options.vectors, out, "-bs", batch,
             "-i", epochs, "--cache", self.work / "cache", *extra], cores)
        log = [json.loads(line) for line in open(out / "log.jsonl")]
        self.words = log[0]["nr_word"]
        return figures

    def spacy2(self, epochs, batch):
        out = self.work / "spacy2"
        shutil.rmtree(out, ignore_errors=True)
        # spaCy 2.x counts a record's keys, not its words (spaCy 2.3 util.minibatch_by_words).
        records = max(1, round(batch / (self.words / self.documents)))
        return run(
            [VENVS / "spacy-2.3.9/bin/python", "-m", "spacy", "pretrain", self.texts, self.options.vectors, out, "-i", epochs, "-bs",
             records], "0")

    def steady(self, program, few, many):
        """Words/s, CPU seconds per million words, peak MB, of `program(epochs)`."""
        a, b = program(few), program(many)
        words = self.words * (many - few)
        return {"wps": words / max(1e-9, b[0] - a[0]), "cpu": (b[1] - a[1]) / words * 1e6, "mb": b[2]}


def median(rows, key):
    return statistics.median(row[key] for row in rows)


def svg(path, title, unit, bars):
    """A plain horizontal bar chart."""
    top = max(value for _, value in bars) or 1
    height = 40 + 26 * len(bars)
    lines = [f'<svg xmlns="http://www.w3.org/2000/svg" width="760" height="{height}" font-family="sans-serif" font-size="13">',
             '<rect width="100%" height="100%" fill="white"/>', f'<text x="10" y="22" font-weight="bold">{title}</text>']
    for index, (label, value) in enumerate(bars):
        y = 36 + 26 * index
        lines.append(f'<text x="350" y="{y + 14}" text-anchor="end">{label}</text>')
        lines.append(f'<rect x="358" y="{y}" width="{280 * value / top:.1f}" height="18" fill="#3b6ea5"/>')
        lines.append(f'<text x="{364 + 280 * value / top:.1f}" y="{y + 14}">{value:{".1f" if top < 100 else ",.0f"}} {unit}</text>')
    path.write_text("\n".join(lines + ["</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--vectors", default=SHARED / "en-vectors-20k-spacy2.3")
    parser.add_argument("--vectors3", default=SHARED / "en-vectors-20k-spacy3.8")
    parser.add_argument("--records", type=int, default=1000, help="how many of the texts to use in each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=30, help="of each program against spaCy 3.8")
    parser.add_argument("--quick", action="store_true", help="only compare at 3,000 and 12,000 words, and write nothing")
    options = parser.parse_args()
    if not Path(options.texts).exists():
        options.texts, options.vectors, options.vectors3 = ROOT / "demo/texts.jsonl", ROOT / "demo/vectors", None
        print("the reviews are missing (T2V_SHARED_DATA): using the demo's corpus", flush=True)
    with tempfile.TemporaryDirectory(prefix="t2v-bench-") as folder:
        bench = Bench(options, Path(folder))
        bench.t2v(1)
        kept = subprocess.run(
            [ROOT / ".build/release/t2v-coordinator", "pretrain", bench.texts, options.vectors, Path(folder) / "count", "-i", "1", "--workers",
             "1", "--cache", Path(folder) / "cache"], capture_output=True, text=True).stdout
        bench.documents = int(kept.split("corpus: ")[1].split(" ")[0])
        compare(bench, options)


def compare(bench, options):
    has2 = (VENVS / "spacy-2.3.9/.ready").exists()
    newer = compare3(options)
    report = []
    for batch in (3000, 12000):
        # (program of epochs, fewer epochs, more epochs)
        programs = {"t2v, 1 core": (lambda n, b=batch: bench.t2v(n, batch=b), 1, 5),
                    "t2v, 2 cores": (lambda n, b=batch: bench.t2v(n, cores="0,1", batch=b), 1, 5)}
        if has2:
            programs["spaCy 2.3.9, 1 core"] = (lambda n, b=batch: bench.spacy2(n, b), 1, 2)
        rows = {name: [] for name in programs}
        for _ in range(options.repeats):
            for name, (program, few, many) in programs.items():
                rows[name].append(bench.steady(program, few, many))
                print(f"{batch:6} {name:26} {rows[name][-1]['wps']:10,.0f} words/s", flush=True)
        base = [row["wps"] for row in rows.get("spaCy 2.3.9, 1 core", [])]
        for name, list_ in rows.items():
            ratio = statistics.median(a["wps"] / b for a, b in zip(list_, base)) if base else None
            report.append((batch, name, median(list_, "wps"), median(list_, "cpu"), median(list_, "mb"), ratio))
    for row in report:
        print(f"{row[0]:6} {row[1]:26} {row[2]:10,.0f} words/s" + (f" {row[5]:6.2f} x spaCy 2.3.9" if row[5] else ""))
    if options.quick:
        return
    scaling = []
    for label, extra in [("lanes 1", ("--lanes", 1)), ("lanes 4", ("--lanes", 4)), ("lanes 8", ("--lanes", 8)), ("batch 1,000", ("-bs", 1000)),
                         ("batch 48,000", ("-bs", 48000)), ("width 64", ("-cw", 64)), ("width 128", ("-cw", 128)), ("width 256", ("-cw", 256)),
                         ("depth 2", ("-cd", 2)), ("depth 8", ("-cd", 8)), ("mask-prob 0", ("--mask-prob", 0)), ("use-vectors", ("-uv",))]:
        figures = bench.steady(lambda n, e=extra: bench.t2v(n, extra=e), 1, 5)
        scaling.append((label, figures["wps"]))
        print(f"scaling {label:14} {figures['wps']:10,.0f} words/s", flush=True)
    write(bench, options, newer, report, scaling, preparation(options))


def compare3(options):
    """spacy3.py's figures for each setting: [] if the real spaCy 3.8 or its vectors are missing."""
    python = VENVS / "spacy-3.8/bin/python"
    if not options.vectors3 or not python.exists():
        return []
    environment = dict(os.environ, PYTHONPATH=str(ROOT / "python"), T2V_BIN=str(ROOT / ".build/release"), PYTHONWARNINGS="ignore")
    output = subprocess.run(
        [python, ROOT / "Benchmarks/spacy3.py", "--texts", options.texts, "--vectors", options.vectors3, "--repeats", str(options.repeats),
         "--seconds", str(options.seconds)],
        stdout=subprocess.PIPE, text=True, check=True, env=environment).stdout
    return [json.loads(line) for line in output.splitlines()]


def preparation(options):
    """(tokens/s of t2v, of spaCy's tokenizer with a fresh cache, of both in the same order again), on one core."""
    python = VENVS / "spacy-3.8/bin/python"
    if not options.vectors3 or not python.exists():
        return []
    figures = []
    for _ in range(options.repeats):
        ours = subprocess.run(
            ["taskset", "-c", "0", ROOT / ".build/release/t2v-coordinator", "profile", "--updates", "1", "--texts", options.texts,
             "--vectors-model", options.vectors3], capture_output=True, text=True, check=True).stdout
        theirs = subprocess.run(
            ["taskset", "-c", "0", python, "-W", "ignore", ROOT / "Tests/GoldenTests/reference/tokens_speed.py", options.vectors3, options.texts],
            capture_output=True, text=True, check=True).stdout
        figures.append((int(ours.rsplit("tokens, ", 1)[1].split(" ")[0]), *(json.loads(line)["rate"] for line in theirs.splitlines())))
    ours, fresh, second = (statistics.median(column) for column in zip(*figures))
    print(f"preparation {ours:,.0f} tokens/s; spaCy 3.8's tokenizer {fresh:,.0f}, {second:,.0f} in its second pass")
    return [ours, fresh, second]


def write(bench, options, newer, report, scaling, prepared):
    docs = ROOT / "docs"
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    rounds = f"Medians of {options.repeats} rounds; ratios are medians of ratios within a round." if options.repeats > 1 else "One round."
    has_wide = "avx512f" in Path("/proc/cpuinfo").read_text().split()
    cpu += " with AVX-512" if has_wide else " without AVX-512"
    command = " ".join(["Benchmarks/bench.py", *sys.argv[1:]])
    lines = ["# Speed", "", f"Made by `make bench` (`{command}`) on {datetime.date.today()}, {os.cpu_count()} cores, {cpu}. {rounds} "
             "Only ratios carry over to another machine. The [README](../README.md#speed) has figures of other CPUs."]
    if newer:
        lines += ["", f"## Against spaCy {newer[0]['spacy']}", "",
                  f"`spacy t2v bench` with configs of `examples/configs` and the texts of {Path(options.texts).name}, {options.seconds:g} seconds a program.", "",
                  "| setting | program | cores | words/s | times spaCy | peak MB of all processes |", "|---|---|---|---|---|---|"]
        for setting in newer:
            for row in setting["programs"]:
                lines.append(f"| {setting['setting']} | {row['program']} | {row['cores']} | {row['words_per_second']:,.0f} | {row['times']:.1f} | "
                             f"{row['memory'] / 1e6:,.0f} |")
        lines += ["", "![words per second](bench-spacy3.svg)"]
        svg(docs / "bench-spacy3.svg", "times spaCy's own pretrain, one core each", "x",
            [(setting["setting"], setting["programs"][1]["times"]) for setting in newer])
    lines += ["", "## Against spaCy 2.3.9", "",
              f"The first {options.records} records of {Path(options.texts).name}, {bench.words:,} words kept.", "",
              "| words an update | program | words/s | CPU seconds a million words | peak MB of a process | times spaCy 2.3.9 |",
              "|---|---|---|---|---|---|"]
    for batch, name, wps, seconds, mb, ratio in report:
        lines.append(f"| {batch:,} | {name} | {wps:,.0f} | {seconds:.1f} | {mb:.0f} | {f'{ratio:.2f}' if ratio else ''} |")
    lines += ["", "![words per second](bench-compare.svg)", "",
              "What flatters us for another reason than our work: spaCy uses one core whatever the machine has, so the two-core rows compare two",
              "cores with one; spaCy 2.3.9 multiplies matrices with BLIS 0.7, t2v with OpenBLAS 0.3.21; spaCy computes the loss of all words, which",
              "its objective does not need; and its words/s include its own shuffling and document building, as ours include reading and masking.", "",
              "## Scaling, one worker and its coordinator on one core", "", "| setting | words/s |", "|---|---|"]
    lines += [f"| {label} | {wps:,.0f} |" for label, wps in scaling]
    lines += ["", "![scaling](bench-scaling.svg)"]
    if prepared:
        lines += ["", "## Preparation", "", f"Reading JSON, tokenizing, features and the prepared shard, once a corpus: {prepared[0]:,.0f} tokens/s on one",
                  f"core, {prepared[0] / prepared[1]:.1f} times spaCy 3.8's tokenizer alone ({prepared[1]:,.0f}; {prepared[2]:,.0f} in a second pass, when it",
                  "knows every chunk)."]
    (docs / "bench.md").write_text("\n".join(lines) + "\n")
    svg(docs / "bench-compare.svg", "words/s at 3,000 words an update", "words/s", [(r[1], r[2]) for r in report if r[0] == 3000])
    svg(docs / "bench-scaling.svg", "t2v, one core", "words/s", scaling)


if __name__ == "__main__":
    main()
