"""Gives weights files to the real `spacy train`, with the commands that `t2v-coordinator inspect` prints, and checks that they are loaded.

    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/train_check.py FOLDER [--inspect .build/release/t2v-coordinator]
        [--versions 2.3.9,2.1.9] [--texts demo/texts.jsonl] [--vectors demo/vectors] [--venvs .venvs]

FOLDER holds *.bin; the output of inspect for X.bin is read from X.inspect.txt, or requested from the program. Files that were trained with
-uv must have been trained with the model that --vectors names; spaCy 2.1 gets a copy of it in its own format. For every command: spaCy
succeeds, lists exactly the components asked for, their tok2vec was changed by the file and equals it byte for byte, one epoch of training
runs, and a fresh process loads the trained model and uses it. Prints one line for each and ends with 0 if all is well. Run with the Python
of a venv of spaCy 2.3.9.
"""
import argparse
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent.parent
USE = "import sys, spacy; nlp = spacy.load(sys.argv[1]); doc = nlp('We install the Debian packages on a server.'); print('used', nlp.pipe_names)"


def run(words, environment=None, **keywords):
    environment = dict(os.environ, LOG_FRIENDLY="1", PYTHONWARNINGS="ignore", **(environment or {}))
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=600)
    try:
        return subprocess.run(words, env=environment, **pipes, **keywords)
    except subprocess.TimeoutExpired as error:
        return subprocess.CompletedProcess(words, 124, (error.stdout or b"").decode(errors="replace") + "error: no end after 600 s")


def commands(text, series):
    """The command lines under "spaCy 2.3 loads it with": (environment, words after `spacy`)."""
    part = re.search(r"^spaCy %s loads it with\n((?:  .*\n)+)" % re.escape(series), text, re.MULTILINE)
    found = []
    for line in part.group(1).splitlines() if part else []:
        words = shlex.split(line)
        environment = {}
        while words and re.fullmatch(r"SPACY_\w+=\d+", words[0]):
            key, value = words.pop(0).split("=")
            environment[key] = value
        if words[:3] == ["python", "-m", "spacy"]:
            found.append((environment, words[3:]))
    return found


def old_vectors(vectors, python23, python21, folder):
    """The same vectors as a model of spaCy 2.1."""
    text, model = folder / "vectors.txt", folder / "vectors-2.1"
    dump = (
        "import sys, spacy; nlp = spacy.load(sys.argv[1]); v = nlp.vocab.vectors; out = open(sys.argv[2], 'w', encoding='utf-8')\n"
        "out.write('%d %d\\n' % (len(v.key2row), v.data.shape[1]))\n"
        "for key, row in sorted(v.key2row.items(), key=lambda item: item[1]):\n"
        "    out.write(nlp.vocab.strings[key] + ' ' + ' '.join(map(repr, v.data[row].tolist())) + '\\n')\n"
    )
    for words in ([python23, "-c", dump, vectors, text], [python21, "-m", "spacy", "init-model", "en", model, "-v", text]):
        result = run([str(word) for word in words])
        if result.returncode:
            sys.exit("cannot copy the vectors for spaCy 2.1: " + result.stdout[-400:])
    return model


def check(python, environment, words, places, output):
    """One command. Returns what is wrong, or an empty list, and the components."""
    words = [str(places.get(word, word)) for word in words]
    wanted = words[words.index("-p") + 1].split(",")
    result = run([python, str(HERE / "train_launch.py")] + words + ["-n", "1"], environment)
    (output.parent / (output.name + ".log")).write_text(result.stdout)
    wrong = []
    if result.returncode:
        lines = [line for line in result.stdout.splitlines() if "rror" in line]
        wrong.append("spacy train ended with %d: %s" % (result.returncode, lines[-1] if lines else result.stdout[-200:]))
    listed = re.search(r"Loaded pretrained tok2vec for: (\[.*\])", result.stdout)
    if not listed or re.findall(r"'(\w+)'", listed.group(1)) != wanted:
        wrong.append("spaCy lists %s, expected %s" % (listed.group(1) if listed else "nothing", wanted))
    for name in wanted:
        if "t2v-probe %s changed=True equal=True" % name not in result.stdout:
            wrong.append("%s does not have the file's weights" % name)
    if not wrong:
        used = run([python, "-c", USE, str(output / "model-final")], environment)
        if used.returncode or "used" not in used.stdout:
            wrong.append("the trained model cannot be used: " + used.stdout.strip()[-200:])
    return wrong, wanted


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--inspect", type=Path)
    parser.add_argument("--versions", default="2.3.9,2.1.9")
    parser.add_argument("--texts", type=Path, default=ROOT / "demo/texts.jsonl")
    parser.add_argument("--vectors", type=Path, default=ROOT / "demo/vectors")
    parser.add_argument("--venvs", type=Path, default=Path(os.environ.get("T2V_VENVS", ROOT / ".venvs")))
    given = parser.parse_args()
    # wasabi, which prints for spaCy, ends its spinner's process with SIGTERM and waits for it: forever if the parent process blocks that
    # signal.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM, signal.SIGINT])
    files = sorted(given.folder.glob("*.bin"))
    if not files:
        sys.exit("no *.bin in %s" % given.folder)
    failures = runs = 0
    with tempfile.TemporaryDirectory(prefix="t2v-train-") as folder:
        folder = Path(folder)
        train, dev = folder / "train.json", folder / "dev.json"
        made = run([sys.executable, str(HERE / "train_data.py"), str(given.texts), str(train), str(dev)])
        if made.returncode:
            sys.exit("cannot make training data: " + made.stdout[-400:])
        for version in given.versions.split(","):
            python = str(given.venvs / ("spacy-" + version) / "bin/python")
            if not os.access(python, os.X_OK):
                print("SKIPPED: no venv spacy-%s in %s: that version was not tested" % (version, given.venvs), flush=True)
                continue
            vectors = given.vectors if version > "2.3" else old_vectors(given.vectors, sys.executable, python, folder)
            for path in files:
                report = path.with_suffix(".inspect.txt")
                text = report.read_text() if report.exists() else run([str(given.inspect), "inspect", str(path)]).stdout
                found = commands(text, version.rsplit(".", 1)[0])
                if not found:
                    failures += 1
                    print("FAILED %s %s: inspect gives no command: %s" % (version, path.name, text[:200]), flush=True)
                for number, (environment, words) in enumerate(found):
                    output = folder / ("%s-%s-%d" % (version, path.stem, number))
                    places = {"trained": output, "train.json": train, "dev.json": dev, "VECTORS_MODEL": vectors}
                    # The file may have moved since inspect saw it.
                    places[words[words.index("-t2v") + 1]] = path
                    wrong, components = check(python, environment, words, places, output)
                    runs += 1
                    failures += bool(wrong)
                    print("%s %s %s %s%s" % ("FAILED" if wrong else "ok", version, path.name, ",".join(components), "".join("; " + w for w in wrong)), flush=True)
    print("%d of %d commands loaded the weights" % (runs - failures, runs))
    return 1 if failures or not runs else 0


if __name__ == "__main__":
    sys.exit(main())
