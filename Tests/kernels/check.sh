#!/usr/bin/env bash
# Checks the AVX-512 kernels on any CPU with AVX2, by emulation. CC: the compiler; the default is clang or gcc.
set -euo pipefail
cd "$(dirname "$0")/../.."
cc=${CC:-$(command -v clang || command -v gcc)}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-O1 -march=x86-64-v3 -Wno-psabi -ISources/CKernels -ISources/CKernels/include)
for file in float_avx512 by_row_avx512 gemm_half winners_half; do
    "$cc" "${flags[@]}" -include Tests/kernels/emulated.h -c "Sources/CKernels/$file.c" -o "$folder/$file.o"
done
"$cc" "${flags[@]}" Tests/kernels/check.c Sources/CKernels/{float_avx2,by_row_avx2,scratch}.c "$folder"/*.o -lpthread -lm -o "$folder/check"
"$folder/check"
