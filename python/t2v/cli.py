"""The commands, added to spaCy's own command line. spaCy imports this module for every command, so it must be light and must not fail."""

try:
    from spacy.cli._util import app

    from .tools import commands

    app.add_typer(commands, name="t2v")
except Exception:  # a fault here would break every command of spaCy
    pass
