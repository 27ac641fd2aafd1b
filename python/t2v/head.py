"""Reads the objective that wraps the tok2vec layer. In: the pretraining model that spaCy built. Out: the objective as data, its tensors.

Source: spacy/ml/models/multi_task.py (3.8.18).
"""

from __future__ import annotations

import functools
from typing import Any

from .errors import InputError
from .layers import Node, Tensor, UnknownLayer
from .walk import Walk

WHERE = "[pretraining.objective]"
REMEDY = "use spacy.PretrainCharacters.v1 or spacy.PretrainVectors.v1"


def masked_language_model(model: Node) -> tuple[float, Node]:
    """The probability of masking, and the model that is wrapped.

    The forward function is a closure of `build_masked_language_model`: it is recognized by its code, and its settings are in its cells.
    """
    from spacy.ml.models import multi_task

    function = model._func
    code = getattr(function, "__code__", None)
    if code is None or code not in multi_task.build_masked_language_model.__code__.co_consts:
        raise InputError("the objective is not one of spaCy's masked language models", WHERE, REMEDY)
    cells = dict(zip(code.co_freevars, function.__closure__ or ()))
    return float(cells["mask_prob"].cell_contents), model.layers[0]


def read_objective(model: Node, tok2vec: Node, walk: Walk, vectors: Any) -> tuple[dict[str, Any], float, list[Tensor]]:
    """The objective (docs/job.md), the probability of masking, and the head's tensors.

    Raises: InputError when the objective is not one of spaCy's two.
    """
    mask_probability, wrapped = masked_language_model(model)
    try:
        nodes = head_layers(wrapped, tok2vec, walk)
        objective, tensors = read_head(nodes, walk)
    except UnknownLayer as error:
        raise InputError(f'the layer "{error.node.name}" of the objective is not understood: {error.why}', WHERE, REMEDY) from None
    return {**objective, **read_loss(model.attrs.get("loss"), objective, vectors)}, mask_probability, tensors


def head_layers(wrapped: Node, tok2vec: Node, walk: Walk) -> list[Node]:
    """The layers after the tok2vec layer, in order."""
    nodes: list[Node] = []
    stack = [wrapped]
    while stack:
        node = stack.pop()
        if node is not tok2vec and walk.kind(node) == "chain":
            stack.extend(reversed(node.layers))
        elif walk.kind(node) != "noop":
            nodes.append(node)
    if not nodes or nodes[0] is not tok2vec:
        raise UnknownLayer(wrapped, "it does not begin with the tok2vec layer")
    return nodes[1:]


def read_head(nodes: list[Node], walk: Walk) -> tuple[dict[str, Any], list[Tensor]]:
    """Hidden layer and output layer: list2array, Maxout, LayerNorm, perhaps Dropout, and Linear or MultiSoftmax."""
    kinds = [walk.kind(node) for node in nodes]
    if kinds[:3] != ["list2array", "maxout", "layernorm"] or kinds[-1] not in ("linear", "multisoftmax"):
        known = ["list2array", "maxout", "layernorm", "linear"]
        odd = next((node for node, kind in zip(nodes, kinds) if kind not in known), nodes[-1])
        raise UnknownLayer(odd, "t2v knows a Maxout with LayerNorm, then a linear layer")
    if kinds[3:-1] not in ([], ["dropout"]):
        raise UnknownLayer(nodes[3], "t2v knows only Dropout in this place")
    hidden, norm, output = nodes[1], nodes[2], nodes[-1]
    tensors = [
        Tensor("head.hidden.W", hidden, "W"),
        Tensor("head.hidden.b", hidden, "b"),
        Tensor("head.hidden.norm.G", norm, "G"),
        Tensor("head.hidden.norm.b", norm, "b"),
        Tensor("head.output.W", output, "W"),
        Tensor("head.output.b", output, "b"),
    ]
    settings = {
        "hidden": hidden.get_dim("nO"),
        "pieces": hidden.get_dim("nP"),
        "head_dropout": kinds[3:-1] == ["dropout"] and bool(nodes[3].attrs["is_enabled"]),
    }
    if kinds[-1] == "multisoftmax":
        outputs = list(output.attrs["nOs"])
        if not outputs or any(count != 256 for count in outputs):
            raise UnknownLayer(output, "it does not predict bytes, or predicts none: n_characters is 1 or more")
        return {"kind": "characters", "bytes": len(outputs), **settings}, tensors
    return {"kind": "vectors", "width": output.get_dim("nO"), **settings}, tensors


def read_loss(loss: Any, objective: dict[str, Any], vectors: Any) -> dict[str, Any]:
    """What the objective's loss adds to its description. spaCy keeps it as a partial, recognized by its function and its distance."""
    from spacy.ml.models import multi_task
    from thinc.api import CosineDistance, L2Distance

    function = loss.func if isinstance(loss, functools.partial) else None
    arguments = loss.keywords if isinstance(loss, functools.partial) else {}
    if objective["kind"] == "characters" and function is multi_task.get_characters_loss and arguments.get("nr_char") == objective["bytes"]:
        return {"loss": "linear"}
    if objective["kind"] == "vectors" and function is multi_task.get_vectors_loss and objective["width"] == vectors.shape[1]:
        distance: Any = arguments.get("distance")
        if type(distance) is CosineDistance and distance.normalize and distance.ignore_zeros:
            return {"loss": "cosine", "missing": "zero"}
        if type(distance) is L2Distance and distance.normalize:
            return {"loss": "L2", "missing": "zero"}
    raise InputError("the objective's loss is not one of spaCy's", WHERE, REMEDY)
