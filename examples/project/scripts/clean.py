"""Removes what the project's commands made."""

import shutil
from pathlib import Path

for name in ("corpus", "job", "pretrained", "training", "packages"):
    shutil.rmtree(name, ignore_errors=True)
Path("project.lock").unlink(missing_ok=True)
