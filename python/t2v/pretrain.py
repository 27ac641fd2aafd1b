"""`t2v pretrain` and `t2v resume`. In: a config and an output folder. Out: this process becomes the coordinator, with a job."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NoReturn, Optional

from . import config, display, follow, programs
from .commands import text_note
from .compile import compile_job
from .display import screen
from .errors import InputError

SECTIONS = ("paths", "nlp", "components", "corpora", "initialize", "pretraining", "t2v")
"""What a run depends on; of [training], only the seed."""


def holds_run(out: Path) -> bool:
    return (out / "t2v" / "run.json").is_file()


def pretrain(
    config_path: Path,
    out: Path,
    arguments: list[str],
    code: Optional[Path],
    resume_path: Optional[Path],
    epoch_resume: Optional[int],
    skip_last: bool,
    verified: int = 500,
) -> NoReturn:
    """Compiles, then becomes the coordinator. Only the coordinator touches an old run in `out`.

    Raises: InputError.
    """
    overrides, options = programs.split(arguments)
    display.choose(options)
    program = programs.find()
    resume, overwrite = programs.option(options, "resume"), programs.option(options, "overwrite") is not None
    check_options(out, resume, overwrite, resume_path, epoch_resume)
    if holds_run(out) and resume == "auto":
        go_on(program, config_path, out, overrides, options, code)
    options = programs.without(options, "resume")
    job = out / "t2v" / "job"
    if job.exists():  # perhaps of a run in progress: the coordinator puts the new one in its place
        job = out / "t2v" / "job.new"
    result, notes = compile_job(
        config_path,
        job,
        overrides,
        code,
        weights=resume_path,
        epoch_start=first_epoch(resume_path, epoch_resume),
        skip_last=skip_last,
        verified=verified,
    )
    for note in [*notes, text_note(result)]:
        screen.say(note)
    follow.become(program, ["pretrain", "--job", str(job), str(out), *options], out, job / "config.cfg", code)


def check_options(out: Path, resume: Optional[str], overwrite: bool, resume_path: Optional[Path], epoch_resume: Optional[int]) -> None:
    """The coordinator's rules, checked before anything is compiled."""
    if resume not in (None, "auto"):
        raise InputError(f"--resume is {resume}", "", "say --resume auto, or use `python -m spacy t2v resume OUT`")
    if resume and overwrite:
        raise InputError("--resume auto and --overwrite cannot be combined", "", "give one of them")
    if out.exists() and not out.is_dir():
        raise InputError("it is not a folder", str(out), "give another output folder")
    if holds_run(out) and not resume and not overwrite:
        raise InputError(
            "the output folder holds a run",
            str(out),
            f"resume with `python -m spacy t2v resume {out}`, or give --overwrite or another folder",
        )
    if epoch_resume is not None and resume_path is None:
        raise InputError("--epoch-resume goes with --resume-path only", "", "give both, or `python -m spacy t2v resume OUT`")
    if resume_path is not None and not resume_path.is_file():
        raise InputError("there is no such file of weights", f"--resume-path {resume_path}", "give a modelN.bin")


def first_epoch(resume_path: Optional[Path], epoch_resume: Optional[int]) -> int:
    """As in spaCy: --epoch-resume, else the number in the file's name plus one (spacy/training/pretrain.py, `_resume_model`)."""
    if resume_path is None:
        return 0
    if epoch_resume is not None:
        if epoch_resume < 0:
            raise InputError(f"--epoch-resume is {epoch_resume}", "", "give 0 or more")
        return epoch_resume
    found = re.search(r"model(\d+)\.bin", resume_path.name)
    if not found:
        raise InputError("the file is not called modelN.bin, so its epoch is not known", str(resume_path), "give --epoch-resume")
    return int(found[1]) + 1


def go_on(program: Path, config_path: Path, out: Path, overrides: list[str], options: list[str], code: Optional[Path]) -> NoReturn:
    """Resumes the run in `out`, if it is the run of this config. More epochs are allowed."""
    config.import_code(code)
    new = config.load(config_path, config.read_overrides(overrides))
    old_path = out / "t2v" / "job" / "config.cfg"
    epochs: list[str] = []
    if old_path.is_file():
        old = config.load(old_path, {})
        changed = differences(old, new)
        wanted, had = (raw.interpolate().get("pretraining", {}).get("max_epochs") for raw in (new, old))
        if isinstance(wanted, int) and isinstance(had, int) and wanted > had:
            epochs = ["--n-iter", str(wanted)]
        if changed:
            raise InputError(
                f"the config is not that of the run: {', '.join(changed[:5])} differ",
                str(out),
                f"continue it unchanged with `python -m spacy t2v resume {out}`, or give --overwrite or another folder",
            )
    follow.become(program, ["resume", str(out), *epochs, *programs.without(options, "resume")], out, old_path, code)


def differences(old: Any, new: Any) -> list[str]:
    """Keys whose values differ, as section.key; max_epochs may differ."""
    one, other = (flattened({name: raw.get(name) for name in SECTIONS}) for raw in (old.interpolate(), new.interpolate()))
    names = sorted(set(one) | set(other))
    return [name for name in names if one.get(name) != other.get(name) and name != "pretraining.max_epochs"]


def flattened(value: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {} if value is None else {prefix: json.dumps(value, default=str)}
    return {
        name: found for key, inner in value.items() for name, found in flattened(inner, f"{prefix}.{key}" if prefix else str(key)).items()
    }


def resume(out: Path, arguments: list[str], code: Optional[Path] = None) -> NoReturn:
    """Becomes `t2v-coordinator resume OUT`, which knows the rest."""
    if not out.is_dir():
        raise InputError("there is no run to resume", str(out), "start one with `python -m spacy t2v pretrain CONFIG OUT`")
    follow.become(programs.find(), ["resume", str(out), *arguments], out, out / "t2v" / "job" / "config.cfg", code)
