"""What is in a file that should hold texts. In: its first bytes. Out: what it is and what to do, if it is one of the usual mistakes.
Sources/Core/Text/Corpus/TextKind.swift knows the same kinds."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from .errors import InputError
from .records import opened

HEAD = 4096
"""Bytes that are enough to tell."""

PACKED = [
    (b"\xfd7zXZ\0", "xz data", "xz -dc"),
    (b"BZh91AY&", "bzip2 data", "bzip2 -dc"),
    (b"\x28\xb5\x2f\xfd", "Zstandard data", "zstd -dc"),
    (b"\x1f\x8b", "gzip data whose name does not end in .gz", "gzip -dc <"),
    (b"PK\x03\x04", "a zip archive", "unzip -p"),
]
"""Compressed data: how it begins, what it is, what unpacks it."""

RECORDS = 'write its texts as {"text": "..."}, one a line'
OTHERS = [(b"PAR1", "a Parquet file"), (b"\x78\x9c", "a .spacy file of documents (DocBin)")]


def check(path: str, form: str) -> None:
    """Raises: InputError if the file does not hold texts at all. form: jsonl or lines."""
    with opened(path) as file:
        head = file.read(HEAD)
    found = fault(head, path, form)
    if found:
        raise InputError(found[0], path, found[1])


def fault(head: bytes, name: str, form: str) -> Optional[tuple[str, str]]:
    """(what, remedy) if the file cannot hold such texts. head: its beginning, decompressed if the name ends in .gz."""
    target = Path(name).name.split(".")[0] or "raw"
    for magic, what, tool in PACKED:
        if head.startswith(magic):
            return f"this is {what}, which t2v does not unpack", f"unpack it: `{tool} {name} > {target}.jsonl`"
    for magic, what in OTHERS:
        if head.startswith(magic):
            return f"this is {what}", RECORDS
    coding = wide_coding(head)
    if coding:
        return f"the texts are {coding}, not UTF-8", f"convert them: `iconv -f {coding} -t UTF-8 {name} > {target}-utf8.jsonl`"
    if head.startswith(b"\xef\xbb\xbf"):
        return "the file begins with a byte order mark", f"remove it: `tail -c +4 {name} > {target}-utf8.jsonl`"
    if b"\0" in head:
        return "this is a binary file, not text", "give texts, one a line, in UTF-8"
    return json_fault(head, name, target) if form == "jsonl" else None


def wide_coding(head: bytes) -> str:
    """UTF-16 with a byte order mark, or without one but with a zero in each pair of bytes; empty otherwise."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    zeros = [byte == 0 for byte in head[:4]]
    return "UTF-16LE" if zeros == [False, True] * 2 else "UTF-16BE" if zeros == [True, False] * 2 else ""


def json_fault(head: bytes, name: str, target: str) -> Optional[tuple[str, str]]:
    """JSON, but not one record a line; or not JSON."""
    lines = [line.strip() for line in head.split(b"\n")[:3] if line.strip()]
    if not lines:
        return None
    if lines[0].startswith(b"["):
        strings = re.match(rb'\s*\[\s*"', head)
        taken = "'.[] | {text: .}'" if strings else "'.[]'"
        return "this is a JSON array, not one record a line", f"take it apart: `jq -c {taken} {name} > {target}.jsonl`"
    if lines[0] == b"{":
        return "a JSON record spans several lines here", f"write one a line: `jq -c . {name} > {target}-lines.jsonl`"
    if all(line[:1] not in b'{["-0123456789' for line in lines):
        records = f"make records of its lines: `jq -Rc '{{text: .}}' {name} > {target}-records.jsonl`"
        return "this is plain text, not JSON", f"{records}, or name it .txt and use spacy.PlainTextCorpus.v1"
    return None
