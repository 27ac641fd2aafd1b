#!/usr/bin/env bash
# Installs and runs the wheel in a root folder that holds a minimal Debian with Python, and no compiler:
#     sudo deploy/wheel-root.sh [SUITE]
# SUITE is bullseye by default: glibc 2.31 and Python 3.9, older than what the wheel is built on. It needs debootstrap. The programs' weights must
# be those that the same programs write on this machine.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
suite=${1:-bullseye}
wheel=$("$top/deploy/wheel.sh")
[ "$(id -u)" = 0 ] || { echo "error: a root folder needs root: sudo $0" >&2; exit 1; }
command -v debootstrap > /dev/null || { echo "error: debootstrap is missing; install it with apt" >&2; exit 1; }
work=$(mktemp -d)
root=$work/root
trap 'rm -rf "$work"' EXIT

debootstrap --variant=minbase --include=python3-venv,ca-certificates "$suite" "$root" > "$work/log" 2>&1 || { tail "$work/log" >&2; exit 1; }
cp -L /etc/resolv.conf "$root/etc/" 2> /dev/null || true
# pip here may be told to trust another certificate.
if [ -n "${PIP_CERT:-}" ]; then install -D -m 644 "$PIP_CERT" "$root$PIP_CERT"; fi
mkdir "$root/t2v"
cp -r "$wheel" "$top/demo" "$root/t2v/"
python3 -m venv "$work/host"
"$work/host/bin/pip" install -q --no-deps --disable-pip-version-check "$wheel"

cat > "$root/t2v/run" << 'END'
set -eu
for tool in gcc cc ld swift; do ! command -v $tool > /dev/null || { echo "error: this root holds $tool" >&2; exit 1; }; done
python3 -m venv /venv
/venv/bin/pip install -q -U pip
# Python 3.9 gets the newest versions that have wheels for it.
/venv/bin/pip install -q --only-binary :all: /t2v/*.whl "spacy<3.8" "numpy<2" "click<8.2" "typer<0.16"
export PATH=/venv/bin:/usr/bin:/bin
unset HOME
cd /t2v
ldd --version | head -n 1
t2v --help > /dev/null
python3 -m spacy --help | grep -q t2v
t2v-coordinator pretrain demo/texts.jsonl demo/vectors out --workers 2 -i 1 > /dev/null
END
# Without /proc nothing finds its own program. The mounts go with the command.
unshare -m sh -c "mount -t proc proc '$root/proc' && mount --rbind /dev '$root/dev' && exec chroot '$root' sh /t2v/run"
"$work/host/bin/t2v-coordinator" pretrain "$top/demo/texts.jsonl" "$top/demo/vectors" "$work/out" --workers 2 -i 1 --cache "$work/cache" > /dev/null 2>&1
cmp "$root/t2v/out/model0.bin" "$work/out/model0.bin"
echo "$(basename "$wheel") runs in a minimal $suite, and writes the same weights as here"
