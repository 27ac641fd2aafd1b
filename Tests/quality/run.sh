#!/usr/bin/env bash
# Quality of pretrained weights, judged in the real spaCy 2.3.9 and 3.8: t2v against spaCy's own pretraining of the same texts, and random
# weights. For spaCy 3 see quality3.py: about 7 minutes the first time, and it needs the shared data.
# With the shared data ($T2V_SHARED_DATA, or ../shared/data): 3 epochs over the first 9,000 reviews, probed on the last 500. Without it: the
# demo's corpus, whose scores mean less. spaCy's own run takes 10 to 20 minutes the first time; it is kept in $T2V_QUALITY_CACHE.
set -eu
cd "$(dirname "$0")/../.."
data=${T2V_SHARED_DATA:-../shared/data}
venvs=${T2V_VENVS:-.venvs}
cache=${T2V_QUALITY_CACHE:-$HOME/.cache/t2v/quality}
python=$venvs/spacy-2.3.9/bin/python
if [ ! -x "$python" ]; then
  echo "SKIPPED: no venv spacy-2.3.9 in $venvs: quality was not judged"
  exit 0
fi
if [ -r "$data/imdb-reviews-10000.jsonl" ]; then
  texts=$data/imdb-reviews-10000.jsonl vectors=$data/en-vectors-20k-spacy2.3 train=9000 held=500 epochs=3 name=reviews
else
  echo "no shared data in $data: the demo's corpus is used"
  texts=demo/texts.jsonl vectors=demo/vectors train=1200 held=170 epochs=20 name=demo
fi
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
head -n "$train" "$texts" > "$out/texts.jsonl"
.build/release/t2v-coordinator pretrain "$out/texts.jsonl" "$vectors" "$out/run" -i "$epochs" "$@"
mkdir -p "$cache"
OPENBLAS_NUM_THREADS=1 "$python" -W ignore Tests/quality/quality.py "$vectors" "$texts" "t2v=$out/run/model$((epochs - 1)).bin" \
  --documents "$held" --spacy-baseline "$cache/spacy-2.3.9-$name" --train-documents "$train" --epochs "$epochs"

python3=$venvs/spacy-3.8/bin/python
if [ ! -x "$python3" ] || [ ! -r "$data/imdb-reviews-10000.jsonl" ] || [ ! -d "$data/en-vectors-20k-spacy3.8" ]; then
  echo "SKIPPED: no venv spacy-3.8 in $venvs, or no shared data in $data: quality for spaCy 3 was not judged"
  exit 0
fi
T2V_BIN=.build/release PYTHONPATH=python "$python3" -W ignore Tests/quality/quality3.py \
  "$data/imdb-reviews-10000.jsonl" "$data/en-vectors-20k-spacy3.8" "$cache/spacy-3.8"
