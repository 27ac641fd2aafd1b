#!/usr/bin/env bash
# Makes one tarball of the worker with every library it needs beside it, except glibc:
#     t2v-worker-VERSION-linux-x86_64.tar.gz
#         bin/t2v-worker     the Swift library is linked into it
#         lib/*.so.*         found by the program's own run path ($ORIGIN/../lib): no LD_LIBRARY_PATH, no installation
#         licenses/          of everything that is inside
# It runs on any x86-64-v3 Linux with the glibc of the machine it was made on, or a newer one (Debian 12: 2.36).
#
#     deploy/dist.sh [--output dist] [--no-check]
# The check at the end starts the program in a root folder with nothing but glibc; it needs root and says so where it cannot be done.
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
fail() { echo "error: $*" >&2; exit 1; }
for tool in swift ldd readelf strip tar gzip; do command -v "$tool" > /dev/null || fail "$tool is missing; run make setup"; done

cd "$top"
version=$(sed -n 's/.*static let current = "\([^"]*\)".*/\1/p' Sources/Core/Run/RunOptions.swift)
[ -n "$version" ] || fail "no version in Sources/Core/Run/RunOptions.swift"
name=t2v-worker-$version-linux-x86_64
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
root=$stage/$name
mkdir -p "$root/bin" "$root/lib" "$root/licenses"

# DT_RPATH (--disable-new-dtags) and not DT_RUNPATH: only the former also holds for what the libraries themselves need.
swift build -c release --static-swift-stdlib --product t2v-worker --scratch-path .build-dist \
    -Xlinker -rpath -Xlinker '$ORIGIN/../lib' -Xlinker --disable-new-dtags
program=$(swift build -c release --static-swift-stdlib --scratch-path .build-dist --show-bin-path)/t2v-worker
cp "$program" "$root/bin/t2v-worker"
strip --strip-debug "$root/bin/t2v-worker"

# Everything the program needs, directly or not, minus what is glibc's.
is_glibc() {
    case $1 in
        ld-linux*|libc.so.*|libm.so.*|libpthread.so.*|libdl.so.*|librt.so.*|libresolv.so.*|libutil.so.*|libanl.so.*|libmvec.so.*|libnss_*) ;;
        *) return 1 ;;
    esac
}
libraries=()
while read -r soname path; do
    is_glibc "$soname" && continue
    [ "$path" != not ] || fail "$soname is not found on this machine; run make setup"
    cp -L "$path" "$root/lib/$soname"
    libraries+=("$soname $(readlink -f "$path")")
done < <(ldd "$program" | sed -n 's/^[[:space:]]*\([^ ]*\) => \([^ ]*\).*/\1 \2/p')
[ ${#libraries[@]} -gt 0 ] || fail "ldd names no libraries"
# A library's own run path would be looked at before the program's.
for file in "$root"/lib/*; do
    chmod 755 "$file"
    if readelf -d "$file" | grep -qE 'R(UN)?PATH'; then
        command -v patchelf > /dev/null || fail "$(basename "$file") has a run path of its own and patchelf is missing; install it"
        patchelf --remove-rpath "$file"
    fi
done

# Licences: of this program's packages from their sources, of the libraries from Debian's own notes.
{
    echo "What is in this archive, and under which terms. The full texts are beside this file."
    echo
    echo "t2v-worker $version: see t2v.txt"
    for checkout in .build-dist/checkouts/*/; do
        package=$(basename "$checkout")
        cat "$checkout"/LICENSE* > "licenses.tmp" 2> /dev/null || fail "$package has no licence file"
        for notice in "$checkout"/NOTICE*; do [ -f "$notice" ] && { echo; cat "$notice"; } >> licenses.tmp; done
        mv licenses.tmp "$root/licenses/$package.txt"
        echo "linked into bin/t2v-worker: $package, see $package.txt"
    done
    echo "linked into bin/t2v-worker: the Swift runtime, Foundation and Dispatch (Apache 2.0 with runtime library exception), see swift.txt"
} > "$root/licenses/README"
cp LICENSE "$root/licenses/t2v.txt"
swift_license=$(cd "$(dirname "$(readlink -f "$(command -v swift)")")/.." && pwd)/share/swift/LICENSE.txt
[ -f "$swift_license" ] || fail "the Swift toolchain's licence is not at $swift_license"
cp "$swift_license" "$root/licenses/swift.txt"
for entry in "${libraries[@]}"; do
    soname=${entry%% *} path=${entry#* }
    package=$(dpkg-query -S "$path" "/usr${path#/usr}" "${path#/usr}" 2> /dev/null | head -n 1 | cut -d: -f1 || true)
    if [ -z "$package" ]; then
        # Chosen by update-alternatives, or not from a package at all.
        fail "$path belongs to no Debian package, so its licence is not known; install it with apt"
    fi
    cp "/usr/share/doc/$package/copyright" "$root/licenses/$package.txt"
    echo "lib/$soname: $(dpkg-query -W -f '${Package} ${Version}' "$package") (source: $(dpkg-query -W -f '${source:Package}' "$package")), see $package.txt" \
        >> "$root/licenses/README"
done

cat > "$root/README" << END
t2v-worker $version: computes gradients for a t2v coordinator.
    bin/t2v-worker --connect tcp://HOST:5599 --server-key coordinator.pub --key worker.key
Nothing needs to be installed or mounted. The CPU must have AVX2, FMA and BMI2; glibc must be $(ldd --version | head -n 1 | grep -oE '[0-9.]+$') or newer;
/proc must be there. Prepared texts are kept in --cache FOLDER (default ~/.cache/t2v).
END

mkdir -p "$output"
# The same input gives the same bytes: no times, no names of users, sorted.
tar -C "$stage" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n > "$output/$name.tar.gz"
echo "$output/$name.tar.gz: $(du -h "$output/$name.tar.gz" | cut -f1), $(ls "$root/lib" | wc -l) libraries"

if [ $check = yes ]; then
    if [ "$(id -u)" = 0 ]; then
        "$top/deploy/dist-check.sh" "$output/$name.tar.gz"
    else
        echo "not checked in an empty root folder: that needs root (sudo deploy/dist-check.sh $output/$name.tar.gz)"
    fi
fi
