"""Every token and every column is the real spaCy's: languages of many kinds, on both paths; tokenizers without rules on the slow one.

`columns_check.py` does the same with any texts. spaCy has example sentences for each language.
"""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any, Callable, Optional

import pytest
from columns_check import compare, decode
from conftest import HERE

from t2v import programs
from t2v.errors import InputError

LANGUAGES = "es it pt nl ru pl el tr hu sv ar fa hi bn en+lookups ru+lookups".split()
RULES = {"@tokenizers": "spacy.Tokenizer.v1"}
JIEBA = {"@tokenizers": "spacy.zh.ChineseTokenizer", "segmenter": "jieba"}
ODD = [
    "  two  spaces \n\n\tand\ttabs ",
    "(a@b.co, www.spacy.io/x?y=1!) 3.5km 10,5 €5 ½ x²",
    "ﬁ İıǅ ß ẞ ΑΣ a\u0301 \u200b👍🏽 \U0001f1eb\U0001f1f7",
]


def write_texts(folder: Path, language: str) -> str:
    """Example sentences of a language, alone and joined, and hard texts."""
    sentences = importlib.import_module(f"spacy.lang.{language.split('+')[0]}.examples").sentences
    texts = [*sentences, "\n".join(sentences), *ODD, *(f"«{sentence}» ({sentence.upper()})" for sentence in sentences)]
    path = folder / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf8")
    return str(path)


def check(folder: Path, language: str, path: str, tokenizer: Optional[dict[str, Any]] = None) -> None:
    documents, tokens, _, found = compare(language, path, write_texts(folder, language), tokenizer)
    assert not found and documents > 7 and tokens > 50, found


def need_program() -> None:
    try:
        programs.find()
    except InputError:
        pytest.skip("the programs are not built: swift build -c release")


@pytest.mark.programs
@pytest.mark.parametrize("language", LANGUAGES)
def test_fast_path(tmp_path: Path, language: str) -> None:
    need_program()
    if "+" in language:
        pytest.importorskip("spacy_lookups_data")
    check(tmp_path, language, "fast")


@pytest.mark.parametrize("language", LANGUAGES)
def test_slow_path(tmp_path: Path, language: str) -> None:
    if "+" in language:
        pytest.importorskip("spacy_lookups_data")
    check(tmp_path, language, "pieces")


@pytest.mark.programs
@pytest.mark.parametrize("language", ["ko", "zh"])
def test_rules_for_a_language_with_a_tokenizer_of_its_own(tmp_path: Path, language: str) -> None:
    """spaCy's documentation recommends it for Korean."""
    need_program()
    check(tmp_path, language, "fast", RULES)


PROGRAMS = [
    pytest.param("ja", None, ["sudachipy", "sudachidict_core"], id="Japanese"),
    pytest.param(
        "ja", {"@tokenizers": "spacy.ja.JapaneseTokenizer", "split_mode": "B"}, ["sudachipy", "sudachidict_core"], id="split mode"
    ),
    pytest.param("zh", None, [], id="Chinese by characters"),
    pytest.param("zh", JIEBA, ["jieba"], id="Chinese by jieba"),
    pytest.param("th", None, ["pythainlp"], id="Thai"),
    pytest.param("vi", None, ["pyvi"], id="Vietnamese"),
]


@pytest.mark.parametrize(("language", "tokenizer", "packages"), PROGRAMS)
def test_tokenizers_that_are_programs(tmp_path: Path, language: str, tokenizer: Optional[dict[str, Any]], packages: list[str]) -> None:
    for package in packages:
        pytest.importorskip(package)
    if language == "th":
        language_texts = ["ประเทศไทยมีกรุงเทพมหานครเป็นเมืองหลวง ราคา 3.50 บาท", "ฉันชอบกินข้าวผัดกับเพื่อนที่ร้านอาหาร"] * 6
        path = tmp_path / "raw.jsonl"
        path.write_text("".join(json.dumps({"text": text}) + "\n" for text in [*language_texts, *ODD]))
        documents, tokens, _, found = compare(language, "pieces", str(path), tokenizer)
        assert not found and documents > 7 and tokens > 50, found
    else:
        check(tmp_path, language, "pieces", tokenizer)


@pytest.mark.programs
def test_a_pattern_that_the_program_does_not_have(compiled: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A back reference in a pattern: Python tokenizes, as it always can."""
    import re

    import spacy

    need_program()
    callback = {"@callbacks": "my.change.v1", "what": "infix"}
    text = compiled({"initialize.after_init": callback, "paths.raw_text": write_texts(tmp_path, "en")}, code=HERE / "user_code.py")["text"]
    assert text["path"] == "pieces" and "cannot tokenize as this pipeline does" in text["why"] and "infix" in text["why"]
    nlp = spacy.blank("en")
    nlp.tokenizer.infix_finditer = re.compile(r"([a-z])\1").finditer
    texts = [json.loads(line)["text"] for line in (tmp_path / "raw.jsonl").read_text().splitlines()]
    docs = [doc for _, group in decode((tmp_path / "job/texts.pieces").read_bytes(), len(text["columns"])) for doc in group]
    kept = [doc for doc in map(nlp.make_doc, texts) if 5 <= len(doc) < 500]
    assert [[word for word, _, _ in doc] for doc in docs] == [[token.text for token in doc] for doc in kept]
