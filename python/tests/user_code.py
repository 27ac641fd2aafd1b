"""A user's code: a tokenizer that splits at white space and knows "don't", a reader, and an embedding."""

import re
from typing import Any, Callable, Iterator

from spacy.attrs import SHAPE
from spacy.language import Language
from spacy.ml.featureextractor import FeatureExtractor
from spacy.tokens import Doc
from spacy.util import registry
from thinc.api import HashEmbed, Maxout, Model, chain, concatenate, list2ragged, ragged2list, with_array
from thinc.shims import Shim


class Whitespace:
    """A valid tokenizer: no pipe, no to_disk."""

    def __init__(self, vocab: Any) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        doc = Doc(self.vocab, words=text.split())
        for token in doc:
            if token.text == "n't":
                token.norm_ = "not"
            token.lemma_ = "must not be included"
        return doc


@registry.tokenizers("my.Whitespace.v1")
def make_tokenizer() -> Callable[[Language], Whitespace]:
    return lambda nlp: Whitespace(nlp.vocab)


@registry.readers("my.Reader.v1")
def make_reader(count: int) -> Callable[[Language], Iterator[Doc]]:
    def read(nlp: Language) -> Iterator[Doc]:
        for number in range(count):
            yield nlp.make_doc(f"This is document {number} of {count}, isn't it?")

    return read


def make_embed(width: int, tables: Any, mixer: Any) -> Any:
    return chain(FeatureExtractor(["SHAPE", "LOWER"]), list2ragged(), with_array(tables), with_array(mixer), ragged2list())


def table(width: int, column: int) -> Any:
    return HashEmbed(width, 20, column=column, seed=31 + column, dropout=0.0)


@registry.architectures("my.Embed.v1")
def own_embed(width: int, fault: str) -> Any:
    """Known layers in the user's own composition, or with a fault."""
    tables = [table(width, 0), table(width, 1), table(width, 0)]
    mixer = Maxout(width, 3 * width, nP=2, normalize=True)
    if fault == "shared":
        tables[2] = tables[0]
    if fault == "own layer":
        mixer = chain(
            Model("maxout", lambda model, X, is_train: (X[:, :width], lambda dY: X), dims={"nO": width, "nI": None}), mixer.layers[1]
        )
    if fault == "no norm":
        mixer = Maxout(width, 3 * width, nP=2)
    if fault == "shim":
        mixer.layers[0].shims.append(Shim(None))
    model = make_embed(width, concatenate(*tables), mixer)
    if fault == "parameter":
        model.set_param("scale", model.ops.alloc1f(1))
    return model


@registry.architectures("my.Objective.v1")
def own_objective() -> Any:
    """The tok2vec alone: nothing is hidden, and there is no loss."""
    return lambda vocab, tok2vec: chain(tok2vec, list2ragged())


@registry.callbacks("my.change.v1")
def change(what: str) -> Any:
    """Changes the pipeline after it was initialized."""

    def callback(nlp: Language) -> Language:
        if what == "rows":
            nlp.vocab.vectors.data = nlp.vocab.vectors.data * 2
        if what == "keys":
            nlp.vocab.vectors.add("a-new-word", row=3)
        if what == "shape":
            nlp.vocab.lex_attr_getters[SHAPE] = lambda text: text[:1]
        if what == "tokenizer":
            nlp.tokenizer = lambda text: text.no_such_method()
        if what == "infix":
            nlp.tokenizer.infix_finditer = re.compile(r"([a-z])\1").finditer
        return nlp

    return callback
