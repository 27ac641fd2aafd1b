"""How texts become tokens: by the Swift tokenizer (fast), or by the user's Python (pieces). In: what spaCy built. Out: the `text` part."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path
from typing import Any, Optional

from . import pieces, programs, reader, records, verify
from .build import Built
from .errors import InputError

PER_TOKEN = ("SPACY", "SENT_START")
"""Attributes of the token, not of the word: never columns."""

EMPTY = ("ENT_TYPE", "POS", "TAG", "DEP", "LEMMA")
"""Attributes that other components set: 0 in pretraining, as in spaCy."""

ANNOTATIONS = ("ID", "ENT_IOB", "HEAD", "ENT_KB_ID", "MORPH", "ENT_ID", "")
"""Further ones, which t2v refuses."""

STRINGS = ("ORTH", "LOWER", "NORM", "PREFIX", "SUFFIX", "SHAPE")
FLAGS = "ALPHA ASCII DIGIT LOWER UPPER TITLE SPACE PUNCT BRACKET QUOTE LEFT_PUNCT RIGHT_PUNCT CURRENCY".split()
FAST = {
    **{name: () for name in (*STRINGS, "LANG", "LENGTH", *(f"IS_{flag}" for flag in FLAGS), *EMPTY)},
    "LANG": ("am", "bg", "mk", "ti"),
    "IS_CURRENCY": ("id", "ms", "sl"),
}
"""Attributes of words that Swift computes (`t2v-coordinator attributes`), with the languages that have functions of their own."""


def columns(inputs: list[dict[str, Any]]) -> list[str]:
    """ORTH, then the other attributes of distinct words, in the order of the inputs.

    Raises: InputError for attributes that no text has.
    """
    names = ["ORTH"]
    for part in inputs:
        name = part.get("attribute", "ORTH")
        if name == "IDX" or name in ANNOTATIONS:
            what = "is the place in the text" if name == "IDX" else "is annotated by other components, so it is empty in pretraining"
            raise InputError(f"the attribute {name} {what}", "[components]", "use attributes of words, such as NORM, PREFIX, SUFFIX, SHAPE")
        if name not in names and name not in PER_TOKEN:
            names.append(name)
    return names


def why_not_fast(built: Built, names: list[str]) -> str:
    """The reason to let Python prepare the texts; empty if there is none. names: the columns."""
    from spacy.tokenizer import Tokenizer

    nlp = built.nlp
    if reader.kind(built.corpus) is None:
        return f"the reader {type(built.corpus).__name__} is not one of spaCy's readers of raw text"
    if type(nlp.tokenizer) is not Tokenizer:
        return f"the tokenizer {type(nlp.tokenizer).__name__} is not rule-based"
    for name in names:
        if name not in FAST or nlp.lang in FAST[name]:
            return f"the attribute {name} is computed by the language's own functions"
        if not is_spacys(nlp, name):
            return f"the attribute {name} is computed by a function that is not spaCy's"
    return ""


def is_spacys(nlp: Any, name: str) -> bool:
    """Whether a function of spaCy's computes a lexeme's attribute; tables of lookups wrap it in partials."""
    from spacy.attrs import IDS

    getters = [nlp.vocab.lex_attr_getters.get(IDS[name])]
    while getters:
        getter = getters.pop()
        if isinstance(getter, functools.partial):
            getters += [getter.func, *(value for value in getter.args if callable(value) and hasattr(value, "__module__"))]
        elif getter is not None and not str(getattr(getter, "__module__", "")).startswith("spacy."):
            return False
    return True


def write_pipeline(nlp: Any, folder: Path) -> None:
    """Writes tokenizer, strings, lookups and config, without components and vectors, as `nlp.to_disk` does."""
    nlp.to_disk(folder, exclude=[*nlp.component_names, "vectors"])


def describe(built: Built, names: list[str], folder: Path) -> dict[str, Any]:
    """The `text` part, before the fast path is verified; writes nlp/ for it. `note` is for the user."""
    common = {"columns": names, "symbols": "spacy38"}
    why = why_not_fast(built, names)
    if not why:
        try:
            write_pipeline(built.nlp, folder / "nlp")
        except Exception as error:
            shutil.rmtree(folder / "nlp", ignore_errors=True)
            why = f"the pipeline cannot be written to disk ({type(error).__name__}: {error})"
    form = reader.kind(built.corpus)
    sources = reader.sources(built.corpus, f"[{built.settings['corpus']}]") if form else []
    if why:
        return {"path": "pieces", "why": why, **common, "sources": sources, "mask": pieces.mask(built.nlp.vocab, names)}
    return {"path": "fast", "why": "the tokenizer is rule-based and the attributes are known", "format": form, **common, "sources": sources}


def settle(built: Built, text: dict[str, Any], folder: Path, count: int) -> dict[str, Any]:
    """Verifies the fast path on a sample of 2 `count` documents; if it fails, or there is no fast path, writes texts.pieces.

    folder: with job.json and nlp/. Returns the final `text` part.
    """
    if text["path"] == "fast":
        difference, checked = check_fast(built, text, folder, count)
        if not difference:
            return {**text, "why": f"{text['why']}; {checked}"}
        shutil.rmtree(folder / "nlp")
        mask = pieces.mask(built.nlp.vocab, text["columns"])
        text = {name: value for name, value in text.items() if name != "format"}
        text = {**text, "path": "pieces", "why": f"t2v's tokens are not spaCy's: {difference}", "mask": mask}
    where = f"[{built.settings['corpus']}]"
    counts = pieces.prepare(built.nlp, built.corpus, text["columns"], where, folder / "texts.pieces")
    return {**text, **counts}


def check_fast(built: Built, text: dict[str, Any], folder: Path, count: int) -> tuple[str, str]:
    """The first difference between t2v's tokens and spaCy's, and what was checked."""
    if count == 0:
        return "", "not compared with spaCy's tokens, as --verify 0 says"
    sample = records.sample(text["sources"], text["format"], count, count)
    if not sample:
        return "", "not compared with spaCy's tokens, since standard input cannot be read twice"
    try:
        program: Optional[Path] = programs.find()
    except InputError:
        program = None
    if program is None:
        for chunk in sample:
            for _ in records.parse(chunk, text["format"]):
                pass  # wrong records are reported now
        return "", "not compared with spaCy's tokens, since the programs are not installed here"
    form = text["format"]
    difference = verify.first_difference(program, folder, folder / "nlp", built.nlp, sample, form, text["columns"])
    return difference, f"equal to spaCy's tokens in {sum(len(chunk.lines) for chunk in sample)} sampled documents"
