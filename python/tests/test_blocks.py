"""Every block of commands in the documentation is run by a test: here, or in the file that COVERED names."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, Callable

import pytest

from t2v import programs
from t2v.errors import InputError

ROOT = Path(__file__).resolve().parents[2]
COVERED = {
    "README.md": (3, "test_blocks"),
    "demo/README.md": (1, "nothing: it fetches a package of Debian's; the result is in the repository"),
    "docs/bench-command.md": (1, "test_blocks"),
    "docs/evaluate.md": (1, "test_pages"),
    "docs/from-spacy-pretrain.md": (1, "test_blocks"),
    "docs/getting-started.md": (8, "test_pages; pip install is test_wheel"),
    "docs/hosts.md": (4, "test_blocks"),
    "docs/install.md": (3, "test_blocks, test_wheel"),
    "docs/report.md": (1, "test_pages"),
    "docs/spacy2.md": (3, "test_blocks"),
    "docs/status.md": (2, "test_blocks"),
    "docs/worth-it.md": (2, "test_pages"),
    "examples/project/README.md": (1, "test_project"),
    "python/README.md": (1, "test_blocks: the same as README.md's"),
}
"""Pages with commands: how many blocks, and what runs them."""

SHORT = "--pretraining.max_epochs=1"
FEW = "--training.max_steps=2 --training.eval_frequency=2"


def blocks(page: str) -> list[str]:
    """The blocks of a page that hold commands."""
    found = re.findall(r"^```\w*\n(.*?)^```", (ROOT / page).read_text(encoding="utf8"), re.DOTALL | re.MULTILINE)
    return [block for block in found if re.match(r"(python3?|pip|make|cd|t2v|t2v-\w+|apt-get|\.build/\S+) ", block)]


def test_every_block_is_covered() -> None:
    folders = [
        ROOT,
        ROOT / "docs",
        ROOT / "docs/decisions",
        ROOT / "demo",
        ROOT / "deploy",
        ROOT / "python",
        *(ROOT / "examples").iterdir(),
    ]
    pages = [str(page.relative_to(ROOT)) for folder in folders for page in folder.glob("*.md")]
    assert {page: len(blocks(page)) for page in pages if blocks(page)} == {page: count for page, (count, _) in COVERED.items()}
    for page in pages:
        fenced = re.sub(r"(?ms)^```.*?^```", "", (ROOT / page).read_text(encoding="utf8"))
        assert not re.findall(r"(?m)^    (?:python|pip|make|t2v)\S* .*", fenced), f"{page}: a block without a fence"


@pytest.fixture()
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spacy_command: Callable[..., Any]) -> Callable[..., str]:
    """Runs a block's lines in a folder with config.cfg, raw.jsonl, train.spacy, dev.spacy; returns what they print.

    Programs are those that are built; settings make the runs short.
    """
    data = ROOT / "demo" / "french"
    shutil.copy(data / "config.cfg", tmp_path / "config.cfg")
    lines = (data / "texts.jsonl").read_text(encoding="utf8").splitlines()[:20]
    (tmp_path / "raw.jsonl").write_text("\n".join(lines) + "\n", encoding="utf8")
    for name in ("train.spacy", "dev.spacy"):
        shutil.copy(data / name, tmp_path / name)
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    monkeypatch.chdir(tmp_path)

    def run(block: str, short: str = "") -> str:
        told = ""
        for line in block.splitlines():
            words = line.split("#")[0].split()
            if words[:3] == ["python", "-m", "spacy"]:
                done = spacy_command(*words[3:], SPACY_CONFIG_OVERRIDES=short)
            else:
                program = programs.find(Path(words[0]).name)
                done = subprocess.run([str(program), *words[1:]], capture_output=True, text=True, timeout=300)
            assert done.returncode == 0, line + "\n" + done.stdout + done.stderr
            told += done.stdout + done.stderr
        return told

    return run


@pytest.fixture()
def built() -> Path:
    """The folder of the programs."""
    try:
        return programs.find().parent
    except InputError:
        pytest.skip("the programs are not built")


@pytest.mark.programs
def test_the_first_page(place: Callable[..., str], built: Path) -> None:
    """README.md from raw text to a trained pipeline; then status.md in the same folder."""
    install, use, source = blocks("README.md")
    assert install.startswith("pip install t2v ") and use == blocks("python/README.md")[0]
    pretrain, train = use.splitlines()
    assert "done:" in place(pretrain, SHORT)
    place(train, FEW)
    assert Path("trained/model-last").is_dir()
    plain, as_json = blocks("docs/status.md")
    assert "finished" in place(plain) and json.loads(place(as_json))["state"] == "done"
    check_targets(source)


def check_targets(block: str) -> None:
    """Every `make TARGET` is a target."""
    targets = set(re.findall(r"(?m)^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf8")))
    named = re.findall(r"(?m)^make ([a-z-]+)", block)
    assert named and set(named) <= targets


def test_install() -> None:
    """The wheel's version is the package's, and the requirements of older spaCy versions are those that the wheel is tested with."""
    first, older, targets = blocks("docs/install.md")
    version = re.findall(r'(?m)^version = "(.*)"', (ROOT / "python/pyproject.toml").read_text(encoding="utf8"))[0]
    wheels = re.findall(r"t2v-\S+\.whl", first + older)
    assert len(wheels) == 2 and all(re.fullmatch(rf"t2v-{version}-py3-none-manylinux_2_\d+_x86_64\.whl", wheel) for wheel in wheels)
    if os.environ.get("T2V_WHEEL"):
        assert wheels == [Path(os.environ["T2V_WHEEL"]).name] * 2
    matrix = (ROOT / "deploy/wheel-matrix.sh").read_text(encoding="utf8")
    assert all(wanted in matrix for wanted in re.findall(r'"(\S+)"', older))
    check_targets(targets)


@pytest.mark.programs
def test_from_spacy_pretrain(place: Callable[..., str], built: Path) -> None:
    spacys, ours = blocks("docs/from-spacy-pretrain.md")[0].splitlines()
    place(spacys, SHORT)
    log = [json.loads(line) for line in Path("out/log.jsonl").read_text().splitlines()]
    shutil.rmtree("out")
    place(ours, SHORT)
    for theirs, mine in zip(log, map(json.loads, Path("out/log.jsonl").read_text().splitlines())):
        assert theirs["epoch"] == mine["epoch"] and set(theirs) <= set(mine)


@pytest.mark.programs
def test_bench_command(place: Callable[..., str], built: Path) -> None:
    (block,) = blocks("docs/bench-command.md")
    shown = place(block.replace("--seconds 5", "--seconds 1"))
    assert "words/s" in shown and "spaCy's own pretrain" in shown


@pytest.mark.programs
def test_several_hosts(place: Callable[..., str], built: Path, tmp_path: Path) -> None:
    """On one host: keys, a coordinator without workers of its own, a worker over the network; then a job without Python."""
    keygen, pretrain, worker, portable = blocks("docs/hosts.md")
    place(keygen)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = pretrain.replace("tcp://0.0.0.0:5599", f"tcp://127.0.0.1:{port}").split()
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT / "python")])
    environment = {**os.environ, "PYTHONPATH": path, "SPACY_CONFIG_OVERRIDES": SHORT, "T2V_BIN": str(built)}
    coordinator = subprocess.Popen([sys.executable, *words[1:], "--workers", "0", "--no-report"], env=environment, stdout=subprocess.PIPE)
    try:
        place(worker.replace("COORDINATOR:5599", f"127.0.0.1:{port}"))
        assert b"done:" in coordinator.communicate(timeout=300)[0] and coordinator.returncode == 0
    finally:
        coordinator.kill()
        coordinator.wait()
    shutil.rmtree("out")
    assert "done:" in place(portable, SHORT)


@pytest.mark.programs
def test_spacy_2(place: Callable[..., str], built: Path) -> None:
    """With spaCy 2.3.9 to the end, if it is installed."""
    programs_block, train, held_out = blocks("docs/spacy2.md")
    place(programs_block.replace("-i 5", "-i 1").replace("model4.bin", "model0.bin"))
    place(held_out.replace("-i 5", "-i 1"))
    assert Path("demo/out3/model-best.bin").is_file()
    python = Path(os.environ.get("T2V_VENVS", ROOT / ".venvs")) / "spacy-2.3.9/bin/python"
    if not python.exists():
        pytest.skip("spaCy 2.3.9 is not here: its training is left out")
    tokens = [
        {"id": i, "orth": word, "tag": tag, "head": 1 - i, "dep": "ROOT" if i == 1 else "dep", "ner": "O"}
        for i, (word, tag) in enumerate([("Dogs", "NNS"), ("bark", "VBP"), (".", ".")])
    ]
    for name in ("train.json", "dev.json"):
        Path(name).write_text(json.dumps([{"id": 0, "paragraphs": [{"raw": "Dogs bark .", "sentences": [{"tokens": tokens}]}]}] * 3))
    words = train.replace("model4.bin", "model0.bin").split()
    done = subprocess.run([str(python), *words[1:], "-n", "1"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "Loaded pretrained tok2vec" in done.stdout, done.stdout + done.stderr


SPACYS = ("Attempt to change dimension", "mismatched structure", "Trying to read a Model", "IndexError")
"""spaCy's messages, not t2v's."""


def test_messages_of_the_troubleshooting_page_exist() -> None:
    """Every message in the first column exists in the sources."""
    files = [*(ROOT / "python/t2v").glob("*.py"), *(ROOT / "Sources").rglob("*.swift")]
    # It does not matter where a message continues in the next line of the source, or where names are inserted.
    said = re.sub(r'"\s*(?:\+\s*)?f?"', "", "\n".join(file.read_text(encoding="utf8") for file in files)).replace('\\"', '"')
    page = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf8")
    quoted = [text for row in re.findall(r"(?m)^\| (.*?) \| ", page) for text in re.findall(r"``(.+?)``|`([^`]+)`", row)]
    messages = [one or other for one, other in quoted]
    assert len(messages) > 40
    for message in messages:
        known = re.sub(r'^this is (?=a )|--raw-text|"en_core_web_lg"|t2v-coordinator is', "...", message)
        parts = [part.strip(" ,") for part in known.split("...") if part.strip(" ,")]
        assert message.startswith(SPACYS) or all(part in said for part in parts), message
