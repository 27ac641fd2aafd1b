"""How texts become tokens: by the Swift tokenizer (fast), or by the user's Python (pieces). In: what spaCy built. Out: the `text` part."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from . import reader
from .build import Built
from .errors import InputError

PER_TOKEN = ("SPACY", "SENT_START")
"""Attributes of the token, not of the word: never columns."""

FAST = ("ORTH", "NORM", "LOWER", "PREFIX", "SUFFIX", "SHAPE", "LENGTH", "IS_SPACE", *PER_TOKEN)
"""Attributes that the Swift side computes."""

ANNOTATIONS = ("ID", "LEMMA", "POS", "TAG", "DEP", "ENT_IOB", "ENT_TYPE", "HEAD", "ENT_KB_ID", "MORPH", "ENT_ID", "")
"""Attributes that other components set: nothing is annotated in pretraining."""


def columns(inputs: list[dict[str, Any]]) -> list[str]:
    """ORTH, then the other attributes of distinct words, in the order of the inputs.

    Raises: InputError for attributes that no text has.
    """
    names = ["ORTH"]
    for part in inputs:
        name = part.get("attribute", "ORTH")
        if name == "IDX" or name in ANNOTATIONS:
            what = "is the place in the text" if name == "IDX" else "is annotated by other components, so it is empty in pretraining"
            raise InputError(f"the attribute {name} {what}", "[components]", "use attributes of words, as NORM, PREFIX, SUFFIX, SHAPE")
        if name not in names and name not in PER_TOKEN:
            names.append(name)
    return names


def why_not_fast(built: Built, inputs: list[dict[str, Any]]) -> str:
    """The reason to let Python prepare the texts; empty if there is none."""
    from spacy.tokenizer import Tokenizer

    if reader.kind(built.corpus) is None:
        return f"the reader {type(built.corpus).__name__} is not one of spaCy's readers of raw text"
    if type(built.nlp.tokenizer) is not Tokenizer:
        return f"the tokenizer {type(built.nlp.tokenizer).__name__} is not rule-based"
    slow = [name for name in columns(inputs) if name not in FAST]
    if slow:
        return f"the attribute {slow[0]} is computed by the language's own functions"
    return ""


def write_pipeline(nlp: Any, folder: Path) -> None:
    """Writes tokenizer, strings, lookups and config, without components and vectors, as `nlp.to_disk` does."""
    nlp.to_disk(folder, exclude=[*nlp.component_names, "vectors"])
