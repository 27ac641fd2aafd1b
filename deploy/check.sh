#!/usr/bin/env bash
# Checks everything in this folder that can be checked without a cluster, a docker daemon or installed units:
#     deploy/check.sh
# Kubernetes manifests, the compose file and the systemd units against their schemas; the shell scripts' syntax. Checks whose tool is
# missing are left out, with a message. Real runs have scripts of their own: dist-check.sh, netns/cluster-test, slurm/try.sh.
set -euo pipefail
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

for script in ./*.sh */*.sh slurm/t2v.sbatch; do bash -n "$script"; done
echo "ok: syntax of the shell scripts"

kubernetes/check.sh

python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q --disable-pip-version-check check-jsonschema
"$work/venv/bin/check-jsonschema" --builtin-schema vendor.compose-spec docker/compose.yaml

if command -v systemd-analyze > /dev/null; then
    # verify requires programs that exist; the units name those of an installed t2v.
    for unit in systemd/*.service; do
        sed 's#^ExecStart=/usr/local/bin/t2v-[a-z]*#ExecStart=/bin/true#' "$unit" > "$work/$(basename "${unit/@./@1.}")"
    done
    for unit in "$work"/*.service; do
        said=$(systemd-analyze verify "$unit" 2>&1) && [ -z "$said" ] || { echo "error: $(basename "$unit"): $said" >&2; exit 1; }
    done
    echo "ok: systemd units"
else
    echo "left out: no systemd-analyze on this machine"
fi
