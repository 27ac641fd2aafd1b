"""Copies the carried French texts and labels into a folder. In a project of your own: fetch and convert your data here.

python scripts/get_data.py corpus
"""

import shutil
import sys
from pathlib import Path

CARRIED = Path(__file__).resolve().parents[3] / "demo" / "french"

target = Path(sys.argv[1])
target.mkdir(parents=True, exist_ok=True)
for name in ("texts.jsonl", "train.spacy", "dev.spacy"):
    shutil.copyfile(CARRIED / name, target / name)
