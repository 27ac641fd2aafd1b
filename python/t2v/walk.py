"""Reads the model that spaCy built. In: thinc nodes. Out: the model as data (docs/job.md), and which node holds which tensor.

A layer is recognized by the identity of its forward function and by what flows into it, never by its name: so every architecture that is
made of known layers works, and a user's own layer called "maxout" is not taken for one.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Callable, Optional

from .layers import Flow, Node, Tensor, UnknownLayer, attribute_name, dimension, layer_kinds


class Walk:
    """One walk over a tok2vec layer. `model` and `tensors` hold the result."""

    def __init__(self, tok2vec: Node, vectors: Any) -> None:
        """vectors: the vocabulary's; they say which attribute is looked up."""
        self.root, self.vectors, self.kinds = tok2vec, vectors, layer_kinds()
        self.inputs: list[dict[str, Any]] = []
        self.mixer: Optional[dict[str, Any]] = None
        self.convolutions: list[dict[str, Any]] = []
        self.padding: dict[str, Any] = {"kind": "none"}
        self.tensors: list[Tensor] = []
        self.width = 0
        self.encoder: Optional[Node] = None

    def run(self) -> None:
        """Walks the whole layer.

        Raises: UnknownLayer, naming the first node that is not known.
        """
        self.check_tree()
        end = self.sequence(self.flat(self.root), Flow("documents"))
        if self.mixer is None or end.kind != "hidden" or end.form != "list":
            raise UnknownLayer(self.root, "it does not give one row for each token of a list of documents")
        claimed = {(tensor.node.id, tensor.parameter) for tensor in self.tensors}
        for node in self.root.walk():
            for name in node.param_names:
                if (node.id, name) not in claimed:
                    raise UnknownLayer(node, f"its parameter {name} has no counterpart")

    def check_tree(self) -> None:
        """Refuses shims (weights of other frameworks) and shared nodes (their gradients would be summed)."""
        seen = set()
        stack = [self.root]
        while stack:
            node = stack.pop()
            if node.id in seen:
                raise UnknownLayer(node, "it is used in two places")
            seen.add(node.id)
            if node.shims:
                raise UnknownLayer(node, "its weights belong to another framework")
            stack.extend(node.layers)

    def kind(self, node: Node) -> str:
        return self.kinds.get(node._func, "")

    def flat(self, node: Node) -> list[Node]:
        """The layers of nested chains, in order, without those that do nothing."""
        kind = self.kind(node)
        if kind == "chain":
            return [leaf for layer in node.layers for leaf in self.flat(layer)]
        return [] if kind == "noop" else [node]

    def sequence(self, nodes: list[Node], flow: Flow) -> Flow:
        """The output of layers that follow each other."""
        index = 0
        while index < len(nodes):
            node = nodes[index]
            kind = self.kind(node)
            if kind in ("maxout", "mish"):
                group = dense_group(nodes[index:], self.kind)
                flow = self.dense(group, flow)
                index += len(group)
                continue
            step: Optional[Callable[[Node, Flow], Flow]] = getattr(self, f"on_{kind}", None) if kind else None
            if step is None:
                raise UnknownLayer(node, "it is not a layer that t2v knows")
            flow = step(node, flow)
            index += 1
        return flow

    def expect(self, node: Node, flow: Flow, kind: str, *forms: str) -> None:
        if flow.kind != kind or (forms and flow.form not in forms):
            raise UnknownLayer(node, f"it follows {flow.kind} in the form {flow.form}, but t2v knows it only after {kind}")

    def on_extract_features(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "documents")
        return Flow("columns", "list", tuple(attribute_name(name) for name in node.attrs["columns"]))

    def on_list2ragged(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, flow.kind, "list")
        return replace(flow, form="ragged")

    def on_ragged2list(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, flow.kind, "ragged")
        return replace(flow, form="list")

    def on_with_array(self, node: Node, flow: Flow) -> Flow:
        """thinc/layers/with_array.py: only a list is padded; ragged input ignores `pad`."""
        if flow.form not in ("list", "ragged", "array"):
            raise UnknownLayer(node, "it follows documents, not rows")
        pad = int(node.attrs["pad"]) if flow.form == "list" else 0
        before = len(self.convolutions)
        inner = self.sequence(self.flat(node.layers[0]), replace(flow, form="array", pad=pad))
        if len(self.convolutions) > before:
            self.encoder_block(node, pad, before)
        return replace(inner, form=flow.form, pad=0)

    def encoder_block(self, node: Node, pad: int, before: int) -> None:
        """Notes the padding of the convolutions inside `node`."""
        depth = len(self.convolutions) - before
        if before > 0:
            raise UnknownLayer(node, "it is a second block of convolutions with its own padding")
        if 0 < pad < depth:
            raise UnknownLayer(node, f"it pads documents with {pad} rows, fewer than its {depth} convolutions reach")
        self.encoder = node
        self.padding = {"kind": "zeroVectors", "rows": pad} if pad else {"kind": "none"}

    def on_concatenate(self, node: Node, flow: Flow) -> Flow:
        outs = [self.sequence(self.flat(layer), flow) for layer in node.layers]
        if any(out.kind != "parts" or out.form != outs[0].form for out in outs):
            raise UnknownLayer(node, "it joins things other than embeddings")
        return replace(outs[0], parts=tuple(part for out in outs for part in out.parts))

    def on_getitem(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "columns", "array")
        index = node.attrs["index"]
        if not (isinstance(index, tuple) and len(index) == 2 and index[0] == slice(0, None) and isinstance(index[1], int)):
            raise UnknownLayer(node, "it takes something else than one column")
        if not 0 <= index[1] < len(flow.attributes):
            raise UnknownLayer(node, f"there is no column {index[1]}")
        return Flow("column", "array", (flow.attributes[index[1]],), pad=flow.pad)

    def on_hashembed(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "column", "array")
        if flow.pad:
            raise UnknownLayer(node, "its input is padded")
        attribute = flow.attributes[0]
        count = sum(1 for part in self.inputs if part["kind"] == "table" and part["attribute"] == attribute)
        suffix = str(count + 1) if count else ""
        self.claim(f"embed.{attribute.lower()}{suffix}.E", node, "E")
        return self.part(
            "array",
            kind="table",
            attribute=attribute,
            rows=node.get_dim("nV"),
            seed=int(node.attrs["seed"]),
            width=node.get_dim("nO"),
            dropout="dropout_rate" in node.attrs,
        )

    def on_charembed(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "documents")
        if any(part["kind"] == "characters" for part in self.inputs):
            raise UnknownLayer(node, "it is the second embedding of characters")
        self.claim("embed.chars.E", node, "E")
        return self.part("list", kind="characters", bytes=node.get_dim("nC"), width=node.get_dim("nM"))

    def on_static_vectors(self, node: Node, flow: Flow) -> Flow:
        """spacy/ml/staticvectors.py: the attribute is that of the vectors, before 3.6 the layer's; a word without a row gives zeros."""
        return self.static(node, flow, getattr(self.vectors, "attr", node.attrs.get("key_attr", "ORTH")), "zero")

    def on_static_vectors_v1(self, node: Node, flow: Flow) -> Flow:
        """spacy_legacy/layers/staticvectors_v1.py: a word without a row gets the last one."""
        return self.static(node, flow, node.attrs["key_attr"], "last")

    def static(self, node: Node, flow: Flow, attribute: Any, missing: str) -> Flow:
        self.expect(node, flow, "documents")
        if any(part["kind"] == "vectors" for part in self.inputs):
            raise UnknownLayer(node, "it is the second embedding of static vectors")
        self.claim("embed.vectors.W", node, "W")
        return self.part(
            "ragged",
            kind="vectors",
            width=dimension(node, "nM"),
            output=dimension(node, "nO"),
            attribute=attribute_name(attribute),
            missing=missing,
            dropout="dropout_rate" in node.attrs,
        )

    def part(self, form: str, **values: Any) -> Flow:
        self.inputs.append(values)
        return Flow("parts", form, parts=(len(self.inputs) - 1,))

    def on_residual(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "hidden", "array")
        out = self.sequence(self.flat(node.layers[0]), flow)
        if out.kind != "convolved":
            raise UnknownLayer(node, "it is not a convolution")
        return replace(out, kind="hidden")

    def on_expand_window(self, node: Node, flow: Flow) -> Flow:
        self.expect(node, flow, "hidden", "array")
        if node.attrs["window_size"] != 1:
            raise UnknownLayer(node, f"window_size is {node.attrs['window_size']}, and t2v computes windows of 1")
        return replace(flow, kind="window")

    def on_list2array(self, node: Node, flow: Flow) -> Flow:
        raise UnknownLayer(node, "more layers follow the tok2vec layer")

    def dense(self, group: list[Node], flow: Flow) -> Flow:
        """Maxout or Mish, LayerNorm, and perhaps Dropout: the mixer, or a convolution."""
        node = group[0]
        if len(group) < 2:
            raise UnknownLayer(node, "no LayerNorm follows it")
        has_dropout = len(group) > 2 and bool(group[2].attrs["is_enabled"])
        if flow.kind == "parts" and flow.form == "array" and self.mixer is None:
            if flow.pad or self.kind(node) != "maxout":
                raise UnknownLayer(node, "it mixes the embeddings in a way that t2v does not")
            if list(flow.parts) != list(range(len(self.inputs))):
                raise UnknownLayer(node, "it does not mix all embeddings once, in their order")
            self.width = dimension(node, "nO")
            self.mixer = {"pieces": node.get_dim("nP"), "dropout": "token" if has_dropout else "none"}
            self.claim_dense("mixer", group)
            return Flow("hidden", "array", pad=flow.pad)
        self.expect(node, flow, "window", "array")
        convolution: dict[str, Any] = {"activation": self.kind(node)}
        if self.kind(node) == "maxout":
            convolution["pieces"] = node.get_dim("nP")
        if dimension(node, "nO") != self.width:
            raise UnknownLayer(node, f"it is {dimension(node, 'nO')} wide, and its input {self.width}")
        self.claim_dense(f"encode.{len(self.convolutions)}", group)
        self.convolutions.append({**convolution, "window": 1, "dropout": has_dropout})
        return replace(flow, kind="convolved")

    def claim(self, name: str, node: Node, parameter: str) -> None:
        self.tensors.append(Tensor(name, node, parameter))

    def claim_dense(self, prefix: str, group: list[Node]) -> None:
        self.claim(f"{prefix}.W", group[0], "W")
        self.claim(f"{prefix}.b", group[0], "b")
        self.claim(f"{prefix}.norm.G", group[1], "G")
        self.claim(f"{prefix}.norm.b", group[1], "b")


def dense_group(nodes: list[Node], kind: Callable[[Node], str]) -> list[Node]:
    """The first layer, with the LayerNorm and the Dropout that follow it."""
    group = nodes[:1]
    for expected in ("layernorm", "dropout"):
        if len(nodes) > len(group) and kind(nodes[len(group)]) == expected:
            group.append(nodes[len(group)])
        elif expected == "layernorm":
            break
    return group
