#!/usr/bin/env bash
# Collects the terms of everything that deploy/static/build.sh links into the programs: deploy/static/licences.sh FOLDER PROGRAM...
# Out: FOLDER/README, which lists the contents and their terms, and the texts beside it: of Swift packages from their sources, of Swift's
# own libraries from the toolchain, of the libraries from Debian's notes.
set -euo pipefail
top=$(cd "$(dirname "$0")/../.." && pwd)
folder=$1
shift
fail() { echo "error: $*" >&2; exit 1; }
mkdir -p "$folder"

say() { echo "$*" >> "$folder/README"; }
{
    echo "What is in the programs of t2v, and under which terms. The full texts are beside this file."
    echo
} > "$folder/README"
cp "$top/LICENSE" "$folder/t2v.txt"
say "t2v: see t2v.txt"

for checkout in "$top"/.build-dist/checkouts/*/; do
    package=$(basename "$checkout")
    cat "$checkout"/LICENSE* > "$folder/$package.txt" 2> /dev/null || fail "$package has no licence file"
    for notice in "$checkout"/NOTICE*; do [ ! -f "$notice" ] || { echo; cat "$notice"; } >> "$folder/$package.txt"; done
    say "$package: see $package.txt"
done

swift_license=$(cd "$(dirname "$(readlink -f "$(command -v swift)")")/.." && pwd)/share/swift/LICENSE.txt
[ -f "$swift_license" ] || fail "the Swift toolchain's licence is not at $swift_license"
cp "$swift_license" "$folder/swift.txt"
say "the Swift runtime, Foundation and Dispatch (Apache 2.0 with runtime library exception): see swift.txt"

# debian FILE WHAT...: the notes of the Debian package that owns the file.
debian() {
    local path package
    path=$(readlink -f "$1")
    shift
    package=$(dpkg-query -S "$path" "/usr${path#/usr}" "${path#/usr}" 2> /dev/null | head -n 1 | cut -d: -f1 || true)
    [ -n "$package" ] || fail "$path belongs to no Debian package, so its licence is not known; install it with apt"
    cp "/usr/share/doc/$package/copyright" "$folder/$package.txt"
    say "$*: $(dpkg-query -W -f '${Package} ${Version} (source: ${source:Package} ${source:Version})' "$package"), see $package.txt"
}
debian "$(cc -print-file-name=libzmq.a)" "libzmq (LGPL 3 with an exception for static linking)"
debian "$(cc -print-file-name=libsodium.a)" "libsodium"
debian "$(cc -print-file-name=libpcre2-8.a)" "PCRE2"
debian "$(cc -print-file-name=libz.a)" "zlib"
debian "$(cc -print-file-name=libopenblas.a)" "OpenBLAS"
debian "$(cc -print-file-name=libstdc++.a)" "libstdc++ and libgcc (GPL 3 with the GCC runtime library exception)"
# Foundation's internationalization brings ICU and its data.
if grep -q icudt "$@"; then
    icu=$(find /usr/lib/x86_64-linux-gnu -name 'libicuuc.so.*' | head -n 1)
    [ -n "$icu" ] || fail "the programs contain ICU, but its terms are not on this machine; install libicu-dev"
    debian "$icu" "ICU, as built for Swift; the terms are those of this package"
fi
# Debian's notes refer to the texts of common licences.
grep -oh '/usr/share/common-licenses/[A-Z]*-[0-9.]*[0-9]' "$folder"/*.txt | sort -u | while read -r text; do
    [ ! -f "$text" ] || cp "$text" "$folder/$(basename "$text").txt"
done
