#!/usr/bin/env bash
# Makes a tarball of the worker, which needs only glibc 2.28 or newer:
#     t2v-worker-VERSION-linux-x86_64.tar.gz
#         bin/t2v-worker     everything but glibc is linked into it (deploy/static/build.sh); no installation
#         licenses/          of everything that is inside
#
#     deploy/dist.sh [--output dist] [--no-check]
# The check at the end starts the program in a root folder with only glibc; it needs root, and says so if it cannot be done.
set -euo pipefail

top=$(cd "$(dirname "$0")/.." && pwd)
output=$top/dist
check=yes
while [ $# -gt 0 ]; do
    case $1 in
        --output) output=$(mkdir -p "$2" && cd "$2" && pwd); shift 2 ;;
        --no-check) check=no; shift ;;
        *) echo "error: unknown argument $1; see the head of $0" >&2; exit 2 ;;
    esac
done

stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
"$top/deploy/static/build.sh" "$stage" t2v-worker
version=$("$stage/t2v-worker" --version)
name=t2v-worker-$version-linux-x86_64
root=$stage/$name
mkdir -p "$root/bin"
mv "$stage/t2v-worker" "$root/bin/"
"$top/deploy/static/licences.sh" "$root/licenses" "$root/bin/t2v-worker"

cat > "$root/README" << END
t2v-worker $version: computes gradients for a t2v coordinator.
    bin/t2v-worker --connect tcp://HOST:5599 --server-key coordinator.pub --key worker.key
Nothing needs to be installed or mounted. The CPU must have AVX2, FMA and BMI2; glibc must be 2.28 or newer; /proc must be there.
Prepared texts are kept in --cache FOLDER (default ~/.cache/t2v).
END

mkdir -p "$output"
# The same input gives the same bytes: no times, no user names, sorted.
tar -C "$stage" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n > "$output/$name.tar.gz"
echo "$output/$name.tar.gz: $(du -h "$output/$name.tar.gz" | cut -f1)"

if [ $check = yes ]; then
    if [ "$(id -u)" = 0 ]; then
        "$top/deploy/dist-check.sh" "$output/$name.tar.gz"
    else
        echo "not checked in an empty root folder: that needs root (sudo deploy/dist-check.sh $output/$name.tar.gz)"
    fi
fi
