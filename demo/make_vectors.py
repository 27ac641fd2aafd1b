"""Trains small word vectors on the demo's own corpus and writes them in word2vec's text format, which `spacy init-model` reads.

Positive pointwise mutual information of words within five of each other, reduced by an eigenvalue decomposition (Levy, Goldberg and Dagan,
TACL 2015). Needs numpy and spaCy 2.3.9, for its tokenizer:
    .venvs/spacy-2.3.9/bin/python demo/make_vectors.py demo/texts.jsonl vectors.txt
    .venvs/spacy-2.3.9/bin/python -m spacy init-model en demo/vectors -v vectors.txt -vn demo_vectors
"""
import json
import sys
from collections import Counter
from pathlib import Path

import numpy
import spacy

# Words that get a vector, words that describe them, numbers in a vector, reach of the window.
WORDS, CONTEXTS, WIDTH, REACH = 4000, 4000, 64, 5


def main(texts, output):
    tokenizer = spacy.blank("en").tokenizer
    with texts.open(encoding="utf-8") as file:
        documents = [[token.text for token in tokenizer(json.loads(line)["text"]) if not token.is_space] for line in file]
    # Sorted by count and then by the word itself, so that the file is the same every time.
    forms = Counter(word for document in documents for word in document)
    words = [word for word, _ in sorted(forms.items(), key=lambda item: (-item[1], item[0]))[:WORDS]]
    lower = Counter(word.lower() for document in documents for word in document)
    contexts = [word for word, _ in sorted(lower.items(), key=lambda item: (-item[1], item[0]))[:CONTEXTS]]
    row = {word: index for index, word in enumerate(words)}
    column = {word: index for index, word in enumerate(contexts)}
    counts = numpy.zeros((len(words), len(contexts)))
    for document in documents:
        columns = [column.get(word.lower(), -1) for word in document]
        for position, word in enumerate(document):
            if word not in row:
                continue
            for near in range(max(0, position - REACH), min(len(document), position + REACH + 1)):
                if near != position and columns[near] >= 0:
                    counts[row[word], columns[near]] += 1 / abs(near - position)
    # Contexts smoothed by the power 0.75, as in the paper.
    smoothed = counts.sum(axis=0) ** 0.75
    expected = counts.sum(axis=1, keepdims=True) * (smoothed / smoothed.sum())
    with numpy.errstate(divide="ignore", invalid="ignore"):
        information = numpy.nan_to_num(numpy.log(counts / expected), nan=0.0, neginf=0.0)
    information = numpy.maximum(information, 0)
    values, axes = numpy.linalg.eigh(information @ information.T)
    vectors = axes[:, ::-1][:, :WIDTH] * numpy.maximum(values[::-1][:WIDTH], 0) ** 0.25
    vectors /= numpy.linalg.norm(vectors, axis=1).mean()
    with output.open("w", encoding="utf-8") as file:
        file.write("%d %d\n" % vectors.shape)
        for word, vector in zip(words, vectors):
            file.write(word + " " + " ".join("%.5f" % value for value in vector) + "\n")
    covered = sum(count for word, count in forms.items() if word in row)
    print("%d words x %d, %.1f%% of the corpus" % (vectors.shape + (100 * covered / sum(forms.values()),)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
