"""Files that are given as texts by mistake: one sentence says what they are, another what to do."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from pathlib import Path
from typing import Any, Callable, Union

import pytest
from conftest import SENTENCES

from t2v.errors import InputError
from t2v.hints import fault

RECORDS = "".join(json.dumps({"text": text}) + "\n" for text in SENTENCES)
PLAIN = "\n".join(SENTENCES) + "\n"
ZSTANDARD = b"\x28\xb5\x2f\xfd\x04\x58\x11\x00\x00"

CASES = [
    ("raw.jsonl", PLAIN, "plain text, not JSON.*jq -Rc .*PlainTextCorpus"),
    ("raw.jsonl", json.dumps([{"text": text} for text in SENTENCES], indent=1), r"JSON array.*jq -c '.\[\]' "),
    ("raw.jsonl", json.dumps(SENTENCES), r"JSON array.*jq -c '.\[\] \| {text: .}' "),
    ("raw.jsonl", json.dumps({"text": SENTENCES[0]}, indent=1), "several lines.*jq -c . "),
    ("raw.jsonl", RECORDS.encode("utf-16"), "UTF-16, not UTF-8.*iconv -f UTF-16 "),
    ("raw.jsonl", RECORDS.encode("utf-16-be"), "UTF-16BE.*iconv -f UTF-16BE "),
    ("raw.jsonl", RECORDS.encode("utf-8-sig"), "byte order mark.*tail -c"),
    ("raw.jsonl", b"\x7fELF\x02\x01\x01\x00\x00", "binary file"),
    ("raw.jsonl", gzip.compress(RECORDS.encode()), "does not end in .gz.*gzip -dc"),
    ("raw.jsonl.gz", gzip.compress(PLAIN.encode()), "plain text"),
    ("raw.jsonl.xz", lzma.compress(RECORDS.encode()), "xz data.*xz -dc .*> raw.jsonl"),
    ("raw.jsonl.bz2", bz2.compress(RECORDS.encode()), "bzip2 data.*bzip2 -dc"),
    ("raw.jsonl.zst", ZSTANDARD, "Zstandard data.*zstd -dc"),
    ("raw.json", json.dumps([{"text": text} for text in SENTENCES]), "JSON array"),
    ("raw.parquet", b"PAR1\x15\x04", "Parquet"),
    ("raw", PLAIN, "plain text"),
    ("raw.csv", RECORDS, r"reads only .jsonl.*rename it to raw.jsonl"),
]


@pytest.mark.parametrize(("name", "content", "words"), CASES, ids=[words[:20] for _, _, words in CASES])
def test_says_what_it_is(compiled: Callable[..., Any], tmp_path: Path, name: str, content: Union[str, bytes], words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words) as found:
        compiled({"paths.raw_text": str(path)})
    assert str(path) in str(found.value)


def test_documents(compiled: Callable[..., Any], tmp_path: Path) -> None:
    import spacy
    from spacy.tokens import DocBin

    DocBin(docs=[spacy.blank("en")(text) for text in SENTENCES]).to_disk(tmp_path / "train.spacy")
    with pytest.raises(InputError, match=r"a .spacy file of documents.*write its texts as"):
        compiled({"paths.raw_text": str(tmp_path / "train.spacy")})


def test_archives_and_folders(compiled: Callable[..., Any], tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    with zipfile.ZipFile(folder / "raw.zip", "w") as file:
        file.writestr("raw.jsonl", RECORDS)
    with pytest.raises(InputError, match="a zip archive.*unzip -p"):
        compiled({"paths.raw_text": str(folder)})
    (folder / "raw.zip").unlink()
    (folder / "a.text").write_text(RECORDS)
    with pytest.raises(InputError, match="no file in .*ends in .jsonl.*but there is .*a.text; rename it to a.jsonl"):
        compiled({"paths.raw_text": str(folder)})
    (folder / "b.txt").write_text(PLAIN)
    with pytest.raises(InputError, match='PlainTextCorpus.v1", which reads those in .txt'):
        compiled({"paths.raw_text": str(folder)})


@pytest.mark.parametrize(
    ("head", "form"),
    [
        (RECORDS.encode(), "jsonl"),
        (b"\n \n" + RECORDS.encode(), "jsonl"),
        (b"", "jsonl"),
        (b'{"text": "x"', "jsonl"),
        (PLAIN.encode(), "lines"),
        (b"[1] A note. {\n", "lines"),
        (b'not JSON\n{"text": "x"}\n', "jsonl"),  # judged line by line, with its number
    ],
)
def test_texts_are_texts(head: bytes, form: str) -> None:
    assert fault(head, "raw.jsonl", form) is None
