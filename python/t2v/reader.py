"""The corpus that the config's reader reads. In: the reader. Out: its files, its form and its bounds of length.

Sources: spacy/training/corpus.py (3.8.18), JsonlCorpus and PlainTextCorpus. t2v also reads .gz, and `-` as standard input.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from . import hints
from .errors import InputError

ENDINGS = {"jsonl": (".jsonl", ".jsonl.gz"), "lines": (".txt", ".txt.gz")}
READERS = {"jsonl": "spacy.JsonlCorpus.v1", "lines": "spacy.PlainTextCorpus.v1"}


def kind(corpus: Any) -> Optional[str]:
    """jsonl, lines, or None for a reader that only Python can run."""
    import spacy.training.corpus as readers

    if type(corpus) is readers.JsonlCorpus:
        return "jsonl"
    if type(corpus) is getattr(readers, "PlainTextCorpus", None):
        return "lines"
    return None


def bounds(corpus: Any) -> dict[str, int]:
    """min_length <= tokens < max_length; 0 switches a bound off. PlainTextCorpus includes max_length itself: 1 is added."""
    form = kind(corpus)
    if form is None:
        return {"min_length": 0, "max_length": 0, "limit": 0}  # the reader has made its own choice
    longest = max(0, int(corpus.max_length))
    return {
        "min_length": max(0, int(corpus.min_length)),
        "max_length": longest + 1 if longest and form == "lines" else longest,
        "limit": max(0, int(getattr(corpus, "limit", 0))),
    }


def sources(corpus: Any, where: str) -> list[str]:
    """The files, absolute, in spaCy's order; ["-"] for standard input. Only for readers that `kind` knows.

    Raises: InputError if spaCy would train on nothing.
    """
    form = kind(corpus) or "jsonl"
    endings = ENDINGS[form]
    path = corpus.path
    if path is None:
        raise InputError("path is null: there are no texts", where, "give them, for example with --paths.raw_text FILE.jsonl")
    path = Path(path)
    if str(path) == "-":
        return ["-"]
    if not path.exists():
        raise InputError(f"there is no such file: {path}", where, "check the path of the texts")
    if not path.is_dir():
        if not path.name.endswith(endings):
            raise wrong_ending(path, form, type(corpus).__name__, where)
        found = [path]
    else:
        found = walk(path, endings)
        if not found:
            raise nothing_in(path, form, where)
    if all(file.stat().st_size == 0 for file in found):
        raise InputError(f"{path} is empty: there are no texts", where, "check the path of the texts")
    for file in found:
        hints.check(str(file), form)
    return [str(file.absolute()) for file in found]


def wrong_ending(path: Path, form: str, reader: str, where: str) -> InputError:
    """A file that spaCy's reader would skip because of its name's ending."""
    endings, other = ENDINGS[form], "lines" if form == "jsonl" else "jsonl"
    what = f"{reader} reads only {' and '.join(endings)}, not {path}"
    if path.name.endswith(ENDINGS[other]):
        return InputError(what, where, f'use @readers = "{READERS[other]}"')
    try:
        hints.check(str(path), form)
    except InputError as error:
        return error
    return InputError(what, where, f"rename it to {path.stem}{endings[0]}")


def nothing_in(folder: Path, form: str, where: str) -> InputError:
    """A folder without a file that the reader accepts: says what is there instead."""
    endings, other = ENDINGS[form], "lines" if form == "jsonl" else "jsonl"
    what = f"no file in {folder} ends in {' or '.join(endings)}"
    if walk(folder, ENDINGS[other]):
        return InputError(what, where, f'use @readers = "{READERS[other]}", which reads those in {ENDINGS[other][0]}')
    for path in walk(folder, ("",))[:1]:
        error = wrong_ending(path, form, "", where)
        return error if error.where == str(path) else InputError(f"{what}, but there is {path}", where, error.remedy)
    return InputError(what, where, "check the path of the texts")


def walk(root: Path, endings: tuple[str, ...]) -> list[Path]:
    """Files below a folder, hidden names skipped, sorted: as spaCy's `walk_corpus`."""
    found, folders, seen = [], [root], set()
    for folder in folders:
        if str(folder.resolve()) in seen:
            continue
        seen.add(str(folder.resolve()))
        for path in folder.iterdir():
            if path.name.startswith("."):
                continue
            if path.is_dir():
                folders.append(path)
            elif path.name.endswith(endings):
                found.append(path)
    return sorted(found)
