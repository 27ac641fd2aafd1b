"""A user's code: a tokenizer that splits at white space and knows "don't", a reader, and an embedding of their own."""

from typing import Any, Callable, Iterator

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import registry


class Whitespace:
    """A legal tokenizer: no pipe, no to_disk."""

    def __init__(self, vocab: Any) -> None:
        self.vocab = vocab

    def __call__(self, text: str) -> Doc:
        doc = Doc(self.vocab, words=text.split())
        for token in doc:
            if token.text == "n't":
                token.norm_ = "not"
            token.lemma_ = "nothing that may get in"
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
