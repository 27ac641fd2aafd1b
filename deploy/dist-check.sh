#!/usr/bin/env bash
# Starts the worker of a tarball in a root folder with only glibc: sudo deploy/dist-check.sh TARBALL
# It uses a host like those of the test bed (deploy/netns/testbed): own root folder, process tree and network.
set -euo pipefail
tarball=$(readlink -f "${1:?the path of a t2v-worker tarball is missing}")
testbed=$(cd "$(dirname "$0")" && pwd)/netns/testbed
trap '"$testbed" down' EXIT
"$testbed" up --hosts 2 --tarball "$tarball"
version=$("$testbed" exec h2 -- /t2v/bin/t2v-worker --version)
case $tarball in
    *"t2v-worker-$version-"*) ;;
    *) echo "error: the program says it is version $version" >&2; exit 1 ;;
esac
# It must get as far as looking for its coordinator: then sockets, keys, BLAS and all libraries work.
log=$(mktemp)
"$testbed" exec --detach "$log" h2 -- /t2v/bin/t2v-worker --connect tcp://10.99.0.1:5599 > /dev/null
for _ in $(seq 100); do
    grep -q "no coordinator at tcp://10.99.0.1:5599" "$log" && { echo "t2v-worker $version runs with only glibc"; exit 0; }
    sleep 0.1
done
echo "error: the worker does not get as far as looking for its coordinator:" >&2
cat "$log" >&2
exit 1
