#!/usr/bin/env bash
# Checks t2v.yaml against the schemas of an old and a new version of Kubernetes, including for unknown fields: no cluster is needed.
#     deploy/kubernetes/check.sh [VERSION...] for example 1.27 1.33 (the default)
# The checker is the PyPI package kubernetes-validate, in a virtual environment that is removed at the end.
set -euo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- 1.27 1.33
venv=$(mktemp -d)
trap 'rm -rf "$venv"' EXIT
python3 -m venv "$venv"
"$venv/bin/pip" install -q --disable-pip-version-check kubernetes-validate
for version in "$@"; do "$venv/bin/kubernetes-validate" --strict -k "$version" t2v.yaml; done
