// Pieces of t2v_gemm that other kernels put together.
#pragma once
#include "avx512.h"
#include <stdint.h>

enum { block_rows = 14, panel_columns = 32 };

/// R rows of pairs (a pair is two consecutive k, `row_step` from row to row) times a panel of pairs (k / 2, 32, 2), into C or added to it.
typedef void (*t2v_half_block)(ptrdiff_t pairs, const uint32_t *a, ptrdiff_t row_step, const uint16_t *panel, float *c, ptrdiff_t ldc,
                               __mmask16 low, __mmask16 high, int accumulate);
/// By number of rows, 1 to `block_rows`.
extern const t2v_half_block t2v_half_blocks[];

/// The rows of C that are written next: where k is small, waiting for them would take longer than the products.
static inline void ask_for_block(const float *c, ptrdiff_t ldc, ptrdiff_t first, ptrdiff_t m) {
    for (ptrdiff_t i = first; i < first + block_rows && i < m; i++) {
        __builtin_prefetch(c + i * ldc, 1, 3);
        __builtin_prefetch(c + i * ldc + 16, 1, 3);
    }
}

/// Transposes up to 16 x 16 in registers: lane j of row p becomes lane p of row j.
AVX512 static inline void transpose_16(__m512 r[16]) {
    __m512 t[16];
    UNROLL for (int j = 0; j < 16; j += 2) {
        t[j] = _mm512_unpacklo_ps(r[j], r[j + 1]);
        t[j + 1] = _mm512_unpackhi_ps(r[j], r[j + 1]);
    }
    UNROLL for (int j = 0; j < 16; j += 4) {
        r[j] = _mm512_shuffle_ps(t[j], t[j + 2], 0x44);
        r[j + 1] = _mm512_shuffle_ps(t[j], t[j + 2], 0xee);
        r[j + 2] = _mm512_shuffle_ps(t[j + 1], t[j + 3], 0x44);
        r[j + 3] = _mm512_shuffle_ps(t[j + 1], t[j + 3], 0xee);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        t[j] = _mm512_shuffle_f32x4(r[j], r[j + 4], 0x88);
        t[j + 4] = _mm512_shuffle_f32x4(r[j], r[j + 4], 0xdd);
        t[j + 8] = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0x88);
        t[j + 12] = _mm512_shuffle_f32x4(r[j + 8], r[j + 12], 0xdd);
    }
    UNROLL for (int j = 0; j < 4; j++) {
        r[j] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_f32x4(t[j], t[j + 8], 0xdd);
        r[j + 4] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0x88);
        r[j + 12] = _mm512_shuffle_f32x4(t[j + 4], t[j + 12], 0xdd);
    }
}

/// 16 floats as 16 bf16, to nearest, ties to even.
AVX512_BF16 static inline void store_half(uint16_t *out, __m512 value) {
    _mm256_storeu_si256((__m256i *)out, (__m256i)_mm512_cvtneps_pbh(value));
}

/// Two rows of 16 floats as 16 pairs.
AVX512_BF16 static inline __m512i pairs_of(__m512 first, __m512 second) {
    const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5, 20, 4, 19, 3,
                                           18, 2, 17, 1, 16, 0);
    return _mm512_permutexvar_epi16(order, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
