"""The slow path: texts.pieces holds exactly what spaCy sees."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Callable

import pytest
from columns_check import decode
from conftest import HERE, MODEL, SENTENCES

from t2v import pieces, reader, records
from t2v.errors import InputError

ATTRIBUTES = ["NORM", "LIKE_NUM", "IS_STOP", "SHAPE"]


def expected(doc: Any, columns: list[str]) -> list[tuple[str, bool, tuple[int, ...]]]:
    """The document rebuilt from words and spaces, with the token's norm."""
    from spacy.attrs import IDS
    from spacy.tokens import Doc

    rebuilt = Doc(doc.vocab, words=[token.text for token in doc], spaces=[bool(token.whitespace_) for token in doc])
    values = [doc.to_array(IDS[name]) if name == "NORM" else rebuilt.to_array(IDS[name]) for name in columns]
    return [(token.text, bool(token.whitespace_), tuple(int(column[token.i]) for column in values)) for token in doc]


def test_attributes_that_only_python_computes(compiled: Callable[..., Any], tmp_path: Path) -> None:
    import spacy

    job = compiled({f"{MODEL}.embed.attrs": ATTRIBUTES})
    text = job["text"]
    assert text["path"] == "pieces" and "LIKE_NUM" in text["why"] and text["columns"] == ["ORTH", *ATTRIBUTES]
    nlp = spacy.blank("en")
    [(first, docs)] = decode((tmp_path / "job/texts.pieces").read_bytes(), 5)
    assert first == 0 and docs == [expected(nlp.make_doc(sentence), text["columns"]) for sentence in SENTENCES * 3]
    assert any(word == "n't" and ids[1] == nlp.vocab.strings["not"] for doc in docs for word, _, ids in doc), "the token's norm"
    assert text["mask"]["text"] == "[MASK]" and text["mask"]["ids"][1] == nlp.vocab.strings["[mask]"]


def test_a_function_that_is_not_spacys(compiled: Callable[..., Any], tmp_path: Path) -> None:
    job = compiled({"initialize.after_init": {"@callbacks": "my.change.v1", "what": "shape"}}, code=HERE / "user_code.py")
    assert job["text"]["path"] == "pieces" and "SHAPE is computed by a function that is not spaCy's" in job["text"]["why"]


def test_users_tokenizer(compiled: Callable[..., Any], tmp_path: Path, corpus: Path) -> None:
    import spacy

    overrides = {"nlp.tokenizer.@tokenizers": "my.Whitespace.v1", f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "LEMMA", "SPACY"]}
    job = compiled(overrides, code=HERE / "user_code.py")
    assert "Whitespace is not rule-based" in job["text"]["why"] and not (tmp_path / "job/nlp").exists()
    assert job["text"]["columns"] == ["ORTH", "NORM", "PREFIX", "LEMMA"], "SPACY belongs to the token"
    [(_, docs)] = decode((tmp_path / "job/texts.pieces").read_bytes(), 4)
    assert [[word for word, _, _ in doc] for doc in docs] == [sentence.split() for sentence in SENTENCES * 3]
    assert all(ids[3] == 0 for doc in docs for _, _, ids in doc), "no lemma is included"
    assert spacy.blank("en").vocab.strings["not"] not in {ids[1] for doc in docs for word, _, ids in doc if word != "not"}


def test_chinese(compiled: Callable[..., Any], tmp_path: Path) -> None:
    """A language whose tokenizer is not rule-based; by characters it needs no other package."""
    import spacy

    texts = ["我们在北京学习了三年。", "ni hao 世界, 42!"]
    (tmp_path / "raw.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    overrides = {
        "nlp.lang": "zh",
        "nlp.tokenizer": {"@tokenizers": "spacy.zh.ChineseTokenizer", "segmenter": "char"},
        "paths.raw_text": str(tmp_path / "raw.jsonl"),
        f"{MODEL}.embed.attrs": ["ORTH", "SHAPE", "LIKE_NUM", "SPACY"],
    }
    job = compiled(overrides)
    assert "ChineseTokenizer is not rule-based" in job["text"]["why"]
    [(_, docs)] = decode((tmp_path / "job/texts.pieces").read_bytes(), 3)
    nlp = spacy.blank("zh")
    assert docs == [expected(nlp.make_doc(text), ["ORTH", "SHAPE", "LIKE_NUM"]) for text in texts]
    assert {bool(ids[2]) for doc in docs for _, _, ids in doc} == {True, False}


def test_users_reader(compiled: Callable[..., Any], tmp_path: Path) -> None:
    import spacy

    job = compiled({"corpora.pretrain": {"@readers": "my.Reader.v1", "count": 2500}}, code=HERE / "user_code.py")
    assert "reader" in job["text"]["why"] and job["text"]["documents"] == 2500
    found = list(decode((tmp_path / "job/texts.pieces").read_bytes(), 5))
    sizes = [(first, len(docs)) for first, docs in found]
    assert sizes[:3] == [(0, 50), (50, 50), (100, 50)] and 30 < len(sizes) < 50, "a small corpus has pieces for every lane"
    assert all(first + count == following for (first, count), (following, _) in zip(sizes, sizes[1:])) and sum(sizes[-1]) == 2500
    doc = spacy.blank("en").make_doc("This is document 2499 of 2500, isn't it?")
    assert found[-1][1][-1] == expected(doc, job["text"]["columns"])


def test_annotated_corpus(compiled: Callable[..., Any], tmp_path: Path) -> None:
    """A .spacy corpus: words and spaces of the reference, without annotations."""
    import spacy
    from spacy.tokens import Doc, DocBin

    nlp = spacy.blank("en")
    docs = [nlp.make_doc(sentence) for sentence in SENTENCES]
    odd = Doc(nlp.vocab, words=["do", "n't", "split", "42times"], spaces=[False, True, True, False])
    for token in odd:
        token.pos_ = "NOUN"
    DocBin(docs=[*docs, odd], attrs=["ORTH", "POS", "SPACY"]).to_disk(tmp_path / "train.spacy")
    overrides = {
        "corpora.pretrain": {"@readers": "spacy.Corpus.v1", "path": str(tmp_path / "train.spacy"), "gold_preproc": False},
        f"{MODEL}.embed.attrs": ["NORM", "PREFIX", "POS", "SHAPE"],
    }
    job = compiled(overrides)
    [(_, found)] = decode((tmp_path / "job/texts.pieces").read_bytes(), 5)
    columns = job["text"]["columns"]
    assert found[:-1] == [expected(doc, columns) for doc in docs]
    assert [(word, space) for word, space, _ in found[-1]] == [("do", False), ("n't", True), ("split", True), ("42times", False)]
    assert all(ids[3] == 0 for _, _, ids in found[-1])


@pytest.mark.parametrize(("content", "words"), [(None, "FileNotFoundError"), (b"nonsense", "E1014")])
def test_a_reader_that_fails(compiled: Callable[..., Any], tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "train.spacy"
    if content is not None:
        path.write_bytes(content)
    reader = {"@readers": "spacy.Corpus.v1", "path": str(path), "gold_preproc": False}
    with pytest.raises(InputError, match=rf"\[corpora.pretrain\]: the reader fails: .*{words}"):
        compiled({"corpora.pretrain": reader})


def test_processes_give_what_one_gives(tmp_path: Path) -> None:
    import spacy

    path = tmp_path / "raw.jsonl"
    path.write_text("".join(json.dumps({"text": f"{SENTENCES[n % 4]} Number {n}."}) + "\n\n" for n in range(3300)))
    nlp = spacy.blank("en")
    preparer = pieces.Preparer(nlp, ["ORTH", "NORM"], "jsonl", {"min_length": 17, "max_length": 40, "limit": 0})
    one = [preparer(chunk) for chunk in records.chunks([str(path)], "jsonl")]
    many = list(pieces.in_processes(preparer, records.chunks([str(path)], "jsonl"), 2))
    lengths = [len(nlp.make_doc(f"{SENTENCES[n % 4]} Number {n}.")) for n in range(4)]
    longest = max(lengths)
    assert one == many and sum(count for _, count, _ in one) == sum(1 for n in range(3300) if 17 <= lengths[n % 4] < 40)
    preparer.low, preparer.high = longest, longest
    assert preparer(next(records.chunks([str(path)], "jsonl")))[1] == 0
    preparer.high = longest + 1
    assert preparer(next(records.chunks([str(path)], "jsonl")))[1] == len([n for n in range(50) if lengths[n % 4] == longest])
    found = list(decode(b"".join(piece for piece, _, _ in one), 2))
    firsts = [first for first, _ in found]
    assert firsts[:3] == [0, 50, 100] and all(other - one == records.most(one) for one, other in zip(firsts, firsts[1:]))
    assert records.most(100_000) == 1000
    limited = list(records.chunks([str(path)], "jsonl", 1500))
    assert sum(len(chunk.lines) for chunk in limited) == 1500


def test_a_killed_process_ends_it(tmp_path: Path) -> None:
    """It must not wait forever for the work of the killed process."""
    import os
    import signal

    (tmp_path / "raw.jsonl").write_text('{"text": "A text."}\n' * 2500)

    class Killed(pieces.Preparer):
        def __init__(self) -> None:
            pass

        def __call__(self, chunk: records.Chunk) -> Any:
            os.kill(os.getpid(), signal.SIGKILL)

    with pytest.raises(InputError, match="was killed"):
        list(pieces.in_processes(Killed(), records.chunks([str(tmp_path / "raw.jsonl")], "jsonl"), 2))


def test_norms_of_a_table_that_came_late(tmp_path: Path) -> None:
    """Lexemes of the tokenizer's exceptions are older than the table: they get its norms, too."""
    import spacy
    from spacy.lookups import Lookups

    nlp = spacy.blank("en")
    before = nlp.vocab["goin'"].norm_
    lookups = Lookups()
    lookups.add_table("lexeme_norm", {"goin'": "walking", "nothin'": "zero"})
    nlp.vocab["nothin'"].norm_ = "set by the user"
    nlp.vocab.lookups = lookups
    assert nlp.vocab["goin'"].norm_ == before
    pieces.refresh_norms(nlp.vocab)
    assert nlp.vocab["goin'"].norm_ == "walking" and nlp.vocab["Going"].norm_ == "going"
    assert nlp.vocab["nothin'"].norm_ == "set by the user"


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b'{"text": "a"', "not JSON"),
        (b'{"texts": "a"}', "no text"),
        (b'["a"]', "no text"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"text": "\\ud800"}', "surrogate"),
    ],
)
def test_wrong_records_are_named(compiled: Callable[..., Any], tmp_path: Path, line: bytes, words: str) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_bytes(b'{"text": "Good."}\n\n' + line + b"\n")
    for attributes in (ATTRIBUTES, ["NORM", "PREFIX", "SUFFIX", "SHAPE"]):
        with pytest.raises(InputError, match=f"raw.jsonl:3: .*{words}"):
            compiled({"paths.raw_text": str(path), f"{MODEL}.embed.attrs": attributes})


def test_nothing_trains_on_nothing(compiled: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match="no document is left"):
        compiled({f"{MODEL}.embed.attrs": ATTRIBUTES, "corpora.pretrain.min_length": 400})


def test_plain_texts(compiled: Callable[..., Any], tmp_path: Path) -> None:
    """Like spaCy's reader: only empty lines are skipped, and max_length itself is kept."""
    import spacy
    from spacy.training.corpus import PlainTextCorpus

    path = tmp_path / "raw.txt"
    path.write_bytes('One two three.\r\n\n  \n{"text": 1}\nNaïve\n'.encode())
    reader = {"@readers": "spacy.PlainTextCorpus.v1", "path": str(path), "min_length": 0, "max_length": 5}
    job = compiled({"corpora.pretrain": reader, f"{MODEL}.embed.attrs": ATTRIBUTES})
    [(_, docs)] = decode((tmp_path / "job/texts.pieces").read_bytes(), 5)
    nlp = spacy.blank("en")
    seen = [example.predicted for example in PlainTextCorpus(path, min_length=0, max_length=5)(nlp)]
    assert docs == [expected(doc, job["text"]["columns"]) for doc in seen] and len(docs) == 3


def test_plain_text_reader_bounds(tmp_path: Path) -> None:
    from spacy.training.corpus import PlainTextCorpus

    corpus = PlainTextCorpus(tmp_path / "raw.txt", min_length=2, max_length=7)
    assert reader.bounds(corpus) == {"min_length": 2, "max_length": 8, "limit": 0}
