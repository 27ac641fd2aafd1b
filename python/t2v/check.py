"""`t2v check`: will `spacy train` load these weights with this config? In: config and weights. Out: yes, or what to change.

Follows `spacy train` (spacy/training/initialize.py, `init_nlp` and `init_tok2vec`, 3.8.18) up to the loading, without the labelled data,
and compares more than spaCy does.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Optional

from . import config as configs
from . import vectors, weights
from .build import check_blocks, check_static_vectors, explained, suggest_component
from .errors import InputError
from .layers import Node

FILL = "`python -m spacy init fill-config --pretraining CONFIG CONFIG` adds it"


def check(config_path: Path, path: Optional[Path], overrides: list[str], code: Optional[Path]) -> list[str]:
    """Sentences that say yes.

    Raises: InputError with the first reason for no.
    """
    values = configs.read_overrides(overrides)
    configs.import_code(code)
    raw = configs.load(config_path, values)
    config = raw.interpolate()
    path = weights_path(config, path)
    message = weights.read(path.read_bytes(), str(path))
    if not config.get("pretraining"):
        raise InputError("there is no [pretraining] block, so `spacy train` silently ignores init_tok2vec", str(config_path), FILL)
    check_blocks(config)
    nlp, settings = build_for_training(raw)
    layer, section = find_target(nlp, settings)
    check_static_vectors(layer, nlp, section)
    with explained("initialize the layer", section):
        layer.initialize(X=[nlp.make_doc("Give it a doc to infer shapes")])
    compare_settings(message, layer, section)
    load(nlp, settings, path, section)
    compare_parameters(message, layer, str(path))
    notes = compare_record(path, layer, nlp)
    return [f"yes: `spacy train` loads {path} into {section}", *notes, *listeners(nlp, settings), how(raw, config_path, path)]


def weights_path(config: Any, path: Optional[Path]) -> Path:
    """The weights: given, or those of the config."""
    if path is None:
        named = config.get("initialize", {}).get("init_tok2vec")
        if named is None:
            raise InputError("no weights are named", "[initialize] init_tok2vec", "give them as the second argument")
        path = Path(named)
    if not path.is_file():
        raise InputError("there is no such file of weights", str(path), "give model-best.bin, model-last.bin, or a modelN.bin")
    return path


def build_for_training(raw: Any) -> tuple[Any, dict[str, Any]]:
    """The pipeline as `spacy train` builds it, its vocabulary initialized; and [pretraining], resolved."""
    from spacy.schemas import ConfigSchemaPretrain
    from spacy.util import load_model_from_config, registry

    vectors.check_name(raw.interpolate())
    with explained("build the pipeline", "[nlp] and [components]"):
        nlp = load_model_from_config(raw, auto_fill=True)
    config = nlp.config.interpolate()
    with explained("resolve the section", "[pretraining]"):
        settings = registry.resolve(config["pretraining"], schema=ConfigSchemaPretrain)
    nlp.config["initialize"]["init_tok2vec"] = None  # loaded below
    with explained("initialize the pipeline", "[initialize]"), nlp.select_pipes(enable=[]):
        nlp.config["pretraining"] = {}
        nlp.initialize()
    return nlp, settings


def find_target(nlp: Any, settings: dict[str, Any]) -> tuple[Node, str]:
    """The layer that gets the weights. `spacy train` does not follow listeners."""
    component, layer = settings["component"], settings["layer"]
    if component not in nlp.component_names:
        raise InputError(f'component = "{component}" is not in the pipeline', "[pretraining]", suggest_component(nlp))
    model = getattr(nlp.get_pipe(component), "model", None)
    if model is None:
        raise InputError(f'component = "{component}" has no model', "[pretraining]", suggest_component(nlp))
    if layer and not (layer in model.ref_names and model.has_ref(layer)):
        raise InputError(f'layer = "{layer}": the model of "{component}" has no such layer', "[pretraining]", suggest_component(nlp))
    target = model.get_ref(layer) if layer else model
    if type(target).__name__ == "Tok2VecListener":
        upstream = target.upstream_name if target.upstream_name != "*" else "tok2vec"
        raise InputError(
            f'"{component}" only listens to "{upstream}", and `spacy train` does not follow listeners',
            "[pretraining]",
            f'set component = "{upstream}" and layer = ""',
        )
    return target, f"[components.{component}.model]" + (f" (layer {layer})" if layer else "")


def compare_settings(message: dict[str, Any], layer: Node, section: str) -> None:
    """Width, rows, depth, ...; and the names of the attributes, which spaCy does not compare."""
    found = weights.differences(weights.settings(message), weights.settings(weights.read(layer.to_bytes(), section)))
    if found:
        raise InputError("; ".join(found), section, "use the config that the weights were pretrained with")


def load(nlp: Any, settings: dict[str, Any], path: Path, section: str) -> None:
    """spaCy's own loading."""
    from spacy.training.initialize import init_tok2vec

    try:
        init_tok2vec(nlp, settings, {"init_tok2vec": str(path)})
    except Exception as error:
        text = str(error)
        raise InputError(f"spaCy cannot load {path}: {text}", section, "use the config that the weights were pretrained with") from error


def compare_parameters(message: dict[str, Any], layer: Node, where: str) -> None:
    import numpy

    for node, values in zip(layer.walk(), message["params"]):
        for name, value in values.items():
            if not numpy.isfinite(value).all():
                raise InputError(f'the parameter {name} of "{node.name}" holds numbers that are not finite', where, "take another model")
            if not node.has_param(name) or not numpy.array_equal(node.get_param(name), value):
                raise InputError(f'the parameter {name} of "{node.name}" differs from the file', where, "the file does not fit")


def compare_record(path: Path, layer: Node, nlp: Any) -> list[str]:
    """Compares vectors and versions with the record that a run of t2v left beside its weights, if there is one."""
    import spacy

    record = path.resolve().parent / "t2v" / "job" / "job.json"
    if not record.is_file():
        return []
    job = json.loads(record.read_text(encoding="utf8"))
    uses = any(node.name == "static_vectors" for node in layer.walk())
    if uses and job.get("vectors") and job["vectors"].get("digest") not in (None, vectors.digest(nlp.vocab.vectors)):
        raise InputError(
            "these are not the vectors that the weights were pretrained with, and spaCy would not notice",
            "[initialize] vectors",
            f"give those of {job['vectors']['file']}",
        )
    if job.get("language") not in (None, nlp.lang):
        raise InputError(
            f'the weights were pretrained for "{job["language"]}", the config says "{nlp.lang}"', "[nlp]", "use the config of the run"
        )
    written = job["versions"]["spacy"]
    if written.split(".")[:2] != spacy.__version__.split(".")[:2]:
        return [f"the weights are spaCy {written}'s and this is {spacy.__version__}: the file is the same in both"]
    return []


def listeners(nlp: Any, settings: dict[str, Any]) -> list[str]:
    """A tok2vec without listeners has no effect."""
    component = nlp.get_pipe(settings["component"])
    if not hasattr(component, "listening_components") or component.listening_components:
        return []
    return [f'but no component listens to "{settings["component"]}": its weights will not be used (give them a Tok2VecListener)']


def how(raw: Any, config_path: Path, path: Path) -> str:
    """The command that loads the weights."""
    named = raw.interpolate().get("initialize", {}).get("init_tok2vec")
    command = f"python -m spacy train {config_path}"
    if named is not None and Path(named).resolve() == path.resolve():
        return command
    uses_path = str(raw.get("initialize", {}).get("init_tok2vec")) == "${paths.init_tok2vec}"
    return f"{command} {'--paths.init_tok2vec' if uses_path else '--initialize.init_tok2vec'} {path}"
