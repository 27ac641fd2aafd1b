#!/usr/bin/env python3
"""Compares t2v with the real spaCy, side by side in one run, on pinned cores; writes docs/bench.md and docs/bench-*.svg.

    Benchmarks/bench.py [--texts FILE.jsonl] [--vectors FOLDER23] [--vectors3 FOLDER38] [--records 400] [--repeats 3] [--quick]

Every figure is a difference: a program runs N epochs and then M > N, each time as a whole process; the words between the two, over the time
between the two, are its words/s in the steady state. Start-up, preparation and model loading cancel out. Rounds go A B C A B C, so that a machine
that changes its speed changes it for all. Standard library only.
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

CONFIG3 = """
[paths]
raw = "{texts}"
vectors = "{vectors}"
[nlp]
lang = "en"
pipeline = ["tok2vec"]
[components]
[components.tok2vec]
factory = "tok2vec"
[components.tok2vec.model]
@architectures = "spacy.Tok2Vec.v2"
[components.tok2vec.model.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 96
attrs = ["NORM", "PREFIX", "SUFFIX", "SHAPE"]
rows = [2000, 1000, 1000, 1000]
include_static_vectors = false
[components.tok2vec.model.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 96
depth = 4
window_size = 1
maxout_pieces = 3
[training]
seed = 0
gpu_allocator = null
[initialize]
vectors = ${{paths.vectors}}
[pretraining]
max_epochs = 1
dropout = 0.2
n_save_every = null
n_save_epoch = null
component = "tok2vec"
layer = ""
corpus = "corpora.pretrain"
[pretraining.batcher]
@batchers = "spacy.batch_by_words.v1"
size = {words}
discard_oversize = false
tolerance = 0.2
get_length = null
[pretraining.objective]
@architectures = "spacy.PretrainVectors.v1"
maxout_pieces = 3
hidden_size = 300
loss = "cosine"
[pretraining.optimizer]
@optimizers = "Adam.v1"
[corpora]
[corpora.pretrain]
@readers = "spacy.JsonlCorpus.v1"
path = ${{paths.raw}}
min_length = 5
max_length = 500
limit = 0
"""


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

    def t2v(self, epochs, cores="0", workers=1, batch=3000, extra=()):
        out = self.work / "t2v"
        shutil.rmtree(out, ignore_errors=True)
        figures = run(
            [ROOT / ".build/release/t2v-coordinator", "pretrain", self.texts, self.options.vectors, out, "--workers", workers, "-bs", batch,
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

    def spacy3(self, epochs, batch):
        out, config = self.work / "spacy3", self.work / "spacy3.cfg"
        shutil.rmtree(out, ignore_errors=True)
        python = VENVS / "spacy-3.8/bin/python"
        if not config.exists():
            base = config.with_suffix(".base")
            base.write_text(CONFIG3.format(texts=self.texts, vectors=self.options.vectors3, words=batch))
            fill = subprocess.run([python, "-m", "spacy", "init", "fill-config", "--pretraining", base, config], capture_output=True, text=True)
            if fill.returncode:
                sys.exit(f"spaCy 3 cannot fill its config: {fill.stdout[-500:]}{fill.stderr[-500:]}")
        return run([python, "-m", "spacy", "pretrain", config, out, "--pretraining.max_epochs", epochs], "0")

    def steady(self, program, few, many):
        """Words/s, CPU seconds a million words, peak MB, of `program(epochs)`."""
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
        lines.append(f'<text x="250" y="{y + 14}" text-anchor="end">{label}</text>')
        lines.append(f'<rect x="258" y="{y}" width="{380 * value / top:.1f}" height="18" fill="#3b6ea5"/>')
        lines.append(f'<text x="{264 + 380 * value / top:.1f}" y="{y + 14}">{value:,.0f} {unit}</text>')
    path.write_text("\n".join(lines + ["</svg>"]) + "\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--texts", default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--vectors", default=SHARED / "en-vectors-20k-spacy2.3")
    parser.add_argument("--vectors3", default=SHARED / "en-vectors-20k-spacy3.8")
    parser.add_argument("--records", type=int, default=1000, help="of the texts, for each run")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="the comparison at 3,000 and 12,000 words only, nothing written")
    options = parser.parse_args()
    if not Path(options.texts).exists():
        options.texts, options.vectors, options.vectors3 = ROOT / "demo/texts.jsonl", ROOT / "demo/vectors", None
        print("the reviews are not here (T2V_SHARED_DATA): using the demo's corpus", flush=True)
    with tempfile.TemporaryDirectory(prefix="t2v-bench-") as folder:
        bench = Bench(options, Path(folder))
        bench.t2v(1)
        kept = subprocess.run(
            [ROOT / ".build/release/t2v-coordinator", "pretrain", bench.texts, options.vectors, Path(folder) / "count", "-i", "1", "--workers",
             "1", "--cache", Path(folder) / "cache"], capture_output=True, text=True).stdout
        bench.documents = int(kept.split("corpus: ")[1].split(" ")[0])
        compare(bench, options)


def compare(bench, options):
    has2, has3 = (VENVS / "spacy-2.3.9/.ready").exists(), (VENVS / "spacy-3.8/.ready").exists() and options.vectors3
    report = []
    for batch in (3000, 12000):
        # (program of epochs, fewer epochs, more epochs)
        programs = {"t2v, 1 worker, 1 core": (lambda n, b=batch: bench.t2v(n, batch=b), 1, 5),
                    "t2v, 2 workers, 2 cores": (lambda n, b=batch: bench.t2v(n, cores="0,1", workers=2, batch=b), 1, 5)}
        if has2:
            programs["spaCy 2.3.9, 1 core"] = (lambda n, b=batch: bench.spacy2(n, b), 1, 2)
        if has3 and batch == 3000:
            programs["spaCy 3.8.18, 1 core"] = (lambda n, b=batch: bench.spacy3(n, b), 1, 2)
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
        figures = bench.steady(lambda n, e=extra: bench.t2v(n, extra=e), 1, 3)
        scaling.append((label, figures["wps"]))
        print(f"scaling {label:14} {figures['wps']:10,.0f} words/s", flush=True)
    write(bench, options, report, scaling, preparation(options))


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


def write(bench, options, report, scaling, prepared):
    docs = ROOT / "docs"
    cpu = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    lines = ["# Speed", "", f"Made by `make bench` on {datetime.date.today()}, {os.cpu_count()} cores, {cpu}.",
             f"Corpus: the first {options.records} records of {Path(options.texts).name}, {bench.words:,} words kept. Medians of "
             f"{options.repeats} rounds; ratios are medians of ratios within a round. Only ratios carry over to another machine.", "",
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
