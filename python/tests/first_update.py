"""The real `spacy pretrain`, stopped at its first update. In: OUT.bin and the command's arguments. Out: the tok2vec of that moment."""

import sys
from pathlib import Path

from spacy.cli._util import app
from typer.main import get_command

import spacy.cli.pretrain  # noqa: F401  isort: skip

TRAINING = sys.modules["spacy.training.pretrain"]


class Stop(Exception):
    pass


def stop(model, docs, optimizer, objective):  # type: ignore[no-untyped-def]
    Path(sys.argv[1]).write_bytes(model.get_ref("tok2vec").to_bytes())
    raise Stop


TRAINING.make_update = stop  # type: ignore[attr-defined]
try:
    get_command(app)(args=["pretrain", *sys.argv[2:]], standalone_mode=False)
except Stop:
    pass
