#!/usr/bin/env bash
# Makes every committed golden file again, with the real spaCy versions in .venvs (or $T2V_VENVS).
set -eu
cd "$(dirname "$0")/../../.."
venvs=${T2V_VENVS:-.venvs}
reference=Tests/GoldenTests/reference
for version in 2.1.9 2.3.9; do
  python=$venvs/spacy-$version/bin/python
  [ -x "$python" ] || { echo "no spaCy $version in $venvs: its golden files stay as they are"; continue; }
  "$python" -W ignore $reference/model_reference.py Tests/GoldenTests/data
  "$python" -W ignore $reference/export_files.py Tests/GoldenTests/data
done
if [ -x "$venvs/spacy-3.8/bin/python" ]; then
  "$venvs/spacy-3.8/bin/python" -W ignore $reference/model3_reference.py Tests/GoldenTests/data
fi
for name in spacy-2.1.9 spacy-2.3.9 spacy-3.8; do
  [ ! -x "$venvs/$name/bin/python" ] || "$venvs/$name/bin/python" -W ignore $reference/tokens_golden.py
done
