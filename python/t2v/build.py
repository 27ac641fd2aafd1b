"""Builds the real pretraining model, in spaCy's own order of steps, with spaCy's own functions. In: a config. Out: the model, initialized.

The steps and their order determine which random numbers each weight gets: spacy/training/pretrain.py (3.8.18), `pretrain` and
`create_pretraining_model`. Walks the layer before spaCy initializes it, since the walk can explain failures that spaCy cannot.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from . import vectors
from .config import Config, flatten
from .errors import InputError, nearest
from .head import read_objective
from .layers import Node, Tensor, UnknownLayer
from .walk import Walk

PARSERS = ("ner", "parser", "beam_ner", "beam_parser")
"""Factories whose layer "tok2vec" is more than a tok2vec layer: spaCy cannot pretrain it."""

SHAPES = "Give it a doc to infer shapes"


@dataclass
class Built:
    """What spaCy's `pretrain` has built when the first epoch begins."""

    nlp: Any
    config: Config
    """Interpolated, as the pipeline holds it."""
    settings: dict[str, Any]
    """[pretraining], resolved."""
    corpus: Any
    """The reader."""
    tok2vec: Node
    walk: Walk
    objective: dict[str, Any]
    mask_probability: float
    head: list[Tensor]
    notes: list[str]
    """Notes for the user."""


@contextmanager
def explained(step: str, where: str) -> Iterator[None]:
    """Says which step failed when spaCy raises; an `InputError` passes."""
    from confection import ConfigValidationError

    try:
        yield
    except InputError:
        raise
    except ConfigValidationError as error:
        text = flatten(error)
        is_missing = "required" in text.lower() or "missing" in text.lower()
        advice = "`python -m spacy init fill-config --pretraining` adds what is missing" if is_missing else "correct it"
        raise InputError(text, where, advice) from error
    except Exception as error:
        text = str(error).split("Available names:")[0].strip()
        raise InputError(f"spaCy could not {step}: {type(error).__name__}: {text}", where, remedy(text)) from error


def remedy(text: str) -> str:
    """The remedy for spaCy's more frequent errors."""
    if "[E893]" in text or "Could not find function" in text or "[E002]" in text:
        return "give the file that registers it with --code, or install its package"
    if "[E955]" in text and importlib.util.find_spec("spacy_lookups_data") is None:
        return "pip install spacy-lookups-data"
    if "[E955]" in text:
        return "spacy-lookups-data has no such table for this language: set [initialize] lookups = null"
    if "No module named 'torch'" in text:
        return "t2v trains no layers of PyTorch: use spacy.MaxoutWindowEncoder.v2; if another component needs PyTorch, install it"
    if "[E150]" in text:
        return "give vectors that were made for the language of [nlp]"
    return "fix the config (T2V_TRACEBACK=1 shows where it comes from)"


def build(raw: Config) -> Built:
    """Steps 2 to 9 of `spacy pretrain`.

    Raises: InputError, in one sentence, for whatever the user can fix.
    """
    from spacy.schemas import ConfigSchemaPretrain
    from spacy.training.pretrain import create_pretraining_model  # noqa: F401  (the function that this follows)
    from spacy.util import dot_to_object, load_model_from_config, registry
    from thinc.api import fix_random_seed

    config = raw.interpolate()
    check_blocks(config)
    if config["training"]["seed"] is not None:
        fix_random_seed(config["training"]["seed"])
    config["initialize"]["init_tok2vec"] = None  # never affects pretraining
    with explained("build the pipeline", "[nlp] and [components]"):
        nlp = load_model_from_config(config)
    config = nlp.config.interpolate()
    check_keys(config["pretraining"], ConfigSchemaPretrain, nlp)
    notes: list[str] = []
    with explained("resolve the section", "[pretraining]"):
        settings = registry.resolve(config["pretraining"], schema=ConfigSchemaPretrain)
    corpus = resolve_corpus(config, settings["corpus"], dot_to_object, registry)
    vectors.check_name(config)
    with explained("initialize the pipeline", "[initialize]"), nlp.select_pipes(enable=[]):
        nlp.initialize()
    tok2vec = find_layer(nlp, settings, notes)
    section = f"[components.{settings['component']}.model]"
    walked(tok2vec, nlp, section, config, settings)
    check_static_vectors(tok2vec, nlp, section)
    with explained("tokenize a text", "[nlp.tokenizer]"):
        document = [nlp.make_doc(SHAPES)]
    with explained("initialize the layer", section):
        tok2vec.initialize(X=document)
    with objective_errors(nlp):
        model = settings["objective"](nlp.vocab, tok2vec)
    with explained("initialize the objective", "[pretraining.objective]"):
        model.initialize(X=document)
    set_dropout(model, settings["dropout"])
    walk = walked(tok2vec, nlp, section, config, settings)
    objective, mask_probability, head = read_objective(model, tok2vec, walk, nlp.vocab.vectors)
    return Built(nlp, config, settings, corpus, tok2vec, walk, objective, mask_probability, head, notes)


def check_blocks(config: Config) -> None:
    """The sections that spaCy's `pretrain` reads without checking that they exist."""
    if not config.get("pretraining"):
        raise InputError(
            "there is no [pretraining] block", "config", "`python -m spacy init fill-config --pretraining CONFIG CONFIG` adds one"
        )
    for section, keys in [("nlp", ["lang", "pipeline"]), ("training", ["seed", "gpu_allocator"]), ("initialize", [])]:
        for key in [None, *keys]:
            if section not in config or (key and key not in config[section]):
                raise InputError(
                    f"{key or 'the section'} is missing", f"[{section}]", "`python -m spacy init fill-config CONFIG CONFIG` fills it"
                )


def check_keys(section: dict[str, Any], schema: Any, nlp: Any) -> None:
    """Keys of [pretraining]: spaCy 3.8.18 drops unknown ones silently. Loggers get their figures from t2v (docs/loggers.md)."""
    known = list(getattr(schema, "model_fields", None) or schema.__fields__)
    if section.get("component", "") is None:
        raise InputError("component is null", "[pretraining]", suggest_component(nlp))
    for name in section:
        if name not in known and name != "logger":
            raise InputError(f'there is no key "{name}"', "[pretraining]", nearest(name, known) or f"there are: {', '.join(known)}")


def resolve_corpus(config: Config, name: Any, dot_to_object: Any, registry: Any) -> Any:
    try:
        section = dot_to_object(config, name)
    except (KeyError, TypeError):
        raise InputError(f"corpus names the section [{name}], which does not exist", "[pretraining]", "add it, or name another") from None
    if not section or (isinstance(section, dict) and not any(key.startswith("@") for key in section)):
        raise InputError("no reader of texts is given here", f"[{name}]", 'say @readers = "spacy.JsonlCorpus.v1" and a path')
    if isinstance(section, dict) and "path" in section and section["path"] is None:
        raise InputError("path is null: there are no texts", f"[{name}]", "give them, for example with --paths.raw_text FILE.jsonl")
    with explained("make the reader", f"[{name}]"):
        return registry.resolve({"corpus": section})["corpus"]


def find_layer(nlp: Any, settings: dict[str, Any], notes: list[str]) -> Node:
    """The layer that [pretraining] names; a listener is replaced by the layer that it listens to, as spaCy does."""
    from spacy.training.pretrain import get_tok2vec_ref

    component, layer = settings["component"], settings["layer"]
    names = list(nlp.pipe_names) + [name for name in nlp.component_names if name not in nlp.pipe_names]
    if component not in names:
        where = "[pretraining]"
        known = ", ".join(names) or "none"
        raise InputError(f'component = "{component}" is not in the pipeline (it has: {known})', where, suggest_component(nlp))
    if not hasattr(nlp.get_pipe(component), "model") or not hasattr(nlp.get_pipe(component).model, "ref_names"):
        raise InputError(f'component = "{component}" has no model', "[pretraining]", suggest_component(nlp))
    model = nlp.get_pipe(component).model
    if layer and layer not in model.ref_names:
        known = ", ".join(f'"{name}"' for name in model.ref_names) or "none"
        raise InputError(f'layer = "{layer}": the model of "{component}" has no such layer (it has: {known})', "[pretraining]", 'try ""')
    tok2vec = get_tok2vec_ref(nlp, settings)
    if type(tok2vec).__name__ != "Tok2VecListener":
        return tok2vec
    upstream = tok2vec.upstream_name if tok2vec.upstream_name != "*" else "tok2vec"
    if upstream not in nlp.pipe_names:
        raise InputError(
            f'"{component}" listens to "{upstream}", which is not in the pipeline', "[pretraining]", "add it, or give the component its own"
        )
    notes.append(
        f'"{component}" listens to "{upstream}", so that one is pretrained; `spacy train` does not follow listeners: '
        f'set component = "{upstream}" and layer = "" in [pretraining] before you train'
    )
    return nlp.get_pipe(upstream).model


def suggest_component(nlp: Any) -> str:
    """What to write into [pretraining], given the pipeline."""
    factories = [(name, nlp.get_pipe_meta(name).factory) for name in nlp.pipe_names]
    if any(factory == "transformer" for _, factory in factories):
        return "t2v pretrains tok2vec layers; a transformer is pretrained already"
    for name, factory in factories:
        if factory == "tok2vec":
            return f'set component = "{name}" and layer = ""'
    for name, factory in factories:
        if factory in PARSERS:
            continue
        model = getattr(nlp.get_pipe(name), "model", None)
        if model is not None and "tok2vec" in getattr(model, "ref_names", ()):
            return f'set component = "{name}" and layer = "tok2vec"'
    for name, factory in factories:
        if factory in PARSERS:
            return f'give "{name}" a Tok2VecListener, add a component "tok2vec", and set component = "tok2vec" and layer = ""'
    return "add a component with a tok2vec layer"


def check_static_vectors(tok2vec: Node, nlp: Any, section: str) -> None:
    """The layer wants static vectors: are there any?"""
    import spacy.ml.staticvectors

    needs = any(node.name == "static_vectors" or node._func is spacy.ml.staticvectors.forward for node in tok2vec.walk())
    if needs and 0 in nlp.vocab.vectors.shape:
        raise InputError(
            f"the layer includes static vectors, and {vectors.none_in(nlp)}",
            section,
            "give --paths.vectors, or set include_static_vectors = false",
        )


@contextmanager
def objective_errors(nlp: Any) -> Iterator[None]:
    """spaCy's E875 and E906 in plain words."""
    where = "[pretraining.objective]"
    if 0 in nlp.vocab.vectors.shape:
        remedy = "give --paths.vectors, or use spacy.PretrainCharacters.v1"
    else:
        remedy = 'loss is "cosine" or "L2"'
    try:
        yield
    except ValueError as error:
        text = str(error)
        if "E875" in text:
            raise InputError(f"predicting vectors needs vectors, and {vectors.none_in(nlp)}", where, remedy) from error
        raise InputError(text, where, remedy) from error


def set_dropout(model: Node, rate: Any) -> None:
    from thinc.api import set_dropout_rate

    if not 0 <= rate < 1:
        raise InputError(f"dropout = {rate}", "[pretraining]", "give 0 or more, and less than 1")
    set_dropout_rate(model, rate)


def walked(tok2vec: Node, nlp: Any, section: str, config: Config, settings: dict[str, Any]) -> Walk:
    """Walks the layer; an error for an unknown part names its section of the config."""
    walk = Walk(tok2vec, nlp.vocab.vectors)
    try:
        walk.run()
    except UnknownLayer as error:
        raise layer_error(error, tok2vec, nlp, section, config, settings) from None
    return walk


def layer_error(error: UnknownLayer, tok2vec: Node, nlp: Any, section: str, config: Config, settings: dict[str, Any]) -> InputError:
    component, layer = settings["component"], settings["layer"]
    if error.node is tok2vec or error.why == "more layers follow the tok2vec layer":
        factory = nlp.get_pipe_meta(component).factory
        if factory in PARSERS:
            what = f'component = "{component}" with layer = "{layer}" is more than a tok2vec layer (spaCy cannot pretrain it either)'
            return InputError(what, "[pretraining]", f'give "{component}" a Tok2VecListener and pretrain component = "tok2vec"')
        if not layer:
            return InputError(f'the whole model of "{component}" is not a tok2vec layer', "[pretraining]", suggest_component(nlp))
    for part in ("embed", "encode"):
        if part in tok2vec.ref_names and tok2vec.has_ref(part) and error.node in list(tok2vec.get_ref(part).walk()):
            section = subsection(config, section, part)
    what = f'the layer "{error.node.name}" is not one that t2v can train: {error.why}'
    return InputError(what, section, "use spacy.MultiHashEmbed.v2 and spacy.MaxoutWindowEncoder.v2 (window_size = 1), or `spacy pretrain`")


def subsection(config: Config, section: str, part: str) -> str:
    """The section of a part of the layer, if the config has it: in the model itself, or in its tok2vec."""
    from spacy.util import dot_to_object

    for middle in ("", ".tok2vec"):
        name = f"{section[1:-1]}{middle}.{part}"
        try:
            dot_to_object(config, name)
        except (KeyError, TypeError):
            continue
        return f"[{name}]"
    return section
