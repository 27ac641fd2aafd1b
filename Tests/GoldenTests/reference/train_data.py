"""Training data in spaCy 2's JSON format from a JSONL corpus, with tags, heads, entities and categories made by rule.

The rules are not linguistics: they give labels that a model can learn, so that `spacy train` has something to do.
    python train_data.py TEXTS.jsonl TRAIN.json DEV.json
"""
import json
import sys
from pathlib import Path

import spacy

TRAIN, DEV, LONGEST = 80, 20, 60
DETERMINERS = {"the", "a", "an", "this", "these", "its", "each", "some"}
PREPOSITIONS = {"of", "in", "on", "for", "with", "from", "by", "at", "as", "to", "into"}
VERBS = {"is", "are", "was", "has", "have", "can", "will", "be", "must"}


def tag(word):
    low = word.lower()
    if low in DETERMINERS:
        return "DT"
    if low in PREPOSITIONS:
        return "IN"
    if low in VERBS:
        return "VBZ"
    if not word[0].isalnum():
        return "." if word in ".!?" else ","
    if word[0].isdigit():
        return "CD"
    if low.endswith("ing"):
        return "VBG"
    if low.endswith("ed"):
        return "VBD"
    if low.endswith("ly"):
        return "RB"
    if word[0].isupper():
        return "NNP"
    return "NNS" if low.endswith("s") else "NN"


def sentence(words):
    tags = [tag(word) for word in words]
    # Determiners and prepositions depend on the next word, everything else on the previous one; the first one left is the root.
    root = next((i for i, t in enumerate(tags[:-1]) if t not in ("DT", "IN")), len(words) - 1)
    tokens = []
    previous_entity = False
    for index, (word, label) in enumerate(zip(words, tags)):
        forward = index < root
        head, dependency = (1, "det") if forward else (-1, "obj" if label.startswith("N") else "dep")
        if index == root:
            head, dependency = 0, "ROOT"
        entity = label == "NNP" and index > 0
        last = index + 1 == len(words) or tags[index + 1] != "NNP"
        ner = "O"
        if entity:
            ner = ("L-ORG" if last else "I-ORG") if previous_entity else ("U-ORG" if last else "B-ORG")
        previous_entity = entity
        tokens.append({"id": index, "orth": word, "tag": label, "head": head, "dep": dependency, "ner": ner})
    return {"tokens": tokens, "brackets": []}


def documents(texts):
    tokenizer = spacy.blank("en").tokenizer
    with texts.open(encoding="utf-8") as file:
        for line in file:
            doc = tokenizer(json.loads(line)["text"])
            words = [token.text for token in doc if not token.is_space][:LONGEST]
            if len(words) < 10:
                continue
            about_packages = any("packag" in word.lower() for word in words)
            cats = [{"label": "PACKAGES", "value": float(about_packages)}, {"label": "OTHER", "value": float(not about_packages)}]
            yield {"raw": " ".join(words), "sentences": [sentence(words)], "cats": cats}


def main(texts, train, dev):
    chosen = []
    for document in documents(texts):
        chosen.append(document)
        if len(chosen) == TRAIN + DEV:
            break
    for path, part in ((train, chosen[:TRAIN]), (dev, chosen[TRAIN:])):
        path.write_text(json.dumps([{"id": i, "paragraphs": [p]} for i, p in enumerate(part)]))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
