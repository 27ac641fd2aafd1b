"""The slow path, which is always correct: the user's own Python tokenizes. In: a pipeline and a reader. Out: texts.pieces (docs/job.md).

Documents are rebuilt from words and spaces, as spaCy's pretraining does (multi_task.py, `_apply_mask`), so that no annotation is included;
only the token's NORM is kept, which `spacy train` sees. A word is its ORTH and its NORM: all other columns are attributes of its lexeme.
"""

from __future__ import annotations

import functools
import itertools
import multiprocessing
import os
import signal
import struct
import sys
import time
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from . import reader, records
from .display import screen
from .errors import InputError

MAGIC = b"T2VPIEC1"
SPACE = 1 << 31
LARGEST = 16 << 20
RECYCLE = 32
"""Chunks that a process prepares, on average, before a fresh one takes its place: the vocabulary grows."""


class Words:
    """Turns documents into pieces. Owned by one process."""

    def __init__(self, vocab: Any, columns: list[str]) -> None:
        from spacy.attrs import IDS

        self.vocab, self.columns = vocab, columns
        self.ids = [IDS[name] for name in columns]
        self.token_ids = [IDS["ORTH"], IDS["NORM"], IDS["SPACY"]]

    def token_rows(self, doc: Any) -> Any:
        """ORTH, NORM and SPACY of each token: (tokens, 3) u64."""
        return doc.to_array(self.token_ids)

    def columns_of(self, orths: Any, norms: Any) -> tuple[Any, list[str]]:
        """The columns of distinct words (words, columns) u64, and their texts. A document made of words has no annotations: those are 0."""
        from spacy.tokens import Doc

        texts = [self.vocab.strings[int(orth)] for orth in orths]
        values = Doc(self.vocab, words=texts).to_array(self.ids).reshape(len(texts), len(self.ids))
        for index, name in enumerate(self.columns):
            if name == "NORM":
                values[:, index] = norms
        return values, texts

    def piece(self, documents: list[Any], first: int) -> bytes:
        """A piece of documents given as `token_rows`; none of them is empty."""
        import numpy

        rows = numpy.concatenate(documents)
        lengths = numpy.array([len(document) for document in documents], dtype="<u4")
        index, inverse = distinct(rows[:, 0], rows[:, 1])
        values, texts = self.columns_of(rows[index, 0], rows[index, 1])
        encoded = [text.encode("utf8") for text in texts]
        offsets: Any = numpy.zeros(len(encoded) + 1, dtype="<u4")
        numpy.cumsum([len(text) for text in encoded], out=offsets[1:])
        tokens = inverse.astype("<u4") | numpy.where(rows[:, 2] != 0, SPACE, 0).astype("<u4")
        ids = numpy.ascontiguousarray(values.T, dtype="<u8")
        parts = [padded(part) for part in (lengths.tobytes(), ids.tobytes(), offsets.tobytes(), b"".join(encoded), tokens.tobytes())]
        length = 64 + sum(map(len, parts))
        counts = (len(documents), len(rows), len(texts), len(self.columns), first, int(offsets[-1]))
        return struct.pack("<8s7Q", MAGIC, length, *counts) + b"".join(parts)


def distinct(orths: Any, norms: Any) -> tuple[Any, Any]:
    """Positions of the first of each distinct pair, and for each pair which one it is."""
    import numpy

    mixed = orths * numpy.uint64(0x9E3779B97F4A7C15) ^ norms * numpy.uint64(0xC2B2AE3D27D4EB4F)
    _, index, inverse = numpy.unique(mixed, return_index=True, return_inverse=True)
    inverse = inverse.reshape(-1)
    if (orths[index][inverse] != orths).any() or (norms[index][inverse] != norms).any():  # two pairs with the same hash
        _, index, inverse = numpy.unique(numpy.stack([orths, norms], axis=1), axis=0, return_index=True, return_inverse=True)
        inverse = inverse.reshape(-1)
    return index, inverse


def padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 8)


def mask(vocab: Any, columns: list[str]) -> dict[str, Any]:
    """The word that hides others, in the form of job.json."""
    from spacy.tokens import Doc

    words = Words(vocab, columns)
    rows = words.token_rows(Doc(vocab, words=["[MASK]"]))
    values, texts = words.columns_of(rows[:, 0], rows[:, 1])
    return {"text": texts[0], "ids": [int(value) for value in values[0]]}


def refresh_norms(vocab: Any) -> None:
    """Gives lexemes that are older than a table of norms the table's norm, as in a pipeline that has loaded it.

    A table wraps the language's function (spacy/util.py, `add_lookups`); a lexeme whose norm differs from that function's was set by the
    user, and keeps it.
    """
    from spacy.attrs import NORM

    getter = vocab.lex_attr_getters.get(NORM)
    if not isinstance(getter, functools.partial) or not getter.args:
        return
    without_table = getter.args[0]
    for lexeme in vocab:
        if lexeme.norm_ == without_table(lexeme.text):
            lexeme.norm_ = getter(lexeme.text)


class Preparer:
    """What a process needs to turn chunks of texts into pieces; made before the processes are forked."""

    def __init__(self, nlp: Any, columns: list[str], form: str, bounds: dict[str, int]) -> None:
        self.nlp, self.form = nlp, form
        self.low, self.high = bounds["min_length"], bounds["max_length"]
        self.words = Words(nlp.vocab, columns)
        nlp.max_length = sys.maxsize  # a long text is dropped for its number of tokens, and is not an error

    def __call__(self, chunk: records.Chunk) -> tuple[bytes, int, int]:
        """The piece of a chunk (empty if no document is kept), its documents and its tokens."""
        from spacy.tokens import Doc

        kept = []
        for number, text in zip(chunk.numbers, records.parse(chunk, self.form)):
            try:
                doc = self.nlp.make_doc(text) if isinstance(text, str) else Doc(self.nlp.vocab, words=text)
            except Exception as error:
                where = f"{chunk.file}:{number}"
                raise InputError(f"the tokenizer fails: {type(error).__name__}: {error}", where, "fix the text or the tokenizer") from error
            if len(doc) and len(doc) >= self.low and (not self.high or len(doc) < self.high):
                kept.append(self.words.token_rows(doc))
        if not kept:
            return b"", 0, 0
        return self.words.piece(kept, chunk.first), len(kept), sum(map(len, kept))


PREPARER: Preparer


def prepare_chunk(chunk: records.Chunk) -> tuple[bytes, int, int]:
    """In a forked process."""
    return PREPARER(chunk)


def leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def in_processes(preparer: Preparer, chunks: Iterator[records.Chunk], processes: int) -> Iterator[tuple[bytes, int, int]]:
    """Pieces in the order of the chunks, from forked processes; few chunks are in flight at a time.

    Raises: InputError of the first chunk that has one, or if a process is killed.
    """
    global PREPARER
    PREPARER = preparer
    if processes <= 1:
        yield from map(preparer, chunks)
        return
    for first in chunks:
        group = itertools.chain([first], itertools.islice(chunks, processes * RECYCLE - 1))
        context = multiprocessing.get_context("fork")
        pool = ProcessPoolExecutor(processes, context, leave_interrupts_to_the_parent)
        try:
            waiting: deque[Future[tuple[bytes, int, int]]] = deque()
            for chunk in group:
                waiting.append(pool.submit(prepare_chunk, chunk))
                if len(waiting) >= 4 * processes:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise InputError(
                "a process that tokenized texts was killed", "texts", "is there enough memory for a pipeline on each core?"
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def items(nlp: Any, corpus: Any, where: str) -> Iterator[Any]:
    """The output of a reader; errors name its section of the config.

    Raises: InputError.
    """
    try:
        yield from corpus(nlp)
    except Exception as error:
        what = " ".join(str(error).split())
        raise InputError(f"the reader fails: {type(error).__name__}: {what}", where, "fix the texts, or the reader") from error


def from_reader(nlp: Any, corpus: Any, words: Words, where: str) -> Iterator[tuple[bytes, int, int]]:
    """Pieces of any reader, in this process: documents, or the references of examples, like spaCy's `ensure_docs`."""
    kept: list[Any] = []
    first, count, tokens = 0, 0, 0
    for item in items(nlp, corpus, where):
        reference = getattr(item, "reference", item)
        rows = words.token_rows(reference)
        predicted = getattr(item, "predicted", reference)
        if predicted is not reference and len(predicted) == len(reference):
            seen = words.token_rows(predicted)
            if (seen[:, 0] == rows[:, 0]).all():
                rows[:, 1] = seen[:, 1]  # the norms that `spacy train` sees
        if len(rows):
            kept.append(rows)
            tokens += len(rows)
        count += 1
        if len(kept) >= records.most(first) or tokens >= records.BYTES // 4:
            yield words.piece(kept, first), len(kept), tokens
            kept, first, tokens = [], count, 0
    if kept:
        yield words.piece(kept, first), len(kept), tokens


def write(path: Path, found: Iterable[tuple[bytes, int, int]]) -> dict[str, int]:
    """Writes all pieces; returns the numbers of documents and tokens.

    Raises: InputError if there is no document.
    """
    documents = tokens = 0
    begun = time.monotonic()
    with path.open("wb") as file:
        for piece, more_documents, more_tokens in found:
            if len(piece) > LARGEST:
                raise InputError(
                    f"a document or a group of documents takes {len(piece) >> 20} MB, and a piece holds 16",
                    "texts",
                    "set max_length in the reader of [corpora.pretrain], for example to 500 tokens",
                )
            file.write(piece)
            documents, tokens = documents + more_documents, tokens + more_tokens
            speed = int(tokens / max(1e-3, time.monotonic() - begun))
            text = f"tokenizing: {documents:,} documents, {tokens:,} words, {speed:,} words/s"
            screen.progress(text, "tokenizing", documents=documents, words=tokens, words_per_second=speed)
    screen.clear()
    if not documents:
        raise InputError("no document is left to train on", "[corpora]", "check the texts, min_length and max_length")
    return {"documents": documents, "tokens": tokens}


def prepare(nlp: Any, corpus: Any, columns: list[str], where: str, path: Path) -> dict[str, int]:
    """Writes texts.pieces for the corpus: for spaCy's readers of raw text with a process for each core, for others with one."""
    refresh_norms(nlp.vocab)
    form = reader.kind(corpus)
    if form is None:
        return write(path, from_reader(nlp, corpus, Words(nlp.vocab, columns), where))
    bounds = reader.bounds(corpus)
    chunks = records.chunks(reader.sources(corpus, where), form, bounds["limit"])
    preparer = Preparer(nlp, columns, form, bounds)
    return write(path, in_processes(preparer, chunks, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1))
