#!/usr/bin/env bash
# Pretrains a small model on the French texts in demo/french with two local workers, and lets the real spaCy 3.8 say whether the weights help a tagger.
set -eu
cd "$(dirname "$0")/.."
venvs=${T2V_VENVS:-.venvs}
python=$venvs/spacy-3.8/bin/python
if [ ! -x "$python" ]; then
  python=$venvs/demo/bin/python
  if [ ! -f "$venvs/demo/.ready" ]; then
    echo "installing spaCy 3.8.18 into $venvs/demo"
    python3 -m venv "$venvs/demo"
    "$python" -m pip install -q --disable-pip-version-check spacy==3.8.18 matplotlib && touch "$venvs/demo/.ready"
  fi
fi
export PYTHONPATH=$PWD/python${PYTHONPATH:+:$PYTHONPATH} T2V_BIN=${T2V_BIN:-$PWD/.build/release}
show() { echo; echo "\$ python -m spacy t2v $*"; "$python" -m t2v "$@"; }
# The figures of docs/worth-it.md are for all documents: with so few, none is held out.
show pretrain demo/french/config.cfg demo/out --workers 2 --overwrite --t2v.held_out 0
show evaluate demo/french/config.cfg demo/out --train demo/french/train.spacy --dev demo/french/dev.spacy --sizes 10,40 --seeds 3
