#!/usr/bin/env bash
# Makes the wheel: both programs, the Python package, the licences of everything inside.
#     t2v-VERSION-py3-none-manylinux_2_NN_x86_64.whl
# The programs need only glibc (deploy/static/build.sh), so it installs with pip on any x86-64 Linux with glibc 2.NN or newer, for every
# Python and spaCy that the Python package supports. NN is determined from the programs, and auditwheel must agree.
#
#     deploy/wheel.sh [--output dist]
# Prints the path of the wheel. An existing one from the same sources and tools is reused.
set -euo pipefail
top=$(cd "$(dirname "$0")/.." && pwd)
output=$top/dist
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$(mkdir -p "$2" && cd "$2" && pwd); shift 2 ;;
        *) echo "error: unknown argument $1; see the head of $0" >&2; exit 2 ;;
    esac
done
fail() { echo "error: $*" >&2; exit 1; }
for tool in swift cc objdump python3 dpkg-query; do command -v "$tool" > /dev/null || fail "$tool is missing; run make setup"; done
cd "$top"
mkdir -p "$output" .build-dist

# The wheel's sources; the rest of the repository does not matter.
key=$({
    find LICENSE Sources Package.swift python/t2v python/pyproject.toml python/README.md deploy/static deploy/wheel.sh -type f \
        ! -path '*/__pycache__/*' -print0 | sort -z | xargs -0 sha256sum
    swift --version 2> /dev/null
    cc --version
    dpkg-query -W libc6-dev libzmq3-dev libsodium-dev libpcre2-dev zlib1g-dev 'libopenblas-*dev' 'libstdc++-*-dev'
} | sha256sum | cut -d' ' -f1)
if read -r made name 2> /dev/null < "$output/.wheel-key" && [ "$made" = "$key" ] && [ -f "$output/$name" ]; then
    echo "$output/$name"
    exit 0
fi

tools=$top/.build-dist/wheel-tools
if [ ! -f "$tools/.ready" ]; then
    rm -rf "$tools"
    python3 -m venv "$tools" > /dev/null
    "$tools/bin/pip" install -q --disable-pip-version-check 'setuptools>=77' 'wheel>=0.45' 'auditwheel>=6.4' >&2
    touch "$tools/.ready"
fi

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
deploy/static/build.sh "$stage/programs" >&2

# A copy, because setuptools writes beside its sources.
mkdir "$stage/python"
cp -r python/t2v python/pyproject.toml python/README.md "$stage/python/"
find "$stage/python" -name __pycache__ -prune -exec rm -rf {} +
export SOURCE_DATE_EPOCH=315532800  # 1980, the first year of zip files: the same input gives the same bytes
"$tools/bin/pip" wheel -q --disable-pip-version-check --no-deps --no-build-isolation -w "$stage/pure" "$stage/python" >&2
"$tools/bin/wheel" unpack -d "$stage" "$stage"/pure/*.whl > /dev/null
root=$(find "$stage" -maxdepth 1 -name 't2v-*')
version=$(basename "$root" | cut -d- -f2)
for program in "$stage"/programs/*; do
    said=$("$program" --version)
    [ "$said" = "$version" ] || fail "$(basename "$program") says it is version $said, the Python package $version"
done

# pip installs .data/scripts beside python, as executables.
mkdir -p "$root/t2v-$version.data/scripts" "$root/t2v-$version.dist-info/licenses"
cp "$stage"/programs/* "$root/t2v-$version.data/scripts/"
deploy/static/licences.sh "$root/t2v-$version.dist-info/licenses" "$stage"/programs/*
glibc=$(objdump -T "$stage"/programs/* | grep -oE 'GLIBC_2\.[0-9]+' | sort -uV | tail -n 1)
tag=manylinux_2_${glibc#GLIBC_2.}_x86_64
sed -i -e 's/^Root-Is-Purelib: .*/Root-Is-Purelib: false/' -e "s/^Tag: .*/Tag: py3-none-$tag/" "$root/t2v-$version.dist-info/WHEEL"
"$tools/bin/wheel" pack -d "$stage" "$root" > /dev/null
wheel=$(find "$stage" -maxdepth 1 -name '*.whl')
# auditwheel wraps its output.
"$tools/bin/auditwheel" show "$wheel" | tr '\n' ' ' | grep -qF "tag: \"$tag\"" || fail "auditwheel does not agree with $tag: $("$tools/bin/auditwheel" show "$wheel")"

rm -f "$output"/t2v-*.whl
mv "$wheel" "$output/"
echo "$key $(basename "$wheel")" > "$output/.wheel-key"
echo "$output/$(basename "$wheel")"
