#!/usr/bin/env bash
# Installs and runs the wheel with each Python on this machine, and with the spaCy versions that have wheels for it.
set -euo pipefail
cd "$(dirname "$0")/.."
T2V_WHEEL=$(deploy/wheel.sh)
export T2V_WHEEL
pytest=${T2V_VENVS:-.venvs}/spacy-3.8/bin/python
failed=0
# try PYTHON REQUIREMENT...
try() {
    local python
    python=$(command -v "python$1" || ls -d "$HOME/.pyenv/versions/$1".*/bin/python 2> /dev/null | tail -n 1 || true)
    if [ -z "$python" ] || ! "$python" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2> /dev/null; then
        python=$(ls -d "$HOME/.pyenv/versions/$1".*/bin/python 2> /dev/null | tail -n 1 || true)
    fi
    [ -n "$python" ] || { echo "left out: no Python $1"; return; }
    shift
    echo "$("$python" --version), $*"
    T2V_WHEEL_PYTHON=$python T2V_WHEEL_WITH=$* "$pytest" -m pytest -q python/tests/test_wheel.py -c python/pyproject.toml || failed=1
}
old=("numpy<2" "click<8.2" "typer<0.16")  # these versions of spaCy cannot import newer ones
try 3.9 "spacy==3.5.4" "${old[@]}"
try 3.10 "spacy==3.6.1" "${old[@]}"
try 3.11 "spacy==3.7.5" "${old[@]}"
try 3.12 "spacy>=3.8,<3.9"
try 3.13 "spacy>=3.8,<3.9"
exit $failed
