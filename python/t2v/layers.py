"""The known layers, and what flows between them. In: spaCy's and thinc's modules. Out: names for forward functions.

Sources: spacy/ml/models/tok2vec.py, spacy/ml/staticvectors.py, spacy/ml/_character_embed.py (3.8.18), thinc/layers (8.3.14),
spacy_legacy/layers (3.0.12).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

from .errors import InputError

Node = Any
"""A `thinc.model.Model`."""


@dataclass(frozen=True)
class Tensor:
    """A parameter with t2v's name for it."""

    name: str
    node: Node
    parameter: str


@dataclass(frozen=True)
class Flow:
    """What flows between two layers."""

    kind: str
    """documents, columns (ids of several attributes), column (of one), parts (of the mixer's input), hidden, window or convolved."""
    form: str = "documents"
    """documents, list, ragged or array: thinc's containers."""
    attributes: tuple[str, ...] = ()
    parts: tuple[int, ...] = ()
    """Positions in `Walk.inputs`."""
    pad: int = 0
    """Rows of zeros on each side of a document."""


class UnknownLayer(Exception):
    """A layer or a wiring that t2v does not have."""

    def __init__(self, node: Node, why: str) -> None:
        super().__init__(why)
        self.node, self.why = node, why


def layer_kinds() -> dict[Any, str]:
    """Forward functions of the known layers."""
    kinds = {}
    for module, kind in [
        ("thinc.layers.chain", "chain"),
        ("thinc.layers.noop", "noop"),
        ("thinc.layers.concatenate", "concatenate"),
        ("thinc.layers.with_array", "with_array"),
        ("thinc.layers.list2ragged", "list2ragged"),
        ("thinc.layers.ragged2list", "ragged2list"),
        ("thinc.layers.list2array", "list2array"),
        ("thinc.layers.array_getitem", "getitem"),
        ("thinc.layers.hashembed", "hashembed"),
        ("thinc.layers.maxout", "maxout"),
        ("thinc.layers.mish", "mish"),
        ("thinc.layers.layernorm", "layernorm"),
        ("thinc.layers.dropout", "dropout"),
        ("thinc.layers.residual", "residual"),
        ("thinc.layers.expand_window", "expand_window"),
        ("thinc.layers.linear", "linear"),
        ("thinc.layers.multisoftmax", "multisoftmax"),
        ("spacy.ml.featureextractor", "extract_features"),
        ("spacy.ml._character_embed", "charembed"),
        ("spacy.ml.staticvectors", "static_vectors"),
        ("spacy_legacy.layers.staticvectors_v1", "static_vectors_v1"),
    ]:
        try:
            kinds[importlib.import_module(module).forward] = kind
        except (ImportError, AttributeError):
            continue  # another version of spaCy: then its layer is simply unknown
    return kinds


def attribute_names() -> dict[int, str]:
    """Names by number. `spacy.attrs.NAMES` is not the inverse of `IDS` (NAMES[73] is POS, 73 is LEMMA)."""
    from spacy.attrs import IDS

    return {number: name for name, number in IDS.items()}


def attribute_name(attribute: Any) -> str:
    """The upper-case name of an attribute that was given by name, in any case, or by number."""
    name = str(attribute).upper() if isinstance(attribute, str) else attribute_names().get(int(attribute), "")
    if not name or name not in attribute_names().values():
        raise InputError(f"there is no attribute {attribute!r}", remedy="see the names in spacy.attrs.IDS")
    return name


def dimension(node: Node, name: str) -> int:
    """A dimension, or 0 before it is known."""
    return int(node.get_dim(name)) if node.has_dim(name) else 0
