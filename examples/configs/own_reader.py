"""A reader for own-reader.cfg: tab-separated reviews, the text in the second column."""

from collections.abc import Iterable
from pathlib import Path
from typing import Callable

import spacy
from spacy.language import Language
from spacy.training import Example


@spacy.registry.readers("examples.Reviews.v1")
def reviews(path: Path) -> Callable[[Language], Iterable[Example]]:
    def read(nlp: Language) -> Iterable[Example]:
        with Path(path).open(encoding="utf8") as lines:
            for line in lines:
                _, text = line.rstrip("\n").split("\t", 1)
                document = nlp.make_doc(text)
                yield Example(document, document)

    return read
