"""Makes a small vectors model of a language with the real spaCy: its own tokenizer, and random vectors for some of its words.

    .venvs/spacy-2.3.9/bin/python Tests/GoldenTests/reference/tokens_models.py LANGUAGE FOLDER

Works with spaCy 2.1.9, 2.3.9 and 3.8. The words are exceptions of the language, symbols' names and punctuation, so that key2row holds symbol
numbers as well as hashes; several words share a row, and some have a norm that the model stores.
"""

import sys

import numpy
import spacy
from spacy.vectors import Vectors

WORDS = """the a of mark number X DATE root _ MORPH ENT_ID IDX IS_OOV NORM DEPRECATED001 Animacy_anim . , ! ? ' " ( ) - n't not 's
le la les des un et de l' d' qu' der die das und ist \u05e9\u05dc\u05d5\u05dd \u4e2d \u00e9t\u00e9 \u00c9t\u00e9 \u0391\u03a3 1 2020 km""".split()


def make(language, folder, rows=40):
    nlp = spacy.blank(language)
    rules = getattr(nlp.tokenizer, "rules", None) or {}
    words = list(dict.fromkeys(WORDS + sorted(rules)[:: max(1, len(rules) // 50)]))
    generator = numpy.random.RandomState(1)
    data = generator.uniform(-1, 1, (rows, 4)).astype("f")
    for word in words:
        nlp.vocab[word]
    vectors = Vectors(data=data, keys=[nlp.vocab.strings.add(w) for w in words[:rows]], name="test.vectors")
    for index, word in enumerate(words[rows:]):
        vectors.add(nlp.vocab.strings.add(word), row=index % rows)
    nlp.vocab.vectors = vectors
    norms = {"colour": "color", "\u20ac": "euro", "mark": "MARK", "_": "underscore", "Paris": "\u03a3", "n't": "NOT"}
    if spacy.__version__.startswith("2.1"):
        for word, norm in norms.items():
            nlp.vocab[word].norm_ = norm
    else:
        lookups = nlp.vocab.lookups
        table = lookups.get_table("lexeme_norm") if lookups.has_table("lexeme_norm") else lookups.add_table("lexeme_norm")
        for word, norm in norms.items():
            table[word] = norm
            nlp.vocab.strings.add(norm)
    nlp.to_disk(folder)
    return nlp


if __name__ == "__main__":
    make(sys.argv[1], sys.argv[2])
