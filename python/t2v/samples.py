"""Parts of labelled data. In: a .spacy file, or a folder of them. Out: nested, seeded samples as files that `spacy train` reads."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Labelled documents, read once."""

    path: Path
    documents: Any
    """A `spacy.tokens.DocBin`."""
    digest: str

    def __len__(self) -> int:
        return len(self.documents)


def files_of(path: Path) -> list[Path]:
    """The files that `spacy.Corpus.v1` reads: the path itself, or all *.spacy below it, hidden names skipped."""
    if not path.is_dir():
        return [path]
    found = [file for file in sorted(path.rglob("*.spacy")) if not any(part.startswith(".") for part in file.relative_to(path).parts)]
    return [file for file in found if file.is_file()]


def read_labelled(path: Path, option: str) -> Labelled:
    """Reads all documents.

    Raises: InputError if there are none, or the file is of another kind.
    """
    from spacy.tokens import DocBin

    where = f"{option} {path}"
    if not path.exists():
        raise InputError("there is no such file", where, "give the labelled documents, as `python -m spacy convert` writes them")
    files = files_of(path)
    if not files:
        raise InputError("no file in it ends in .spacy", where, "`python -m spacy convert` makes one")
    whole: Any = None
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(hashlib.sha256(data).digest())
        try:
            part = DocBin(store_user_data=True).from_bytes(data)
        except Exception as error:
            raise InputError(f"{file} is not a .spacy file: {type(error).__name__}", where, "`python -m spacy convert` makes one") from None
        if whole is None:
            whole = part
            continue
        try:
            whole.merge(part)
        except ValueError:
            raise InputError(f"{file} stores other attributes than {files[0]}", where, "convert all files in the same way") from None
    if len(whole) == 0:
        raise InputError("there is no document in it", where, "give labelled documents")
    return Labelled(path, whole, digest.hexdigest())


def chosen(total: int, size: int, seed: int) -> list[int]:
    """Which documents a sample holds, in the file's order. The sample of a size holds the samples of all smaller sizes of its seed."""
    order = list(range(total))
    random.Random(f"t2v evaluate {seed}").shuffle(order)
    return sorted(order[:size])


def write_sample(labelled: Labelled, size: int, seed: int, path: Path) -> None:
    """Writes a sample with everything that the documents had: annotations, categories, spans, user data."""
    from spacy.tokens import DocBin

    whole = labelled.documents
    part = DocBin(attrs=[], store_user_data=whole.store_user_data)
    part.attrs = list(whole.attrs)
    part.strings = set(whole.strings)
    for index in chosen(len(whole), size, seed):
        for name in ("tokens", "spaces", "cats", "span_groups", "user_data", "flags"):
            column = getattr(whole, name)
            if index < len(column):  # user_data is empty if it is not stored
                getattr(part, name).append(column[index])
    path.parent.mkdir(parents=True, exist_ok=True)
    part.to_disk(path)


def read_sizes(text: str, total: int) -> list[int]:
    """`100,500,all` -> numbers of documents, growing, none larger than there are.

    Raises: InputError for anything else.
    """
    sizes = set()
    for word in text.split(","):
        word = word.strip()
        if word == "all":
            sizes.add(total)
        elif word.isdigit() and int(word) > 0:
            sizes.add(min(int(word), total))
        else:
            raise InputError(f'"{word}" is not a number of documents', f"--sizes {text}", "give numbers and `all`, as in 100,500,all")
    return sorted(sizes)
