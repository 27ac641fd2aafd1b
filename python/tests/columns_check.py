"""Every token and every column of texts, as the trainer gets them, against the real spaCy: no differences, or the places of the first ones.

    T2V_BIN=.build/release PYTHONPATH=python .venvs/spacy-3.8/bin/python python/tests/columns_check.py LANGUAGE TEXTS.jsonl
        [--path fast|pieces|both] [--tokenizer JSON]

LANGUAGE is the code of a blank pipeline, with "+lookups" for the table lexeme_norm of spacy-lookups-data. The texts are compiled into a
job by the code that users run, with a table for each attribute: on the fast path `t2v-coordinator features --job` shows what the trainer
sees, on the slow path texts.pieces does. The reference is a pipeline that was saved and loaded again: lexemes that are older than a table
of norms would differ.
"""

from __future__ import annotations

import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

from t2v import programs, text
from t2v.compile import compile_job

BASE = Path(__file__).parent / "base.cfg"
ANNOTATED = ("ENT_TYPE", "POS", "TAG", "DEP", "LEMMA")
PER_TOKEN = ("SPACY", "SENT_START")


def attributes(path: str, language: str) -> list[str]:
    """All attributes of words that a path has for a language."""
    from spacy.attrs import IDS

    if path == "fast":
        return [name for name, others in text.FAST.items() if language not in others]
    return [name for name in IDS if name not in (*text.ANNOTATIONS, *PER_TOKEN, "IDX") and not name.startswith("FLAG")]


def tokenizer_of(code: str, given: Optional[dict[str, Any]]) -> dict[str, Any]:
    """The block [nlp.tokenizer]: as given, or the language's own."""
    from spacy.util import get_lang_class

    return dict(given or get_lang_class(code).default_config["nlp"]["tokenizer"])


def compile_all(language: str, texts: str, path: str, folder: Path, tokenizer: Optional[dict[str, Any]]) -> dict[str, Any]:
    """A job with a table for each attribute, in `folder`; its job.json."""
    code, _, extra = language.partition("+")
    names = attributes(path, code)
    model = "components.tok2vec.model"
    given = {
        "nlp.lang": code,
        "nlp.tokenizer": tokenizer_of(code, tokenizer),
        "paths.raw_text": texts,
        "corpora.pretrain.min_length": 1,
        "corpora.pretrain.max_length": 0,
        f"{model}.embed.attrs": names,
        f"{model}.embed.rows": [10] * len(names),
    }
    if extra == "lookups":
        given["initialize.lookups"] = {"@misc": "spacy.LookupsDataLoader.v1", "lang": code, "tables": ["lexeme_norm"]}
    arguments = [part for name, value in given.items() for part in (f"--{name}", value if isinstance(value, str) else json.dumps(value))]
    job, _ = compile_job(BASE, folder / "job", arguments)
    if job["text"]["path"] != path:
        raise SystemExit(f"{language}: the job took the path {job['text']['path']}: {job['text']['why']}")
    return job


def judge(language: str, folder: Path, tokenizer: Optional[dict[str, Any]]) -> Any:
    """The real pipeline, saved and loaded again."""
    import spacy
    from spacy.lookups import load_lookups

    code, _, extra = language.partition("+")
    nlp = spacy.blank(code, config={"nlp": {"tokenizer": tokenizer_of(code, tokenizer)}})
    if extra == "lookups":
        nlp.vocab.lookups = load_lookups(code, ["lexeme_norm"])
    nlp.to_disk(folder / "saved")
    return spacy.load(folder / "saved")


def seen_fast(job: Path, path: str) -> Iterator[tuple[list[str], list[int], dict[str, list[int]]]]:
    """Words, spaces and columns of each document that has tokens, as t2v tokenizes."""
    command = [str(programs.find()), "features", "--job", str(job), path]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for line in process.stdout:
            record = json.loads(line)
            yield record["tokens"], record["spaces"], record["ids"]
    if process.returncode:
        raise SystemExit(f"features ended with status {process.returncode}")


def seen_pieces(path: Path, columns: list[str]) -> Iterator[tuple[list[str], list[int], dict[str, list[int]]]]:
    """The same, from texts.pieces."""
    for _, documents in decode(path.read_bytes(), len(columns)):
        for document in documents:
            ids = {name: [word[2][index] for word in document] for index, name in enumerate(columns)}
            yield [word[0] for word in document], [int(word[1]) for word in document], ids


def decode(data: bytes, columns: int) -> Iterator[tuple[int, list[list[tuple[str, bool, tuple[int, ...]]]]]]:
    """Pieces as (first document's number, documents); a document is a list of (word, a space follows, columns)."""
    import numpy

    place = 0
    while place < len(data):
        magic, length, docs, tokens, words, count, first, size = struct.unpack_from("<8s7Q", data, place)
        assert (magic, count, length % 8) == (b"T2VPIEC1", columns, 0)
        start = place + 64

        def take(kind: str, number: int) -> Any:
            nonlocal start
            array = numpy.frombuffer(data, kind, number, start)
            start += (array.nbytes + 7) // 8 * 8
            return array

        lengths, ids = take("<u4", docs), take("<u8", words * columns).reshape(columns, words)
        offsets, letters, rows = take("<u4", words + 1), take("u1", size).tobytes(), take("<u4", tokens)
        assert start == place + length and lengths.sum() == tokens and (lengths > 0).all()
        tuples = [tuple(column) for column in ids.T.tolist()]
        assert len(set(tuples)) == words, "words are distinct"
        known = [(letters[offsets[index] : offsets[index + 1]].decode(), tuples[index]) for index in range(words)]
        flat = [(known[row & 0x7FFFFFFF][0], bool(row >> 31), known[row & 0x7FFFFFFF][1]) for row in rows.tolist()]
        ends = lengths.cumsum().tolist()
        yield first, [flat[end - length : end] for end, length in zip(ends, lengths.tolist())]
        place += length


def expected(doc: Any, columns: list[str]) -> tuple[list[str], list[int], dict[str, list[int]]]:
    """What spaCy sees; what other components would annotate is empty in pretraining."""
    from spacy.attrs import IDS

    annotated = [0] * len(doc)
    ids = {name: annotated if name in ANNOTATED else doc.to_array(IDS[name]).tolist() for name in columns}
    return [token.text for token in doc], [int(bool(token.whitespace_)) for token in doc], ids


def compare(
    language: str, path: str, texts: str, tokenizer: Optional[dict[str, Any]] = None, limit: int = 5
) -> tuple[int, int, int, list[str]]:
    """Documents, tokens, columns, and sentences about the first differences."""
    found: list[str] = []
    documents = tokens = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        columns = compile_all(language, texts, path, folder, tokenizer)["text"]["columns"]
        nlp = judge(language, folder, tokenizer)
        seen = seen_fast(folder / "job", texts) if path == "fast" else seen_pieces(folder / "job/texts.pieces", columns)
        for number, line in enumerate(open(texts, encoding="utf8"), 1):
            if not line.strip():
                continue
            doc = nlp.make_doc(json.loads(line)["text"] or "")
            if not len(doc):
                continue
            ours = next(seen, None)
            if ours is None:
                found.append(f"line {number}: the document is missing")
                break
            documents, tokens = documents + 1, tokens + len(doc)
            theirs = expected(doc, columns)
            if ours != theirs:
                found.append(f"line {number}: {difference(ours, theirs)}")
            if len(found) >= limit:
                break
        if not found and next(seen, None) is not None:
            found.append("there are documents that spaCy does not have")
    return documents, tokens, len(columns), found


def difference(ours: Any, theirs: Any) -> str:
    """The place where two documents diverge."""
    words, spaces, ids = theirs
    if ours[0] != words:
        place = next((index for index, (one, other) in enumerate(zip(ours[0], words)) if one != other), min(len(ours[0]), len(words)))
        return f"spaCy has the words {words[max(0, place - 1) : place + 4]!r}, t2v has {ours[0][max(0, place - 1) : place + 4]!r}"
    if ours[1] != spaces:
        return "spaces differ"
    for name, values in ids.items():
        for word, one, other in zip(words, ours[2][name], values):
            if one != other:
                return f"{name} of {word!r} is {other}, t2v has {one}"
    return "columns are missing"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("language")
    parser.add_argument("texts")
    parser.add_argument("--tokenizer", type=json.loads, help="the block [nlp.tokenizer] as JSON, if it is not the language's own")
    parser.add_argument("--path", choices=["fast", "pieces", "both"], default="both")
    given = parser.parse_args()
    failed = False
    for path in ("fast", "pieces") if given.path == "both" else (given.path,):
        documents, tokens, columns, found = compare(given.language, path, os.path.abspath(given.texts), given.tokenizer)
        print(
            f"{given.language} {path}: {documents:,} documents, {tokens:,} tokens, {columns} columns, differences: {len(found)}", flush=True
        )
        for sentence in found:
            print(f"  {sentence}")
        failed = failed or bool(found) or not documents
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
