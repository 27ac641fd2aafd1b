#!/usr/bin/env bash
# Installs the real spaCy, in the pinned versions that tests compare with, into virtual environments under .venvs (or $T2V_VENVS). With
# names as arguments (spacy-3.8, tools, ...) only those.
# spaCy 2.1.9 has wheels for Python 3.7 only: without that Python it is left out, and the tests that need it say so.
set -u
cd "$(dirname "$0")/../.."
venvs=${T2V_VENVS:-.venvs}
mkdir -p "$venvs"
only=" $* "
wants() { [ "$only" = "  " ] || [[ "$only" == *" $1 "* ]]; }
# find_python VERSION: a python of that version, from PATH or pyenv.
find_python() {
  for candidate in "python$1" "$HOME"/.pyenv/versions/"$1".*/bin/python; do
    "$candidate" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null && { command -v "$candidate"; return; }
  done
}
# make NAME PYTHON PACKAGE...: an environment that has the packages; made once.
make() {
  local name=$1 python=$2; shift 2
  wants "$name" || return 0
  [ -f "$venvs/$name/.ready" ] && return 0
  echo "setting up $venvs/$name"
  rm -rf "${venvs:?}/$name"
  "$python" -m venv "$venvs/$name" && "$venvs/$name/bin/pip" install -q --prefer-binary --disable-pip-version-check "$@" \
    && touch "$venvs/$name/.ready"
}
python3=$(find_python 3.11 || true)
[ -n "$python3" ] || python3=$(command -v python3)
make spacy-2.3.9 "$python3" spacy==2.3.9 "numpy<2" safetensors || echo "spaCy 2.3.9 could not be installed: the tests that need it are skipped"
make spacy-3.8 "$python3" spacy==3.8.18 pytest || echo "spaCy 3.8.18 could not be installed: the tests that need it are skipped"
if wants spacy-3.8 && [ -f "$venvs/spacy-3.8/.ready" ]; then
  # Adds pytest to an environment that was made without it.
  "$venvs/spacy-3.8/bin/python" -c "import pytest" 2>/dev/null \
    || "$venvs/spacy-3.8/bin/pip" install -q --disable-pip-version-check pytest || echo "pytest could not be installed: the tests of python/ are skipped"
  # What the tests of reports and loggers need: plots, a browser's driver, real loggers. Without them those tests are skipped.
  "$venvs/spacy-3.8/bin/python" -c "import matplotlib, mlflow, selenium, tensorboard" 2>/dev/null \
    || "$venvs/spacy-3.8/bin/pip" install -q --disable-pip-version-check matplotlib mlflow-skinny selenium tensorboard \
    || echo "Matplotlib, MLflow, Selenium and TensorBoard could not be installed: the tests of reports and loggers are skipped"
  # Tokenizers that are not rule-based, for the slow path.
  "$venvs/spacy-3.8/bin/python" -c "import jieba, pythainlp, sudachidict_core, sudachipy" 2>/dev/null \
    || "$venvs/spacy-3.8/bin/pip" install -q --disable-pip-version-check jieba pythainlp sudachidict-core sudachipy \
    || echo "tokenizers for Japanese, Chinese and Thai could not be installed: their tests are skipped"
fi
# These two import only with an older click and typer; 3.5 was compiled against NumPy 1.
make spacy-3.7 "$python3" spacy==3.7.5 "numpy<2" "click<8.2" "typer<0.16" || echo "spaCy 3.7.5 could not be installed: the tests that need it are skipped"
make spacy-3.5 "$python3" spacy==3.5.4 "numpy<2" "click<8.2" "typer<0.16" || echo "spaCy 3.5.4 could not be installed: the tests that need it are skipped"
make tools "$python3" ruff mypy typer || echo "ruff and mypy could not be installed: python/ is not checked"
python37=$(find_python 3.7 || true)
if [ -n "$python37" ]; then
  make spacy-2.1.9 "$python37" --only-binary :all: spacy==2.1.9 || echo "spaCy 2.1.9 could not be installed: the tests that need it are skipped"
else
  echo "no Python 3.7: tests against spaCy 2.1.9 are skipped"
fi
exit 0
