#!/usr/bin/env bash
# Installs and runs the wheel in a root folder with a minimal Debian, Python and no compiler:
#     sudo deploy/wheel-root.sh [SUITE]
# SUITE is bullseye by default: glibc 2.31 and Python 3.9, older than those that the wheel is built with. It needs debootstrap. The
# programs' weights must equal those that the same programs write on this machine; then docs/getting-started.md is followed to its end.
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
# pip on this machine may be configured with another certificate.
if [ -n "${PIP_CERT:-}" ]; then install -D -m 644 "$PIP_CERT" "$root$PIP_CERT"; fi
mkdir "$root/t2v"
cp -r "$wheel" "$top/demo" "$top/docs/getting-started.md" "$root/t2v/"
python3 -m venv "$work/host"
"$work/host/bin/pip" install -q --no-deps --disable-pip-version-check "$wheel"

cat > "$root/t2v/run" << 'END'
set -eu
for tool in gcc cc ld swift; do ! command -v $tool > /dev/null || { echo "error: this root holds $tool" >&2; exit 1; }; done
python3 -m venv /venv
/venv/bin/pip install -q -U pip
# Python 3.9 gets the newest versions that have wheels for it.
/venv/bin/pip install -q --only-binary :all: "$(ls /t2v/*.whl)[report]" "spacy<3.8" "numpy<2" "click<8.2" "typer<0.16"
export PATH=/venv/bin:/usr/bin:/bin
unset HOME
cd /t2v
ldd --version | head -n 1
t2v --help > /dev/null
python3 -m spacy --help | grep -q t2v
t2v-coordinator pretrain demo/texts.jsonl demo/vectors out --workers 2 -i 1 > /dev/null
mkdir start
cd start
# The page's blocks: a program, and commands.
python3 - /t2v/getting-started.md << 'PAGE'
import re, sys
from pathlib import Path
blocks = re.findall(r"^```(\w+)\n(.*?)^```", Path(sys.argv[1]).read_text(encoding="utf8"), re.DOTALL | re.MULTILINE)
Path("texts.py").write_text(next(text for kind, text in blocks if kind == "python"))
Path("commands.sh").write_text("set -ex\n" + "".join(text for kind, text in blocks if kind == "sh"))
PAGE
sh commands.sh > told 2>&1 || { cat told; exit 1; }
grep "Loaded pretrained weights" told
grep "model-last.bin" told | tail -n 1
test -s out/t2v/report.html
END
# Without /proc a process cannot find its own program. The mounts vanish with the command.
unshare -m sh -c "mount -t proc proc '$root/proc' && mount --rbind /dev '$root/dev' && exec chroot '$root' sh /t2v/run"
"$work/host/bin/t2v-coordinator" pretrain "$top/demo/texts.jsonl" "$top/demo/vectors" "$work/out" --workers 2 -i 1 --cache "$work/cache" > /dev/null 2>&1
cmp "$root/t2v/out/model0.bin" "$work/out/model0.bin"
echo "$(basename "$wheel") runs in a minimal $suite, writes the same weights as here, and follows docs/getting-started.md"
