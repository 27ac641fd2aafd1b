#!/usr/bin/env python3
"""A corpus of a billion words: made, compressed, prepared, trained for one epoch, killed in the middle and resumed. docs/performance.md has
the results.

    Benchmarks/deep.py FOLDER [--texts FILE.jsonl] [--millions 1000] [--files 8] [--workers 2] [--only-make]

The texts are copies of real ones in which 5% of the words are replaced by others of the same texts, and 2% by made-up words, some repeated
often and many used only once, so that the number of distinct words grows with the corpus about as in real text. They go to
FOLDER/texts-N.jsonl.gz, each made by a process of its own, the same for the same --seed; existing files are kept. Then `t2v pretrain`
trains a small model (32 wide, 1 deep, 96,000 words an update); when half of the epoch is done the coordinator is killed with SIGKILL, and
resumed. Prints seconds, bytes and each process's peak memory. About 13 GB of disk for a billion words. Needs the spaCy 3.8 of
Tests/reference/setup-venvs.sh. Standard library only.
"""
import argparse
import gzip
import json
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from processes import family, greater, memory

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("T2V_SHARED_DATA", ROOT.parent / "shared" / "data"))
VENVS = Path(os.environ.get("T2V_VENVS", ROOT / ".venvs"))
BIN = Path(os.environ.get("T2V_BIN", ROOT / ".build/release"))
OTHER, MADE_UP = 0.05, 0.02
# A made-up word's number has the tail x^-0.55: for large n, about n^0.55 of n such words are distinct, as in real text.
TAIL, FIRST_FEW = 0.55, 50_000
# spaCy's tokens per piece between spaces, in reviews.
TOKENS_A_PIECE = 1.16
TICKS = os.sysconf("SC_CLK_TCK")
SYLLABLES = [c + v for c in "b c d f g h k l m n p r s t v w st tr br sh".split() for v in "a e i o u".split()]
MODEL = ["--components.tok2vec.model.encode.width", 32, "--components.tok2vec.model.encode.depth", 1, "--pretraining.objective.hidden_size", 32,
         "--pretraining.objective.n_characters", 1, "--pretraining.batcher.size", 96_000, "--pretraining.max_epochs", 1,
         "--corpora.pretrain.max_length", 10_000, "--t2v.held_out", 0.001]


def made_up(number):
    word = ""
    while True:
        number, syllable = divmod(number, len(SYLLABLES))
        word += SYLLABLES[syllable]
        if number == 0:
            return word + "n"


def make(source, path, words, seed):
    """Writes one file. Returns its pieces between spaces, made-up ones, and bytes before compression."""
    lines = [line for line in source.read_text(encoding="utf8").split("\n") if line.startswith('{"text": "') and line.endswith('"}')]
    documents = [line[10:-2].split(" ") for line in lines]
    draw = random.Random(seed)
    uniform, pieces, new, size = draw.random, 0, 0, 0
    with gzip.open(f"{path}.part", "wt", compresslevel=1, encoding="utf8", newline="\n") as out:
        while pieces < words:
            draw.shuffle(documents)
            for index, document in enumerate(documents):
                document = document.copy()
                length = len(document)
                donor = documents[index - 1]
                for _ in range(int(length * OTHER + uniform())):
                    document[int(uniform() * length)] = donor[int(uniform() * len(donor))]
                count = int(length * MADE_UP + uniform())
                for _ in range(count):
                    number = FIRST_FEW * ((1 - uniform()) ** (-1 / TAIL) - 1)
                    document[int(uniform() * length)] = made_up(min(int(number), 10**15))
                text = " ".join(document)
                out.write('{"text": "' + text + '"}\n')
                pieces, new, size = pieces + length, new + count, size + len(text) + 13
                if pieces >= words:
                    break
    os.replace(f"{path}.part", path)
    return pieces, new, size


def make_all(options):
    paths = [options.folder / f"texts-{number}.jsonl.gz" for number in range(options.files)]
    missing = [(number, path) for number, path in enumerate(paths) if not path.exists()]
    each = int(options.millions * 1e6 / TOKENS_A_PIECE / options.files)
    start = time.monotonic()
    with multiprocessing.Pool(options.processes) as pool:
        figures = pool.starmap(make, [(options.texts, path, each, options.seed + number) for number, path in missing])
    if figures:
        pieces, new, size = map(sum, zip(*figures))
        print(f"made {pieces:,} pieces between spaces, {new:,} of them made up, {size / 1e9:.2f} GB, in {time.monotonic() - start:.0f} s of "
              f"{options.processes} processes")
    print(f"{sum(path.stat().st_size for path in paths) / 1e9:.2f} GB in {len(paths)} compressed files", flush=True)
    return paths


def megabytes(folder):
    """Bytes on disk of all files in a folder."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file()) / 1e6


def processor_seconds(pid):
    """User and kernel time together."""
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[11:13])) / TICKS


class Watched:
    """A coordinator and its workers: its output with times, and their peak memory and CPU time."""

    def __init__(self, command, log):
        environment = dict(os.environ, PYTHONPATH=str(ROOT / "python"), T2V_BIN=str(BIN), PYTHONWARNINGS="ignore")
        self.begun = time.monotonic()
        self.process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=log, env=environment, text=True)
        self.peaks, self.times, self.words, self.first, self.total = {}, {}, 0, None, 0
        threading.Thread(target=self.read, daemon=True).start()
        threading.Thread(target=self.sample, daemon=True).start()

    @property
    def seconds(self):
        return time.monotonic() - self.begun

    def read(self):
        for line in self.process.stdout:
            said = json.loads(line) if line.startswith("{") else {"event": "message", "text": line.strip()}
            self.times.setdefault(said["event"], self.seconds)
            if said["event"] == "message":
                print(f"  {self.seconds:7.1f} s, {processor_seconds(self.process.pid):6.1f} s of its CPU: {said['text']}", flush=True)
                self.times[said["text"].split(":")[0]] = self.seconds
            if said["event"] == "preparing" and said["shards"] == said["total_shards"]:
                self.times.setdefault("prepared", self.seconds)
            if said["event"] == "progress":
                self.total = said["total_words"]
                if said["words"] > 0 and self.first is None:
                    self.first = (self.seconds, said["words"])
                self.words = said["words"]

    def sample(self):
        """Peaks of each process's memory (see `memory`), and its CPU time."""
        while self.process.poll() is None:
            for pid in family(self.process.pid):
                try:
                    (name, sizes), seconds = memory(pid), processor_seconds(pid)
                except (OSError, TypeError):  # it has ended
                    continue
                name, sizes = f"{name} {pid}", [*sizes, seconds]
                self.peaks[name] = greater(sizes, self.peaks.get(name, sizes))
            time.sleep(0.5)

    def tell(self):
        for name, sizes in sorted(self.peaks.items()):
            print(f"  {name}: peak MB anonymous {sizes[0]:.0f}, shared memory {sizes[1]:.0f}, mapped files {sizes[2]:.0f}; {sizes[3]:.1f} s of CPU", flush=True)


def run(options, paths):
    out, cache = options.folder / "out", options.folder / "cache"
    python = [VENVS / "spacy-3.8/bin/python", "-m", "t2v"]
    machine = ["--workers", options.workers, "--cache", cache, "--no-report", "--json-progress", "--checkpoint-every", 60]
    texts = options.folder / "texts"
    texts.mkdir(exist_ok=True)
    for path in paths:
        if not (texts / path.name).exists():
            os.link(path, texts / path.name)
    shutil.rmtree(out, ignore_errors=True)
    with open(options.folder / "log", "a") as log:
        print("first run", flush=True)
        first = Watched([*python, "pretrain", ROOT / "examples/configs/small-96.cfg", out, "--paths.raw_text", texts, *MODEL, *machine], log)
        while first.process.poll() is None and (first.total == 0 or first.words < first.total / 2):
            time.sleep(0.1)
        if first.process.returncode is not None:
            sys.exit(f"it ended with status {first.process.returncode}: see {options.folder}/log")
        first.process.send_signal(signal.SIGKILL)
        killed, trained = first.seconds, first.words
        first.process.wait()
        training = killed - first.times["progress"]
        print(f"killed after {killed:.0f} s, at {trained:,} of {first.total:,} words; {trained / training:,.0f} words/s in training")
        first.tell()
        print(f"disk: texts {megabytes(texts):,.0f} MB, cache {megabytes(cache):,.0f} MB, run {megabytes(out):,.0f} MB", flush=True)
        time.sleep(5)
        print("resumed", flush=True)
        second = Watched([*python, "resume", out, *machine], log)
        status = second.process.wait()
        seconds, words = second.first
        rest = second.seconds - seconds
        print(f"status {status} after {second.seconds:.0f} s; {seconds:.1f} s until the first progress ({words:,} words); "
              f"{(second.words - words) / rest if rest else 0:,.0f} words/s")
        second.tell()
        print(f"disk: run {megabytes(out):,.0f} MB", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--texts", type=Path, default=SHARED / "imdb-reviews-10000.jsonl")
    parser.add_argument("--millions", type=float, default=1000, help="of words, about")
    parser.add_argument("--files", type=int, default=8)
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="how many processes make texts")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only-make", action="store_true")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    paths = make_all(options)
    if not options.only_make:
        run(options, paths)


if __name__ == "__main__":
    main()
