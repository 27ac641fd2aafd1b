"""The comparison of t2v's tokens with spaCy's: if they differ, the texts take the slow path."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Callable

import pytest
from conftest import HERE, MODEL, SENTENCES

from t2v import programs, records
from t2v.errors import InputError


@pytest.fixture()
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "t2v-coordinator"
    path.write_text(f'#!/bin/sh\nexec {sys.executable} {HERE / "features.py"} "$@"\n')
    path.chmod(0o755)
    monkeypatch.setattr(programs, "candidates", lambda name: [path])
    return path


def test_equal_tokens(program: Path, compiled: Callable[..., Any], vectors: Path, tmp_path: Path) -> None:
    job = compiled({f"{MODEL}.embed.include_static_vectors": True, "paths.vectors": str(vectors)})
    assert job["text"]["path"] == "fast" and (tmp_path / "job/nlp/tokenizer").exists()
    assert "equal to spaCy's tokens in" in job["text"]["why"]


WORDS = {"tokens": "the words differ: spaCy has", "spaces": "spaces differ", "NORM": "NORM of", "missing": "a document is missing"}


@pytest.mark.parametrize("wrong", [*WORDS, "rows"])
def test_differences(
    program: Path, compiled: Callable[..., Any], vectors: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: str
) -> None:
    monkeypatch.setenv("T2V_WRONG", wrong)
    text = compiled({f"{MODEL}.embed.include_static_vectors": True, "paths.vectors": str(vectors)})["text"]
    assert text["path"] == "pieces" and WORDS.get(wrong, "the vector of") in text["why"]
    assert (
        (tmp_path / "job/texts.pieces").exists()
        and not (tmp_path / "job/nlp").exists()
        and text["mask"]["text"] == "[MASK]"
        and "format" not in text
    )


def test_characters_that_look_like_ends_of_lines(program: Path, compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "raw.jsonl").write_text(json.dumps({"text": "one\u2028two \x85 three\x0bfour and five"}) + "\n")
    assert compiled({"paths.raw_text": str(tmp_path / "raw.jsonl")})["text"]["path"] == "fast"


def test_equal_plain_texts(program: Path, compiled: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "raw.txt").write_text("\n".join(SENTENCES) + "\n")
    reader = {"@readers": "spacy.PlainTextCorpus.v1", "path": str(tmp_path / "raw.txt")}
    assert "equal to spaCy's tokens in" in compiled({"corpora.pretrain": reader})["text"]["why"]


def test_a_failing_program_is_no_difference(program: Path, compiled: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("T2V_WRONG", "status")
    with pytest.raises(InputError, match="--verify 0"):
        compiled()
    assert compiled(verified=0)["text"]["path"] == "fast"


def test_sample(corpus: Path) -> None:
    first = records.sample([str(corpus)], "jsonl", 5, 0)
    assert [record for chunk in first for record in records.parse(chunk, "jsonl")] == (SENTENCES * 2)[:5]
    more = records.sample([str(corpus)], "jsonl", 0, 40)
    assert {record for chunk in more for record in records.parse(chunk, "jsonl")} == set(SENTENCES)
    assert records.sample(["-"], "jsonl", 5, 5) == []
