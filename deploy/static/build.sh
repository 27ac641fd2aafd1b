#!/usr/bin/env bash
# Builds both programs with everything except glibc linked into them, for glibc 2.28 or newer: deploy/static/build.sh FOLDER [PRODUCT...]
# In: Debian's static libraries and the Swift toolchain's. Out: FOLDER/t2v-coordinator and FOLDER/t2v-worker, stripped (or only PRODUCT...).
#
# Swift's own build is steered, not replaced, so new targets need nothing here:
#     pkg-config files and -L name a folder that has only the static libraries     -lzmq, -lz ... use those
#     glibc-stubs.py      glibc's libraries as they were in version 2.28
#     newer-glibc.c       the few functions that 2.28 lacks
#     left-out.c          stand-ins for parts of libzmq and OpenBLAS that are not needed
# The remaining dependencies on the system are checked at the end.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
here=$top/deploy/static
[ $# -gt 0 ] || { sed -n '2,3p' "$0" >&2; exit 2; }
output=$(mkdir -p "$1" && cd "$1" && pwd)
shift
[ $# -gt 0 ] || set -- t2v-coordinator t2v-worker
glibc=2.28
libraries=(zmq sodium pcre2-8 z openblas stdc++)
fail() { echo "error: $*" >&2; exit 1; }
for tool in swift cc ar objdump readelf strip python3; do command -v "$tool" > /dev/null || fail "$tool is missing; run make setup"; done

cd "$top"
scratch=$top/.build-dist
links=$scratch/static
rm -rf "$links"
mkdir -p "$links"
"$here/glibc-stubs.py" "$glibc" "$links"
for source in newer-glibc left-out; do
    cc -O2 -Wall -Werror -fPIC -c "$here/$source.c" -o "$links/$source.o"
done
ar rcs "$links/libstand-ins.a" "$links"/{newer-glibc,left-out}.o
for library in "${libraries[@]}"; do
    path=$(cc -print-file-name="lib$library.a")
    [ -f "$path" ] || fail "lib$library.a is not on this machine; run make setup"
    # The stand-ins must be found before the library's own parts; --undefined below takes them from the first of these groups.
    echo "GROUP ( $links/libstand-ins.a $path )" > "$links/lib$library.so"
done
# SwiftPM puts the pkg-config files' -L first.
for library in zmq sodium; do
    printf 'Name: lib%s\nDescription: static\nVersion: 0\nLibs: -L%s -l%s\n' "$library" "$links" "$library" > "$links/lib$library.pc"
done

flags=(-c release -debug-info-format none --static-swift-stdlib --scratch-path "$scratch" --pkg-config-path "$links"
    -Xlinker "-L$links" -Xlinker --undefined=leftOutTables -Xlinker --undefined=__wrap___libc_start_main
    -Xlinker --wrap=__libc_start_main -Xswiftc -Xclang-linker -Xswiftc -static-libgcc)
bin=$(swift build "${flags[@]}" --show-bin-path)
# Swift's build does not know what is in $links: link again.
for product in "$@"; do
    rm -f "$bin/$product"
    swift build "${flags[@]}" --product "$product"
done
for product in "$@"; do
    needed=$(readelf -d "$bin/$product" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | grep -vxE '(libc|libm)\.so\.6|libpthread\.so\.0|libdl\.so\.2|librt\.so\.1|ld-linux-x86-64\.so\.2' || true)
    [ -z "$needed" ] || fail "$product needs" $needed "of the system; add it to the libraries in deploy/static/build.sh"
    newest=$(objdump -T "$bin/$product" | grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
    [ "$(printf 'GLIBC_%s\n%s\n' "$glibc" "$newest" | sort -V | tail -n 1)" = "GLIBC_$glibc" ] || fail "$product needs $newest; see deploy/static/glibc-stubs.py"
    cp "$bin/$product" "$output/$product"
    strip "$output/$product"
done
