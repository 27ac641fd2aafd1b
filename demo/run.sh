#!/usr/bin/env bash
# Pretrains on the corpus in this folder with two local workers, and says how to use the weights.
set -eu
cd "$(dirname "$0")/.."
out=demo/out
.build/release/t2v-coordinator pretrain demo/texts.jsonl demo/vectors "$out" --workers 2 -i 5 --overwrite
echo
.build/release/t2v-coordinator inspect "$out/model4.bin"
