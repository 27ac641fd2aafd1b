"""Compares the tokens of the fast path with spaCy's on a sample. In: a job, the program's `features`. Out: a difference, or none.

The judge is a fresh pipeline of the language that has read the job's nlp/: the pipeline in memory can hold lexemes that are older than its
table of norms.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from . import records
from .errors import InputError


def fresh_pipeline(nlp: Any, folder: Path) -> Any:
    """A pipeline without components that has read tokenizer and vocabulary from `folder`."""
    from spacy.util import load_model_from_config

    settings = {**nlp.config["nlp"], "pipeline": [], "disabled": []}
    settings.update({name: None for name in ("before_creation", "after_creation", "after_pipeline_creation")})
    fresh = load_model_from_config({"nlp": settings}, auto_fill=True)
    return fresh.from_disk(folder, exclude=["vectors"])


class Refused(Exception):
    """The program cannot tokenize as this pipeline does, and says why: for example, a pattern has a back reference."""


def features(program: Path, job: Path, texts: list[Any], form: str) -> Iterator[dict[str, Any]]:
    """What the trainer sees of texts.

    Raises: Refused, as above; InputError when the program fails.
    """
    with tempfile.NamedTemporaryFile("w", suffix=".txt" if form == "lines" else ".jsonl", encoding="utf8") as file:
        for text in texts:
            record = text if form == "lines" else json.dumps({"text" if isinstance(text, str) else "tokens": text})
            file.write(f"{record}\n")
        file.flush()
        done = subprocess.run([str(program), "features", "--job", str(job), file.name], capture_output=True)
    said = done.stderr.decode("utf8", "replace").strip()[-500:]
    if done.returncode == 2:
        raise Refused(said.split("error: ", 1)[-1])
    if done.returncode != 0:
        raise InputError(said, str(program), "--verify 0 trusts it unseen")
    for line in done.stdout.split(b"\n"):  # str.splitlines would also split at U+2028 and similar characters within a word
        if line:
            yield json.loads(line)


def first_difference(program: Path, job: Path, folder: Path, nlp: Any, chunks: list[records.Chunk], form: str, columns: list[str]) -> str:
    """A sentence about the first document whose words, spaces or columns differ; empty if none does.

    job: the folder with job.json and nlp/; folder: its nlp/; nlp: the pipeline that was built.
    """
    from spacy.attrs import IDS
    from spacy.tokens import Doc

    texts = [text for chunk in chunks for text in records.parse(chunk, form) if text]
    fresh = fresh_pipeline(nlp, folder)
    fresh.max_length = max([1_000_000, *map(len, texts)])
    docs = [fresh.make_doc(text) if isinstance(text, str) else Doc(fresh.vocab, words=text) for text in texts]
    vectors = nlp.vocab.vectors
    try:
        pairs = list(zip((doc for doc in docs if len(doc)), features(program, job, texts, form)))
    except Refused as error:
        return f"it cannot tokenize as this pipeline does ({error})"
    for doc, seen in pairs:
        words = [token.text for token in doc]
        if seen["tokens"] != words:
            return f"the words differ: {example(words, seen['tokens'])}"
        if [bool(space) for space in seen["spaces"]] != [bool(token.whitespace_) for token in doc]:
            return f"the spaces differ in {doc.text[:60]!r}"
        for name in columns:
            ids = doc.to_array(IDS[name]).tolist() if name not in ("ENT_TYPE", "POS", "TAG", "DEP", "LEMMA") else [0] * len(doc)
            if seen["ids"][name] != ids:
                place = next(index for index, (one, other) in enumerate(zip(seen["ids"][name], ids)) if one != other)
                return f"{name} of {words[place]!r} differs"
        for word, rows in zip(words, seen.get("rows", [])):
            if not same_vector(vectors, word, rows):
                return f"the vector of {word!r} differs"
    if len(pairs) != sum(1 for doc in docs if len(doc)):
        return "a document is missing"
    return ""


def same_vector(vectors: Any, word: str, rows: list[int]) -> bool:
    """Whether the mean of the rows is the word's vector; no rows: it has none. LOWER: floret may look up the lower-case word."""
    import numpy
    from spacy.attrs import LOWER
    from spacy.vectors import Mode

    key = vectors.strings.add(word.lower() if getattr(vectors, "attr", 0) == LOWER else word)
    if vectors.mode != Mode.floret:
        row = vectors.key2row.get(key, -1)
        return rows == ([int(row)] if row >= 0 else [])
    wanted = vectors.get_batch([key])[0]
    return bool(numpy.allclose(vectors.data[rows].mean(axis=0), wanted, rtol=1e-4, atol=1e-5)) if rows else not wanted.any()


def example(ours: list[str], theirs: list[str]) -> str:
    """The first words that differ."""
    place = next((index for index, (one, other) in enumerate(zip(ours, theirs)) if one != other), min(len(ours), len(theirs)))
    return f"spaCy has {' '.join(ours[place : place + 3])!r}, t2v has {' '.join(theirs[place : place + 3])!r}"
