"""`t2v status`: how far along a run is, whether it is running, and how to continue it. In: OUT, with whatever files exist. Out: facts, or
lines. It only reads: nothing that it does can disturb a run."""

from __future__ import annotations

import fcntl
import json
import os
import shlex
import struct
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional

from . import events
from .errors import InputError
from .words import duration

JSON = dict[str, Any]

WORDS = {
    "preparing": "preparing texts",
    "running": "running",
    "done": "finished",
    "early": "stopped early",
    "stopped": "stopped",
    "killed": "ended unexpectedly: killed, or the machine went down",
}
MOST_HEADER = 1 << 26
"""The most bytes of a checkpoint's header that are believed."""


@dataclass(frozen=True)
class Layout:
    """Where a run's files are: t2v/ in the output folder, or beside the weights, as in t2v 0.1.0."""

    options: Path
    lock: Path
    checkpoints: Path
    spool: Path


def layout(out: Path) -> Layout:
    own = out / "t2v"
    options = read_json(out / "config.json")
    if not own.is_dir() and "t2v_version" in options:
        return Layout(out / "config.json", out / ".lock", out / "checkpoints", out / "texts.spool.jsonl")
    return Layout(own / "run.json", own / "lock", own / "checkpoints", own / "texts.spool.jsonl")


def read_json(path: Path) -> JSON:
    """An object in a file; empty if there is none."""
    try:
        value = json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def status(out: Path) -> JSON:
    """Everything in the files, as `--json` prints it (docs/status.md).

    Raises: InputError if `out` holds no run of t2v.
    """
    places = layout(out)
    running = is_locked(places.lock)
    options = read_json(places.options)
    if not options and not running:
        raise InputError(*no_run(out))
    happened = events.read(events.events_path(out))
    log = [row for row in events.read(events.log_path(out)) if events.trained(row)]
    checkpoint = newest_checkpoint(out, places.checkpoints)
    state, why = state_of(running, options, checkpoint, happened)
    found: JSON = {"folder": str(out.absolute()), "state": state, "why": why, "process": owner(places.lock) if running else None}
    found.update(progress(state, options, happened, log, checkpoint))
    found["checkpoint"] = checkpoint
    found["weights"] = [path.name for path in sorted(out.glob("model*.bin"), key=lambda path: path.stat().st_mtime)]
    found["resume"] = resumption(out, state, options, places, checkpoint)
    return found


def no_run(out: Path) -> tuple[str, str, str]:
    """What is there instead of a run."""
    start = "start one with `python -m spacy t2v pretrain CONFIG OUT`"
    if not out.is_dir():
        return "there is no such folder", str(out), start
    if (out / "t2v" / "job").is_dir():
        return "a job is compiled here, but its training never began", str(out), "repeat the command that you began with"
    if (out / "log.jsonl").is_file():
        return "this is a run of `spacy pretrain`, which cannot be resumed as it was", str(out), "t2v starts from its modelN.bin with -r"
    return "the folder holds no run", str(out), start


def state_of(running: bool, options: JSON, checkpoint: Optional[JSON], happened: list[events.Row]) -> tuple[str, str]:
    """The state's name (WORDS), and why the run ended, if that is recorded."""
    if running:
        return ("running" if options else "preparing"), ""
    last = happened[-1] if happened else {}
    told = str(last.get("status", "")) if last.get("kind") == "stopped" else ""
    if told == "early":
        return "early", events.reason(last) or "the held-out loss no longer improves"
    if checkpoint and checkpoint["epoch"] >= last_epoch(options) and checkpoint["epoch_update"] == 0:
        return "done", ""
    if happened and not told:
        return "killed", ""
    return "stopped", events.reason(last) if told else ""


def last_epoch(options: JSON) -> int:
    """The number after the last epoch's."""
    return int(options.get("epoch_start") or 0) + int(options.get("n_iter") or 0)


def progress(state: str, options: JSON, happened: list[events.Row], log: list[events.Row], checkpoint: Optional[JSON]) -> JSON:
    """Epoch, words, speed, losses. For an active run the latest figures, else those from which it would continue."""
    begun = max((index for index, row in enumerate(happened) if row.get("kind") == "started"), default=None)
    recent = happened[begun:] if begun is not None else []
    told = [row for row in recent if events.number(row.get("nr_word")) is not None]
    now: JSON = dict(told[-1]) if state == "running" and told else {}
    words = now.get("nr_word", checkpoint["words"] if checkpoint else None)
    epoch = next((row["epoch"] for row in reversed(told) if "epoch" in row), None) if state == "running" else None
    if epoch is None and checkpoint:
        epoch = checkpoint["epoch"]
    first, epochs = int(options.get("epoch_start") or 0), int(options.get("n_iter") or 0)
    each = next((events.number(row.get("words")) for row in reversed(happened) if row.get("kind") == "started"), None)
    if each is None and log:
        done = int(log[-1].get("epoch", 0)) - first + 1
        each = (events.number(log[-1].get("nr_word")) or 0) / done if done > 0 else None
    total = int(each * epochs) if each else None
    speed = next((events.number(row.get("words_per_second")) for row in reversed(recent) if "words_per_second" in row), None)
    left = (total - words) / speed if state == "running" and total and speed and words is not None else None
    return {
        "epoch": min(int(epoch), last_epoch(options) - 1) if epoch is not None and options else None,
        "last_epoch": last_epoch(options) - 1 if options else None,
        "words": None if words is None else int(words),
        "total_words": total,
        "words_per_second": None if speed is None or state != "running" else int(speed),
        "seconds_left": None if left is None else max(0, int(left)),
        "workers": next((row["workers"] for row in reversed(recent) if "workers" in row), None) if state == "running" else None,
        "loss": latest_loss(recent if state == "running" else [], log),
        "held_out": held_out(happened),
        "updated": max([events.number(row.get("time")) or 0 for row in happened[-1:]], default=None),
    }


def latest_loss(recent: list[events.Row], log: list[events.Row]) -> Optional[float]:
    """The latest training loss per hidden word."""
    for row in reversed(recent):
        if row.get("kind") in ("progress", "epoch") and events.number(row.get("loss")) is not None:
            return events.number(row.get("loss"))
    return events.number(log[-1].get("loss_per_selected_word", log[-1].get("epoch_loss"))) if log else None


def held_out(happened: list[events.Row]) -> Optional[JSON]:
    """The last held-out loss, and the best with its epoch; None if nothing is held out."""
    scored = [row for row in happened if row.get("kind") == "evaluation" and events.number(row.get("loss")) is not None]
    if not scored:
        return None
    best = min(scored, key=lambda row: float(row["loss"]))
    return {"loss": scored[-1]["loss"], "best_loss": best["loss"], "best_epoch": best.get("epoch")}


def newest_checkpoint(out: Path, folder: Path) -> Optional[JSON]:
    """The checkpoint that a resumed run would use, judged by its header and length. Its name is relative to `out`."""
    found = []
    for path in folder.glob("checkpoint-*.safetensors"):
        number = path.name[len("checkpoint-") : -len(".safetensors")]
        if number.isascii() and number.isdigit():
            found.append((int(number), path))
    for _, path in sorted(found, reverse=True):
        try:
            state = checkpoint_state(path)
            return {
                "file": str(path.relative_to(out)),
                "update": int(state["update"]),
                "epoch": int(state["epoch"]),
                "epoch_update": int(state["epochUpdate"]),
                "words": int(state["wordCount"]),
                "time": round(path.stat().st_mtime, 3),
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
            continue
    return None


def checkpoint_state(path: Path) -> JSON:
    """The state in a checkpoint's metadata (Sources/Core/Formats/Checkpoint/Checkpoint.swift).

    Raises: ValueError, and others, if the file is not an intact checkpoint.
    """
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > MOST_HEADER:
            raise ValueError("the header is too long")
        header = json.loads(file.read(size))
    end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
    if path.stat().st_size < 8 + size + end:
        raise ValueError("the file is truncated")
    state = json.loads(header["__metadata__"]["state"])
    return dict(state)


def is_locked(path: Path) -> bool:
    """Whether a coordinator holds the lock. Takes it for a moment, shared, and releases it at once."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except OSError:
        return True
    finally:
        os.close(descriptor)


def owner(path: Path) -> Optional[int]:
    """The process that holds the lock, if it is one of this machine."""
    try:
        inode, table = path.stat().st_ino, Path("/proc/locks").read_text()
    except OSError:
        return None
    for line in table.splitlines():
        fields = line.split()
        if "FLOCK" in fields and any(field.endswith(f":{inode}") for field in fields):
            process = int(fields[fields.index("FLOCK") + 3])
            return process if process > 0 else None
    return None


def resumption(out: Path, state: str, options: JSON, places: Layout, checkpoint: Optional[JSON]) -> JSON:
    """Whether the run can be continued, why not, and the exact command."""
    program = "python -m spacy t2v" if options.get("job") else "t2v-coordinator"
    command = f"{program} resume {shlex.quote(str(out))}"
    if state in ("running", "preparing"):
        return {"possible": False, "why": "it is already running", "command": None}
    if state == "done":
        more = f"{command} --n-iter {2 * int(options.get('n_iter') or 1)}"
        return {"possible": True, "why": "all epochs are done; more are possible", "command": more}
    if state == "early":
        return {
            "possible": True,
            "why": "with more patience",
            "command": f"{command} --patience {2 * max(1, int(options.get('patience') or 1))}",
        }
    why = missing(options, places, checkpoint)
    return {"possible": not why, "why": why, "command": None if why else command}


def missing(options: JSON, places: Layout, checkpoint: Optional[JSON]) -> str:
    """What a resumed run would miss; empty if nothing."""
    if checkpoint is None:
        return f"there is no intact checkpoint in {places.checkpoints}"
    texts = options.get("texts") or [options.get("texts_loc")]
    kept = any(str(text) == "-" or str(text).endswith(".gz") for text in texts)
    if kept and not places.spool.is_file() and "-" in texts:
        return "the texts came on standard input, and what was kept of them is gone: give them with --texts FILE"
    for name in [options.get("job"), options.get("vectors_model"), *([] if kept else texts)]:
        if name and not Path(str(name)).exists():
            return f"{name} no longer exists"
    return ""


def lines(found: JSON) -> list[str]:
    """The facts for people."""
    head = f"{found['folder']}: {WORDS[found['state']]}"
    if found["process"]:
        head += f" (process {found['process']})"
    rows = [("", head + (f": {found['why']}" if found["why"] else ""))]
    if found["epoch"] is not None:
        rows.append(("epoch", f"{found['epoch']}, the last is {found['last_epoch']}"))
    if found["words"] is not None:
        total = found["total_words"]
        share = f" of {total:,} ({100 * found['words'] / total:.1f}%)" if total else ""
        rows.append(("words", f"{found['words']:,}{share}"))
    if found["words_per_second"] is not None:
        speed = f"{found['words_per_second']:,} words/s"
        speed += f", {duration(found['seconds_left'])} left" if found["seconds_left"] is not None else ""
        rows.append(("speed", speed))
    if found["workers"] is not None:
        rows.append(("workers", str(found["workers"])))
    if found["loss"] is not None:
        rows.append(("loss", f"{found['loss']:.4f} per hidden word"))
    if found["held_out"]:
        best = found["held_out"]
        rows.append(("held out", f"{best['loss']:.4f}, best {best['best_loss']:.4f} after epoch {best['best_epoch']}"))
    if found["weights"]:
        count, best = len(found["weights"]), "model-best.bin" in found["weights"]
        name = "model-best.bin, the best" if best else f"{found['weights'][-1]}, the latest"
        rows.append(("weights", f"{name} of {count} files" if count > 1 else found["weights"][0]))
    if found["checkpoint"]:
        point = found["checkpoint"]
        ago = duration(time.time() - point["time"])
        rows.append(("checkpoint", f"{point['file']}, {ago} ago; epoch {point['epoch']}, {point['words']:,} words"))
    return [f"{name:<11} {text}".strip() for name, text in rows] + [resume_line(found["resume"])]


def resume_line(resume: JSON) -> str:
    if resume["command"]:
        return f"resume      {resume['command']}" + (f" ({resume['why']})" if resume["why"] else "")
    return f"resume      no: {resume['why']}"
