"""`spacy t2v report`: one page about a run. In: OUT, with whatever files exist. Out: a self-contained HTML file that needs no network."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from collections.abc import Iterable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Optional

from . import __version__, events, report_plots
from .errors import InputError
from .plots import STYLE

PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,"><title>{title}</title><style>
:root {{ --back: #fff; --text: #222; --soft: #666; --line: #ddd; --box: #f6f6f4; }}
@media (prefers-color-scheme: dark) {{ :root {{ --back: #16181b; --text: #e4e4e4; --soft: #9a9a9a; --line: #34383d; --box: #1f2226; }} }}
* {{ box-sizing: border-box; }}
body {{ margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--back); color: var(--text);
  font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ font-size: 1.5rem; overflow-wrap: anywhere; margin: .3rem 0; }} h2 {{ font-size: 1.15rem; margin: 2rem 0 .5rem; }}
p {{ margin: .3rem 0; }} .soft {{ color: var(--soft); }}
.plots {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); gap: 1rem; }}
figure {{ margin: 0; background: var(--box); border-radius: .5rem; padding: .5rem; min-width: 0; }}
figcaption {{ font-weight: 600; font-size: .95rem; }} svg {{ width: 100%; height: auto; display: block; }}
.wide {{ overflow-x: auto; }} table {{ border-collapse: collapse; width: 100%; font-size: .93rem; }}
th, td {{ text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }}
.list td:first-child {{ white-space: nowrap; }} .facts th {{ width: 11rem; font-weight: 600; color: var(--soft); }}
td.n, th.n {{ text-align: right; font-variant-numeric: tabular-nums; }} td.n {{ white-space: nowrap; }}
pre {{ background: var(--box); border-radius: .5rem; padding: .7rem; overflow-x: auto; font-size: .88rem; margin: .4rem 0; }}
@media (max-width: 30rem) {{ .facts th, .facts td {{ display: block; width: 100%; }} .facts th {{ border: 0; padding-bottom: 0; }} }}
{style}
</style></head><body>
{body}
</body></html>
"""


def write_report(out: Path, output: Optional[Path] = None) -> Path:
    """Writes the page and returns its path.

    Raises: InputError if `out` holds no pretraining, or Matplotlib is missing.
    """
    run = Run(out)
    title = f"t2v: {out.absolute().name}"
    body = "\n".join(part for part in sections(run) if part)
    target = output or out / "t2v" / "report.html"
    target.parent.mkdir(parents=True, exist_ok=True)
    fresh = target.with_name(f".{target.name}.{os.getpid()}")
    fresh.write_text(PAGE.format(title=text(title), style=STYLE, body=body), encoding="utf8")
    os.replace(fresh, target)
    return target


class Run:
    """The contents of a run's files. Every part may be missing."""

    def __init__(self, out: Path) -> None:
        if not out.is_dir():
            raise InputError("there is no such folder", str(out), "give the output folder of a pretraining")
        self.out = out
        rows = [row for row in events.read(events.log_path(out)) if events.number(row.get("nr_word")) is not None]
        self.log = [row for row in rows if events.trained(row)]
        self.events = events.read(events.events_path(out))
        if not self.log and not self.events:
            raise InputError(
                "there is neither log.jsonl nor t2v/events.jsonl",
                str(out),
                "give the output folder of a pretraining that has saved something",
            )
        self.job = read_json(out / "t2v" / "job" / "job.json")
        self.evaluation = read_json(out / "t2v" / "evaluate" / "summary.json")

    def of(self, *kinds: str) -> list[events.Row]:
        return [row for row in self.events if row.get("kind") in kinds]

    def weights(self) -> list[Path]:
        """model-best.bin, model-last.bin, then modelN.bin, latest first."""
        found = [path for path in self.out.glob("model*.bin") if path.is_file()]
        order = {"model-best.bin": -2, "model-last.bin": -1}
        return sorted(found, key=lambda path: (order.get(path.name, 0), -epoch_of(path)))


def epoch_of(path: Path) -> int:
    found = re.search(r"\d+", path.name)
    return int(found[0]) if found else -1


def read_json(path: Path) -> Any:
    """The contents of a file; an empty dictionary if it does not exist or is not JSON."""
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    return html.escape(str(value))


def facts(rows: Iterable[tuple[str, Any]]) -> str:
    cells = "".join(f"<tr><th>{text(name)}</th><td>{text(value)}</td></tr>" for name, value in rows if value not in (None, "", [], {}))
    return f'<table class="facts">{cells}</table>' if cells else ""


def listing(heads: list[str], rows: list[list[Any]], most: int = 200) -> str:
    """A table; of very many rows only the last ones. Numbers are aligned right."""
    left_out = len(rows) - most
    note = f'<p class="soft">{left_out:,} earlier ones are left out.</p>' if left_out > 0 else ""
    right = [' class="n"' if all(is_figure(row[i]) for row in rows) else "" for i in range(len(heads))]
    head = "".join(f"<th{place}>{text(name)}</th>" for name, place in zip(heads, right))
    body = "".join(
        "<tr>" + "".join(f"<td{place}>{text(shown(cell))}</td>" for cell, place in zip(row, right)) + "</tr>" for row in rows[-most:]
    )
    return f'{note}<div class="wide"><table class="list"><tr>{head}</tr>{body}</table></div>'


def is_figure(value: Any) -> bool:
    """A number, or a formatted one, or nothing: such columns are aligned right and not wrapped."""
    return isinstance(value, (int, float)) or bool(re.fullmatch(r"[\d,.]*( MB)?", str(value)))


def shown(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return "" if value is None else str(value)
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4f}" if isinstance(value, float) else str(value)


def when(seconds: Any) -> str:
    """A time in UTC; empty if the value is not a time."""
    value = events.number(seconds)
    if value is None or not 0 <= value < 1e11:
        return ""
    return datetime.fromtimestamp(value, timezone.utc).strftime("%Y-%m-%d %H:%M:%S")


def sections(run: Run) -> list[str]:
    return [head(run), plots(run), usage(run), what(run), happened(run), files(run), foot()]


def head(run: Run) -> str:
    stopped = run.of("stopped")
    state = stopped[-1] if stopped and run.events[-1].get("kind") == "stopped" else {}
    words = {
        "done": "finished",
        "early": "stopped early",
        "interrupted": "stopped; can be resumed",
        "failed": "failed",
    }
    line = words.get(str(state.get("status")), "")
    why = f" ({events.reason(state)})" if state.get("why") else ""
    best = min((value for value in (events.number(row.get("loss")) for row in run.of("evaluation")) if value is not None), default=None)
    rows = [
        ("state", line and line + why),
        ("words trained on", f"{int(run.log[-1]['nr_word']):,}" if run.log else None),
        ("epochs saved", len({row.get("epoch") for row in run.log}) or None),
        ("best held-out loss", None if best is None else f"{best:.4f} per hidden word"),
    ]
    return f"<h1>{text(run.out.absolute().name)}</h1><p class='soft'>{text(run.out.absolute())}</p>{facts(rows)}"


def plots(run: Run) -> str:
    drawn = report_plots.all_plots(run.log, run.events, run.evaluation)
    if not drawn:
        return ""
    figures = "".join(f"<figure><figcaption>{text(caption)}</figcaption>{svg}</figure>" for caption, svg in drawn)
    said = "".join(f"<p>{text(line)}</p>" for line in run.evaluation.get("verdicts", []) if isinstance(line, str))
    return f'<h2>Curves</h2><div class="plots">{figures}</div>{said}'


def usage(run: Run) -> str:
    """The commands that use the weights."""
    weights = run.weights()
    if not weights:
        return ""
    best = shlex.quote(str(run.out / weights[0].name))
    if not (run.out / "config.cfg").exists():
        command = f"python -m spacy train LANG TRAINED train.json dev.json -t2v {best}"
        return f"<h2>Use the weights</h2><p>With spaCy 2, the version whose vectors model was used:</p><pre>{text(command)}</pre>"
    train = (
        f"python -m spacy train config.cfg --output trained --verbose \\\n  --paths.train train.spacy --paths.dev dev.spacy \\\n"
        f"  --initialize.init_tok2vec {best}"
    )
    does_it = f"python -m spacy t2v evaluate config.cfg {shlex.quote(str(run.out))} --train train.spacy --dev dev.spacy"
    return (
        f"<h2>Use the weights</h2><p>Train with the config of the pretraining. It must contain the [pretraining] block: without it spaCy "
        f"ignores the weights and says nothing. With --verbose it says <i>Loaded pretrained weights</i>.</p><pre>{text(train)}</pre>"
        f"<p>Whether they help your task:</p><pre>{text(does_it)}</pre>"
    )


def what(run: Run) -> str:
    """What was trained on what, with which versions."""
    job, model = run.job, run.job.get("model") or {}
    started = (run.of("started") or [{}])[0]
    training, objective = job.get("training") or {}, model.get("objective") or {}
    inputs = [str(part.get("attribute") or part.get("kind")) for part in model.get("inputs") or [] if isinstance(part, dict)]
    encoder = (model.get("encoder") or {}).get("convolutions") or []
    sources = (job.get("text") or {}).get("sources") or started.get("texts") or []
    vectors = job.get("vectors") or {}
    size = {"width": model.get("width"), "depth": len(encoder) if model else None}
    versions = {"t2v": started.get("version"), **(job.get("versions") or {})}
    rows = [
        ("component", " ".join(str(job.get(key) or "") for key in ("component", "layer")).strip()),
        ("model", ", ".join(f"{name} {value}" for name, value in size.items() if value is not None)),
        ("inputs", ", ".join(inputs)),
        ("objective", objective.get("kind") and f"{objective['kind']} ({objective.get('loss')})"),
        ("language", job.get("language")),
        ("texts", ", ".join(map(str, sources))),
        ("documents", shown(started.get("documents"))),
        ("words an epoch", shown(started.get("words"))),
        ("vectors", vectors and f"{vectors.get('file')}, {shown(vectors.get('rows'))} rows of {vectors.get('width')}"),
        ("words an update", shown(training.get("words_per_update"))),
        ("seed", training.get("seed")),
        ("lanes", started.get("lanes")),
        ("versions", ", ".join(f"{name} {value}" for name, value in versions.items() if value)),
    ]
    table = facts(rows)
    return f"<h2>What was trained</h2>{table}" if table else ""


def happened(run: Run) -> str:
    """Starts, workers, faults, stops; counts of workers that came and went."""
    rows = [[when(row.get("time")), sentence(row)] for row in run.of("started", "worker_joined", "worker_left", "fault", "stopped")]
    if not rows:
        return ""
    counts = {kind: len(run.of(kind)) for kind in ("worker_joined", "worker_left", "fault", "checkpoint")}
    line = (
        f"{many(counts['worker_joined'], 'worker')} joined, {counts['worker_left']} left; {many(counts['fault'], 'fault')} survived; "
        f"{many(counts['checkpoint'], 'checkpoint')} written."
    )
    return f"<h2>What happened</h2><p>{line}</p>{listing(['time (UTC)', 'what'], rows)}"


def many(count: int, name: str) -> str:
    """1 fault, 2 faults."""
    return f"{count:,} {name}" + ("" if count == 1 else "s")


def sentence(row: events.Row) -> str:
    """An event in plain words."""
    kind, worker = row.get("kind"), row.get("worker", "")
    place = f" on {row['host']}" if row.get("host") else ""
    count = f" ({row['workers']} now)" if "workers" in row else ""
    if kind == "started":
        return "resumed" if row.get("resumed") else "started"
    if kind == "worker_joined":
        return f"worker {worker}{place} joined{count}"
    if kind == "worker_left":
        return f"worker {worker}{place} left: {row.get('reason', 'no reason given')}{count}"
    if kind == "fault":
        return f"fault: {row.get('what', '')}"
    return f"stopped: {row.get('status', '')}" + (f", {events.reason(row)}" if row.get("why") else "")


def files(run: Run) -> str:
    """Weights and checkpoints."""
    losses = {row.get("epoch"): row for row in run.log}
    scores = {row.get("epoch"): row.get("loss") for row in run.of("evaluation")}
    rows: list[list[Any]] = []
    for path in run.weights():
        row = losses.get(epoch_of(path)) if re.fullmatch(r"model\d+\.bin", path.name) else None
        row = row or {}
        loss = events.number(row.get("loss_per_selected_word"))
        held_out = events.number(row.get("held_out_loss", scores.get(row.get("epoch"))))
        size = f"{path.stat().st_size / 1e6:,.1f} MB"
        rows.append([path.name, size, "" if loss is None else f"{loss:.4f}", "" if held_out is None else f"{held_out:.4f}"])
    checkpoints = [[when(row.get("time")), Path(str(row.get("file", ""))).name, shown(row.get("nr_word"))] for row in run.of("checkpoint")]
    made = listing(["file", "size", "training loss", "held-out loss"], rows) if rows else ""
    kept = listing(["time", "checkpoint", "words"], checkpoints, most=20) if checkpoints else ""
    return (f"<h2>Weights</h2>{made}" if made else "") + (f"<h2>Checkpoints</h2>{kept}" if kept else "")


def foot() -> str:
    return f'<p class="soft">Made by t2v {text(__version__)}, {when(datetime.now(timezone.utc).timestamp())} UTC.</p>'
