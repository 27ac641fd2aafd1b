// What float32 with AVX-512 and bf16 share.
#pragma once
#include "common.h"

// Tests/kernels/emulated.h has its own.
#ifndef AVX512
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,fma")))
#define AVX512_BF16 __attribute__((target("avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,fma")))
#endif

/// The first `count` of 16 lanes; 16 or more are all.
static inline __mmask16 lanes(ptrdiff_t count) { return (__mmask16)(count >= 16 ? 0xffff : (1u << (count > 0 ? count : 0)) - 1); }
