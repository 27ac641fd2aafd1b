"""Where a run's figures go while it trains: loggers in spaCy's form, and TensorBoard. In: rows of log.jsonl and events. Out: calls to them.

A sink that fails is reported once and then ignored: a run of days must not end because a server was unreachable.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, Callable, Optional, Protocol

from .display import warn
from .errors import InputError
from .events import Row, number, trained


class Sink(Protocol):
    name: str

    def row(self, row: Row, kind: str) -> None: ...

    def close(self) -> None: ...


class Losses(dict[str, float]):
    """Losses by component. Loggers ask for every component that can be trained; those that are not pretrained have no loss."""

    def __missing__(self, name: str) -> float:
        return 0.0


class Logger:
    """A logger as `spacy train` calls it: `setup_logger(nlp, stdout, stderr) -> (log_step(info), finalize())`."""

    def __init__(self, name: str, setup: Callable[..., Any], nlp: Any, component: str) -> None:
        self.name, self.component = name, component
        self.log_step, self.finalize = setup(nlp, sys.stdout, sys.stderr)
        self.known: Row = {}
        self.steps = 0
        self.checkpoints: list[tuple[float, int]] = []
        self.begun: Optional[float] = None

    def row(self, row: Row, kind: str) -> None:
        info = self.info(row, kind)
        if info is not None:
            self.log_step(info)

    def info(self, row: Row, kind: str) -> Optional[dict[str, Any]]:
        """What `spacy train` gives to its logger (spacy/training/loop.py, 3.8.18), with pretraining's figures; None if the row has none.

        score is minus the held-out loss, or minus the training loss without one: spaCy's scores are better when they are greater.
        """
        figures = figures_of(row, kind)
        time = number(row.get("time"))
        if time is not None and self.begun is None:
            self.begun = time
        if not figures:
            return None
        self.known.update(figures)
        self.steps += 1
        judged = self.known.get("held_out_loss", self.known.get("loss"))
        score = -judged if judged is not None else 0.0
        if kind == "evaluation":
            self.checkpoints.append((score, self.steps))
        return {
            "epoch": int(row.get("epoch") or 0),
            "step": int(row.get("update") or self.steps),
            "score": score,
            "other_scores": {name: value for name, value in self.known.items() if name != "loss"},
            "losses": Losses({self.component: self.known["loss"]} if "loss" in self.known else {}),
            "checkpoints": list(self.checkpoints) or [(score, self.steps)],
            "seconds": int(time - self.begun) if time is not None and self.begun is not None else 0,
            "words": int(self.known.get("nr_word", 0)),
        }

    def close(self) -> None:
        self.finalize()


def figures_of(row: Row, kind: str) -> dict[str, float]:
    """The numbers of a row, by the names that sinks use. Losses are per selected word."""
    names = {
        "log": {"loss_per_selected_word": "loss", "held_out_loss": "held_out_loss", "nr_word": "nr_word"},
        "progress": {"loss": "loss", "words_per_second": "words_per_second", "workers": "workers", "nr_word": "nr_word"},
        "epoch": {"words_per_second": "words_per_second", "workers": "workers", "nr_word": "nr_word"},
        "evaluation": {"loss": "held_out_loss", "nr_word": "nr_word"},
    }.get(kind, {})
    found: dict[str, float] = {}
    if kind == "log" and not trained(row):
        return found
    for key, name in names.items():
        value = number(row.get(key))
        if value is not None:
            found[name] = value
    if kind == "log" and "loss" not in found:  # spaCy's own log has no loss per word
        value = number(row.get("epoch_loss"))
        found.update({} if value is None else {"loss": value})
    return found


TAGS = {"loss": "loss/train", "held_out_loss": "loss/held_out", "words_per_second": "words_per_second", "workers": "workers"}


class TensorBoard:
    """Scalars for TensorBoard; the step is the number of words trained on.

    Raises: InputError if the package is missing.
    """

    name = "TensorBoard"

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboard.summary import Writer
        except ImportError:
            raise InputError(
                "scalars for TensorBoard need its package, which is not installed", "[t2v] tensorboard", 'pip install "t2v[tensorboard]"'
            ) from None
        folder.mkdir(parents=True, exist_ok=True)
        self.writer = Writer(str(folder))

    def row(self, row: Row, kind: str) -> None:
        figures = figures_of(row, kind)
        step = int(figures.pop("nr_word", 0))
        for name, value in figures.items():
            self.writer.add_scalar(TAGS[name], value, step, wall_time=number(row.get("time")))
        if figures:
            self.writer.flush()

    def close(self) -> None:
        self.writer.close()


class Guarded:
    """A sink whose failures are reported once and do no harm."""

    def __init__(self, sink: Sink) -> None:
        self.sink: Optional[Sink] = sink

    def call(self, act: Callable[[Sink], None]) -> None:
        if self.sink is None:
            return
        try:
            act(self.sink)
        except Exception as error:
            warn(f"{self.sink.name} failed and will get nothing more: {type(error).__name__}: {error}")
            self.sink = None


def make_sinks(config: Any, code: Optional[Path]) -> list[Sink]:
    """The sinks that a raw config asks for: [t2v.logger], else [pretraining.logger], and [t2v] tensorboard.

    Raises: InputError if one cannot be made.
    """
    own = config.get("t2v") or {}
    where = "[t2v.logger]" if own.get("logger") else "[pretraining.logger]"
    section = own.get("logger") or (config.get("pretraining") or {}).get("logger")
    sinks: list[Sink] = []
    if section:
        sinks.append(make_logger(config, section, where, code))
    if own.get("tensorboard"):
        sinks.append(TensorBoard(Path(str(config.interpolate()["t2v"]["tensorboard"]))))
    return sinks


def make_logger(config: Any, section: Any, where: str, code: Optional[Path]) -> Logger:
    from confection import ConfigValidationError
    from spacy.util import load_model_from_config, registry

    from .config import flatten, import_code

    import_code(code)
    remedy = "give a logger of spacy-loggers, or register yours in the file that --code names"
    name = str(section.get("@loggers", "")) if isinstance(section, dict) else ""
    if not name:
        raise InputError("no logger is given here", where, 'say @loggers = "spacy.WandbLogger.v5", or another')
    try:
        settings = config.interpolate()
        part = settings["t2v" if where == "[t2v.logger]" else "pretraining"]["logger"]
        setup = registry.resolve({"logger": part})["logger"]
        settings["initialize"]["init_tok2vec"] = None
        settings["pretraining"].pop("logger", None)
        nlp = load_model_from_config(settings, auto_fill=True)
        return Logger(name, setup, nlp, str(settings["pretraining"].get("component", "tok2vec")))
    except ConfigValidationError as error:
        raise InputError(flatten(error), where, remedy) from None
    except Exception as error:
        raise InputError(f"{name} could not be set up: {type(error).__name__}: {error}", where, remedy) from error
