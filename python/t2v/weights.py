"""Infers the settings of a file of weights. In: the bytes that thinc 8 writes. Out: what the config must say to load them."""

from __future__ import annotations

from typing import Any

from .errors import InputError
from .layers import attribute_name

NAMES = {
    "width": "width",
    "attributes": "attrs (with CharacterEmbed: feature)",
    "rows": "rows",
    "seeds": "seeds of the tables",
    "characters": "nC and nM of CharacterEmbed",
    "vectors": "width of the static vectors (0: include_static_vectors = false)",
    "depth": "depth",
    "activation": "activation (the encoder's architecture)",
    "pieces": "maxout_pieces",
    "window": "window_size",
    "padding": "padding (the encoder's architecture)",
    "nodes": "number of layers",
}


def read(data: bytes, where: str) -> dict[str, Any]:
    """The file's contents: {"nodes", "attrs", "params", "shims"}.

    Raises: InputError if thinc 8 has not written it.
    """
    import srsly

    try:
        message = srsly.msgpack_loads(data)
    except Exception:
        raise InputError("this is not a file of weights, or it is truncated", where, "give a whole modelN.bin") from None
    if not isinstance(message, dict) or "nodes" not in message:
        if isinstance(message, dict) and any(key in message for key in ("weights", b"weights")):
            raise InputError("these weights are from spaCy 2", where, "pretrain with spaCy 3: the layers are not the same")
        raise InputError("this is not a file of weights", where, "give a modelN.bin")
    for name in ("nodes", "attrs", "params", "shims"):
        if not isinstance(message.get(name), list) or len(message[name]) != len(message["nodes"]):
            raise InputError("this file of weights is incomplete", where, "give another modelN.bin")
    return message


def settings(message: dict[str, Any]) -> dict[str, Any]:
    """Settings by the keys of `NAMES`, in the same way from a file and from a layer that was just built."""
    import srsly

    nodes = message["nodes"]

    def all_of(name: str) -> list[int]:
        return [index for index, node in enumerate(nodes) if node["name"] == name]

    def attribute(index: int, name: str) -> Any:
        value = message["attrs"][index].get(name)
        return srsly.msgpack_loads(value) if isinstance(value, bytes) else value

    maxouts, mishes = all_of("maxout"), all_of("mish")
    residuals = [node for node in nodes if node["name"].startswith("residual(") and ">>residual(" not in node["name"]]
    paddings = [attribute(index, "pad") for index, node in enumerate(nodes) if node["name"].startswith("with_array(residual(")]
    characters = [nodes[index]["dims"] for index in all_of("charembed")]
    vectors = [nodes[index]["dims"]["nM"] for index in all_of("static_vectors")]
    columns = [attribute(index, "columns") for index in all_of("extract_features")]
    return {
        "width": nodes[0]["dims"].get("nO"),
        "attributes": [attribute_name(column) for group in columns for column in group],
        "rows": [nodes[index]["dims"]["nV"] for index in all_of("hashembed")],
        "seeds": [attribute(index, "seed") for index in all_of("hashembed")],
        "characters": [(dims["nC"], dims["nM"]) for dims in characters],
        "vectors": vectors[0] if vectors else 0,
        "depth": len(residuals),
        "activation": "mish" if mishes else "maxout",
        "pieces": sorted({nodes[index]["dims"]["nP"] for index in maxouts[1:]}),
        "window": [attribute(index, "window_size") for index in all_of("expand_window")][:1],
        "padding": paddings or [attribute(index, "pad") for index, node in enumerate(nodes) if node["name"].startswith("with_array(")][-1:],
        "nodes": len(nodes),
    }


def differences(file: dict[str, Any], layer: dict[str, Any]) -> list[str]:
    """Sentences about settings that differ. Those that follow from others are left out."""
    found = [key for key in NAMES if file[key] != layer[key]]
    if len(found) > 1 and "nodes" in found:
        found.remove("nodes")
    if "depth" in found and "padding" in found:
        found.remove("padding")
    return [f"{NAMES[key]}: the weights have {shown(file[key])}, the config {shown(layer[key])}" for key in found]


def shown(value: Any) -> str:
    return ", ".join(str(item) for item in value) or "none" if isinstance(value, list) else str(value)
